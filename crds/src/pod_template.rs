//! An open piece of a pod template. Typed it would be half a megabyte of schema, so it declares only what rules
//! look at; the operator decodes the rest strictly.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A patch of a pod template, as somebody wrote it.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(transparent)]
pub struct PodTemplate(pub Value);

impl JsonSchema for PodTemplate {
    fn schema_name() -> Cow<'static, str> {
        "PodTemplate".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "properties": {
                "metadata": {
                    "description": "Metadata of the pods.",
                    "type": "object",
                    "properties": {
                        "labels": strings("Labels, beside the operator's own.", 63),
                        "annotations": strings("Annotations, beside the operator's own.", 65_536),
                    },
                },
                "spec": {
                    "description": "A PodSpec, or the part of it that is to change; see `kubectl explain pod.spec`.",
                    "type": "object",
                    "x-kubernetes-preserve-unknown-fields": true,
                    "maxProperties": 64,
                    "properties": {
                        "hostNetwork": {"description": "Refused.", "type": "boolean"},
                        "restartPolicy": {"description": "Refused.", "type": "string"},
                        "containers": containers("Merged by name; a new one starts with the app's security context."),
                        "initContainers": containers("As containers; they run after the sidecar has started."),
                    },
                },
            },
            "x-kubernetes-validations": [
                {
                    "rule": "!has(self.spec) || !has(self.spec.hostNetwork)",
                    "message": "podTemplate may not set hostNetwork: pods obey the Pod Security Standard restricted",
                },
                {
                    "rule": "!has(self.spec) || !has(self.spec.restartPolicy)",
                    "message": "podTemplate may not set restartPolicy: these pods always restart",
                },
                {
                    "rule": "!has(self.metadata) || !has(self.metadata.labels) || self.metadata.labels.all(k, \
                             !k.startsWith('app.kubernetes.io/') && !k.startsWith('hyperpage.dev/'))",
                    "message": "podTemplate may not set labels under app.kubernetes.io/ or hyperpage.dev/: the operator sets them",
                },
                {
                    "rule": "!has(self.metadata) || !has(self.metadata.annotations) || \
                             self.metadata.annotations.all(k, !k.startsWith('hyperpage.dev/'))",
                    "message": "podTemplate may not set annotations under hyperpage.dev/: the operator sets them",
                },
            ],
        })
    }
}

fn strings(description: &str, longest: u32) -> Value {
    json!({
        "description": description,
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {"type": "string", "maxLength": longest},
    })
}

fn containers(description: &str) -> Value {
    json!({
        "description": description,
        "type": "array",
        "maxItems": 32,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": {
            "type": "object",
            "required": ["name"],
            "x-kubernetes-preserve-unknown-fields": true,
            "properties": {"name": {"type": "string", "maxLength": 63}},
        },
    })
}
