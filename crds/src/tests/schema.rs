use serde_json::{Value, json};

use super::{crd, root_schema, walk, yaml};

const HEADER: &str = "# Generated from crds/src; `UPDATE_EXPECT=1 cargo test -p crds` writes it anew.\n";

#[test]
fn the_committed_crd_is_what_the_types_generate() {
    let generated = format!("{HEADER}{}", yaml::print(&crd()));
    expect_test::expect_file!["../../hyperpages.hyperpage.dev.yaml"].assert_eq(&generated);
    let read: Value = serde_yaml::from_str(&generated).unwrap();
    assert_eq!(read, crd());
}

/// `kubectl apply` keeps a copy in an annotation, and refuses above 262 144 bytes.
#[test]
fn the_crd_stays_small() {
    let size = yaml::print(&crd()).len();
    assert!(size < 100_000, "{size} bytes");
}

/// Strings, lists and maps without a bound: with them, the cost of a CEL rule has none either.
fn unbounded(schema: &Value) -> Vec<String> {
    let mut found = vec![];
    walk("", schema, &mut |path, schema| {
        let has = |keyword: &str| schema.get(keyword).is_some();
        let bounded = match schema["type"].as_str() {
            Some("string") => has("maxLength") || has("enum") || schema["format"] == "date-time",
            Some("array") => has("maxItems"),
            Some("object") => !has("additionalProperties") || has("maxProperties"),
            Some("integer" | "boolean") => true,
            _ => has("x-kubernetes-int-or-string") && has("maxLength"),
        };
        if !bounded {
            found.push(path.to_owned());
        }
    });
    found
}

#[test]
fn every_string_list_and_map_is_bounded() {
    let mut schema = root_schema();
    assert_eq!(unbounded(&schema), Vec::<String>::new());

    let spec = &mut schema["properties"]["spec"]["properties"];
    spec["text"] = json!({"type": "string"});
    spec["list"] = json!({"type": "array", "maxItems": 1, "items": {"x-kubernetes-int-or-string": true}});
    spec["map"] = json!({"type": "object", "additionalProperties": {"type": "string", "maxLength": 1}});
    assert_eq!(unbounded(&schema), ["spec.list[]", "spec.map", "spec.text"]);
}

/// What an API server warns about, refuses, or keeps a `null` for.
fn foreign(schema: &Value) -> Vec<String> {
    let mut found = vec![];
    walk("", schema, &mut |path, schema| {
        let unsigned = schema["format"].as_str().is_some_and(|f| f.starts_with("uint"));
        let null = schema["nullable"] == true && path != "status";
        let any = ["anyOf", "oneOf", "allOf", "$ref"].iter().any(|keyword| schema.get(keyword).is_some());
        if unsigned || null || any {
            found.push(path.to_owned());
        }
    });
    found
}

#[test]
fn no_unsigned_formats_nulls_or_unions() {
    let mut schema = root_schema();
    assert_eq!(foreign(&schema), Vec::<String>::new());

    let spec = &mut schema["properties"]["spec"]["properties"];
    spec["replicas"]["format"] = json!("uint32");
    spec["service"]["nullable"] = json!(true);
    assert_eq!(foreign(&schema), ["spec.replicas", "spec.service"]);
}

/// Every integer of ours has a range; Kubernetes' own types check theirs themselves.
#[test]
fn our_integers_have_ranges() {
    let kubernetes = ["Probe.", ".env", ".metrics[]", ".behavior."];
    let mut checked = 0;
    walk("", &root_schema()["properties"]["spec"], &mut |path, schema| {
        if schema["type"] == "integer" && !kubernetes.iter().any(|part| path.contains(part)) {
            assert_eq!(schema["format"], "int32", "{path}");
            assert!(schema["minimum"].is_number() && schema["maximum"].is_number(), "{path}");
            checked += 1;
        }
    });
    assert_eq!(checked, 16);
}

#[test]
fn every_field_of_ours_is_explained() {
    let mut bare = vec![];
    walk("", &root_schema(), &mut |path, schema| {
        let field = path.starts_with("sp") || path.starts_with("st");
        let element = path.ends_with("[]") || path.ends_with("{}") || path.contains("[].");
        if field && !element && !schema["description"].is_string() {
            bare.push(path.to_owned());
        }
    });
    assert_eq!(bare, Vec::<String>::new());
}
