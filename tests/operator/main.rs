//! The operator's real binary against a real API server, with exactly the verbs its chart grants.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod admin;
mod around;
mod at_rest;
mod broken;
mod bus_key;
mod chart;
mod children;
mod elsewhere;
mod foreign;
mod foreign_autoscaler;
mod healing;
mod invalid;
mod killed;
mod leader;
mod paused;
mod pod_template;
mod refused;
mod requests;
mod resource;
mod rotation;
mod scaling;
mod scoped;
mod secrets;
mod storage;
mod suspend;
mod upgrades;
mod world;
