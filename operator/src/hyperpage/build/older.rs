//! What operators before this one built of the same spec. Pods that run it are left alone until their user changes them,
//! as they are for a newer image: an upgrade of the operator restarts nothing.

use crds::contract::{SIDECAR_CONTAINER, env};
use k8s_openapi::api::core::v1::PodTemplateSpec;

use super::sidecar::BUS_VOLUME;

/// Before pods talked. `None`: they do not.
pub fn without_bus(template: &PodTemplateSpec) -> Option<PodTemplateSpec> {
    let mut older = template.clone();
    let pod = older.spec.as_mut()?;
    pod.volumes.as_mut()?.retain(|volume| volume.name != BUS_VOLUME);
    let sidecar = pod.init_containers.iter_mut().flatten().find(|it| it.name == SIDECAR_CONTAINER)?;
    sidecar.env.as_mut()?.retain(|variable| variable.name != env::BUS_KEYS_FILE);
    sidecar.volume_mounts.as_mut()?.retain(|mount| mount.name != BUS_VOLUME);
    (older != *template).then_some(older)
}
