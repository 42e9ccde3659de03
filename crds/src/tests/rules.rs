use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{examples::EXAMPLES, root_schema, walk};
use crate::Hyperpage;

/// Where a rule stands, its message, and a Hyperpage that it accepts beside one that it rejects. The two are
/// merged over the smallest Hyperpage, whose app has an image and nothing else.
pub(super) struct Example {
    pub(super) at: &'static str,
    pub(super) message: &'static str,
    pub(super) accepts: &'static str,
    pub(super) rejects: &'static str,
}

fn merge(target: &mut Value, patch: Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(target.entry(key).or_insert(Value::Null), value);
            }
        }
        (target, patch) => *target = patch,
    }
}

fn hyperpage(yaml: &str) -> Hyperpage {
    let mut whole = json!({
        "apiVersion": "hyperpage.dev/v1alpha1", "kind": "Hyperpage",
        "metadata": {"name": "shop", "namespace": "demo"},
        "spec": {"app": {"image": "registry.example/shop:1"}},
    });
    merge(&mut whole, serde_yaml::from_str(yaml).unwrap());
    serde_json::from_value(whole).unwrap_or_else(|error| panic!("{yaml}: {error}"))
}

fn violations(yaml: &str) -> Vec<String> {
    match hyperpage(yaml).validate_cel() {
        Ok(()) => vec![],
        Err(errors) => errors.iter().map(|error| error.message.clone()).collect(),
    }
}

/// All rules of a schema, by place and message.
fn rules(schema: &Value) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    walk("", schema, &mut |path, schema| {
        for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
            let message = rule["message"].as_str().unwrap_or_default().to_owned();
            assert!(found.insert((path.to_owned(), message)), "two rules with one message at {path}");
        }
    });
    found
}

fn without_example(schema: &Value) -> Vec<(String, String)> {
    let shown = |(path, message): &(String, String)| {
        EXAMPLES.iter().any(|example| example.at == path && example.message == message)
    };
    rules(schema).into_iter().filter(|rule| !shown(rule)).collect()
}

#[test]
fn every_rule_has_an_example_and_every_example_a_rule() {
    let mut schema = root_schema();
    assert_eq!(without_example(&schema), []);
    let rules = rules(&schema);
    for Example { at, message, .. } in EXAMPLES {
        assert!(rules.contains(&((*at).to_owned(), (*message).to_owned())), "{at}: {message}");
    }

    schema["properties"]["spec"]["x-kubernetes-validations"] = json!([{"rule": "true", "message": "new"}]);
    assert_eq!(without_example(&schema), [("spec".to_owned(), "new".to_owned())]);
}

#[test]
fn every_rule_accepts_and_rejects_as_its_example_says() {
    for Example { at, message, accepts, rejects } in EXAMPLES {
        assert_eq!(violations(accepts), Vec::<String>::new(), "{at}: {message}\n{accepts}");
        assert_eq!(violations(rejects), [*message], "{at}\n{rejects}");
    }
}

#[test]
fn the_smallest_hyperpage_is_valid() {
    assert_eq!(violations("{}"), Vec::<String>::new());
}
