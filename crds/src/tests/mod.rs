//! The generated CRD: fresh on disk, bounded everywhere, and every rule shown at work.

mod examples;
mod rules;
mod schema;
mod yaml;

use kube::CustomResourceExt;
use serde_json::Value;

use crate::Hyperpage;

fn crd() -> Value {
    let mut crd = serde_json::to_value(Hyperpage::crd()).unwrap();
    integers(&mut crd);
    crd
}

/// Limits are `f64` in the API's types, and all of ours are whole.
fn integers(value: &mut Value) {
    match value {
        Value::Number(number) => *number = (number.as_f64().unwrap() as i64).into(),
        Value::Array(items) => items.iter_mut().for_each(integers),
        Value::Object(fields) => fields.values_mut().for_each(integers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// The schema of a whole Hyperpage.
fn root_schema() -> Value {
    crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// Calls `visit` with the path of every schema below `schema`, itself first; `[]` stands for the items of a list
/// and `{}` for the values of a map.
fn walk(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        walk(path.trim_start_matches('.'), property, visit);
    }
    if schema["items"].is_object() {
        walk(&format!("{path}[]"), &schema["items"], visit);
    }
    if schema["additionalProperties"].is_object() {
        walk(&format!("{path}{{}}"), &schema["additionalProperties"], visit);
    }
}
