//! What makes pods one app: a leader, messages, and who is there. Off: none of it, and its paths are 404.

mod body;
mod error;
mod identity;

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts as Request;
use futures::future::Either;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) use body::{answer, text};
pub(crate) use error::Error;
#[cfg(test)]
pub(crate) use error::every_error;
pub use identity::Identity;

use crate::app::App;
use crate::barrier::Barrier;
use crate::bus::{self, Bus};
use crate::config;
use crate::leader::{self, Leader};
use crate::pods::{self, Pods};
use crate::redis::Redis;

/// What a test may break.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    pub leader: leader::Rules,
    pub bus: bus::Rules,
    pub pods: pods::Rules,
}

/// A cheap handle.
#[derive(Debug, Clone)]
pub struct Coordination(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    pods: Pods,
    leader: Leader,
    bus: Bus,
    barrier: Barrier,
}

/// What all of it needs.
#[derive(Debug)]
pub struct Needs<'a> {
    pub redis: Redis,
    pub settings: &'a config::Coordination,
    /// The name that others know this pod by.
    pub pod: &'a str,
    pub draining: CancellationToken,
}

impl Coordination {
    /// None where it is off. The caller runs the future, which ends after `stop`.
    pub fn new(
        needs: Needs<'_>,
        rules: Rules,
        registry: &mut Registry,
        stop: CancellationToken,
    ) -> (Option<Coordination>, impl Future<Output = ()> + Send + use<>) {
        let Needs { redis, settings, pod, draining } = needs;
        if !settings.enabled {
            return (None, Either::Left(stop.cancelled_owned()));
        }
        let me = Identity::new(pod);
        // If one of them ends by itself, all do, and it is noticed.
        let stop = stop.child_token();
        let (leader, leading) =
            Leader::new(redis.clone(), settings, pod, rules.leader, registry, stop.clone());
        let (bus, listening) =
            Bus::new(redis.clone(), settings, me.clone(), leader.clone(), rules.bus, registry, stop.clone());
        let (applied, cursor) = watch::channel(None);
        let (pods, living) =
            Pods::new(redis, bus.clone(), draining, cursor, rules.pods, registry, stop.clone());
        let (barrier, watching) = Barrier::new(bus.clone(), pods.clone(), applied, stop.clone());
        let telling = leader::tell(leader.clone(), bus.feed().clone(), stop.clone());
        // Whatever holds them would be several times as large.
        let (leading, listening, living) = (Box::pin(leading), Box::pin(listening), Box::pin(living));
        let work = async move {
            tokio::join!(
                telling,
                ends_all(leading, &stop),
                ends_all(listening, &stop),
                ends_all(living, &stop),
                ends_all(watching, &stop)
            );
        };
        (Some(Coordination(Arc::new(Parts { pods, leader, bus, barrier }))), Either::Right(work))
    }

    pub fn leader(&self) -> &Leader {
        &self.0.leader
    }

    pub fn bus(&self) -> &Bus {
        &self.0.bus
    }

    pub fn barrier(&self) -> &Barrier {
        &self.0.barrier
    }

    pub fn pods(&self) -> &Pods {
        &self.0.pods
    }
}

async fn ends_all(part: impl Future<Output = ()>, stop: &CancellationToken) {
    part.await;
    stop.cancel();
}

impl FromRequestParts<App> for Coordination {
    type Rejection = Error;

    async fn from_request_parts(_parts: &mut Request, app: &App) -> Result<Coordination, Error> {
        app.coordination.clone().ok_or(Error::Disabled)
    }
}
