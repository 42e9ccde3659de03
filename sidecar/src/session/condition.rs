//! `If-Match` and `If-None-Match` (RFC 9110 §13.1), judged against the digest of a session's bytes.

use axum::http::{HeaderMap, HeaderName, header};

use super::outage::Asks;
use super::{Error, Text};

/// What a request says about the version it means; the default says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Condition {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
    /// A reader wants what Redis says now.
    fresh: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Tags {
    Any,
    List(Vec<Tag>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Tag {
    weak: bool,
    opaque: String,
}

impl Condition {
    pub(crate) fn of(headers: &HeaderMap) -> Result<Condition, Error> {
        Ok(Condition {
            if_match: tags(headers, header::IF_MATCH)?,
            if_none_match: tags(headers, header::IF_NONE_MATCH)?,
            fresh: fresh(headers),
        })
    }

    /// What an outage cannot answer.
    pub(crate) fn asks(&self) -> Asks {
        let Condition { if_match, if_none_match, fresh: _ } = self;
        Asks { conditional: if_match.is_some() || if_none_match.is_some(), ..Asks::default() }
    }

    /// What was known last may answer it, marked as such.
    pub(crate) fn takes_stale(&self) -> bool {
        self.if_match.is_none() && !self.fresh
    }

    /// Nothing but how fresh an answer shall be.
    pub(crate) fn freshness(headers: &HeaderMap) -> Condition {
        Condition { fresh: fresh(headers), ..Condition::default() }
    }

    /// It is served from nothing that was read before.
    pub(crate) fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Nothing is said about the session's bytes, so any will do.
    pub(crate) fn is_unconditional(&self) -> bool {
        self.if_none_match.is_none() && matches!(self.if_match, None | Some(Tags::Any))
    }

    /// Whether a write may go on over these bytes.
    pub(crate) fn check(&self, text: &Text) -> Result<(), Error> {
        match self.judge(text)? {
            false => Ok(()),
            true => Err(failed(text)),
        }
    }

    /// Whether a reader has these bytes already (304).
    pub(crate) fn read(&self, text: &Text) -> Result<bool, Error> {
        self.judge(text)
    }

    /// Whether these bytes are known; they must be those that are meant.
    fn judge(&self, text: &Text) -> Result<bool, Error> {
        if self.if_match.is_none() && self.if_none_match.is_none() {
            return Ok(false);
        }
        let digest = text.digest();
        if self.is_meant(digest) { Ok(self.is_known(digest)) } else { Err(failed(text)) }
    }

    /// If-Match compares strongly: a weak tag matches nothing.
    fn is_meant(&self, digest: &str) -> bool {
        match &self.if_match {
            None | Some(Tags::Any) => true,
            Some(Tags::List(tags)) => tags.iter().any(|tag| !tag.weak && tag.opaque == digest),
        }
    }

    /// If-None-Match compares weakly.
    fn is_known(&self, digest: &str) -> bool {
        match &self.if_none_match {
            None => false,
            Some(Tags::Any) => true,
            Some(Tags::List(tags)) => tags.iter().any(|tag| tag.opaque == digest),
        }
    }

    /// What an error that met others too means to whoever set this condition.
    pub(crate) fn tells(&self, error: Error) -> Error {
        if error == Error::NotFound { self.absent() } else { error }
    }

    /// What a missing session means: whoever names a version is told that it is not that one.
    pub(crate) fn absent(&self) -> Error {
        if self.if_match.is_some() { Error::PreconditionFailed { current: None } } else { Error::NotFound }
    }
}

fn fresh(headers: &HeaderMap) -> bool {
    let says = |name: HeaderName, words: &[&str]| {
        let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        let mut said = values.flat_map(|value| value.split(',')).map(str::trim);
        said.any(|said| words.iter().any(|word| said.eq_ignore_ascii_case(word)))
    };
    says(header::CACHE_CONTROL, &["no-cache", "max-age=0"])
        || says(HeaderName::from_static("x-consistency"), &["strong"])
        || headers.contains_key("if-version-at-least")
}

fn failed(text: &Text) -> Error {
    Error::PreconditionFailed { current: Some(text.clone()) }
}

fn tags(headers: &HeaderMap, name: HeaderName) -> Result<Option<Tags>, Error> {
    let mut list = Vec::new();
    let mut present = false;
    for value in headers.get_all(&name) {
        present = true;
        let text = value.to_str().unwrap_or("\u{fffd}").trim();
        if text == "*" {
            return Ok(Some(Tags::Any));
        }
        parse(text, &mut list).ok_or_else(|| {
            Error::InvalidRequest(format!("{name} must be * or a list of quoted ETags").into())
        })?;
    }
    Ok(present.then_some(Tags::List(list)))
}

/// `"a", W/"b"`; a tag may hold commas, so it is not split at them.
fn parse(mut text: &str, list: &mut Vec<Tag>) -> Option<()> {
    loop {
        text = text.trim_start_matches([' ', '\t', ',']);
        if text.is_empty() {
            return Some(());
        }
        let (weak, quoted) = text.strip_prefix("W/").map_or((false, text), |rest| (true, rest));
        let (opaque, rest) = quoted.strip_prefix('"')?.split_once('"')?;
        list.push(Tag { weak, opaque: opaque.to_owned() });
        text = rest.trim_start_matches([' ', '\t']);
        if !text.is_empty() && !text.starts_with(',') {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `abc`.
    const TAG: &str = "a9993e364706816aba3e25717850c26c9cd0d89d";

    fn condition(name: HeaderName, values: &[&str]) -> Result<Condition, Error> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(&name, value.parse().unwrap());
        }
        Condition::of(&headers)
    }

    #[test]
    fn if_match_compares_strongly_over_lists_and_stars() {
        let cases: [(&[&str], bool); 8] = [
            (&[r#""TAG""#], true),
            (&[r#"W/"TAG""#], false),
            (&[r#""x,y" , "TAG""#], true),
            (&[r#""x""#, r#""TAG""#], true),
            (&["*"], true),
            (&[r#""ab""#], false),
            (&[r#""TAGS""#], false),
            (&[""], false),
        ];
        let abc = Text::from("abc".to_owned());
        for (values, passes) in cases {
            let values = values.iter().map(|value| value.replace("TAG", TAG)).collect::<Vec<_>>();
            let values: Vec<_> = values.iter().map(String::as_str).collect();
            let condition = condition(header::IF_MATCH, &values).unwrap();
            assert_eq!(condition.check(&abc).is_ok(), passes, "{values:?}");
            assert_eq!(condition.absent(), Error::PreconditionFailed { current: None });
        }
        assert_eq!(Condition::default().check(&abc), Ok(()));
        assert_eq!(Condition::default().absent(), Error::NotFound);
    }

    #[test]
    fn if_none_match_compares_weakly() {
        let abc = Text::from("abc".to_owned());
        for (value, known) in [(r#""TAG""#, true), (r#"W/"TAG""#, true), ("*", true), (r#""x""#, false)] {
            let condition = condition(header::IF_NONE_MATCH, &[&value.replace("TAG", TAG)]).unwrap();
            assert_eq!(condition.read(&abc), Ok(known), "{value}");
            assert_eq!(condition.check(&abc).is_err(), known, "{value}");
        }
    }

    #[test]
    fn a_reader_may_want_what_redis_says_now() {
        for (name, value, expected) in [
            ("cache-control", "no-cache", true),
            ("cache-control", "private, No-Cache", true),
            ("cache-control", "max-age=0", true),
            ("cache-control", "no-transform", false),
            ("x-consistency", "strong", true),
            ("x-consistency", "weak", false),
            ("if-version-at-least", "7", true),
            ("pragma", "no-cache", false),
        ] {
            let condition = condition(HeaderName::from_static(name), &[value]).unwrap();
            assert_eq!(condition.is_fresh(), expected, "{name}: {value}");
            assert_eq!(condition.read(&Text::default()), Ok(false));
        }
    }

    #[test]
    fn a_tag_without_quotes_is_a_mistake_and_not_a_mismatch() {
        for bad in ["abc", r#""abc"#, r#""a" "b""#, r#"w/"a""#] {
            assert!(matches!(condition(header::IF_MATCH, &[bad]), Err(Error::InvalidRequest(_))), "{bad}");
        }
    }
}
