//! What a client is known by: the address that trusted proxies saw, and the cookie.

use tests::http::{Answer, Request};
use tests::sidecar::Sidecar;

use crate::common::{new_v1, pair, pair_with};
use crate::metrics::total;

/// As the app passes it on: what the client sent, and then what the one trusted proxy appended.
fn from(request: Request, address: &str) -> Request {
    request.header("x-forwarded-for", format!("9.9.9.9, {address}"))
}

async fn create(sidecar: &Sidecar, address: &str) -> Answer {
    sidecar.app.send(from(Request::new("POST", "/v1/sessions"), address)).await
}

#[tokio::test]
async fn one_address_makes_no_more_sessions_per_minute_than_the_limit() {
    let (_redis, sidecar) = pair_with(|settings| {
        settings.env("SESSION_TRUSTED_HOPS", "1").env("SESSION_CREATE_LIMIT_PER_MINUTE", "3")
    })
    .await;
    for _ in 0..3 {
        create(&sidecar, "1.2.3.4").await.expect(201);
    }
    let refused = create(&sidecar, "1.2.3.4").await.expect(429);
    assert_eq!(refused.code(), "TOO_MANY_SESSIONS");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=21).contains(&wait), "one in 20 s: {refused:?}");
    let refused = sidecar.app.send(from(Request::new("GET", "/api/sessions"), "1.2.3.4")).await.expect(429);
    assert!(
        refused.body.starts_with(r#"{"success":false,"error":{"code":"TOO_MANY_SESSIONS","#),
        "{refused:?}"
    );
    // What the client itself sent is nobody's address, and others are not punished.
    create(&sidecar, "1.2.3.5").await.expect(201);
    for network in 0..3 {
        create(&sidecar, &format!("[2001:db8::{network}]:443")).await.expect(201);
    }
    create(&sidecar, "2001:db8::ffff:1").await.expect(429);
    create(&sidecar, "2001:db8:0:1::1").await.expect(201);
    assert_eq!(total(&sidecar, "rate_limit_hits_total").await, 3.0);
    // Who comes past the proxies is not limited, which the log says once.
    for _ in 0..5 {
        sidecar.app.post("/v1/sessions", "{}").await.expect(201);
    }
    assert_eq!(sidecar.logs().matches("such are not limited").count(), 1, "{}", sidecar.logs());
    assert!(!sidecar.logs().contains("1.2.3.4"), "{}", sidecar.logs());
    sidecar.stop().await;
}

#[tokio::test]
async fn there_is_no_limit_for_an_address_unless_it_is_asked_for() {
    let (_redis, sidecar) = pair().await;
    for _ in 0..50 {
        create(&sidecar, "1.2.3.4").await.expect(201);
    }
    sidecar.stop().await;
}

/// Every way to use the session `id`, but for its making.
fn uses(id: &str) -> Vec<Request> {
    let path = format!("/v1/sessions/{id}");
    vec![
        Request::new("GET", &path),
        Request::new("PATCH", &path).json(r#"{"a":1}"#),
        Request::new("PUT", &path).json(r#"{"a":1,"metadata":{"ipAddress":"1.2.3.4"}}"#),
        Request::new("POST", format!("{path}/touch")),
        Request::new("GET", format!("/api/sessions?sessionId={id}")),
        Request::new("PATCH", format!("/api/sessions?sessionId={id}")).json("{}"),
        Request::new("POST", "/api/sessions").json(format!(r#"{{"sessionId":"{id}","updates":{{}}}}"#)),
        Request::new("GET", "/v1/session").header("cookie", format!("hyperpage-session={id}")),
        Request::new("DELETE", format!("/api/sessions?sessionId={id}")),
        Request::new("DELETE", path),
    ]
}

#[tokio::test]
async fn a_bound_session_is_refused_to_other_addresses_and_stays() {
    for (bind, near) in [("subnet", true), ("exact", false)] {
        let (redis, sidecar) = pair_with(|settings| {
            let settings = settings.env("SESSION_TRUSTED_HOPS", "1").env("SESSION_COOKIE", "on");
            settings.env("SESSION_BIND_IP", bind)
        })
        .await;
        let location = create(&sidecar, "1.2.3.4").await.expect(201).header("location").unwrap().to_owned();
        let id = location.rsplit('/').next().unwrap();
        let before = redis.session(id).await;
        for request in uses(id) {
            let answer = sidecar.app.send(from(request, "5.6.7.8")).await.expect(403);
            assert_eq!(answer.code(), "ADDRESS_MISMATCH", "{answer:?}");
        }
        assert_eq!(redis.session(id).await, before);
        let answer = sidecar.app.send(from(Request::new("GET", &location), "1.2.3.200")).await;
        assert_eq!(answer.status == 200, near, "{bind}: {answer:?}");
        // Its own address, and the app itself, which no proxy forwards.
        for request in uses(id).into_iter().take(8) {
            sidecar.app.send(from(request.clone(), "1.2.3.4")).await.expect(200 + status(&request));
            sidecar.app.send(request.clone()).await.expect(200 + status(&request));
        }
        sidecar.app.send(from(Request::new("GET", "/v1/sessions/no-such"), "5.6.7.8")).await.expect(404);
        sidecar.stop().await;
    }
}

/// A touch has no body to answer.
fn status(request: &Request) -> u16 {
    if request.path.ends_with("/touch") { 4 } else { 0 }
}

#[tokio::test]
async fn the_cookie_is_given_read_renewed_and_taken_back() {
    let (_redis, sidecar) =
        pair_with(|settings| settings.env("SESSION_COOKIE", "on").env("SESSION_DEFAULT_TTL_SECONDS", "600"))
            .await;
    let made = sidecar.app.post("/v1/sessions", r#"{"a":1}"#).await.expect(201);
    let id = made.header("location").unwrap().rsplit('/').next().unwrap().to_owned();
    let given = format!("hyperpage-session={id}; Path=/; Max-Age=600; HttpOnly; Secure; SameSite=Lax");
    assert_eq!(made.header("set-cookie"), Some(given.as_str()));

    let own = |method: &str, path: &str| {
        Request::new(method, path).header("cookie", format!("theme=dark; hyperpage-session={id}"))
    };
    let read = sidecar.app.send(own("GET", "/v1/session")).await.expect(200);
    assert_eq!((read.json()["a"].as_i64(), read.header("set-cookie")), (Some(1), None));
    assert_eq!(read.header("content-location"), Some(format!("/v1/sessions/{id}").as_str()));
    assert_eq!(read.etag(), made.etag());
    let unchanged = own("GET", "/v1/session").header("if-none-match", read.etag());
    sidecar.app.send(unchanged).await.expect(304);
    for request in [own("PATCH", "/v1/session").json(r#"{"a":2}"#), own("POST", "/v1/session/touch")] {
        let answer = sidecar.app.send(request).await.expect_success();
        assert_eq!(answer.header("set-cookie"), Some(given.as_str()), "{answer:?}");
    }
    // The names that the original falls back to.
    for name in ["sessionId", "session-id"] {
        let request = Request::new("GET", "/v1/session").header("cookie", format!("{name}={id}"));
        assert_eq!(sidecar.app.send(request).await.expect(200).json()["a"], 2, "{name}");
    }
    let refused = own("PATCH", "/v1/session").json("{}").header("if-match", "\"other\"");
    assert_eq!(sidecar.app.send(refused).await.expect(412).header("set-cookie"), None);

    let removed = sidecar.app.send(own("DELETE", "/v1/session")).await.expect(204);
    let taken = "hyperpage-session=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax";
    assert_eq!(removed.header("set-cookie"), Some(taken));
    let gone = sidecar.app.send(own("GET", "/v1/session")).await.expect(404);
    assert_eq!(gone.header("set-cookie"), None, "another tab may have a new one by now");
    sidecar.app.get("/v1/session").await.expect(404);
    let nonsense = Request::new("GET", "/v1/session").header("cookie", "hyperpage-session=a{b}");
    sidecar.app.send(nonsense).await.expect(404);
    sidecar.stop().await;
}

#[tokio::test]
async fn without_the_setting_there_are_no_cookies() {
    let (_redis, sidecar) = pair().await;
    let (id, _) = new_v1(&sidecar, "{}").await;
    let made = sidecar.app.post("/v1/sessions", "{}").await.expect(201);
    assert_eq!(made.header("set-cookie"), None);
    let own = Request::new("GET", "/v1/session").header("cookie", format!("hyperpage-session={id}"));
    let refused = sidecar.app.send(own).await.expect(403);
    assert_eq!(refused.code(), "COOKIES_DISABLED");
    assert!(refused.body.contains("SESSION_COOKIE=on"), "{refused:?}");
    sidecar.stop().await;
}
