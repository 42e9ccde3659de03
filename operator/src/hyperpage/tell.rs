//! Events: what a person wants to find in `kubectl describe hp`. A lost one fails nothing.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType};

use super::{Problem, converge::Report, heal::Cure, memory::Memory, password::News, scale::Told};
use crate::context::Context;
use crds::contract::name;

/// What varies stands in `reason` and `action`: the API folds events that differ in their note alone.
fn event(type_: EventType, reason: &str, action: String, note: String) -> Event {
    let fits = |mut text: String, bytes: usize| {
        while text.len() > bytes {
            text.pop();
        }
        text
    };
    Event {
        type_,
        reason: reason.to_owned(),
        note: Some(fits(note, 1000)),
        action: fits(action, 120),
        secondary: None,
    }
}

pub fn events(hyperpage: &str, report: &Report, told: Option<&Problem>) -> Vec<Event> {
    let mut events = Vec::new();
    if report.created {
        let note = format!("created Deployment {hyperpage}, its Redis and what belongs to them");
        events.push(event(EventType::Normal, "Created", "Create".to_owned(), note));
    }
    events.extend(report.scaled.as_ref().map(|told| scaled(hyperpage, told)));
    for id in &report.pruned {
        let note = format!("deleted {id}: the spec no longer asks for it");
        events.push(event(EventType::Normal, "Deleted", format!("Delete{}", id.kind.as_str()), note));
    }
    if let Cure::Replace(pod) = &report.cure {
        let note = format!(
            "deleted pod {}: it is of an older revision and was not ready for 30 s, and nobody else replaces it",
            pod.name
        );
        events.push(event(EventType::Normal, "RedisPodReplaced", format!("Delete{}", pod.revision), note));
    }
    events.extend(stands(report).into_iter().filter(|problem| Some(*problem) != told).map(problem));
    events
}

fn scaled(hyperpage: &str, told: &Told) -> Event {
    match told {
        Told::PutBack { by, replicas, suspended } => {
            let instead = match suspended {
                true => "it is suspended: set spec.suspend to false".to_owned(),
                false => format!("use: kubectl scale hp/{hyperpage} --replicas={replicas}"),
            };
            let note =
                format!("{by} scaled Deployment {hyperpage} to {replicas}, which was put back; {instead}");
            event(EventType::Warning, "ScaledBack", format!("ScaleBackFrom{replicas}By{by}"), note)
        }
        Told::Woken { by, to } => {
            let note = format!(
                "{by} scaled Deployment {hyperpage} to 0, where no autoscaler would wake it; it starts {to} pods. \
                 For none, set spec.suspend to true"
            );
            event(EventType::Warning, "ScaledBack", format!("WakeTo{to}By{by}"), note)
        }
        Told::Suspended { from } => {
            let note =
                format!("suspended: Deployment {hyperpage} went from {from} pods to none; Redis stays");
            event(EventType::Normal, "Suspended", format!("SuspendFrom{from}"), note)
        }
        Told::Resumed { to } => {
            let note = format!("resumed: Deployment {hyperpage} starts {to} pods");
            event(EventType::Normal, "Resumed", format!("ResumeTo{to}"), note)
        }
    }
}

pub fn problem(problem: &Problem) -> Event {
    let action = format!("Apply{}", problem.child.as_ref().map_or("", |child| child.kind.as_str()));
    event(EventType::Warning, problem.reason.as_str(), action, problem.message.clone())
}

fn stands(report: &Report) -> Option<&Problem> {
    report.problem.as_ref().or(report.missing.as_ref())
}

fn password(hyperpage: &str, news: News) -> Event {
    let secret = name::redis(hyperpage);
    let (type_, reason, note) = match news {
        News::Adopted => (
            EventType::Normal,
            "PasswordAdopted",
            format!("Secret {secret} had no living owner: it is used, and goes with this Hyperpage"),
        ),
        News::Dropped => {
            (EventType::Normal, "Deleted", format!("deleted Secret {secret}: the spec no longer asks for it"))
        }
        News::Replaced => (
            EventType::Warning,
            "PasswordReplaced",
            format!(
                "Secret {secret} was gone: a new password was made, and Redis and the app restart with it"
            ),
        ),
        News::Lost => (
            EventType::Warning,
            "PasswordReplaced",
            format!(
                "Secret {secret} was deleted before it could be adopted, and a new password was made. Kubernetes \
                 deletes a restored Secret whose owner is gone: restore it without ownerReferences"
            ),
        ),
    };
    event(type_, reason, format!("{news:?}"), note)
}

pub async fn tell(context: &Context, about: &ObjectReference, report: &Report, memory: &mut Memory) {
    let name = about.name.as_deref().unwrap_or_default();
    let events = events(name, report, memory.told.as_ref());
    memory.told = stands(report).cloned();
    let password = memory.password.take().map(|news| password(name, news));
    for event in password.into_iter().chain(events) {
        context.metrics.call("create", "Event");
        if let Err(error) = context.recorder.publish(&event, about).await {
            tracing::warn!(%error, reason = event.reason, "failed to publish an event");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crds::Reason;

    fn reasons(events: &[Event]) -> Vec<&str> {
        events.iter().map(|event| event.reason.as_str()).collect()
    }

    #[test]
    fn a_scaled_deployment_is_explained_with_the_command_that_works() {
        let note = |suspended: bool| {
            let scaled = Some(Told::PutBack { by: "kubectl".to_owned(), replicas: 9, suspended });
            let events = events("shop", &Report { scaled, ..Report::default() }, None);
            assert_eq!(reasons(&events), ["ScaledBack"]);
            events[0].note.clone().unwrap()
        };
        assert!(note(false).contains("kubectl scale hp/shop --replicas=9"));
        assert!(note(true).contains("set spec.suspend to false"));
    }

    #[test]
    fn a_problem_is_told_once() {
        let problem = Problem { reason: Reason::NameTaken, message: "m".to_owned(), child: None };
        let report = Report { problem: Some(problem.clone()), ..Report::default() };
        assert_eq!(reasons(&events("shop", &report, None)), ["NameTaken"]);
        assert_eq!(reasons(&events("shop", &report, Some(&problem))), [""; 0]);
    }

    #[test]
    fn a_long_note_is_cut_to_what_the_api_takes() {
        let problem = Problem { reason: Reason::InvalidSpec, message: "é".repeat(2000), child: None };
        assert!(super::problem(&problem).note.unwrap().len() <= 1000);
    }
}
