//! Which image runs where the spec names none: the operator's default at the time when its user last changed the
//! pods; and with which of the parts that newer operators add. An upgrade of the operator alone restarts nothing. What
//! was decided stands on the object itself, so that it outlives the operator; the app's pods and Redis' are decided
//! apart.

use crds::contract::{REDIS_CONTAINER, SIDECAR_CONTAINER, annotation};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, StatefulSet},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::build::older;
use crate::{children::Rollout, settled};

/// What a Hyperpage says of one image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// By the spec: nothing is left to decide.
    pub named: bool,
    /// A new value adopts the default once.
    pub upgrade: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    pub sidecar: Ask,
    pub redis: Ask,
}

/// Our container, and where its object remembers what was decided.
struct Part {
    container: &'static str,
    image: &'static str,
    upgraded: &'static str,
}

const SIDECAR: Part = Part {
    container: SIDECAR_CONTAINER,
    image: annotation::SIDECAR_IMAGE,
    upgraded: annotation::UPGRADED_SIDECAR,
};
const REDIS: Part =
    Part { container: REDIS_CONTAINER, image: annotation::REDIS_IMAGE, upgraded: annotation::UPGRADED_REDIS };

/// Takes the Deployment as built, with the image that is named or the default, and decides.
pub fn sidecar(mut built: Deployment, ask: &Ask, live: Option<&Rollout>) -> Deployment {
    if let Some(spec) = &mut built.spec {
        settle(&SIDECAR, ask, live, None, &mut built.metadata, &mut spec.template);
    }
    built
}

/// As [`sidecar`], for Redis; `ran` is by an earlier status. A StatefulSet that is made again, as when its volume has
/// grown, takes over the pod of the last one, and must not restart it.
pub fn redis(mut built: StatefulSet, ask: &Ask, live: Option<&Rollout>, ran: Option<&str>) -> StatefulSet {
    if let Some(spec) = &mut built.spec {
        settle(&REDIS, ask, live, ran, &mut built.metadata, &mut spec.template);
    }
    built
}

/// The image that runs, and the default if it is another.
pub fn sidecar_in_use(default: &str, ask: &Ask, live: Option<&Rollout>) -> [Option<String>; 2] {
    in_use(&SIDECAR, default, ask, live, None)
}

/// As [`sidecar_in_use`]. `ran` stands while there is no StatefulSet.
pub fn redis_in_use(
    default: &str,
    ask: &Ask,
    live: Option<&Rollout>,
    ran: Option<&str>,
) -> [Option<String>; 2] {
    in_use(&REDIS, default, ask, live, ran)
}

fn in_use(
    part: &Part,
    default: &str,
    ask: &Ask,
    live: Option<&Rollout>,
    ran: Option<&str>,
) -> [Option<String>; 2] {
    let image = live.map_or(ran, |live| known(part, live));
    let update = image.filter(|image| !ask.named && *image != default).map(|_| default);
    [image, update].map(|it| it.map(str::to_owned))
}

fn settle(
    part: &Part,
    ask: &Ask,
    live: Option<&Rollout>,
    ran: Option<&str>,
    meta: &mut ObjectMeta,
    template: &mut PodTemplateSpec,
) {
    if let Some(older) = older(part, ask, live, template) {
        *template = older;
    }
    let said = said(part, ask, template);
    let Some(wanted) = image(template, part) else { return };
    *wanted = match (live, ran) {
        (None, Some(ran)) if !ask.named => ran.to_owned(),
        _ => choose(part, wanted, &said, ask, live).to_owned(),
    };
    let notes = meta.annotations.get_or_insert_default();
    notes.insert(part.image.to_owned(), wanted.clone());
    notes.insert(annotation::TEMPLATE.to_owned(), said);
    // Kept when the user removes it: the same value does not count twice.
    let upgraded = ask.upgrade.as_ref().or_else(|| live?.annotations.get(part.upgraded));
    notes.extend(upgraded.map(|value| (part.upgraded.to_owned(), value.clone())));
}

/// A hash of all that the spec says of the pods, this image only if it is named.
fn said(part: &Part, ask: &Ask, template: &PodTemplateSpec) -> String {
    let mut said = template.clone();
    if let Some(unnamed) = image(&mut said, part).filter(|_| !ask.named) {
        unnamed.clear();
    }
    settled::hash(&said)
}

/// As an earlier operator built it, if that runs and its user wants nothing else since.
fn older(
    part: &Part,
    ask: &Ask,
    live: Option<&Rollout>,
    template: &PodTemplateSpec,
) -> Option<PodTemplateSpec> {
    let live = live.filter(|live| !is_asked(part, ask, live))?;
    let runs = live.annotations.get(annotation::TEMPLATE)?;
    older::each(template).into_iter().find(|older| said(part, ask, older) == *runs)
}

/// By a value of the annotation that has not been acted upon.
fn is_asked(part: &Part, ask: &Ask, live: &Rollout) -> bool {
    ask.upgrade.is_some() && ask.upgrade.as_ref() != live.annotations.get(part.upgraded)
}

fn choose<'a>(part: &Part, wanted: &'a str, said: &str, ask: &Ask, live: Option<&'a Rollout>) -> &'a str {
    let Some((live, now)) = live.and_then(|live| Some((live, known(part, live)?))) else { return wanted };
    let asked = is_asked(part, ask, live);
    // Without a note nobody knows of a change, and nothing is restarted on suspicion.
    let changed = live.annotations.get(annotation::TEMPLATE).is_some_and(|before| before != said);
    if ask.named || asked || changed { wanted } else { now }
}

/// As noted; without a note, as it is.
fn known<'a>(part: &Part, live: &'a Rollout) -> Option<&'a str> {
    live.annotations.get(part.image).or(live.image.as_ref()).map(String::as_str)
}

fn image<'a>(template: &'a mut PodTemplateSpec, part: &Part) -> Option<&'a mut String> {
    let pod = template.spec.as_mut()?;
    let mut containers = pod.init_containers.iter_mut().flatten().chain(&mut pod.containers);
    containers.find(|it| it.name == part.container)?.image.as_mut()
}

#[cfg(test)]
mod tests;
