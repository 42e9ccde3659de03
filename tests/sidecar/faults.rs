//! Seven faults of Redis, each met by every route: an answer in time that says what is known, a session that
//! is as it was, and service again once the fault is over.

use std::collections::BTreeSet;
use std::time::Duration;

use tests::http::{Answer, Request};
use tests::proxy::{Mode, Proxy};
use tests::redis::RedisServer;
use tests::sidecar::{Settings, Sidecar};

use crate::common::{
    PROMPT, RECOVERY, assert_outage, assert_stale_or_unchanged, assert_unchanged, new_session,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Without Redis there is only 503, and a read has no outcome that anybody could not know.
    Read,
    /// Without Redis there is only 503; what is known of the write depends on the fault.
    Write,
    /// Answers the same whatever Redis does.
    Nothing(u16),
}

/// Requests that reach the store by each route of the document, so that a new route is not forgotten.
fn samples(method: &str, path: &str, id: &str) -> Vec<(Request, Needs)> {
    let plain = |method: &str, path: String| Request::new(method, path);
    let api = format!("/api/sessions?sessionId={id}");
    let v1 = format!("/v1/sessions/{id}");
    let own = |method: &str, path: &str| {
        Request::new(method, path).header("cookie", format!("hyperpage-session={id}"))
    };
    let read = |request| vec![(request, Needs::Read)];
    let write = |request| vec![(request, Needs::Write)];
    let nothing = |request, status| vec![(request, Needs::Nothing(status))];
    match (method, path) {
        ("get", "/api/sessions") => vec![
            // Without an id it creates.
            (plain("GET", "/api/sessions".into()), Needs::Write),
            (plain("GET", api), Needs::Read),
            (plain("GET", "/api/sessions?check=ready".into()), Needs::Nothing(200)),
        ],
        ("head", "/api/sessions") => read(plain("HEAD", api)),
        ("post", "/api/sessions") => vec![
            (
                plain("POST", path.into()).json(format!(r#"{{"sessionId":"{id}","updates":{{"a":1}}}}"#)),
                Needs::Write,
            ),
            (
                plain("POST", path.into()).json(format!(r#"{{"sessionId":"{id}","sessionData":{{"a":1}}}}"#)),
                Needs::Write,
            ),
            (
                plain("POST", path.into())
                    .json(format!(r#"{{"sessionId":"{id}","updates":{{"lastActivity":1}}}}"#)),
                Needs::Write,
            ),
        ],
        ("patch", "/api/sessions") => write(plain("PATCH", api).json(r#"{"a":1}"#)),
        ("delete", "/api/sessions") => write(plain("DELETE", api)),
        ("options", "/api/sessions") => nothing(plain("OPTIONS", path.into()), 204),
        ("get" | "head", "/api/sessions/check") => nothing(plain(&method.to_uppercase(), path.into()), 200),
        ("post", "/v1/sessions") => write(plain("POST", path.into()).json("{}")),
        ("get" | "head", "/v1/sessions/{id}") => read(plain(&method.to_uppercase(), v1)),
        ("put", "/v1/sessions/{id}") => write(plain("PUT", v1).json(r#"{"a":1}"#)),
        ("patch", "/v1/sessions/{id}") => vec![
            (plain("PATCH", v1.clone()).json(r#"{"a":1}"#), Needs::Write),
            (plain("PATCH", v1.clone()).json(r#"{"a":1}"#).header("if-match", "*"), Needs::Write),
            (plain("PATCH", v1).json(r#"{"lastActivity":1}"#), Needs::Write),
        ],
        ("delete", "/v1/sessions/{id}") => write(plain("DELETE", v1)),
        ("post", "/v1/sessions/{id}/touch") => write(plain("POST", format!("{v1}/touch"))),
        ("get" | "head", "/v1/session") => read(own(&method.to_uppercase(), path)),
        ("patch", "/v1/session") => write(own("PATCH", path).json(r#"{"a":1}"#)),
        ("delete", "/v1/session") => write(own("DELETE", path)),
        ("post", "/v1/session/touch") => write(own("POST", path)),
        // Each id and each line has a status of its own.
        ("post", "/v1/sessions:batchGet") => {
            nothing(plain("POST", path.into()).json(format!(r#"{{"ids":["{id}"]}}"#)), 200)
        }
        ("post", "/v1/sessions:import") => nothing(plain("POST", path.into()).body("{}\n"), 200),
        // Without this header the last count is good enough.
        ("get" | "head", "/v1/sessions:count") => {
            read(plain(&method.to_uppercase(), path.into()).header("cache-control", "no-cache"))
        }
        ("get" | "head", "/v1/users/{id}/sessions") => {
            read(plain(&method.to_uppercase(), "/v1/users/somebody/sessions".into()))
        }
        ("delete", "/v1/users/{id}/sessions") => write(plain("DELETE", "/v1/users/somebody/sessions".into())),
        // They have faults of their own: bus_faults and leader_faults.
        (_, path) if COORDINATION.iter().any(|known| path.starts_with(known)) => Vec::new(),
        ("get", path) if ADMIN.contains(&path) => nothing(plain("GET", path.into()), 200),
        _ => panic!("{method} {path} is a new route: say here how it meets an outage"),
    }
}

const COORDINATION: [&str; 5] = ["/v1/events", "/v1/messages", "/v1/leader", "/v1/pods", "/v1/cache"];
const ADMIN: [&str; 5] = ["/startupz", "/healthz", "/readyz", "/metrics", "/openapi.json"];

/// Every route that the sidecar documents, HEAD wherever there is a GET, and those of the second port.
async fn routes(sidecar: &Sidecar) -> BTreeSet<(String, String)> {
    let document = sidecar.admin.get("/openapi.json").await.expect(200).json();
    let methods = ["get", "post", "put", "patch", "delete", "options"];
    let mut routes: BTreeSet<_> = ADMIN.iter().map(|path| ("get".to_owned(), (*path).to_owned())).collect();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in methods.iter().filter(|method| item.get(method).is_some()) {
            routes.insert(((*method).to_owned(), path.clone()));
            if *method == "get" {
                routes.insert(("head".to_owned(), path.clone()));
            }
        }
    }
    routes
}

async fn send(sidecar: &Sidecar, path: &str, request: Request) -> Answer {
    if ADMIN.contains(&path) { sidecar.admin.send(request).await } else { sidecar.app.send(request).await }
}

/// What a fault does, how it ends, and whether Redis may have executed what was sent meanwhile.
struct Fault {
    begin: fn(&Proxy),
    /// Redis' own words say that nothing was changed, so the answer says so too.
    definite: bool,
    /// Redis never got the command, so that every session must be as it was.
    unheard: bool,
    /// New connections are fine: an answer may as well be a good one.
    passing: bool,
}

impl Fault {
    /// Redis refuses in its own words.
    fn refuses(begin: fn(&Proxy)) -> Fault {
        Fault { begin, definite: true, unheard: true, passing: false }
    }
}

/// Each request meets the fault as news: the sidecar was serving the moment before.
async fn meets_every_route(fault: Fault) {
    let redis = RedisServer::start().await;
    let proxy = Proxy::start(redis.port()).await;
    let sidecar = Sidecar::start(&Settings::redis(proxy.url()).env("SESSION_COOKIE", "on")).await;
    let routes = routes(&sidecar).await;
    assert!(routes.len() >= 18, "the document lists every route: {routes:?}");
    for (method, path) in routes {
        let count = samples(&method, &path, "x").len();
        for number in 0..count {
            let id = new_session(&sidecar).await;
            let before = redis.session(&id).await.unwrap();
            let (request, needs) = samples(&method, &path, &id).swap_remove(number);
            let what = format!("{method} {path} #{number}");
            (fault.begin)(&proxy);
            let answer = send(&sidecar, &path, request).await;
            judge(&what, &fault, needs, &method, &answer);
            let status = sidecar.admin.get("/healthz").await;
            assert_eq!(status.status, 200, "{what}: {status:?}");
            proxy.set(Mode::Pass);
            sidecar.serving(RECOVERY).await;
            let after = redis.session(&id).await;
            if fault.unheard || answer.code() == "SESSION_STORE_UNAVAILABLE" {
                assert_eq!(after, Some(before), "{what}: {answer:?}");
            }
        }
    }
    sidecar.stop().await;
}

fn judge(what: &str, fault: &Fault, needs: Needs, method: &str, answer: &Answer) {
    match needs {
        Needs::Nothing(status) => assert_eq!(answer.status, status, "{what}: {answer:?}"),
        Needs::Read | Needs::Write if fault.passing && (200..300).contains(&answer.status) => {}
        Needs::Read if answer.header("x-hyperpage-stale-ms").is_some() => {
            assert_eq!(answer.status, 200, "{what}: {answer:?}")
        }
        // A HEAD has no body that could say more.
        Needs::Read | Needs::Write if method == "head" => {
            assert_eq!(answer.status, 503, "{what}: {answer:?}")
        }
        Needs::Write if !fault.definite => assert_outage(what, answer),
        Needs::Read | Needs::Write => assert_unchanged(what, answer),
    }
    assert!(answer.elapsed < PROMPT, "{what}: {answer:?}");
}

#[tokio::test]
async fn fault_loading_meets_every_route() {
    meets_every_route(Fault::refuses(|proxy| {
        proxy.set(Mode::Answer(b"-LOADING Redis is loading the dataset in memory\r\n"));
    }))
    .await;
}

#[tokio::test]
async fn fault_readonly_meets_every_route() {
    meets_every_route(Fault::refuses(|proxy| {
        proxy.set(Mode::Refuse("READONLY You can't write against a read only replica."));
    }))
    .await;
}

#[tokio::test]
async fn fault_oom_meets_every_route() {
    meets_every_route(Fault::refuses(|proxy| {
        proxy.set(Mode::Refuse("OOM command not allowed when used memory > 'maxmemory'."));
    }))
    .await;
}

#[tokio::test]
async fn fault_noreplicas_meets_every_route() {
    meets_every_route(Fault::refuses(|proxy| {
        proxy.set(Mode::Refuse("NOREPLICAS Not enough good replicas to write."));
    }))
    .await;
}

#[tokio::test]
async fn fault_garbage_meets_every_route() {
    let begin = |proxy: &Proxy| proxy.set(Mode::Answer(b"\x00\xff?garbage\r\n\r\n$-9\r\n"));
    meets_every_route(Fault { begin, definite: false, unheard: true, passing: false }).await;
}

/// Nothing is answered, and what was sent arrives when the sidecar has long given its answer.
#[tokio::test]
async fn fault_silence_meets_every_route() {
    let begin = |proxy: &Proxy| proxy.set(Mode::Stall);
    meets_every_route(Fault { begin, definite: false, unheard: false, passing: false }).await;
}

/// The peer of every connection is gone without a word; new connections find a healthy Redis.
#[tokio::test]
async fn fault_half_open_meets_every_route() {
    let begin = |proxy: &Proxy| proxy.half_open();
    meets_every_route(Fault { begin, definite: false, unheard: false, passing: true }).await;
}

#[tokio::test]
async fn fault_half_close_and_cut_are_survived() {
    let redis = RedisServer::start().await;
    let proxy = Proxy::start(redis.port()).await;
    let sidecar = Sidecar::start(&Settings::redis(proxy.url())).await;
    let id = new_session(&sidecar).await;
    for _ in 0..5 {
        proxy.half_close();
        sidecar.serving(RECOVERY).await;
        proxy.set(Mode::Cut);
        let answer = sidecar.app.get(&format!("/api/sessions?sessionId={id}")).await;
        assert_stale_or_unchanged("cut", &answer);
        proxy.set(Mode::Pass);
        sidecar.serving(RECOVERY).await;
        sidecar.app.get(&format!("/api/sessions?sessionId={id}")).await.expect(200);
    }
    sidecar.stop().await;
}

/// A Redis that is really full refuses writes; reads and logging out go on.
#[tokio::test]
async fn out_of_memory_for_real_refuses_writes_and_lets_people_log_out() {
    let redis = RedisServer::with(&["--save", "", "--maxmemory-policy", "noeviction"]).await;
    let sidecar = Sidecar::start(&Settings::redis(redis.url())).await;
    let (id, other) = (new_session(&sidecar).await, new_session(&sidecar).await);
    redis.command::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await.unwrap();
    assert_unchanged("create", &sidecar.app.get("/api/sessions").await);
    let patch = sidecar.app.patch(&format!("/v1/sessions/{id}"), r#"{"a":1}"#).await;
    assert_unchanged("patch", &patch);
    sidecar.app.get(&format!("/v1/sessions/{id}")).await.expect(200);
    sidecar.app.send(Request::new("POST", format!("/v1/sessions/{id}/touch"))).await.expect_success();
    sidecar.app.delete(&format!("/v1/sessions/{other}")).await.expect_success();
    assert_eq!(redis.session(&other).await, None);
    redis.command::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await.unwrap();
    sidecar.app.patch(&format!("/v1/sessions/{id}"), r#"{"a":1}"#).await.expect(200);
    sidecar.stop().await;
}

#[tokio::test]
async fn too_few_replicas_for_real_refuse_writes_and_reads_go_on() {
    let redis = RedisServer::start().await;
    let sidecar = Sidecar::start(&Settings::redis(redis.url())).await;
    let id = new_session(&sidecar).await;
    redis.command::<()>(&["CONFIG", "SET", "min-replicas-to-write", "1"]).await.unwrap();
    let patch = sidecar.app.patch(&format!("/v1/sessions/{id}"), r#"{"a":1}"#).await;
    assert_unchanged("patch", &patch);
    sidecar.app.get(&format!("/v1/sessions/{id}")).await.expect(200);
    redis.command::<()>(&["CONFIG", "SET", "min-replicas-to-write", "0"]).await.unwrap();
    sidecar.app.patch(&format!("/v1/sessions/{id}"), r#"{"a":1}"#).await.expect(200);
    sidecar.stop().await;
}

/// Bytes that are no session, and a key of another type, are said to be unreadable, never absent.
#[tokio::test]
async fn an_unreadable_session_is_502_and_never_absent() {
    let (redis, sidecar) = crate::common::pair().await;
    let hash = ["HSET", "hyperpage:session:hash", "a", "1"];
    redis.command::<()>(&hash).await.unwrap();
    for (id, bytes) in [("text", "{oops"), ("array", "[1]"), ("number", "7"), ("empty", "")] {
        redis.command::<()>(&["SET", &format!("hyperpage:session:{id}"), bytes]).await.unwrap();
    }
    for id in ["hash", "text", "array", "number", "empty"] {
        for path in [format!("/api/sessions?sessionId={id}"), format!("/v1/sessions/{id}")] {
            for request in [Request::new("GET", &path), Request::new("PATCH", &path).json(r#"{"a":1}"#)] {
                let answer = sidecar.app.send(request).await;
                assert_eq!(
                    (answer.status, answer.code().as_str()),
                    (502, "SESSION_UNREADABLE"),
                    "{id}: {answer:?}"
                );
            }
        }
    }
    let kept: String = redis.session("text").await.unwrap();
    assert_eq!(kept, "{oops");
    sidecar.stop().await;
}

/// The outage is the same seen from /readyz: still 200, so that the pod stays in the Service, and it says so.
#[tokio::test]
async fn readyz_stays_200_in_an_outage_and_says_so() {
    let redis = RedisServer::start().await;
    let proxy = Proxy::start(redis.port()).await;
    let sidecar = Sidecar::start(&Settings::redis(proxy.url())).await;
    let well = sidecar.admin.get("/readyz").await.expect(200);
    proxy.set(Mode::Cut);
    tests::eventually::eventually("/readyz tells of the outage", Duration::from_secs(3), async || {
        let ill = sidecar.admin.get("/readyz").await.expect(200);
        tests::eventually::check(ill.body != well.body, ill)
    })
    .await;
    for path in ["/api/sessions?check=ready", "/api/sessions/check"] {
        sidecar.app.get(path).await.expect(200);
    }
    assert!(sidecar.logs().contains("Redis not connected"), "{}", sidecar.logs());
    sidecar.stop().await;
}
