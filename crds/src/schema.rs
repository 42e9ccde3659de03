//! The one place where generated schemas become what an API server should hold: every string, list and map
//! bounded, quantities with a shape, no `null`. Kubernetes' own types come without any of it.

use schemars::{Schema, SchemaGenerator, transform::transform_subschemas};
use serde_json::{Map, Value, json};

const QUANTITY: &str = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$";

/// Requests or limits: an integer is a quantity too.
pub(crate) fn quantities(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {"x-kubernetes-int-or-string": true, "pattern": QUANTITY, "maxLength": 32},
    })
}

/// One quantity as Kubernetes' own type reads it.
pub(crate) fn quantity(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({"type": "string", "pattern": QUANTITY, "maxLength": 32})
}

/// A number of pods, or a percentage of them. kube makes an optional one nullable, unless it is told.
pub(crate) fn pods_or_percent(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({
        "x-kubernetes-int-or-string": true, "minimum": 0, "maximum": 1000, "maxLength": 4, "nullable": false,
    })
}

/// Directives of redis.conf; rules look at every one of them.
pub(crate) fn directives(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {"type": "string", "maxLength": 1024},
    })
}

/// A field of one of Kubernetes' own types: its descriptions cut to a sentence, because they are most of the CRD,
/// and its quantities as strings, which is all that the type reads.
pub(crate) fn kubernetes(schema: &mut Schema) {
    let own = schema.get("description").cloned();
    embedded(schema);
    if let Some(own) = own {
        schema.insert("description".into(), own);
    }
}

/// Peers of a NetworkPolicy, which stand in the CRD twice: without descriptions, and addresses as what they are.
pub(crate) fn peers(schema: &mut Schema) {
    let own = schema.get("description").cloned();
    bare(schema);
    if let Some(own) = own {
        schema.insert("description".into(), own);
    }
}

fn bare(schema: &mut Schema) {
    transform_subschemas(&mut bare, schema);
    schema.remove("description");
    let range = json!({"type": "string", "format": "cidr", "maxLength": 64});
    let Some(fields) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    if fields.contains_key("cidr") {
        fields.insert("except".into(), json!({"type": "array", "items": range.clone()}));
        fields.insert("cidr".into(), range);
    }
}

fn embedded(schema: &mut Schema) {
    let properties = schema.get("properties").and_then(Value::as_object);
    // Everybody knows a selector, and the target of a metric stands there five times.
    if properties.is_some_and(|it| it.contains_key("matchLabels") || it.contains_key("averageUtilization")) {
        transform_subschemas(&mut bare, schema);
    }
    transform_subschemas(&mut embedded, schema);
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    if let Some(Value::String(text)) = object.get_mut("description") {
        let end = text.find(". ").or_else(|| text.find(".\n")).map_or(text.len(), |stop| stop + 1);
        text.truncate(end);
    }
    let properties = object.get_mut("properties").and_then(Value::as_object_mut);
    for (name, property) in properties.into_iter().flatten() {
        let Some(property) = property.as_object_mut() else {
            continue;
        };
        // The Pod Security Standards refuse a probe of another host.
        if matches!(name.as_str(), "httpGet" | "tcpSocket") {
            property.get_mut("properties").and_then(Value::as_object_mut).and_then(|it| it.remove("host"));
        }
        // A port, the one integer or string that is no quantity, stays what it is.
        if property.contains_key("x-kubernetes-int-or-string") && name != "port" {
            property.remove("x-kubernetes-int-or-string");
            property.insert("type".into(), json!("string"));
            property.insert("pattern".into(), json!(QUANTITY));
            property.insert("maxLength".into(), json!(32));
        }
    }
}

pub(crate) fn tighten(schema: &mut Schema) {
    transform_subschemas(&mut tighten, schema);
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    forget_null(object);
    bound(object);
}

/// An absent field is absent; a `null` in a manifest is dropped by the API server when the schema has none.
fn forget_null(object: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|t| t != "null");
        if let [one] = types.as_slice() {
            let one = one.clone();
            object.insert("type".into(), one);
        }
    }
    if let Some(Value::Array(values)) = object.get_mut("enum") {
        values.retain(|v| !v.is_null());
    }
    if let Some(Value::Array(any)) = object.get_mut("anyOf") {
        any.retain(|s| s.get("type") != Some(&json!("null")));
        if let [Value::Object(one)] = any.as_slice() {
            let one = one.clone();
            object.remove("anyOf");
            for (key, value) in one {
                object.entry(key).or_insert(value);
            }
        }
    }
}

/// Limits nobody meets by honest work, but which keep the cost of CEL rules finite. A field that is tighter says
/// so itself.
fn bound(object: &mut Map<String, Value>) {
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        for name in ["name", "key"] {
            if let Some(Value::Object(property)) = properties.get_mut(name) {
                property.insert("maxLength".into(), json!(253));
            }
        }
    }
    let int_or_string = object.get("x-kubernetes-int-or-string") == Some(&json!(true));
    let is = |type_: &str| object.get("type") == Some(&json!(type_));
    let limit = if int_or_string {
        Some(("maxLength", 253))
    } else if is("string") && !object.contains_key("enum") && !object.contains_key("format") {
        Some(("maxLength", 32_768))
    } else if is("array") {
        Some(("maxItems", 64))
    } else if is("object") && object.contains_key("additionalProperties") {
        Some(("maxProperties", 64))
    } else {
        None
    };
    if let Some((keyword, limit)) = limit {
        object.entry(keyword).or_insert(json!(limit));
    }
}
