//! One operation, built up part by part.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::refusals::{Surface, refusal_name};

pub(super) const JSON: &str = "application/json";
pub(super) const MERGE_PATCH: &str = "application/merge-patch+json";
pub(super) const JOURNALED: &str = "Redis is away: the change waits in memory until it is back";
pub(super) const JSON_PATCH: &str = "application/json-patch+json";

#[derive(serde::Serialize)]
#[serde(transparent)]
pub(super) struct Operation(Value);

pub(super) fn operation(surface: Surface, summary: &str, id: &str) -> Operation {
    Operation(json!({ "tags": [surface.tag()], "summary": summary, "operationId": id, "responses": {} }))
}

pub(super) fn reference(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

impl Operation {
    pub(super) fn parameters<const N: usize>(mut self, parameters: [Value; N]) -> Operation {
        match self.0["parameters"].as_array_mut() {
            Some(known) => known.extend(parameters),
            None => self.0["parameters"] = parameters.into_iter().collect(),
        }
        self
    }

    pub(super) fn body(mut self, content: &[(&str, &str)]) -> Operation {
        let content: Map<String, Value> = content
            .iter()
            .map(|(media, schema)| ((*media).to_owned(), json!({ "schema": reference("schemas", schema) })))
            .collect();
        self.0["requestBody"] = json!({ "content": content });
        self
    }

    pub(super) fn answer(mut self, status: &str, description: &str, media: &str, schema: &str) -> Operation {
        let content = json!({ media: { "schema": reference("schemas", schema) } });
        self.0["responses"][status] = json!({ "description": description, "content": content });
        self
    }

    /// Another form of an answer.
    pub(super) fn also(mut self, status: &str, media: &str, schema: &str) -> Operation {
        self.0["responses"][status]["content"][media] = json!({ "schema": reference("schemas", schema) });
        self
    }

    pub(super) fn empty(mut self, status: &str, description: &str) -> Operation {
        self.0["responses"][status] = json!({ "description": description });
        self
    }

    pub(super) fn headers<const N: usize>(mut self, status: &str, names: [&str; N]) -> Operation {
        for name in names {
            self.0["responses"][status]["headers"][name] = reference("headers", name);
        }
        self
    }

    pub(super) fn document(self, status: &str, description: &str) -> Operation {
        self.answer(status, description, JSON, "Session").headers(status, ["ETag", "X-Hyperpage-Version"])
    }

    pub(super) fn written(self, status: &str, description: &str) -> Operation {
        self.document(status, description).headers(status, ["X-Hyperpage-Durability"])
    }

    /// May be the answer to an earlier request with the same Idempotency-Key.
    pub(super) fn keyed(self, status: &str) -> Operation {
        self.headers(status, ["Idempotency-Replayed"])
    }

    /// As `status`, and it waits, or fewer replicas than a strong write asks for have confirmed it.
    pub(super) fn unconfirmed(mut self, status: &str) -> Operation {
        let mut response = self.0["responses"][status].clone();
        let text = format!("Too few replicas confirmed a strong write in time (Warning). Or: {JOURNALED}");
        response["description"] = text.into();
        self.0["responses"]["202"] = response;
        self.headers("202", ["Warning"])
    }

    /// Each status as its surface tells it, with the codes that `Error::problem` gives it.
    pub(super) fn refusals(mut self, statuses: &[u16]) -> Operation {
        let surface = Surface::of(&self.0);
        for status in statuses {
            let status = StatusCode::from_u16(*status).expect("a status");
            let name = refusal_name(surface, status);
            self.0["responses"][status.as_str()] = reference("responses", &name);
        }
        self
    }
}
