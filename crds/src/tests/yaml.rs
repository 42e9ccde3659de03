//! YAML with every string quoted: kubectl reads a plain `n`, `no` or `on` as a boolean. What fits a line stands in
//! one: half of such a file is indentation otherwise.

use std::fmt::Write as _;

use serde_json::Value;

const LINE: usize = 120;

pub(super) fn print(value: &Value) -> String {
    let mut out = String::new();
    block(&mut out, value, 0);
    out
}

/// Maps and lists as blocks, each entry on a line of its own; `out` is at the start of a line.
fn block(out: &mut String, value: &Value, indent: usize) {
    let pad = " ".repeat(indent);
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                let _ = write!(out, "{pad}{}:", name(key));
                entry(out, value, indent + 2);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for value in list {
                let _ = write!(out, "{pad}-");
                entry(out, value, indent + 2);
            }
        }
        scalar => {
            let _ = writeln!(out, "{pad}{scalar}");
        }
    }
}

fn entry(out: &mut String, value: &Value, indent: usize) {
    let nested = match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    let line = flow(value);
    if nested && indent + line.len() > LINE {
        out.push('\n');
        block(out, value, indent);
    } else {
        let _ = writeln!(out, " {line}");
    }
}

fn flow(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let entries: Vec<_> =
                map.iter().map(|(key, value)| format!("{}: {}", name(key), flow(value))).collect();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Array(list) => format!("[{}]", list.iter().map(flow).collect::<Vec<_>>().join(", ")),
        scalar => scalar.to_string(),
    }
}

fn name(key: &str) -> String {
    let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') && key.len() > 3;
    let words = ["true", "false", "null"];
    if plain && !words.contains(&key) { key.to_owned() } else { format!("{key:?}") }
}

#[test]
fn what_is_printed_reads_back_as_the_same_value() {
    let value = serde_json::json!({
        "on": ["no", "1", 1, true, null, [], {}, [["x"], {"a": {"b": "é\n\"\\"}}]],
        "plain": "yes", "true": "~", "with space": "- x: y # z",
        "wide": {"one": "x".repeat(LINE), "two": [{}, [], {"three": {"four": "y".repeat(LINE)}}]},
    });
    let read: Value = serde_yaml::from_str(&print(&value)).unwrap();
    assert_eq!(read, value);
}
