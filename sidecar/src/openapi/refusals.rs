//! What a request can be refused with, derived from the errors that the product has.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::operation::{JSON, reference};
use crate::error::Problem;
use crate::session::{Error, api};
use crate::{coordination, router};

const PROBLEM: &str = "application/problem+json";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Surface {
    Original,
    V1,
    Coordination,
}

impl Surface {
    pub(super) const ALL: [Surface; 3] = [Surface::Original, Surface::V1, Surface::Coordination];

    pub(super) fn tag(self) -> &'static str {
        match self {
            Surface::Original => "original",
            Surface::V1 => "v1",
            Surface::Coordination => "coordination",
        }
    }

    pub(super) fn of(operation: &Value) -> Surface {
        let tag = operation["tags"][0].as_str();
        Surface::ALL.into_iter().find(|surface| tag == Some(surface.tag())).expect("a tag of ours")
    }
}

/// What only the other surface can say.
const ELSEWHERE: [(Surface, &str); 6] = [
    (Surface::Original, "COOKIES_DISABLED"),
    (Surface::Original, "IDEMPOTENCY_KEY_REUSED"),
    (Surface::Original, "PRECONDITION_FAILED"),
    (Surface::Original, "UNSUPPORTED_MEDIA_TYPE"),
    (Surface::Original, "VERSION_NOT_REACHED"),
    (Surface::V1, "CLIENT_ID_REFUSED"),
];

/// `BadRequest`; `ApiBadRequest` on the original's surface.
pub(super) fn refusal_name(surface: Surface, status: StatusCode) -> String {
    let reason = status.canonical_reason().expect("a status with a name").replace(' ', "");
    match surface {
        Surface::Original => format!("Api{reason}"),
        Surface::V1 => reason,
        Surface::Coordination => format!("Coordination{reason}"),
    }
}

/// Every refusal of a surface: the codes by status.
pub(super) fn codes(surface: Surface) -> BTreeMap<StatusCode, BTreeSet<&'static str>> {
    let mut codes = BTreeMap::<_, BTreeSet<_>>::new();
    for Problem { status, code, .. } in problems(surface) {
        if !ELSEWHERE.contains(&(surface, code)) {
            codes.entry(status).or_default().insert(code);
        }
    }
    codes
}

fn problems(surface: Surface) -> Vec<Problem> {
    let told = |error: Error| api::FAILURES.iter().map(move |failure| api::told(error.clone(), *failure));
    let mut problems: Vec<Problem> = match surface {
        Surface::Original => errors().flat_map(told).collect(),
        Surface::V1 => errors().map(Error::problem).collect(),
        // What is refused before anybody looks whom it is for.
        Surface::Coordination => coordination::every_error()
            .map(coordination::Error::problem)
            .chain([Error::Overloaded.problem()])
            .collect(),
    };
    problems.extend([Method::GET, Method::POST].iter().map(router::late));
    problems.push(router::panicked());
    problems
}

/// One of each kind.
fn errors() -> impl Iterator<Item = Error> {
    std::iter::successors(Some(Error::MissingId), after)
}

/// A new kind of error does not compile until it has its place in this chain, and thus in the document.
fn after(error: &Error) -> Option<Error> {
    let (text, reason) = (String::new, String::new());
    Some(match error {
        Error::MissingId => Error::InvalidId,
        Error::InvalidId => Error::NotFound,
        Error::NotFound => Error::InvalidJson(text()),
        Error::InvalidJson(_) => Error::InvalidRequest("".into()),
        Error::InvalidRequest(_) => Error::SlowBody,
        Error::SlowBody => Error::TooLarge,
        Error::TooLarge => Error::UnfitPatch(text()),
        Error::UnfitPatch(_) => Error::PreconditionFailed { current: None },
        Error::PreconditionFailed { .. } => Error::KeyReused,
        Error::KeyReused => Error::UnsupportedMediaType(""),
        Error::UnsupportedMediaType(_) => Error::ClientIdRefused,
        Error::ClientIdRefused => Error::AddressMismatch,
        Error::AddressMismatch => Error::CookiesDisabled,
        Error::CookiesDisabled => Error::TooManySessions { retry_after_s: 1 },
        Error::TooManySessions { .. } => Error::Unreadable { reason },
        Error::Unreadable { .. } => Error::Unproven { reason: "" },
        Error::Unproven { .. } => Error::Unavailable { reason },
        Error::Unavailable { .. } => Error::VersionNotReached,
        Error::VersionNotReached => Error::OutcomeUnknown { reason },
        Error::OutcomeUnknown { .. } => Error::Overloaded,
        Error::Overloaded => Error::Internal { reason },
        Error::Internal { .. } => return None,
    })
}

/// The refusals that `paths` refer to.
pub(super) fn responses(paths: &Value) -> Value {
    let used = paths.to_string();
    let mut responses = Map::new();
    for surface in Surface::ALL {
        for (status, codes) in codes(surface) {
            let name = refusal_name(surface, status);
            if used.contains(&format!("/{name}\"")) {
                responses.insert(name, response(surface, status, &codes));
            }
        }
    }
    Value::Object(responses)
}

fn response(surface: Surface, status: StatusCode, codes: &BTreeSet<&str>) -> Value {
    let (media, schema) = match surface {
        Surface::Original => {
            let error = json!({ "properties": { "code": { "enum": codes } } });
            (JSON, json!([reference("schemas", "Envelope"), { "properties": { "error": error } }]))
        }
        Surface::V1 | Surface::Coordination => {
            let members = json!({ "status": { "const": status.as_u16() }, "code": { "enum": codes } });
            (PROBLEM, json!([reference("schemas", "Problem"), { "properties": members }]))
        }
    };
    let mut response = json!({
        "description": meaning(surface, status),
        "content": { media: { "schema": { "allOf": schema } } },
    });
    if status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS {
        response["headers"] = json!({ "Retry-After": reference("headers", "Retry-After") });
    }
    response
}

fn meaning(surface: Surface, status: StatusCode) -> &'static str {
    match status.as_u16() {
        404 if surface == Surface::Coordination => {
            "Pods are not coordinated here, or there is no such stream"
        }
        409 if surface == Surface::Coordination => "This pod does not lead",
        412 if surface == Surface::Coordination => "Another leads by now",
        413 if surface == Surface::Coordination => "The message would be too large",
        429 if surface == Surface::Coordination => "Too many of its priority; try again after Retry-After",
        400 => "The request is wrong",
        401 | 404 => "There is no such session",
        403 => "Not allowed here",
        408 => "The body did not arrive within a second",
        409 => "The JSON Patch does not fit the session",
        412 => "The session is another, or gone",
        413 => "The session would be too large",
        415 => "The content type means nothing here",
        422 => "The Idempotency-Key came with another request before",
        429 => "Too many from one address; try again after Retry-After",
        500 => "Something that should not happen",
        502 => "The stored bytes are no session",
        503 => "Not now; try again after Retry-After",
        _ => unreachable!("{status} is described nowhere"),
    }
}
