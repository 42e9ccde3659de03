//! The rules of the CRD, once more: a stored object may be older than they are.

use std::sync::LazyLock;

use crds::Hyperpage;
use kube::{
    CustomResourceExt,
    core::cel::{CompiledSchema, compile_schema, validate_compiled},
};
use serde_json::Value;

use super::schema::{self, Patterns};

struct Rules {
    schema: Value,
    patterns: Patterns,
    cel: CompiledSchema,
}

/// Compiled once: `Hyperpage::validate_cel` generates and compiles the schema at each call, which takes longer than
/// all the rest of a reconcile.
static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let mut crd = serde_json::to_value(Hyperpage::crd()).expect("a CRD is JSON");
    let schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take();
    let patterns = Patterns::of(&schema).expect("patterns of our own CRD");
    Rules { cel: compile_schema(&schema), patterns, schema }
});

/// Every rule that the object breaks, with the field.
pub fn broken(hyperpage: &Hyperpage) -> Vec<String> {
    let Ok(object) = serde_json::to_value(hyperpage) else { return vec!["is not JSON".to_owned()] };
    let faults = spec_faults(&object);
    if !faults.is_empty() {
        return faults;
    }
    match validate_compiled(&RULES.cel, &object, None) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.iter().map(|it| format!("{}: {}", it.field_path, it.message)).collect(),
    }
}

/// What the schema, CEL apart, says about the spec of an object that may not even be a Hyperpage.
pub fn spec_faults(object: &Value) -> Vec<String> {
    let schema = &RULES.schema["properties"]["spec"];
    match object.get("spec") {
        Some(spec) => schema::faults(schema, &RULES.patterns, "spec", spec),
        None => vec!["spec: is missing".to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn hyperpage(spec: Value) -> Hyperpage {
        serde_json::from_value(json!({"apiVersion": "hyperpage.dev/v1alpha1", "kind": "Hyperpage",
            "metadata": {"name": "A"}, "spec": spec}))
        .unwrap()
    }

    /// The compiled rules say what kube's own method says.
    #[test]
    fn no_rule_is_lost_in_compilation() {
        assert!(!RULES.cel.has_errors(), "{:?}", RULES.cel.compilation_errors());
        let spec =
            json!({"app": {"image": "a b"}, "redis": {"config": {"port": "1"}}, "service": {"nodePort": 1}});
        let hyperpage = hyperpage(spec);
        let kubes: Vec<_> =
            hyperpage.validate_cel().unwrap_err().into_vec().into_iter().map(|it| it.message).collect();
        let ours = broken(&hyperpage).join("; ");
        assert_eq!(kubes.len(), 4);
        assert!(kubes.iter().all(|message| ours.contains(message)), "{ours} {kubes:?}");
    }

    #[test]
    fn a_range_that_came_later_is_told_by_field() {
        let told = broken(&hyperpage(json!({"replicas": 5000, "app": {"image": "", "port": 0}})));
        let expected = [
            "spec.app.image: has 0 characters, fewer than 1",
            "spec.app.port: 0 is less than 1",
            "spec.replicas: 5000 is more than 1000",
        ];
        assert_eq!(told, expected);
    }
}
