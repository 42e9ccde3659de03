use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    examples::{EXAMPLES, TRANSITIONS},
    root_schema, walk,
};
use crate::Hyperpage;

/// Where a rule stands, its message, and a Hyperpage that it accepts beside one that it rejects. The two are
/// merged over the smallest Hyperpage, whose app has an image and nothing else.
pub(super) struct Example {
    pub(super) at: &'static str,
    pub(super) message: &'static str,
    pub(super) accepts: &'static str,
    pub(super) rejects: &'static str,
}

/// A rule that looks back: `before` was stored, and the other two would replace it.
pub(super) struct Transition {
    pub(super) at: &'static str,
    pub(super) message: &'static str,
    pub(super) before: &'static str,
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

fn update_violations(before: &str, after: &str) -> Vec<String> {
    match hyperpage(after).validate_cel_update(&hyperpage(before)) {
        Ok(()) => vec![],
        Err(errors) => errors.iter().map(|error| error.message.clone()).collect(),
    }
}

/// What examples exist for, by place and message.
fn shown() -> BTreeSet<(&'static str, &'static str)> {
    let examples = EXAMPLES.iter().map(|example| (example.at, example.message));
    let transitions = TRANSITIONS.iter().map(|transition| (transition.at, transition.message));
    examples.chain(transitions).collect()
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
    let shown = shown();
    let bare = |(at, message): &(String, String)| !shown.contains(&(at.as_str(), message.as_str()));
    rules(schema).into_iter().filter(bare).collect()
}

#[test]
fn every_rule_has_an_example_and_every_example_a_rule() {
    let mut schema = root_schema();
    assert_eq!(without_example(&schema), []);
    let rules = rules(&schema);
    for (at, message) in shown() {
        assert!(rules.contains(&(at.to_owned(), message.to_owned())), "{at}: {message}");
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
fn every_rule_that_looks_back_accepts_and_rejects_as_its_example_says() {
    for Transition { at, message, before, accepts, rejects } in TRANSITIONS {
        assert_eq!(violations(rejects), Vec::<String>::new(), "{at}: {message}: wrong without {before} too");
        assert_eq!(update_violations(before, accepts), Vec::<String>::new(), "{at}: {before} -> {accepts}");
        assert_eq!(update_violations(before, rejects), [*message], "{at}: {before} -> {rejects}");
    }
}

#[test]
fn the_smallest_hyperpage_is_valid() {
    assert_eq!(violations("{}"), Vec::<String>::new());
}

#[test]
fn a_directive_that_opens_redis_is_reserved() {
    for directive in [
        "aclfile",
        "bind",
        "dir",
        "enable-debug-command",
        "enable-module-command",
        "enable-protected-configs",
        "include",
        "loadmodule",
        "masterauth",
        "port",
        "protected-mode",
        "rename-command",
        "requirepass",
        "tls-port",
        "user",
    ] {
        let found = violations(&format!("spec: {{redis: {{config: {{{directive}: 'yes'}}}}}}"));
        assert!(
            matches!(&found[..], [only] if only.contains("may not set a directive")),
            "{directive}: {found:?}"
        );
    }
}
