//! What only nodes can show: pods, containers, the HPA with metrics, all of it under `make up`'s own cluster.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bad;
mod chart;
mod coordination;
mod drain;
mod first_run;
mod fleet;
mod holders;
mod outage;
mod parts;
mod pods;
mod policy;
mod quiet;
mod readme;
mod rolling;
mod scaling;
mod secrets;
mod storage;
mod users;
