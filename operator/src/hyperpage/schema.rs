//! What the CRD's schema says about a value, for objects that are older than their schema: the API server checked
//! them by another one. Only keywords that our CRD uses, and of those only what a person has to act on.

use std::collections::HashMap;

use regex::Regex;
use serde_json::Value;

/// Patterns by their text; compiled once.
#[derive(Debug, Default)]
pub struct Patterns(HashMap<String, Regex>);

impl Patterns {
    pub fn of(schema: &Value) -> Result<Self, regex::Error> {
        let mut patterns = Self::default();
        patterns.collect(schema)?;
        Ok(patterns)
    }

    fn collect(&mut self, schema: &Value) -> Result<(), regex::Error> {
        if let Some(pattern) = schema["pattern"].as_str() {
            self.0.insert(pattern.to_owned(), Regex::new(pattern)?);
        }
        match schema {
            Value::Object(fields) => fields.values().try_for_each(|field| self.collect(field)),
            Value::Array(items) => items.iter().try_for_each(|item| self.collect(item)),
            _ => Ok(()),
        }
    }
}

/// Every fault as `PATH: what is wrong`.
pub fn faults(schema: &Value, patterns: &Patterns, at: &str, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    Walk { patterns, found: &mut found }.look(schema, at, value);
    found
}

struct Walk<'a> {
    patterns: &'a Patterns,
    found: &'a mut Vec<String>,
}

impl Walk<'_> {
    fn look(&mut self, schema: &Value, at: &str, value: &Value) {
        if value.is_null() {
            return;
        }
        if !is_of_type(schema, value) {
            self.found.push(format!("{at}: {value} is not of type {}", wanted_type(schema)));
            return;
        }
        if let Some(words) = schema["enum"].as_array().filter(|words| !words.contains(value)) {
            let words: Vec<_> = words.iter().filter_map(Value::as_str).collect();
            self.found.push(format!("{at}: {value} is none of {}", words.join(", ")));
        }
        match value {
            Value::Object(fields) => {
                self.size(schema, at, fields.len(), ("minProperties", "maxProperties", "entries"));
                for name in strings(&schema["required"]).filter(|name| !fields.contains_key(*name)) {
                    self.found.push(format!("{at}.{name}: is missing"));
                }
                for (name, field) in fields {
                    let property = schema["properties"].get(name).or(schema.get("additionalProperties"));
                    if let Some(property) = property {
                        self.look(property, &format!("{at}.{name}"), field);
                    }
                }
            }
            Value::Array(items) => {
                self.size(schema, at, items.len(), ("minItems", "maxItems", "items"));
                for (index, item) in items.iter().enumerate() {
                    self.look(&schema["items"], &format!("{at}[{index}]"), item);
                }
            }
            Value::String(text) => {
                self.size(schema, at, text.chars().count(), ("minLength", "maxLength", "characters"));
                let pattern = schema["pattern"].as_str().and_then(|pattern| self.patterns.0.get(pattern));
                if pattern.is_some_and(|pattern| !pattern.is_match(text)) {
                    self.found.push(format!("{at}: {text:?} does not match {}", schema["pattern"]));
                }
            }
            Value::Number(number) => self.range(schema, at, number.as_f64().unwrap_or(f64::NAN)),
            Value::Bool(_) | Value::Null => {}
        }
    }

    fn size(&mut self, schema: &Value, at: &str, size: usize, (min, max, what): (&str, &str, &str)) {
        let bound = |keyword: &str| schema[keyword].as_u64().and_then(|bound| usize::try_from(bound).ok());
        if let Some(least) = bound(min).filter(|least| size < *least) {
            self.found.push(format!("{at}: has {size} {what}, fewer than {least}"));
        }
        if let Some(most) = bound(max).filter(|most| size > *most) {
            self.found.push(format!("{at}: has {size} {what}, more than {most}"));
        }
    }

    fn range(&mut self, schema: &Value, at: &str, number: f64) {
        if let Some(least) = schema["minimum"].as_f64().filter(|least| number < *least) {
            self.found.push(format!("{at}: {number} is less than {least}"));
        }
        let fits = (schema["format"] == "int32").then(|| f64::from(i32::MAX));
        if let Some(most) = schema["maximum"].as_f64().or(fits).filter(|most| number > *most) {
            self.found.push(format!("{at}: {number} is more than {most}"));
        }
    }
}

fn is_of_type(schema: &Value, value: &Value) -> bool {
    if schema["x-kubernetes-int-or-string"] == true {
        return value.is_i64() || value.is_string();
    }
    match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64(),
        Some("number") => value.is_number(),
        // An open object, or a keyword of another draft: nothing to say.
        _ => true,
    }
}

fn wanted_type(schema: &Value) -> &str {
    schema["type"].as_str().unwrap_or("integer or string")
}

fn strings(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(schema: &Value, value: &Value) -> Vec<String> {
        faults(schema, &Patterns::of(schema).unwrap(), "spec", value)
    }

    #[test]
    fn every_keyword_of_the_crd_has_its_words() {
        let schema = json!({"type": "object", "required": ["image"], "properties": {
            "image": {"type": "string", "minLength": 1, "maxLength": 3},
            "replicas": {"type": "integer", "minimum": 0, "maximum": 9},
            "level": {"type": "string", "enum": ["info", "debug"]},
            "port": {"x-kubernetes-int-or-string": true},
            "delay": {"type": "integer", "format": "int32"},
            "list": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "string"}},
            "map": {"type": "object", "maxProperties": 1, "additionalProperties": {"type": "string", "pattern": "^[0-9]+$"}},
        }});
        let cases = [
            (json!({"image": "a", "replicas": 9, "port": "x", "list": ["a"], "map": {"a": "1"}}), vec![]),
            (json!({}), vec!["spec.image: is missing"]),
            (json!({"image": ""}), vec!["spec.image: has 0 characters, fewer than 1"]),
            (json!({"image": "äöüß"}), vec!["spec.image: has 4 characters, more than 3"]),
            (json!({"image": "a", "replicas": -1}), vec!["spec.replicas: -1 is less than 0"]),
            (json!({"image": "a", "replicas": 10}), vec!["spec.replicas: 10 is more than 9"]),
            (json!({"image": "a", "replicas": "x"}), vec!["spec.replicas: \"x\" is not of type integer"]),
            (json!({"image": "a", "replicas": 1.5}), vec!["spec.replicas: 1.5 is not of type integer"]),
            (
                json!({"image": "a", "delay": 2_147_483_648_i64}),
                vec!["spec.delay: 2147483648 is more than 2147483647"],
            ),
            (json!({"image": "a", "level": "loud"}), vec!["spec.level: \"loud\" is none of info, debug"]),
            (json!({"image": "a", "port": true}), vec!["spec.port: true is not of type integer or string"]),
            (json!({"image": "a", "list": []}), vec!["spec.list: has 0 items, fewer than 1"]),
            (json!({"image": "a", "list": ["a", 1]}), vec!["spec.list[1]: 1 is not of type string"]),
            (
                json!({"image": "a", "map": {"a": "1", "b": "2"}}),
                vec!["spec.map: has 2 entries, more than 1"],
            ),
            (json!({"image": "a", "map": {"a": "x"}}), vec!["spec.map.a: \"x\" does not match \"^[0-9]+$\""]),
            (
                json!({"level": "x", "list": 1}),
                vec![
                    "spec.image: is missing",
                    "spec.level: \"x\" is none of info, debug",
                    "spec.list: 1 is not of type array",
                ],
            ),
        ];
        for (value, expected) in cases {
            assert_eq!(told(&schema, &value), expected, "{value}");
        }
    }
}
