//! What status says of the sidecar and of Redis.

use crds::{
    BusKeyStatus, HyperpageStatus, RedisMode, RedisStatus, SidecarStatus,
    contract::{REDIS_PORT, name},
};

use super::{Sight, rollout};
use crate::{
    children::{Kind, Rollout},
    hyperpage::{sticky, validate::Valid},
};

pub(super) fn sidecar(
    sight: &Sight<'_>,
    valid: &Valid,
    live: Option<&Rollout>,
    before: Option<&BusKeyStatus>,
) -> SidecarStatus {
    let [image, update_available] = sticky::sidecar_in_use(&valid.sidecar.image, &valid.images.sidecar, live);
    SidecarStatus { image, update_available, bus_key: sight.bus.status(sight.name, before) }
}

/// Where it is, and which image it runs.
pub(super) fn redis(sight: &Sight<'_>, valid: &Valid, previous: &HyperpageStatus) -> RedisStatus {
    let mode = valid.access.mode();
    if mode == RedisMode::External {
        // Where it is stands in a URL with a password: better not.
        return RedisStatus { mode: Some(mode.as_str().to_owned()), ..RedisStatus::default() };
    }
    let live = rollout(sight, Kind::StatefulSet, &name::redis(sight.name));
    let [image, update_available] =
        sticky::redis_in_use(&valid.redis.image, &valid.images.redis, live, previous.redis_image());
    RedisStatus {
        image,
        update_available,
        mode: Some(mode.as_str().to_owned()),
        endpoint: Some(format!("{}.{}:{REDIS_PORT}", name::redis(&valid.name), valid.namespace)),
    }
}
