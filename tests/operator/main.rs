//! The operator's real binary against a real API server, with exactly the verbs its chart grants.

mod broken;
mod children;
mod foreign;
mod leader;
mod requests;
mod resource;
mod scaling;
mod secrets;
mod world;
