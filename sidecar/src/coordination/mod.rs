//! What makes pods one app: a leader, messages, and who is there. Off: none of it, and its paths are 404.

mod error;

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts as Request;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

pub(crate) use error::Error;

use crate::app::App;
use crate::redis::Redis;
use crate::{bus, config, leader};

/// What a test may break.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    pub leader: leader::Rules,
    pub bus: bus::Rules,
}

/// A cheap handle.
#[derive(Debug, Clone)]
pub struct Coordination(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    pod: String,
}

impl Coordination {
    /// None where it is off. The caller runs the future, which ends after `stop`.
    pub fn new(
        _redis: Redis,
        settings: &config::Coordination,
        pod: &str,
        _rules: Rules,
        _registry: &mut Registry,
        stop: CancellationToken,
    ) -> (Option<Coordination>, impl Future<Output = ()> + Send + use<>) {
        let coordination = settings.enabled.then(|| Coordination(Arc::new(Parts { pod: pod.to_owned() })));
        (coordination, async move { stop.cancelled().await })
    }

    /// The name that others know this pod by.
    pub fn pod(&self) -> &str {
        &self.0.pod
    }
}

impl FromRequestParts<App> for Coordination {
    type Rejection = Error;

    async fn from_request_parts(_parts: &mut Request, app: &App) -> Result<Coordination, Error> {
        app.coordination.clone().ok_or(Error::Disabled)
    }
}
