//! What operators before this one built of the same spec. Pods that run it are left alone until their user changes them,
//! as they are for a newer image: an upgrade of the operator restarts nothing.

use crds::contract::{SIDECAR_CONTAINER, env};
use k8s_openapi::api::core::v1::{Affinity, PodAntiAffinity, PodSpec, PodTemplateSpec};

use super::{app::ZONE, sidecar::BUS_VOLUME};

/// Each a step before the one above. `None`: nothing of it is there.
const STEPS: [fn(&mut PodSpec) -> Option<()>; 2] = [zones_by_a_constraint, without_bus];

/// Newest first.
pub fn each(template: &PodTemplateSpec) -> Vec<PodTemplateSpec> {
    let mut all = vec![template.clone()];
    for step in STEPS {
        let mut older = all[all.len() - 1].clone();
        if older.spec.as_mut().and_then(step).is_some() {
            all.push(older);
        }
    }
    all.split_off(1)
}

/// Which kept pods from being spread over nodes that name no zone.
fn zones_by_a_constraint(pod: &mut PodSpec) -> Option<()> {
    let apart = pod.affinity.as_mut()?.pod_anti_affinity.as_mut()?;
    let ours = apart.preferred_during_scheduling_ignored_during_execution.as_mut()?;
    let position = ours.iter().position(|it| it.pod_affinity_term.topology_key == ZONE)?;
    ours.remove(position);
    if ours.is_empty() {
        apart.preferred_during_scheduling_ignored_during_execution = None;
    }
    if *apart == PodAntiAffinity::default() {
        pod.affinity.as_mut()?.pod_anti_affinity = None;
    }
    pod.affinity.take_if(|it| *it == Affinity::default());
    let constraints = pod.topology_spread_constraints.as_mut()?;
    let mut zone = constraints.first()?.clone();
    zone.topology_key = ZONE.to_owned();
    constraints.insert(0, zone);
    Some(())
}

/// Before pods talked.
fn without_bus(pod: &mut PodSpec) -> Option<()> {
    pod.volumes.as_mut()?.retain(|volume| volume.name != BUS_VOLUME);
    let sidecar = pod.init_containers.iter_mut().flatten().find(|it| it.name == SIDECAR_CONTAINER)?;
    let variables = sidecar.env.as_mut()?;
    let before = variables.len();
    variables.retain(|variable| variable.name != env::BUS_KEYS_FILE);
    let had = variables.len() < before;
    sidecar.volume_mounts.as_mut()?.retain(|mount| mount.name != BUS_VOLUME);
    had.then_some(())
}
