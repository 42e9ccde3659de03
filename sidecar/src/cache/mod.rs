//! What apps keep in memory, and how they are told to drop it. (What the sidecar itself will keep is to live here.)

mod http;

pub(crate) use http::router;
