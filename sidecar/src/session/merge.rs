//! The four ways in which a client's object is laid over the session.

use super::document::{Invalid, Node, Object};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Merge {
    /// Objects merge at every depth; null is stored, arrays replace.
    Deep,
    /// As the original: members replace, `metadata` alone merges field by field.
    Shallow,
    /// Records, whose fields are known, merge field by field, and everything else replaces: who sends one
    /// preference keeps the others, and who sends all tools can drop one.
    Records,
    /// JSON Merge Patch: objects merge at every depth, null deletes, arrays replace.
    Rfc7396,
}

impl Merge {
    pub(crate) fn apply<'a>(self, target: &mut Object<'a>, change: Object<'a>) -> Result<(), Invalid> {
        match self {
            Merge::Deep => every_depth(target, change, Null::Stored),
            Merge::Shallow => by_field(target, change, &["metadata"]),
            Merge::Records => by_field(target, change, &["preferences", "uiState", "metadata"]),
            Merge::Rfc7396 => every_depth(target, change, Null::Deletes),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Null {
    Stored,
    Deletes,
}

/// Recursion is bounded by the change, whose depth was checked when it came in.
fn every_depth<'a>(target: &mut Object<'a>, change: Object<'a>, null: Null) -> Result<(), Invalid> {
    for (name, mut member) in change {
        if null == Null::Deletes && member.value.is_null() {
            target.remove(&name);
            continue;
        }
        if !member.value.is_object() {
            target.put(name, member);
            continue;
        }
        match target.get_mut(&name) {
            Some(present) if present.is_object() => {
                every_depth(present.object()?, member.value.into_object()?, null)?;
            }
            _ => {
                if null == Null::Deletes {
                    let mut fresh = Object::default();
                    every_depth(&mut fresh, member.value.into_object()?, null)?;
                    member.value = Node::Object(fresh);
                }
                target.put(name, member);
            }
        }
    }
    Ok(())
}

fn by_field<'a>(target: &mut Object<'a>, change: Object<'a>, records: &[&str]) -> Result<(), Invalid> {
    for (name, member) in change {
        match target.get_mut(&name) {
            Some(present) if records.contains(&&*name) && present.is_object() && member.value.is_object() => {
                let present = present.object()?;
                for (field, value) in member.value.into_object()? {
                    present.put(field, value);
                }
            }
            _ => target.put(name, member),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(merge: Merge, target: &str, change: &str) -> String {
        let mut target = Object::parse(target).unwrap();
        merge.apply(&mut target, Object::parse(change).unwrap()).unwrap();
        target.into_text()
    }

    /// The examples of RFC 7396, appendix A, whose target and patch are objects: a session always is one.
    #[test]
    fn merge_patch_does_as_the_rfc_shows() {
        for (target, patch, expect) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
            (r#"{"a":"x"}"#, r#"{"a":{"b":{"c":null,"d":[null]}}}"#, r#"{"a":{"b":{"d":[null]}}}"#),
        ] {
            assert_eq!(merged(Merge::Rfc7396, target, patch), expect, "{target} {patch}");
        }
    }

    #[test]
    fn each_way_differs_where_it_should() {
        let target =
            r#"{"preferences":{"a":{"x":1},"b":1},"toolConfigs":{"t":1},"metadata":{"m":1,"n":{"x":1}}}"#;
        let change = r#"{"preferences":{"a":{"y":null}},"toolConfigs":{"u":2},"metadata":{"n":{"y":2}}}"#;
        for (merge, expect) in [
            (
                Merge::Deep,
                r#"{"preferences":{"a":{"x":1,"y":null},"b":1},"toolConfigs":{"t":1,"u":2},"metadata":{"m":1,"n":{"x":1,"y":2}}}"#,
            ),
            (
                Merge::Records,
                r#"{"preferences":{"a":{"y":null},"b":1},"toolConfigs":{"u":2},"metadata":{"m":1,"n":{"y":2}}}"#,
            ),
            (
                Merge::Shallow,
                r#"{"preferences":{"a":{"y":null}},"toolConfigs":{"u":2},"metadata":{"m":1,"n":{"y":2}}}"#,
            ),
            (
                Merge::Rfc7396,
                r#"{"preferences":{"a":{"x":1},"b":1},"toolConfigs":{"t":1,"u":2},"metadata":{"m":1,"n":{"x":1,"y":2}}}"#,
            ),
        ] {
            assert_eq!(merged(merge, target, change), expect, "{merge:?}");
        }
    }

    #[test]
    fn arrays_and_null_replace() {
        for merge in [Merge::Deep, Merge::Records, Merge::Shallow] {
            assert_eq!(
                merged(merge, r#"{"a":[1,2],"b":{"c":1}}"#, r#"{"a":[],"b":null}"#),
                r#"{"a":[],"b":null}"#
            );
        }
    }
}
