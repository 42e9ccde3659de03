//! The harness: real programs, started and ended by the test that needs them.

pub mod apiserver;
pub mod audit;
pub mod binaries;
pub mod eventually;
pub mod history;
pub mod http;
pub mod installation;
pub mod kube;
pub mod leash;
pub mod proxy;
pub mod random;
pub mod readme;
pub mod redis;
pub mod scratch;
pub mod sidecar;
pub mod trace;
