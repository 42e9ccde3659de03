//! A JSON document as an ordered tree over the text it came from.
//!
//! What nobody changes keeps its bytes: key order, unknown members, the spelling of numbers, `[]` and `{}`.
//! So values stay text until somebody must look inside, one level at a time, and no number is ever parsed.

use std::borrow::Cow;
use std::fmt;

use indexmap::IndexMap;
use serde::de::{self, Deserializer, MapAccess};
use serde_json::value::RawValue;

/// Objects and arrays within each other, the document itself being the first.
pub(crate) const MAX_DEPTH: usize = 32;
/// A document, as stored.
pub(crate) const MAX_BYTES: usize = 64 * 1024;

/// Why a text is not a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Invalid {
    #[error("not valid JSON: {0}")]
    Syntax(String),
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    #[error("larger than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("{0} must be a JSON object")]
    NotObject(&'static str),
    #[error("{0} must be a JSON array")]
    NotArray(&'static str),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node<'a> {
    /// Valid JSON that nobody has looked into.
    Text(Cow<'a, str>),
    Object(Object<'a>),
    Array(Vec<Node<'a>>),
}

/// Members by their decoded name, in the order of the text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Object<'a>(IndexMap<Cow<'a, str>, Member<'a>>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member<'a> {
    /// The name as it is written, with quotes and escapes.
    key: Cow<'a, str>,
    pub(crate) value: Node<'a>,
}

impl<'a> Node<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Node<'a>, Invalid> {
        let raw: &RawValue = serde_json::from_str(text).map_err(syntax)?;
        Ok(Node::Text(Cow::Borrowed(raw.get())))
    }

    pub(crate) fn string(text: &str) -> Node<'static> {
        Node::Text(Cow::Owned(quote(text)))
    }

    pub(crate) fn is_object(&self) -> bool {
        matches!(self, Node::Object(_)) || self.opens_with(b'{')
    }

    pub(crate) fn is_array(&self) -> bool {
        matches!(self, Node::Array(_)) || self.opens_with(b'[')
    }

    pub(crate) fn is_null(&self) -> bool {
        self.opens_with(b'n')
    }

    /// The string this is, decoded.
    pub(crate) fn as_string(&self) -> Option<Cow<'_, str>> {
        let Node::Text(text) = self else { return None };
        decode(text)
    }

    /// Looks inside an object.
    pub(crate) fn object(&mut self) -> Result<&mut Object<'a>, Invalid> {
        if self.is_object()
            && let Node::Text(text) = self
        {
            *self = Node::Object(match std::mem::take(text) {
                Cow::Borrowed(text) => Object::parse(text)?,
                Cow::Owned(text) => Object::parse(&text)?.into_owned(),
            });
        }
        if let Node::Object(object) = self { Ok(object) } else { Err(Invalid::NotObject("a value")) }
    }

    pub(crate) fn into_object(mut self) -> Result<Object<'a>, Invalid> {
        self.object().map(std::mem::take)
    }

    /// Looks inside an array.
    pub(crate) fn array(&mut self) -> Result<&mut Vec<Node<'a>>, Invalid> {
        if self.is_array()
            && let Node::Text(text) = self
        {
            *self = Node::Array(match std::mem::take(text) {
                Cow::Borrowed(text) => items(text)?,
                Cow::Owned(text) => items(&text)?.into_iter().map(Node::into_owned).collect(),
            });
        }
        if let Node::Array(items) = self { Ok(items) } else { Err(Invalid::NotArray("a value")) }
    }

    /// Bytes of [`Node::write`].
    pub(crate) fn len(&self) -> usize {
        match self {
            Node::Text(text) => text.len(),
            Node::Array(items) => {
                2 + items.len().saturating_sub(1) + items.iter().map(Node::len).sum::<usize>()
            }
            Node::Object(object) => object.len(),
        }
    }

    pub(crate) fn write(&self, out: &mut String) {
        match self {
            Node::Text(text) => out.push_str(text),
            Node::Object(object) => object.write(out),
            Node::Array(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
        }
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = String::with_capacity(self.len());
        self.write(&mut text);
        text
    }

    fn opens_with(&self, byte: u8) -> bool {
        matches!(self, Node::Text(text) if text.as_bytes().first() == Some(&byte))
    }

    fn into_owned(self) -> Node<'static> {
        match self {
            Node::Text(text) => Node::Text(Cow::Owned(text.into_owned())),
            Node::Object(object) => Node::Object(object.into_owned()),
            Node::Array(items) => Node::Array(items.into_iter().map(Node::into_owned).collect()),
        }
    }
}

impl<'a> Object<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Object<'a>, Invalid> {
        let mut members = Vec::with_capacity(8);
        each(text, |key, value| members.push((key, value)))?;
        let mut object = Object(IndexMap::with_capacity(members.len()));
        for (key, value) in members {
            let name =
                decode(key).ok_or_else(|| Invalid::Syntax(format!("member name {key} is not Unicode")))?;
            // As JSON.parse does: the last of two members of one name counts, at the place of the first.
            let member = Member { key: Cow::Borrowed(key), value: Node::Text(Cow::Borrowed(value)) };
            object.put(name, member);
        }
        Ok(object)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Node<'a>> {
        self.0.get(name).map(|member| &member.value)
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Node<'a>> {
        self.0.get_mut(name).map(|member| &mut member.value)
    }

    /// A member that exists keeps its place; a new one comes last.
    pub(crate) fn set(&mut self, name: &str, value: Node<'a>) {
        match self.0.get_mut(name) {
            Some(member) => member.value = value,
            None => {
                let member = Member { key: Cow::Owned(quote(name)), value };
                self.0.insert(Cow::Owned(name.to_owned()), member);
            }
        }
    }

    /// Like `set`, with the spelling that the member's name came in.
    pub(crate) fn put(&mut self, name: Cow<'a, str>, member: Member<'a>) {
        match self.0.get_mut(&name) {
            Some(present) => present.value = member.value,
            None => {
                self.0.insert(name, member);
            }
        }
    }

    /// The others keep their order.
    pub(crate) fn remove(&mut self, name: &str) -> Option<Node<'a>> {
        self.0.shift_remove(name).map(|member| member.value)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|name| &**name)
    }

    pub(crate) fn members(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn len(&self) -> usize {
        let member = |member: &Member<'_>| member.key.len() + 1 + member.value.len();
        2 + self.0.len().saturating_sub(1) + self.0.values().map(member).sum::<usize>()
    }

    pub(crate) fn write(&self, out: &mut String) {
        out.push('{');
        for (i, Member { key, value }) in self.0.values().enumerate() {
            if i > 0 {
                out.push(',');
            }
            out.push_str(key);
            out.push(':');
            value.write(out);
        }
        out.push('}');
    }

    pub(crate) fn into_text(self) -> String {
        let mut text = String::with_capacity(self.len());
        self.write(&mut text);
        text
    }

    fn into_owned(self) -> Object<'static> {
        let member = |(name, member): (Cow<'a, str>, Member<'a>)| {
            let key = Cow::Owned(member.key.into_owned());
            (Cow::Owned(name.into_owned()), Member { key, value: member.value.into_owned() })
        };
        Object(self.0.into_iter().map(member).collect())
    }
}

impl<'a> IntoIterator for Object<'a> {
    type Item = (Cow<'a, str>, Member<'a>);
    type IntoIter = indexmap::map::IntoIter<Cow<'a, str>, Member<'a>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// A client's text without the whitespace between its tokens, if it is UTF-8 and not nested too deeply.
/// Whether it is JSON is found out by parsing it.
pub(crate) fn compact(bytes: &[u8]) -> Result<String, Invalid> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| Invalid::Syntax(error.to_string()))?;
    let mut out = String::with_capacity(text.len());
    let (mut start, mut in_string, mut escaped) = (0, false, false);
    let mut glued = false;
    check_depth(text)?;
    for (i, byte) in text.bytes().enumerate() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if byte == b'"' {
            in_string = true;
        } else if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            out.push_str(&text[start..i]);
            start = i + 1;
            glued = true;
            continue;
        }
        // `1 2` must stay the error it is, and not become `12`.
        if glued && byte_continues(byte) && out.bytes().last().is_some_and(byte_continues) {
            out.push(' ');
        }
        glued = false;
    }
    out.push_str(&text[start..]);
    Ok(out)
}

/// Whether `text` stays within [`MAX_DEPTH`]; it need not be JSON.
pub(crate) fn check_depth(text: &str) -> Result<(), Invalid> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(Invalid::TooDeep);
        }
    }
    Ok(())
}

/// One member's value as written in an object's text, found in one pass and without a copy.
/// `None` inside: it is an object without that member.
pub(crate) fn peek<'a>(text: &'a str, name: &str) -> Result<Option<&'a str>, Invalid> {
    let [value] = members(text, [name])?;
    Ok(value)
}

/// Of names that come more than once the last one counts.
pub(crate) fn members<'a, const N: usize>(
    text: &'a str,
    names: [&str; N],
) -> Result<[Option<&'a str>; N], Invalid> {
    let mut found = [None; N];
    each(text, |key, value| {
        if let Some(at) = names.iter().position(|name| is_name(key, name)) {
            found[at] = Some(value);
        }
    })?;
    Ok(found)
}

fn is_name(key: &str, name: &str) -> bool {
    key.get(1..key.len() - 1) == Some(name)
        || (key.contains('\\') && decode(key).is_some_and(|key| key == name))
}

/// The members of an object as text, in order; what is inside is checked for syntax and not kept.
fn each<'a>(text: &'a str, member: impl FnMut(&'a str, &'a str)) -> Result<(), Invalid> {
    struct Each<F>(F);

    impl<'de, F: FnMut(&'de str, &'de str)> de::Visitor<'de> for Each<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON object")
        }

        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
            while let Some((key, value)) = map.next_entry::<&'de RawValue, &'de RawValue>()? {
                (self.0)(key.get(), value.get());
            }
            Ok(())
        }
    }

    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.deserialize_map(Each(member)).and_then(|()| deserializer.end()).map_err(syntax)
}

fn items(text: &str) -> Result<Vec<Node<'_>>, Invalid> {
    let items: Vec<&RawValue> = serde_json::from_str(text).map_err(syntax)?;
    Ok(items.into_iter().map(|item| Node::Text(Cow::Borrowed(item.get()))).collect())
}

fn decode(text: &str) -> Option<Cow<'_, str>> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(text).ok().map(Cow::Owned)
}

fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn byte_continues(byte: u8) -> bool {
    !matches!(byte, b'{' | b'}' | b'[' | b']' | b':' | b',' | b'"')
}

fn syntax(error: serde_json::Error) -> Invalid {
    Invalid::Syntax(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(text: &str) -> String {
        let mut root = Node::parse(text).unwrap();
        open_all(&mut root);
        let written = root.to_text();
        assert_eq!(root.len(), written.len());
        written
    }

    /// Looks inside of everything.
    fn open_all(node: &mut Node<'_>) {
        if node.is_object() {
            let object = node.object().unwrap();
            let names: Vec<String> = object.names().map(str::to_owned).collect();
            names.iter().for_each(|name| open_all(object.get_mut(name).unwrap()));
        } else if node.is_array() {
            node.array().unwrap().iter_mut().for_each(open_all);
        }
    }

    #[test]
    fn what_nobody_changes_keeps_its_bytes_even_when_looked_at() {
        for text in [
            r#"{"b":9007199254740993,"a":-0.0,"10":1e400,"2":1.10,"e":[],"o":{},"s":"\u00e9\/","\u0061b":null}"#,
            r#"[[],{},[{}],[1,"a,b]}",true]]"#,
            r#""\ud800""#,
            "0",
        ] {
            assert_eq!(round_trip(text), text);
        }
    }

    #[test]
    fn of_two_members_of_one_name_the_last_counts_at_the_first_place() {
        assert_eq!(round_trip(r#"{"a":1,"b":2,"\u0061":3}"#), r#"{"a":3,"b":2}"#);
    }

    #[test]
    fn setting_keeps_places_and_removing_keeps_order() {
        let mut object = Object::parse(r#"{"a":1,"b":2,"c":3}"#).unwrap();
        object.set("b", Node::string("x\"y"));
        object.set("d", Node::string(""));
        object.remove("a");
        assert_eq!(object.into_text(), r#"{"b":"x\"y","c":3,"d":""}"#);
    }

    #[test]
    fn compacting_drops_whitespace_between_tokens_only_and_joins_none() {
        let check = |text: &str, expect: &str| assert_eq!(compact(text.as_bytes()).unwrap(), expect);
        check(" { \"a b\" :\t[ 1 , \"\\\" \" ]\r\n} ", r#"{"a b":[1,"\" "]}"#);
        check("1 2", "1 2");
        check("[t  rue]", "[t rue]");
        check("\u{feff}{}", "{}");
        check("", "");
        assert!(matches!(compact(b"\"\xff\""), Err(Invalid::Syntax(_))));
    }

    #[test]
    fn depth_counts_brackets_outside_of_strings() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(check_depth(&nested(MAX_DEPTH)), Ok(()));
        assert_eq!(check_depth(&nested(MAX_DEPTH + 1)), Err(Invalid::TooDeep));
        assert_eq!(check_depth(&format!("\"{}\"", nested(99))), Ok(()));
        assert_eq!(check_depth(&"[]".repeat(99)), Ok(()));
    }

    #[test]
    fn malformed_text_is_refused_at_whatever_depth() {
        for text in [
            "",
            "{",
            r#"{"a":{"b":[1,]}}"#,
            r#"{"a":01}"#,
            r#"{"a":1}x"#,
            r#"{"a":"\q"}"#,
            "{\"a\":\"\n\"}",
            "nul",
        ] {
            assert!(Node::parse(text).is_err(), "{text}");
        }
        assert!(Object::parse("[1]").is_err());
    }

    #[test]
    fn peeking_finds_what_a_reader_of_the_object_would() {
        let text = r#"{"a":{"b":1},"\u0062":[2] ,"c":3,"c": 4}"#;
        for (name, expect) in [("a", Some(r#"{"b":1}"#)), ("b", Some("[2]")), ("c", Some("4")), ("d", None)] {
            assert_eq!(peek(text, name).unwrap(), expect, "{name}");
        }
        assert!(peek("[]", "a").is_err());
    }
}
