//! `/v1/session`: the session of the browser whose Cookie header the app passes on. What is in Set-Cookie here, the app
//! passes back.

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use axum::routing::{get, post};

use super::body::Parameters;
use super::v1::{self, Id, refuse};
use super::{Error, SessionId, Sessions};
use crate::app::App;

/// Ours, and those that the original reads when it is missing.
const NAMES: [&str; 3] = ["hyperpage-session", "sessionId", "session-id"];

pub fn router() -> Router<App> {
    Router::new()
        .route("/v1/session", get(read).patch(update).delete(remove))
        .route("/v1/session/touch", post(touch))
}

async fn read(State(app): State<App>, Own(id): Own, headers: HeaderMap) -> Response {
    let location = location(&id);
    located(v1::read(State(app), Id(id), headers).await, location)
}

async fn update(
    State(app): State<App>,
    Own(id): Own,
    parameters: Parameters,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let (sessions, location, kept) = (app.sessions.clone(), location(&id), id.clone());
    let response = v1::update(State(app), Id(id), parameters, headers, body).await;
    located(sessions.issued(&kept, response), location)
}

async fn touch(State(app): State<App>, Own(id): Own, headers: HeaderMap) -> Response {
    let (sessions, location, kept) = (app.sessions.clone(), location(&id), id.clone());
    let response = v1::touch(State(app), Id(id), headers).await;
    located(sessions.issued(&kept, response), location)
}

async fn remove(State(app): State<App>, Own(id): Own, headers: HeaderMap) -> Response {
    set(v1::remove(State(app), Id(id), headers).await, &cookie("", 0))
}

impl Sessions {
    /// The answer, and with it the cookie, whose life begins anew as the session's did.
    pub(super) fn issued(&self, id: &SessionId, response: Response) -> Response {
        if !self.0.guards.cookie {
            return response;
        }
        set(response, &cookie(id.as_str(), self.0.store.life_ms() / 1000))
    }
}

fn cookie(value: &str, seconds: u64) -> String {
    format!("{}={value}; Path=/; Max-Age={seconds}; HttpOnly; Secure; SameSite=Lax", NAMES[0])
}

/// Only of what was done: an error says nothing about the session.
fn set(mut response: Response, cookie: &str) -> Response {
    if response.status().is_success() {
        let value = HeaderValue::from_str(cookie).expect("an id is plain text");
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    response
}

fn location(id: &SessionId) -> HeaderValue {
    HeaderValue::from_str(&format!("/v1/sessions/{id}")).expect("an id is plain text")
}

/// The cookie is not for the browser's scripts, and the app may want to know whose session it is.
fn located(mut response: Response, location: HeaderValue) -> Response {
    if response.status().is_success() {
        response.headers_mut().insert(header::CONTENT_LOCATION, location);
    }
    response
}

/// The session that a cookie names.
struct Own(SessionId);

impl FromRequestParts<App> for Own {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Own, Response> {
        let id = if app.sessions.0.guards.cookie {
            named(&parts.headers).ok_or(Error::NotFound)
        } else {
            Err(Error::CookiesDisabled)
        };
        let bound = async {
            let id = id?;
            app.sessions.bound(&id, &parts.headers).await?;
            Ok(Own(id))
        };
        bound.await.map_err(|error| refuse(&app.sessions, error))
    }
}

/// The first that is an id, in the order of `NAMES`. Who has none, or nonsense, has no session.
fn named(headers: &HeaderMap) -> Option<SessionId> {
    let of = |name: &str| {
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let mut ids = pairs.filter(|(known, _)| *known == name);
        ids.find_map(|(_, value)| SessionId::parse(value.trim_matches('"')).ok())
    };
    NAMES.into_iter().find_map(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others_and_ours_comes_first() {
        let of = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::COOKIE, line.parse().unwrap());
            }
            named(&headers).map(|id| id.to_string())
        };
        assert_eq!(of(&["a=b; sessionId=old; hyperpage-session=new"]).as_deref(), Some("new"));
        assert_eq!(of(&["a=b", "session-id=\"x\""]).as_deref(), Some("x"));
        assert_eq!(of(&["hyperpage-session=b!d; sessionId=old"]).as_deref(), Some("old"));
        assert_eq!(of(&["hyperpage-session=; hyperpage-session=x"]).as_deref(), Some("x"));
        for none in
            ["", "hyperpage-session", "Hyperpage-Session=x", "xhyperpage-session=x", "a=hyperpage-session"]
        {
            assert_eq!(of(&[none]), None, "{none}");
        }
    }

    #[test]
    fn the_cookie_is_for_the_server_alone_and_lives_as_long_as_the_session() {
        assert_eq!(
            cookie("a-b", 86_400),
            "hyperpage-session=a-b; Path=/; Max-Age=86400; HttpOnly; Secure; SameSite=Lax"
        );
    }
}
