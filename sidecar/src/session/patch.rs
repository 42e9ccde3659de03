//! RFC 6902 JSON Patch over the document's tree, all or nothing, with bounds on what one patch may cost.

use std::borrow::Cow;

use super::document::{Invalid, MAX_BYTES, Node, Object};
use super::equal::equal;

const MAX_OPERATIONS: usize = 256;

/// Why a patch changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PatchError {
    /// The patch itself is wrong, whatever the document.
    #[error("operation {at}: {why}")]
    Malformed { at: usize, why: Cow<'static, str> },
    /// The patch does not fit the document as it is: a path that is not there, a `test` that fails.
    #[error("operation {at} ({op} {path:?}): {why}")]
    Unfit { at: usize, op: &'static str, path: String, why: &'static str },
    #[error(transparent)]
    Document(#[from] Invalid),
}

/// A checked patch.
#[derive(Debug)]
pub(crate) struct Patch<'a>(Vec<Operation<'a>>);

#[derive(Debug)]
enum Operation<'a> {
    Add(Pointer, Node<'a>),
    Remove(Pointer),
    Replace(Pointer, Node<'a>),
    Move { from: Pointer, to: Pointer },
    Copy { from: Pointer, to: Pointer },
    Test(Pointer, Node<'a>),
}

/// RFC 6901, unescaped; empty means the whole document.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pointer(Vec<String>);

impl<'a> Patch<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Patch<'a>, PatchError> {
        let mut root = Node::parse(text)?;
        if !root.is_array() {
            return Err(Invalid::NotArray("a JSON Patch").into());
        }
        let items = std::mem::take(root.array()?);
        if items.len() > MAX_OPERATIONS {
            let why = format!("a patch has at most {MAX_OPERATIONS} operations");
            return Err(PatchError::Malformed { at: MAX_OPERATIONS, why: why.into() });
        }
        let operation = |(at, item): (usize, Node<'a>)| {
            operation(item).map_err(|why| PatchError::Malformed { at, why: why.into() })
        };
        Ok(Patch(items.into_iter().enumerate().map(operation).collect::<Result<_, _>>()?))
    }

    pub(crate) fn apply(&self, document: Object<'a>) -> Result<Object<'a>, PatchError> {
        let mut root = Node::Object(document);
        for (at, operation) in self.0.iter().enumerate() {
            operation.apply(&mut root).map_err(|failure| match failure {
                Failure::Unfit(why) => {
                    let (op, Pointer(path)) = operation.name();
                    let path = path.iter().map(|token| format!("/{token}")).collect();
                    PatchError::Unfit { at, op, path, why }
                }
                Failure::Document(invalid) => PatchError::Document(invalid),
            })?;
        }
        if !root.is_object() {
            return Err(Invalid::NotObject("a session").into());
        }
        Ok(root.into_object()?)
    }
}

enum Failure {
    Unfit(&'static str),
    Document(Invalid),
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Failure {
        Failure::Document(invalid)
    }
}

const ABSENT: Failure = Failure::Unfit("there is nothing at this path");

impl<'a> Operation<'a> {
    fn name(&self) -> (&'static str, &Pointer) {
        match self {
            Operation::Add(path, _) => ("add", path),
            Operation::Remove(path) => ("remove", path),
            Operation::Replace(path, _) => ("replace", path),
            Operation::Move { from, to: _ } => ("move", from),
            Operation::Copy { from, to: _ } => ("copy", from),
            Operation::Test(path, _) => ("test", path),
        }
    }

    fn apply(&self, root: &mut Node<'a>) -> Result<(), Failure> {
        match self {
            Operation::Add(path, value) => add(root, path, value.clone())?,
            Operation::Remove(path) => drop(remove(root, path)?),
            Operation::Replace(path, value) => *find(root, &path.0)? = value.clone(),
            Operation::Move { from, to } => {
                if to.0.len() > from.0.len() && to.0.starts_with(&from.0) {
                    return Err(Failure::Unfit("a value cannot move into itself"));
                }
                if from == to {
                    find(root, &from.0)?;
                    return Ok(());
                }
                let value = remove(root, from)?;
                add(root, to, value)?;
            }
            Operation::Copy { from, to } => {
                let value = find(root, &from.0)?.clone();
                add(root, to, value)?;
                // Copies of copies double; stop them while they are small.
                if root.len() > MAX_BYTES {
                    return Err(Invalid::TooLarge.into());
                }
            }
            Operation::Test(path, value) => {
                if !equal(find(root, &path.0)?, &mut value.clone())? {
                    return Err(Failure::Unfit("the value is another"));
                }
            }
        }
        Ok(())
    }
}

fn find<'n, 'a>(mut node: &'n mut Node<'a>, path: &[String]) -> Result<&'n mut Node<'a>, Failure> {
    for token in path {
        node = if node.is_object() {
            node.object()?.get_mut(token).ok_or(ABSENT)?
        } else if node.is_array() {
            let items = node.array()?;
            let i = index(token, items.len())?;
            items.get_mut(i).ok_or(ABSENT)?
        } else {
            return Err(ABSENT);
        };
    }
    Ok(node)
}

fn add<'a>(root: &mut Node<'a>, path: &Pointer, value: Node<'a>) -> Result<(), Failure> {
    let Some((last, parents)) = path.0.split_last() else {
        *root = value;
        return Ok(());
    };
    let parent = find(root, parents)?;
    if parent.is_object() {
        parent.object()?.set(last, value);
        return Ok(());
    }
    if !parent.is_array() {
        return Err(Failure::Unfit("only objects and arrays have members"));
    }
    let items = parent.array()?;
    let i = if last == "-" { items.len() } else { index(last, items.len())? };
    if i > items.len() {
        return Err(Failure::Unfit("the index is past the end of the array"));
    }
    items.insert(i, value);
    Ok(())
}

fn remove<'a>(root: &mut Node<'a>, path: &Pointer) -> Result<Node<'a>, Failure> {
    let Some((last, parents)) = path.0.split_last() else {
        return Err(Failure::Unfit("the whole session is removed with DELETE"));
    };
    let parent = find(root, parents)?;
    if parent.is_object() {
        return parent.object()?.remove(last).ok_or(ABSENT);
    }
    if !parent.is_array() {
        return Err(ABSENT);
    }
    let items = parent.array()?;
    let i = index(last, items.len())?;
    if i < items.len() { Ok(items.remove(i)) } else { Err(ABSENT) }
}

/// Digits without a leading zero (RFC 6901 §4); `-` and anything past the end is nothing that exists.
fn index(token: &str, len: usize) -> Result<usize, Failure> {
    let canonical = token == "0" || (!token.starts_with('0') && !token.is_empty());
    if !canonical || !token.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Failure::Unfit("this is not an index of an array"));
    }
    Ok(token.parse().unwrap_or(len + 1))
}

fn operation(mut item: Node<'_>) -> Result<Operation<'_>, String> {
    let fields = item.object().map_err(|_| "an operation is a JSON object".to_owned())?;
    let op = fields.get("op").and_then(Node::as_string).ok_or("\"op\" is missing")?.into_owned();
    let pointer = |fields: &Object<'_>, name: &str| {
        let text =
            fields.get(name).and_then(Node::as_string).ok_or_else(|| format!("{name:?} is missing"))?;
        Pointer::parse(&text)
            .ok_or_else(|| format!("{name:?} must be a JSON Pointer, such as \"/preferences/theme\""))
    };
    let path = pointer(fields, "path")?;
    let mut value = || fields.remove("value").ok_or_else(|| "\"value\" is missing".to_owned());
    Ok(match op.as_str() {
        "add" => Operation::Add(path, value()?),
        "remove" => Operation::Remove(path),
        "replace" => Operation::Replace(path, value()?),
        "test" => Operation::Test(path, value()?),
        "move" => Operation::Move { from: pointer(fields, "from")?, to: path },
        "copy" => Operation::Copy { from: pointer(fields, "from")?, to: path },
        _ => return Err("\"op\" must be add, remove, replace, move, copy or test".to_owned()),
    })
}

impl Pointer {
    fn parse(text: &str) -> Option<Pointer> {
        if text.is_empty() {
            return Some(Pointer(Vec::new()));
        }
        text.strip_prefix('/')?.split('/').map(unescape).collect::<Option<_>>().map(Pointer)
    }
}

fn unescape(token: &str) -> Option<String> {
    let mut parts = token.split('~');
    let mut out = parts.next()?.to_owned();
    for part in parts {
        out.push(match part.as_bytes().first()? {
            b'0' => '~',
            b'1' => '/',
            _ => return None,
        });
        out.push_str(&part[1..]);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(document: &str, patch: &str) -> Result<String, PatchError> {
        Ok(Patch::parse(patch)?.apply(Object::parse(document).unwrap())?.into_text())
    }

    /// RFC 6902, appendix A.
    #[test]
    fn operations_do_as_the_rfc_shows() {
        for (document, patch, expect) in [
            (
                r#"{"foo":"bar"}"#,
                r#"[{"op":"add","path":"/baz","value":"qux"}]"#,
                r#"{"foo":"bar","baz":"qux"}"#,
            ),
            (
                r#"{"foo":["bar","baz"]}"#,
                r#"[{"op":"add","path":"/foo/1","value":"qux"}]"#,
                r#"{"foo":["bar","qux","baz"]}"#,
            ),
            (r#"{"baz":"qux","foo":"bar"}"#, r#"[{"op":"remove","path":"/baz"}]"#, r#"{"foo":"bar"}"#),
            (
                r#"{"foo":["bar","qux","baz"]}"#,
                r#"[{"op":"remove","path":"/foo/1"}]"#,
                r#"{"foo":["bar","baz"]}"#,
            ),
            (
                r#"{"baz":"qux","foo":"bar"}"#,
                r#"[{"op":"replace","path":"/baz","value":"boo"}]"#,
                r#"{"baz":"boo","foo":"bar"}"#,
            ),
            (
                r#"{"foo":{"bar":"baz","waldo":"fred"},"qux":{"corge":"grault"}}"#,
                r#"[{"op":"move","from":"/foo/waldo","path":"/qux/thud"}]"#,
                r#"{"foo":{"bar":"baz"},"qux":{"corge":"grault","thud":"fred"}}"#,
            ),
            (
                r#"{"foo":["all","grass","cows","eat"]}"#,
                r#"[{"op":"move","from":"/foo/1","path":"/foo/3"}]"#,
                r#"{"foo":["all","cows","eat","grass"]}"#,
            ),
            (
                r#"{"baz":"qux","foo":["a",2,"c"]}"#,
                r#"[{"op":"test","path":"/baz","value":"qux"},{"op":"test","path":"/foo/1","value":2}]"#,
                r#"{"baz":"qux","foo":["a",2,"c"]}"#,
            ),
            (
                r#"{"foo":"bar"}"#,
                r#"[{"op":"add","path":"/child","value":{"grandchild":{}}}]"#,
                r#"{"foo":"bar","child":{"grandchild":{}}}"#,
            ),
            (
                r#"{"foo":"bar"}"#,
                r#"[{"op":"add","path":"/baz","value":"qux","xyz":123}]"#,
                r#"{"foo":"bar","baz":"qux"}"#,
            ),
            (r#"{"/":9,"~1":10}"#, r#"[{"op":"test","path":"/~01","value":10}]"#, r#"{"/":9,"~1":10}"#),
            (
                r#"{"foo":["bar"]}"#,
                r#"[{"op":"add","path":"/foo/-","value":["abc"]}]"#,
                r#"{"foo":["bar",["abc"]]}"#,
            ),
            (
                r#"{"a":{"b":1}}"#,
                r#"[{"op":"copy","from":"/a","path":"/c"}]"#,
                r#"{"a":{"b":1},"c":{"b":1}}"#,
            ),
            (r#"{"a":1}"#, r#"[{"op":"move","from":"/a","path":"/a"}]"#, r#"{"a":1}"#),
            (r#"{"a":1}"#, r#"[{"op":"replace","path":"","value":{"b":2}}]"#, r#"{"b":2}"#),
            (r#"{"":1}"#, r#"[{"op":"remove","path":"/"}]"#, "{}"),
            (r#"{"a":1.0}"#, r#"[{"op":"test","path":"/a","value":1}]"#, r#"{"a":1.0}"#),
        ] {
            assert_eq!(patched(document, patch).as_deref(), Ok(expect), "{patch}");
        }
    }

    #[test]
    fn a_patch_that_does_not_fit_says_which_operation_and_why() {
        let document = r#"{"foo":"bar","list":[1],"o":{"p":{}},"~1":10}"#;
        for (operation, why) in [
            (r#"{"op":"test","path":"/foo","value":"baz"}"#, "another"),
            (r#"{"op":"test","path":"/foo","value":null}"#, "another"),
            (r#"{"op":"test","path":"/~01","value":"10"}"#, "another"),
            (r#"{"op":"add","path":"/baz","value":"qux","op":"remove"}"#, "nothing at this path"),
            (r#"{"op":"add","path":"/baz/bat","value":"qux"}"#, "nothing at this path"),
            (r#"{"op":"add","path":"/foo/bat","value":1}"#, "only objects and arrays"),
            (r#"{"op":"add","path":"/list/2","value":1}"#, "past the end"),
            (r#"{"op":"add","path":"/list/01","value":1}"#, "not an index"),
            (r#"{"op":"add","path":"/list/99999999999999999999999","value":1}"#, "past the end"),
            (r#"{"op":"remove","path":"/list/-"}"#, "not an index"),
            (r#"{"op":"remove","path":"/list/1"}"#, "nothing at this path"),
            (r#"{"op":"remove","path":"/nope"}"#, "nothing at this path"),
            (r#"{"op":"remove","path":""}"#, "DELETE"),
            (r#"{"op":"replace","path":"/nope","value":1}"#, "nothing at this path"),
            (r#"{"op":"move","from":"/o","path":"/o/p/q"}"#, "into itself"),
            (r#"{"op":"copy","from":"/nope","path":"/o"}"#, "nothing at this path"),
        ] {
            let patch = format!(r#"[{{"op":"add","path":"/x","value":1}},{operation}]"#);
            let error = patched(document, &patch).unwrap_err();
            assert!(matches!(&error, PatchError::Unfit { at: 1, .. }), "{operation}: {error}");
            assert!(error.to_string().contains(why), "{operation}: {error}");
        }
    }

    #[test]
    fn a_patch_that_is_none_is_refused_before_anything_happens() {
        for patch in [
            r#"[{"op":"add","path":"/a"}]"#,
            r#"[{"op":"spam","path":"/a","value":1}]"#,
            r#"[{"path":"/a","value":1}]"#,
            r#"[{"op":"add","path":"a","value":1}]"#,
            r#"[{"op":"add","path":"/~2","value":1}]"#,
            r#"[{"op":"add","path":"/~","value":1}]"#,
            r#"[{"op":"move","path":"/a"}]"#,
            r#"[{"op":1,"path":"/a"}]"#,
            "[1]",
        ] {
            assert!(matches!(Patch::parse(patch), Err(PatchError::Malformed { at: 0, .. })), "{patch}");
        }
        assert!(matches!(Patch::parse("{}"), Err(PatchError::Document(Invalid::NotArray(_)))));
        let many = format!("[{}]", [r#"{"op":"remove","path":"/a"}"#; MAX_OPERATIONS + 1].join(","));
        assert!(matches!(Patch::parse(&many), Err(PatchError::Malformed { .. })));
    }

    #[test]
    fn the_document_stays_an_object() {
        let root = r#"[{"op":"replace","path":"","value":[1]}]"#;
        assert_eq!(patched("{}", root), Err(PatchError::Document(Invalid::NotObject("a session"))));
    }

    /// Each copy doubles the document: without a bound, 40 operations would ask for a terabyte.
    #[test]
    fn copies_of_copies_are_stopped_early() {
        let copies: Vec<String> =
            (0..40).map(|i| format!(r#"{{"op":"copy","from":"","path":"/c{i}"}}"#)).collect();
        let error = patched(r#"{"a":"0123456789"}"#, &format!("[{}]", copies.join(",")));
        assert_eq!(error, Err(PatchError::Document(Invalid::TooLarge)));
    }
}
