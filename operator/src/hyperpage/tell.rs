//! Events: what a person wants to find in `kubectl describe hp`. A lost one fails nothing.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder};

use super::{Problem, bus, converge::Report, memory::Memory, password::News, scale::Told};
use crate::{children::ChildId, context::Context, metrics::Metrics, settled};
use crds::contract::name;

/// What was done, or found to be in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// The Deployment was made.
    Created,
    Scaled(Told),
    /// The spec no longer asks for it.
    Deleted(ChildId),
    /// A pod of Redis, by name.
    Replaced(String),
    Password(News),
    BusKey(bus::News),
    /// Ours, by name: nothing uses it any more.
    SecretDropped(String),
    Stopped(Problem),
}

/// Whoever records events folds those that differ in their note alone, and repeats the first note: `action` differs
/// with it.
fn event(type_: EventType, reason: &str, action: &str, note: String) -> Event {
    let fits = |mut text: String, bytes: usize| {
        while text.len() > bytes {
            text.pop();
        }
        text
    };
    let action = format!("{action}{}", settled::hash(&note));
    Event { type_, reason: reason.to_owned(), note: Some(fits(note, 1000)), action, secondary: None }
}

fn told(hyperpage: &str, deed: &Deed) -> Event {
    match deed {
        Deed::Created => {
            let note = format!("created Deployment {hyperpage}, its Redis and what belongs to them");
            event(EventType::Normal, "Created", "Create", note)
        }
        Deed::Scaled(told) => scaled(hyperpage, told),
        Deed::Deleted(id) => {
            let note = format!("deleted {id}: the spec no longer asks for it");
            event(EventType::Normal, "Deleted", "Delete", note)
        }
        Deed::Replaced(pod) => {
            let note = format!(
                "deleted pod {pod}: it is of an older revision and was not ready for 30 s, and nobody else replaces it"
            );
            event(EventType::Normal, "RedisPodReplaced", "Replace", note)
        }
        Deed::Password(news) => password(hyperpage, *news),
        Deed::BusKey(news) => bus_key(hyperpage, *news),
        Deed::SecretDropped(secret) => {
            let note = format!("deleted Secret {secret}: the spec no longer asks for it");
            event(EventType::Normal, "Deleted", "Delete", note)
        }
        Deed::Stopped(problem) => self::problem(problem),
    }
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
            event(EventType::Warning, "ScaledBack", "ScaleBack", note)
        }
        Told::Woken { by, to } => {
            let note = format!(
                "{by} scaled Deployment {hyperpage} to 0, where no autoscaler would wake it; it starts {to} pods. \
                 For none, set spec.suspend to true"
            );
            event(EventType::Warning, "ScaledBack", "Wake", note)
        }
        Told::Suspended { from } => {
            let note =
                format!("suspended: Deployment {hyperpage} went from {from} pods to none; Redis stays");
            event(EventType::Normal, "Suspended", "Suspend", note)
        }
        Told::Resumed { to } => {
            let note = format!("resumed: Deployment {hyperpage} starts {to} pods");
            event(EventType::Normal, "Resumed", "Resume", note)
        }
    }
}

pub fn problem(problem: &Problem) -> Event {
    event(EventType::Warning, problem.reason.as_str(), "Apply", problem.message.clone())
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
    event(type_, reason, "KeepPassword", note)
}

fn bus_key(hyperpage: &str, news: bus::News) -> Event {
    let secret = name::bus(hyperpage);
    let (type_, reason, note) = match news {
        bus::News::Adopted => (
            EventType::Normal,
            "BusKeyAdopted",
            format!("Secret {secret} had no living owner: it is used, and goes with this Hyperpage"),
        ),
        bus::News::Replaced => (
            EventType::Warning,
            "BusKeyReplaced",
            format!(
                "Secret {secret} was gone: a new key was made. Pods that have it do not hear those that have the old \
                 one until it has reached them all, in about two minutes"
            ),
        ),
        bus::News::Rotated => {
            (EventType::Normal, "BusKeyRotated", format!("the key in Secret {secret} is another one now"))
        }
    };
    event(type_, reason, "KeepBusKey", note)
}

/// A problem is told once, for as long as it stands.
fn note(report: &Report, memory: &mut Memory) {
    let stands = stands(report).cloned();
    if let Some(problem) = stands.iter().find(|_| stands != memory.problem) {
        memory.did(Deed::Stopped(problem.clone()));
    }
    memory.problem = stands;
}

pub async fn tell(context: &Context, about: &ObjectReference, report: &Report, memory: &mut Memory) {
    note(report, memory);
    publish(&context.recorder, &context.metrics, about, memory).await;
}

/// Until the API server cannot take one: the next reconcile tries again.
async fn publish(recorder: &Recorder, metrics: &Metrics, about: &ObjectReference, memory: &mut Memory) {
    let name = about.name.as_deref().unwrap_or_default();
    while let Some(deed) = memory.untold() {
        let event = told(name, deed);
        metrics.call("create", "Event");
        if let Err(error) = recorder.publish(&event, about).await {
            tracing::warn!(%error, reason = event.reason, "failed to publish an event");
            let refused = matches!(&error, kube::Error::Api(status) if status.code < 500);
            if !refused {
                return;
            }
        }
        memory.told();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::children::Kind;
    use axum::{body::Body, http};
    use crds::Reason;
    use kube::{Client, runtime::events::Reporter};
    use serde_json::json;
    use std::{
        convert::Infallible,
        sync::{Arc, Mutex},
    };

    fn problem(message: &str) -> Problem {
        Problem { reason: Reason::InvalidSpec, message: message.to_owned(), child: None }
    }

    #[test]
    fn a_scaled_deployment_is_explained_with_the_command_that_works() {
        let note = |suspended: bool| {
            let scaled = Told::PutBack { by: "kubectl".to_owned(), replicas: 9, suspended };
            let event = told("shop", &Deed::Scaled(scaled));
            assert_eq!(event.reason, "ScaledBack");
            event.note.unwrap()
        };
        assert!(note(false).contains("kubectl scale hp/shop --replicas=9"));
        assert!(note(true).contains("set spec.suspend to false"));
    }

    #[test]
    fn a_problem_is_told_once() {
        let mut memory = Memory::default();
        let mut news = |message: Option<&str>| {
            note(&Report { problem: message.map(problem), ..Report::default() }, &mut memory);
            let deed = memory.untold().cloned();
            memory.told();
            deed
        };
        let stopped = |message: &str| Some(Deed::Stopped(problem(message)));
        assert_eq!([news(Some("a")), news(Some("a"))], [stopped("a"), None]);
        assert_eq!([news(Some("b")), news(None), news(Some("b"))], [stopped("b"), None, stopped("b")]);
    }

    #[test]
    fn a_long_note_is_cut_to_what_the_api_takes() {
        let event = super::problem(&problem(&"é".repeat(2000)));
        assert!(event.note.unwrap().len() <= 1000);
        assert!(event.action.len() <= 128, "{}", event.action);
    }

    #[test]
    fn events_of_different_words_are_not_folded() {
        let action = |message: &str| super::problem(&problem(message)).action;
        assert_eq!(action("a"), action("a"));
        assert_ne!(action("a"), action("b"));
    }

    /// The answers of an API server to one event after the other; then it takes all.
    fn recorder(mut answers: Vec<u16>) -> (Recorder, Arc<Mutex<u32>>) {
        let asked = Arc::new(Mutex::new(0));
        let count = asked.clone();
        answers.reverse();
        let answers = Arc::new(Mutex::new(answers));
        let service = tower::service_fn(move |_: http::Request<kube::client::Body>| {
            *count.lock().unwrap() += 1;
            let code = answers.lock().unwrap().pop().unwrap_or(201);
            let body = match code {
                201 => json!({"metadata": {}, "eventTime": null}),
                _ => {
                    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "no", "reason": "no"})
                }
            };
            let answer = http::Response::builder().status(code).body(Body::from(body.to_string()));
            async { Ok::<_, Infallible>(answer.expect("a response")) }
        });
        let reporter = Reporter { controller: "test".to_owned(), instance: None };
        (Recorder::new(Client::new(service, "default"), reporter), asked)
    }

    #[tokio::test]
    async fn what_was_done_is_told_once_the_api_server_takes_it() {
        let (recorder, asked) = recorder(vec![201, 500, 422]);
        let (metrics, about) = (Metrics::default(), ObjectReference::default());
        let mut memory = Memory::default();
        let deleted =
            |name: &str| Deed::Deleted(ChildId { kind: Kind::NetworkPolicy, name: name.to_owned() });
        memory.did(Deed::Created);
        memory.did(deleted("shop-hp-app"));
        memory.did(deleted("shop-hp-redis"));
        publish(&recorder, &metrics, &about, &mut memory).await;
        assert_eq!(memory.untold(), Some(&deleted("shop-hp-app")), "the server was out of order");
        publish(&recorder, &metrics, &about, &mut memory).await;
        assert_eq!((memory.untold(), *asked.lock().unwrap()), (None, 4), "a refusal stays one");
    }
}
