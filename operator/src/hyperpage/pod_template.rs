//! A user's podTemplate over the pod template that `build` wrote: how the two become one, and what stays as it
//! was built. The rules are told in the CRD, where the field is.

mod floor;
mod strict;
mod unions;

use crds::{App, PodTemplate};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::{Map, Value, json};

use super::invalid::{Invalid, invalid};

/// What is wrong with a template, and where in it.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    at: String,
    rule: String,
}

impl Fault {
    fn new(at: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { at: at.into(), rule: rule.into() }
    }

    fn within(self, field: &str) -> Invalid {
        invalid(format!("{field}.{}: {}", self.at, self.rule))
    }
}

/// `field` is the patch's own path in a Hyperpage. `kept` names what else stays as built, for example
/// `spec.containers[app].env[REDIS_URL]`: items of lists by their key.
pub fn merge(
    built: PodTemplateSpec,
    patch: Option<&PodTemplate>,
    field: &str,
    kept: &[String],
) -> Result<PodTemplateSpec, Invalid> {
    match patch {
        None => Ok(built),
        Some(PodTemplate(patch)) => images(&built, patch, field)
            .and_then(|()| merged(&built, patch, kept))
            .map_err(|fault| fault.within(field)),
    }
}

/// The probes that have fields of their own keep the rules of those in a template.
pub fn check_probes(app: &App) -> Result<(), Invalid> {
    let probes = [
        ("spec.app.startupProbe", &app.startup_probe),
        ("spec.app.livenessProbe", &app.liveness_probe),
        ("spec.app.readinessProbe", &app.readiness_probe),
    ];
    for (field, probe) in probes {
        let Some(probe) = probe else { continue };
        let checked = unions::one_handler(field, probe).and_then(|()| floor::probe(field, Some(probe)));
        checked.map_err(|Fault { at, rule }| invalid(format!("{at}: {rule}")))?;
    }
    Ok(())
}

fn merged(built: &PodTemplateSpec, patch: &Value, kept: &[String]) -> Result<PodTemplateSpec, Fault> {
    let patch = strict::check(patch)?;
    let before = serde_json::to_value(built).expect("Kubernetes objects are JSON");
    let mut after = before.clone();
    lay_over(&mut after, &patch, "", "")?;
    unchanged(&before, &after, kept)?;
    let template = strict::decode(after)?;
    unions::check(&template)?;
    floor::check(&template)?;
    Ok(template)
}

/// The image of a container that was built has a field of its own. Even the same image is refused: it would be another
/// one with the operator's next default.
fn images(built: &PodTemplateSpec, patch: &Value, field: &str) -> Result<(), Fault> {
    let ours = built.spec.iter().flat_map(|pod| &pod.containers).map(|container| &container.name);
    let items = || patch["spec"]["containers"].as_array().into_iter().flatten();
    for name in ours {
        if items().any(|item| item["name"] == **name && item.get("image").is_some()) {
            let own = field.trim_end_matches("podTemplate");
            let at = format!("spec.containers[{name}].image");
            return Err(Fault::new(at, format!("is set by the operator; use {own}image instead")));
        }
    }
    Ok(())
}

/// How the items of a list meet those of the list below; a list of another place is replaced as a whole.
enum Items {
    Merged { key: &'static str },
    Replaced { key: &'static str },
}

fn items(place: &str) -> Option<Items> {
    match place.trim_start_matches('.') {
        "spec.containers" | "spec.initContainers" => Some(Items::Merged { key: "name" }),
        "spec.volumes"
        | "spec.containers.env"
        | "spec.containers.ports"
        | "spec.initContainers.env"
        | "spec.initContainers.ports" => Some(Items::Replaced { key: "name" }),
        "spec.containers.volumeMounts" | "spec.initContainers.volumeMounts" => {
            Some(Items::Replaced { key: "mountPath" })
        }
        _ => None,
    }
}

/// RFC 7396, but for lists whose items have a key. `place` has no indices; `at` has them.
fn lay_over(target: &mut Value, patch: &Value, place: &str, at: &str) -> Result<(), Fault> {
    match (patch, items(place)) {
        (Value::Object(fields), _) => {
            if !target.is_object() {
                *target = json!({});
            }
            for (name, value) in fields {
                lay_field(target, name, value, [place, at])?;
            }
        }
        (Value::Array(patches), Some(items)) => lay_items(target, patches, &items, [place, at])?,
        (other, _) => *target = other.clone(),
    }
    Ok(())
}

fn lay_field(target: &mut Value, name: &str, value: &Value, [place, at]: [&str; 2]) -> Result<(), Fault> {
    let Some(target) = target.as_object_mut() else { return Ok(()) };
    if value.is_null() {
        target.remove(name);
        return Ok(());
    }
    let below = |path: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    lay_over(target.entry(name).or_insert(Value::Null), value, &below(place), &below(at))
}

fn lay_items(
    target: &mut Value,
    patches: &[Value],
    items: &Items,
    [place, at]: [&str; 2],
) -> Result<(), Fault> {
    let key = match items {
        Items::Merged { key } | Items::Replaced { key } => *key,
    };
    if !target.is_array() {
        *target = json!([]);
    }
    let Some(list) = target.as_array_mut() else { return Ok(()) };
    for (index, patch) in patches.iter().enumerate() {
        let at = format!("{at}[{index}]");
        let Some(name) = patch[key].as_str() else {
            return Err(Fault::new(at, format!("has no {key}, by which the items of this list are known")));
        };
        if patches[..index].iter().any(|earlier| earlier[key] == name) {
            return Err(Fault::new(at, format!("{name} is there twice; keep one of them")));
        }
        match (list.iter_mut().find(|item| item[key] == name), items) {
            (Some(item), Items::Merged { .. }) => lay_over(item, patch, place, &at)?,
            (Some(item), Items::Replaced { .. }) => *item = patch.clone(),
            (None, Items::Merged { .. }) => {
                let mut container = floor::new_container();
                lay_over(&mut container, patch, place, &at)?;
                list.push(container);
            }
            (None, Items::Replaced { .. }) => list.push(patch.clone()),
        }
    }
    Ok(())
}

/// What `build` wrote and no podTemplate may change.
fn unchanged(before: &Value, after: &Value, kept: &[String]) -> Result<(), Fault> {
    for map in ["labels", "annotations"] {
        let (built, merged) = (&before["metadata"][map], &after["metadata"][map]);
        for (name, value) in built.as_object().into_iter().flatten() {
            if merged[name] != *value {
                return Err(set_by_us(&format!("metadata.{map}.{name}")));
            }
        }
    }
    let always = ["spec.automountServiceAccountToken", "spec.enableServiceLinks"].map(str::to_owned);
    let volumes = names(before, "volumes").map(|name| format!("spec.volumes[{name}]"));
    let sidecars = names(before, "initContainers").map(|name| format!("spec.initContainers[{name}]"));
    for path in always.iter().cloned().chain(volumes).chain(sidecars).chain(kept.iter().cloned()) {
        if find(before, &path) != find(after, &path) {
            return Err(set_by_us(&path));
        }
    }
    let ours = names(before, "initContainers");
    if !ours.eq(names(after, "initContainers").take(names(before, "initContainers").count())) {
        return Err(Fault::new(
            "spec.initContainers",
            "the sidecar starts first, so that all others can use it",
        ));
    }
    Ok(())
}

fn set_by_us(path: &str) -> Fault {
    Fault::new(path, "is set by the operator; leave it out")
}

fn names<'a>(template: &'a Value, list: &str) -> impl Iterator<Item = &'a str> {
    let items = template["spec"][list].as_array().into_iter().flatten();
    items.filter_map(|item| item["name"].as_str())
}

/// `spec.containers[app].image`: items of lists by their key.
fn find<'a>(template: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(template, |value, step| match step.trim_end_matches(']').split_once('[') {
        None => value.get(step),
        Some((list, key)) => {
            let mut items = value.get(list)?.as_array()?.iter();
            items.find(|item| item["name"] == key || item["mountPath"] == key)
        }
    })
}

/// The fields of an object, or none.
fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

#[cfg(test)]
mod tests;
