//! `traceparent` (W3C Trace Context): whose request a line of the log belongs to. Ours is the last hop that has one,
//! so none is made and none is passed on.

use axum::http::HeaderMap;
use tracing::Span;

/// Around all that is done for a request. It is told at every level that anything is told at.
pub(crate) fn span(headers: &HeaderMap) -> Span {
    match trace_id(headers) {
        Some(trace_id) => tracing::error_span!("request", trace_id),
        None => Span::none(),
    }
}

/// Of one well-formed header: a caller that repeats it or gets it wrong has no trace.
fn trace_id(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all("traceparent").iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (version, rest) = value.to_str().ok()?.split_once('-')?;
    let (trace_id, rest) = rest.split_once('-')?;
    let (parent_id, flags) = rest.split_once('-')?;
    // A later version may say more behind its flags.
    let flags = if version == "00" { flags } else { flags.split('-').next()? };
    let known = is_hex(version, 2) && version != "ff" && is_hex(flags, 2);
    (known && is_id(trace_id, 32) && is_id(parent_id, 16)).then_some(trace_id)
}

fn is_id(text: &str, length: usize) -> bool {
    is_hex(text, length) && text.bytes().any(|byte| byte != b'0')
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn of(values: &[String]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("traceparent", value.parse().unwrap());
        }
        trace_id(&headers).map(str::to_owned)
    }

    #[test]
    fn a_trace_is_taken_from_a_well_formed_header_and_from_no_other() {
        let parent = "00f067aa0ba902b7";
        let good = format!("00-{TRACE}-{parent}-01");
        assert_eq!(of(std::slice::from_ref(&good)).as_deref(), Some(TRACE));
        assert_eq!(of(&[format!("01-{TRACE}-{parent}-01-what-comes")]).as_deref(), Some(TRACE));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[good.clone(), good.clone()]), None);
        for bad in [
            format!("{good}-more"),
            good.to_uppercase(),
            format!(" {good}x"),
            format!("ff-{TRACE}-{parent}-01"),
            format!("0-{TRACE}-{parent}-01"),
            format!("00-{}-{parent}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{}-{parent}-01", &TRACE[1..]),
            format!("00-{TRACE}-{parent}"),
            format!("00-{TRACE}-{parent}-0g"),
            "session\u{fc}".to_owned(),
            String::new(),
        ] {
            assert_eq!(of(std::slice::from_ref(&bad)), None, "{bad}");
        }
    }
}
