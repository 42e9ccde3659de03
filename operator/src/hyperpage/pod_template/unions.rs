//! What the API server refuses in words that name the Deployment's fields: two of what may be one. A merge makes
//! such pairs easily.

use k8s_openapi::api::core::v1::{Container, PodTemplateSpec};
use serde::Serialize;

use super::Fault;

const HANDLERS: [&str; 5] = ["exec", "grpc", "httpGet", "sleep", "tcpSocket"];

pub(super) fn check(template: &PodTemplateSpec) -> Result<(), Fault> {
    let Some(spec) = &template.spec else { return Ok(()) };
    let init = spec.init_containers.iter().flatten().map(|it| ("initContainers", it));
    let containers = spec.containers.iter().map(|it| ("containers", it));
    init.chain(containers).try_for_each(|(list, it)| container(&format!("spec.{list}[{}]", it.name), it))
}

fn container(at: &str, container: &Container) -> Result<(), Fault> {
    let Container { startup_probe, liveness_probe, readiness_probe, lifecycle, env, .. } = container;
    let probes = [
        ("startupProbe", startup_probe),
        ("livenessProbe", liveness_probe),
        ("readinessProbe", readiness_probe),
    ];
    for (name, probe) in probes {
        probe.as_ref().map_or(Ok(()), |probe| one_handler(&format!("{at}.{name}"), probe))?;
    }
    if let Some(lifecycle) = lifecycle {
        let hooks = [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)];
        for (name, hook) in hooks {
            hook.as_ref().map_or(Ok(()), |hook| one_handler(&format!("{at}.lifecycle.{name}"), hook))?;
        }
    }
    for (index, variable) in env.iter().flatten().enumerate() {
        let at = format!("{at}.env[{}]", variable.name);
        if env.iter().flatten().take(index).any(|earlier| earlier.name == variable.name) {
            return Err(Fault::new(at, "is there twice; keep one of them"));
        }
        if variable.value.as_ref().is_some_and(|it| !it.is_empty()) && variable.value_from.is_some() {
            return Err(Fault::new(at, "has either value or valueFrom"));
        }
    }
    Ok(())
}

/// For probes and hooks.
pub(super) fn one_handler(at: &str, handler: &impl Serialize) -> Result<(), Fault> {
    let handler = serde_json::to_value(handler).expect("Kubernetes objects are JSON");
    let set: Vec<_> = HANDLERS.into_iter().filter(|name| handler.get(name).is_some()).collect();
    match set.as_slice() {
        [one, other, ..] => Err(Fault::new(
            at,
            format!(
                "has {one} and {other}, of which there may be one; leave one out, or set one that is built in to null"
            ),
        )),
        _ => Ok(()),
    }
}
