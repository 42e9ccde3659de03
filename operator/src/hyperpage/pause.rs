//! A Hyperpage that its user wants left alone for a while: nothing is written but its status, which goes on telling
//! the truth about the pods.

use std::time::Instant;

use crds::{
    Hyperpage,
    contract::{annotation, label},
};
use jiff::Timestamp;
use kube::{Resource, ResourceExt};

use super::{
    End, Error, Others, Problem, Stored, fetch,
    memory::Memory,
    report,
    status::{self, Sight},
    validate,
};
use crate::context::Context;

pub fn is_asked(stored: &Stored) -> bool {
    stored.annotations().get(annotation::RECONCILE).is_some_and(|value| value == annotation::DISABLED)
}

pub async fn report(hyperpage: &Hyperpage, context: &Context, memory: &mut Memory) -> Result<End, Error> {
    let (namespace, name) = (hyperpage.namespace().unwrap_or_default(), hyperpage.name_any());
    let watched = context.children.family(&namespace, &hyperpage.uid().unwrap_or_default());
    let family = memory.correct(watched, Instant::now());
    let valid = validate::validate(hyperpage, &context.defaults);
    // All that can be said without asking anybody.
    let others = Others { claim: None, foreign: None, redis_image: None };
    let problem = match &valid {
        Ok(valid) => super::plan(valid, "", others, &family).err(),
        Err(invalid) => Some(invalid.clone()),
    };
    let problem = problem.map(Problem::from);
    let trouble = |component| context.pods.trouble(&namespace, &name, component);
    let (app, redis) = (trouble(label::COMPONENT_APP), trouble(label::COMPONENT_REDIS));
    let before = memory.last_status().or(hyperpage.status.as_ref()).cloned();
    let sight = Sight {
        valid: valid.as_ref().ok(),
        app: app.as_ref(),
        redis: redis.as_ref(),
        problem: problem.as_ref(),
        paused: true,
        sidecar_started: fetch::sidecar_started(hyperpage, before.as_ref(), context),
        ..Sight::of(&name, hyperpage.metadata.generation, &family)
    };
    let status = status::status(&sight, before.as_ref(), Timestamp::now());
    let later = report::write(hyperpage.meta(), status, hyperpage.status.as_ref(), context, memory).await?;
    Ok(End { problem: None, later, again: false })
}
