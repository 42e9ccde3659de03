//! The sidecar against real Redis servers and every fault we know how to cause.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
mod compose;
mod foreign;

mod absence;
mod ambiguous;
mod api;
mod bulk;
mod bus;
mod clients;
mod concurrent;
mod count;
mod demo;
mod demo_program;
mod faults;
mod golden;
mod guards;
mod hook;
mod idempotent;
mod incarnation;
mod input;
mod l1;
mod l1_refused;
mod leader;
mod lifecycle;
mod lost;
mod metrics;
mod migrating;
mod moving;
mod openapi;
mod original;
mod outage;
mod outage_node;
mod paths;
mod pods;
mod settings;
mod slow;
mod stale;
mod stop;
mod streams;
mod strong;
mod tls;
mod topology;
mod users;
mod v1;
