//! Who is there.

use super::{JSON, Value, coordination, json};

pub(super) fn paths() -> Value {
    json!({
        "/v1/pods": {
            "get": coordination("List the pods that say that they live", "listPods")
                .answer("200", "Those of the last three seconds", JSON, "Pods")
                .headers("200", ["X-Hyperpage-Stale-Ms"]),
        },
    })
}

pub(super) fn schemas() -> Value {
    let name = json!({ "type": "string" });
    json!({
        "Pods": {
            "type": "object",
            "properties": {
                "self": { "type": "object", "properties": { "pod": name, "process": name }, "required": ["pod", "process"] },
                "count": { "type": "integer" },
                "pods": { "type": "array", "items": {
                    "type": "object",
                    "properties": {
                        "pod": name,
                        "process": { "type": "string", "description": "Drawn at each start; a pod that was restarted may be there twice for three seconds." },
                        "ready": { "type": "boolean" },
                        "ageMs": { "type": "integer", "description": "Since it last said so." },
                    },
                    "required": ["pod", "process", "ready", "ageMs"],
                } },
            },
            "required": ["self", "count", "pods"],
        },
    })
}
