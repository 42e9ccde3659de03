//! How a request that failed is told: one value, two renderings, logged once, where it is rendered.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// What the caller is told, and what only the log is told.
#[derive(Debug)]
pub struct Problem {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: Cow<'static, str>,
    /// For the log; it may name what is none of the caller's business.
    pub cause: Option<String>,
    /// When to come again.
    pub retry_after_s: Option<u64>,
    /// What is there instead of what the caller meant.
    pub current: Option<Current>,
}

#[derive(Debug)]
pub struct Current {
    /// As the header has it.
    pub etag: String,
    /// JSON.
    pub document: String,
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Problem {
        let retry_after_s = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(1);
        Problem { status, code, message: message.into(), cause: None, retry_after_s, current: None }
    }

    /// The original's envelope, key order included.
    pub fn into_envelope(self) -> Response {
        let (code, message) = (self.code, serde_json::Value::from(&*self.message));
        let body = format!(r#"{{"success":false,"error":{{"code":"{code}","message":{message}}}}}"#);
        self.respond("application/json", body)
    }

    /// RFC 9457, with the same code as an extension member.
    pub fn into_problem_details(self) -> Response {
        let (code, detail) = (self.code, serde_json::Value::from(&*self.message));
        let (status, title) = (self.status.as_u16(), self.status.canonical_reason().unwrap_or("Error"));
        let mut body = format!(
            r#"{{"type":"about:blank","title":"{title}","status":{status},"detail":{detail},"code":"{code}"}}"#
        );
        if let Some(Current { document, .. }) = &self.current {
            body.pop();
            body.extend([r#","current":"#, document, "}"]);
        }
        self.respond("application/problem+json", body)
    }

    fn respond(self, content_type: &'static str, body: String) -> Response {
        self.log();
        let headers = [(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-store")];
        let etag = self.current.map(|current| [(header::ETAG, current.etag)]);
        let mut response = (self.status, headers, etag, body).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        // The rest of the body may be on its way still (RFC 9110 §15.5.9).
        if self.status == StatusCode::REQUEST_TIMEOUT {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// An outage is told once by the supervisor of the connection, and counted per request; a line for each
    /// request would bury it. What only a person can mend is told each time.
    fn log(&self) {
        let Problem { status, code, message, cause, retry_after_s: _, current: _ } = self;
        let cause = cause.as_deref().unwrap_or_default();
        match *status {
            StatusCode::INTERNAL_SERVER_ERROR | StatusCode::BAD_GATEWAY => {
                tracing::warn!(code, status = status.as_u16(), cause, "{message}");
            }
            _ => tracing::debug!(code, status = status.as_u16(), cause, "{message}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn text(response: Response) -> (u16, String, String) {
        let status = response.status().as_u16();
        let content_type = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
        let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        (status, content_type, String::from_utf8(body.to_vec()).unwrap())
    }

    fn problem() -> Problem {
        let message = "say \"when\"";
        Problem {
            cause: Some("secret".to_owned()),
            ..Problem::new(StatusCode::SERVICE_UNAVAILABLE, "WAIT", message)
        }
    }

    #[tokio::test]
    async fn the_envelope_is_the_originals() {
        let (status, content_type, body) = text(problem().into_envelope()).await;
        assert_eq!((status, content_type.as_str()), (503, "application/json"));
        assert_eq!(body, r#"{"success":false,"error":{"code":"WAIT","message":"say \"when\""}}"#);
    }

    #[tokio::test]
    async fn problem_details_carry_the_same_code_and_never_the_cause() {
        let response = problem().into_problem_details();
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        let (status, content_type, body) = text(response).await;
        assert_eq!((status, content_type.as_str()), (503, "application/problem+json"));
        assert_eq!(
            body,
            r#"{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"say \"when\"","code":"WAIT"}"#
        );
    }
}
