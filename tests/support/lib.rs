//! The harness: real programs, started and ended by the test that needs them.

pub mod apiserver;
pub mod audit;
pub mod binaries;
pub mod cluster;
pub mod described;
pub mod door;
pub mod eventually;
pub mod history;
pub mod http;
pub mod installation;
pub mod kube;
pub mod leaks;
pub mod leash;
pub mod load;
pub mod nodes;
pub mod process;
pub mod progress;
pub mod proxy;
pub mod random;
pub mod readme;
pub mod redis;
pub mod scratch;
pub mod sidecar;
pub mod tls;
pub mod trace;
pub mod volumes;
