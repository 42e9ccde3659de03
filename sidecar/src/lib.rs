//! Sessions and coordination on localhost for the app in the same pod.

pub mod admin;
pub mod app;
mod barrier;
pub mod bus;
mod cache;
pub mod clock;
pub mod config;
pub mod coordination;
pub mod dev;
pub mod error;
pub mod in_flight;
pub mod key;
pub mod leader;
pub mod metrics;
#[cfg(test)]
mod openapi;
pub mod pods;
pub mod redis;
pub mod router;
pub mod rules;
pub mod run;
pub mod server;
pub mod session;
pub mod stream;
pub mod telemetry;
mod trace;
