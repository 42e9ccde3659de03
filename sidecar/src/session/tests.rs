//! The laws of the merges, over any documents.

use proptest::collection::vec;
use proptest::prelude::*;

use super::document::{Node, Object, compact};
use super::merge::Merge;
use super::patch::Patch;
use super::rule::{Change, Identity, Stamp, update};

/// Spellings that a parser for numbers or strings would not give back.
fn leaf() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("9007199254740993".to_owned()),
        Just("-0.0".to_owned()),
        Just("1E+400".to_owned()),
        Just("1.10".to_owned()),
        Just(r#""\u00e9\/\"{}[],:""#.to_owned()),
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        any::<String>().prop_map(|text| serde_json::Value::from(text).to_string()),
    ]
}

fn value() -> impl Strategy<Value = String> {
    leaf().prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            object_of(inner)
        ]
    })
}

/// Few names, so that documents and changes meet.
fn object_of(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let name =
        prop_oneof![Just("a"), Just("b"), Just("10"), Just("preferences"), Just("metadata"), Just("\\u0063")];
    vec((name, value), 0..6).prop_map(|members| {
        let mut seen = Vec::new();
        let mut text = Vec::new();
        for (name, value) in members {
            if !seen.contains(&name) {
                seen.push(name);
                text.push(format!("\"{name}\":{value}"));
            }
        }
        format!("{{{}}}", text.join(","))
    })
}

fn object() -> impl Strategy<Value = String> {
    object_of(value())
}

fn merge() -> impl Strategy<Value = Merge> {
    prop_oneof![Just(Merge::Deep), Just(Merge::Shallow), Just(Merge::Records), Just(Merge::Rfc7396)]
}

fn merged(merge: Merge, target: &str, change: &str) -> String {
    let mut target = Object::parse(target).unwrap();
    merge.apply(&mut target, Object::parse(change).unwrap()).unwrap();
    target.into_text()
}

proptest! {
    #[test]
    fn merging_twice_is_merging_once(merge in merge(), target in object(), change in object()) {
        let once = merged(merge, &target, &change);
        prop_assert_eq!(merged(merge, &once, &change), once);
    }

    #[test]
    fn merging_nothing_changes_no_byte(merge in merge(), target in object()) {
        prop_assert_eq!(merged(merge, &target, "{}"), target);
    }

    #[test]
    fn members_that_a_change_does_not_name_keep_their_bytes(merge in merge(), target in object(), change in object()) {
        let after = merged(merge, &target, &change);
        let (before, change, after) =
            (Object::parse(&target).unwrap(), Object::parse(&change).unwrap(), Object::parse(&after).unwrap());
        for name in before.names().filter(|name| change.get(name).is_none()) {
            prop_assert_eq!(before.get(name), after.get(name));
        }
    }

    #[test]
    fn what_a_change_names_is_there_afterwards(target in object(), change in object()) {
        let after = merged(Merge::Shallow, &target, &change);
        let (change, after) = (Object::parse(&change).unwrap(), Object::parse(&after).unwrap());
        for name in change.names().filter(|name| *name != "metadata") {
            prop_assert_eq!(change.get(name), after.get(name));
        }
    }

    #[test]
    fn merge_patch_leaves_none_of_its_nulls(target in object(), change in object()) {
        let after = merged(Merge::Rfc7396, &target, &change);
        let (change, after) = (Object::parse(&change).unwrap(), Object::parse(&after).unwrap());
        for name in change.names() {
            prop_assert!(!change.get(name).unwrap().is_null() || after.get(name).is_none());
        }
    }

    #[test]
    fn whatever_is_written_is_compact_json(merge in merge(), target in object(), change in object()) {
        let after = merged(merge, &target, &change);
        let padded = [" ", &after, "\n"].concat();
        prop_assert_eq!(&compact(padded.as_bytes()).unwrap(), &after);
        prop_assert!(Node::parse(&after).is_ok(), "{}", after);
    }

    #[test]
    fn compacting_changes_no_token(text in value()) {
        prop_assert_eq!(compact(text.as_bytes()).unwrap(), text);
    }

    #[test]
    fn no_bytes_make_the_parsers_panic(bytes in vec(any::<u8>(), 0..64), patch in any::<String>()) {
        if let Ok(text) = compact(&bytes) {
            let _ = Node::parse(&text);
            let _ = Object::parse(&text);
        }
        let _ = Patch::parse(&patch);
    }

    #[test]
    fn a_test_operation_holds_for_the_value_itself_and_add_then_remove_undoes(document in object(), inner in value()) {
        let patch = format!(
            r#"[{{"op":"add","path":"/new","value":{inner}}},{{"op":"test","path":"/new","value":{inner}}},{{"op":"remove","path":"/new"}}]"#
        );
        let after = Patch::parse(&patch).unwrap().apply(Object::parse(&document).unwrap()).unwrap();
        prop_assert_eq!(after.into_text(), document);
    }

    /// An update is never refused for what is stored as long as that is an object, and its version always rises.
    #[test]
    fn an_update_always_leaves_a_session(stored in object(), now in 0_i64..4_000_000_000_000) {
        let change = Change::Merge(Merge::Deep, r#"{"z":1}"#.to_owned());
        let after = update(&stored, &change, Identity::Kept, now, Stamp::After).unwrap();
        let again = update(&after, &change, Identity::Kept, now, Stamp::After).unwrap();
        prop_assert_ne!(after, again);
    }
}
