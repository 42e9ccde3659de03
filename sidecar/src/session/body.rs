//! From a request's body and content type to what its sender wants.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Query;
use axum::http::{HeaderMap, header};
use futures::StreamExt;

use super::Error;
use super::address::client;
use super::document::{Invalid, MAX_BYTES, Node, compact};
use super::merge::Merge;
use super::rule::{Change, Origin};

/// Twice a document, for what whitespace, an envelope or the words of a patch add.
pub(crate) const MAX_BODY: usize = 2 * MAX_BYTES;
/// Whoever sends more than `MAX_BODY` is read up to here, because an answer sent before is often lost.
const MAX_DRAINED: usize = 8 * 1024 * 1024;
/// Leaves Redis its time: a request is answered within two seconds.
const READ_WITHIN: Duration = Duration::from_secs(1);
const MAX_USER_AGENT: usize = 512;

pub(super) type Parameters = Query<Vec<(String, String)>>;

pub(super) fn first<'a>(parameters: &'a [(String, String)], name: &str) -> Option<&'a str> {
    parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    Absent,
    Json,
    MergePatch,
    JsonPatch,
    Other,
}

impl Media {
    pub(crate) fn of(headers: &HeaderMap) -> Media {
        let Some(value) = headers.get(header::CONTENT_TYPE) else { return Media::Absent };
        let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
        match essence.to_ascii_lowercase().as_str() {
            "application/json" => Media::Json,
            "application/merge-patch+json" => Media::MergePatch,
            "application/json-patch+json" => Media::JsonPatch,
            _ => Media::Other,
        }
    }
}

/// The body as compact text, whether or not it is JSON.
pub(crate) async fn text(body: Body) -> Result<String, Error> {
    let read = async {
        let (mut bytes, mut size) = (Vec::new(), 0);
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| Error::InvalidRequest("the body ended early".into()))?;
            size += chunk.len();
            if size > MAX_DRAINED {
                return Err(Error::TooLarge);
            }
            if size <= MAX_BODY {
                bytes.extend_from_slice(&chunk);
            }
        }
        if size > MAX_BODY { Err(Error::TooLarge) } else { Ok(bytes) }
    };
    let bytes = tokio::time::timeout(READ_WITHIN, read).await.map_err(|_| Error::SlowBody)??;
    Ok(compact(&bytes)?)
}

/// `?merge=` and the content type decide how `text` is applied; without either, `default` does.
pub(crate) fn change(
    text: String,
    media: Media,
    merge: Option<&str>,
    default: Merge,
) -> Result<Change, Error> {
    let merge = match (media, merge) {
        (Media::JsonPatch, None) => {
            return if Node::parse(&text)?.is_array() {
                Ok(Change::Patch(text))
            } else {
                Err(Invalid::NotArray("a JSON Patch").into())
            };
        }
        (Media::MergePatch, None) => Merge::Rfc7396,
        (Media::MergePatch | Media::JsonPatch, Some(_)) => {
            return Err(Error::InvalidRequest(
                "merge is for application/json; a patch says how it is applied".into(),
            ));
        }
        (_, None) => default,
        (_, Some("deep")) => Merge::Deep,
        (_, Some("shallow")) => Merge::Shallow,
        (_, Some(_)) => return Err(Error::InvalidRequest("merge must be deep or shallow".into())),
    };
    object(&text, "the change")?;
    Ok(Change::Merge(merge, text))
}

pub(crate) fn replacement(text: String) -> Result<Change, Error> {
    object(&text, "a session")?;
    Ok(Change::Replace(text))
}

fn object(text: &str, what: &'static str) -> Result<(), Error> {
    if Node::parse(text)?.is_object() { Ok(()) } else { Err(Invalid::NotObject(what).into()) }
}

/// As the original finds them out, unless there are proxies to be trusted: then it is their word alone.
pub(crate) fn origin(headers: &HeaderMap, trusted_hops: u8) -> Origin {
    let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let ip_address = if trusted_hops > 0 {
        client(headers, trusted_hops).map(|address| address.to_string())
    } else {
        let forwarded = text(header::HeaderName::from_static("x-forwarded-for"))
            .and_then(|list| list.split(',').next().map(|first| first.trim().to_owned()))
            .filter(|first| !first.is_empty());
        let real = || text(header::HeaderName::from_static("x-real-ip")).filter(|ip| !ip.is_empty());
        forwarded.or_else(real)
    };
    let ip_address = ip_address.unwrap_or_else(|| "unknown".to_owned());
    let user_agent = text(header::USER_AGENT).unwrap_or_default().chars().take(MAX_USER_AGENT).collect();
    Origin { ip_address: ip_address.chars().take(MAX_USER_AGENT).collect(), user_agent }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_forwarded_address_comes_before_the_real_ip_unless_hops_are_trusted() {
        let check_hops = |hops: u8, headers: &[(&'static str, &str)], expect: &str| {
            let headers = headers.iter().map(|(name, value)| {
                (header::HeaderName::from_static(name), header::HeaderValue::from_str(value).unwrap())
            });
            assert_eq!(origin(&headers.collect(), hops).ip_address, expect);
        };
        let check = |headers: &[(&'static str, &str)], expect: &str| check_hops(0, headers, expect);
        check(&[("x-forwarded-for", " 1.2.3.4 , 5.6.7.8"), ("x-real-ip", "9.9.9.9")], "1.2.3.4");
        check(&[("x-forwarded-for", " ,5.6.7.8"), ("x-real-ip", "9.9.9.9")], "9.9.9.9");
        check(&[], "unknown");
        check_hops(1, &[("x-forwarded-for", " 1.2.3.4 , 5.6.7.8"), ("x-real-ip", "9.9.9.9")], "5.6.7.8");
        check_hops(2, &[("x-forwarded-for", "5.6.7.8"), ("x-real-ip", "9.9.9.9")], "unknown");
    }

    #[test]
    fn the_content_type_decides_and_its_parameters_do_not() {
        let check = |value: &'static str, expect: Media| {
            let headers =
                [(header::CONTENT_TYPE, header::HeaderValue::from_static(value))].into_iter().collect();
            assert_eq!(Media::of(&headers), expect, "{value}");
        };
        check("application/json; charset=utf-8", Media::Json);
        check("Application/Merge-Patch+JSON", Media::MergePatch);
        check("application/json-patch+json", Media::JsonPatch);
        check("text/plain", Media::Other);
        assert_eq!(Media::of(&HeaderMap::new()), Media::Absent);
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_read_and_refused() {
        assert_eq!(text(Body::from(vec![b' '; MAX_BODY + 1])).await, Err(Error::TooLarge));
        assert_eq!(text(Body::from("{ \"a\" : 1 }")).await.unwrap(), r#"{"a":1}"#);
    }
}
