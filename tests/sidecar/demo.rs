//! examples/demo as one pod would run it: a real node process beside a real sidecar.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};
use tests::binaries::{output, workspace};
use tests::browser::Browser;
use tests::events::{Event, Events, Next};
use tests::eventually::{check, eventually};
use tests::http::{Answer, Http, Request};
use tests::leash::Leash;
use tests::redis::RedisServer;
use tests::scratch::Scratch;
use tests::sidecar::{Settings, Sidecar};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{RECOVERY, new_session, pair};

const START: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(15);

struct App {
    process: Leash,
    address: SocketAddr,
    http: Http,
    _dir: Scratch,
}

impl App {
    async fn start(name: &str, sidecar: &Sidecar) -> App {
        let dir = Scratch::new("demo");
        let sidecar = format!("http://{}", sidecar.app_address);
        let env = [("HOST", "127.0.0.1"), ("PORT", "0"), ("POD_NAME", name), ("HYPERPAGE_URL", &sidecar)];
        let server = workspace().join("examples/demo/server.js");
        let process = Leash::start(dir.path(), "app", &node(), [server], &env).expect("node starts");
        let port = eventually("the app listens", START, async || {
            process.alive().expect("the app runs");
            let log = process.log();
            let line: Option<Value> = log.lines().find_map(|line| serde_json::from_str(line).ok());
            line.and_then(|line| line["port"].as_u64()).ok_or(log)
        })
        .await;
        let address = format!("127.0.0.1:{port}").parse().expect("an address");
        App { process, address, http: Http::new(address), _dir: dir }
    }

    /// What its page does when somebody presses a button.
    async fn tell(&self, kind: &str) -> Answer {
        let request = Request::new("POST", format!("/{kind}"));
        self.http.send(request.header("origin", format!("http://{}", self.address))).await
    }

    async fn visit(&self, cookie: &str) -> Answer {
        self.http.send(Request::new("GET", "/visit").header("cookie", cookie)).await
    }
}

pub(crate) fn node() -> PathBuf {
    let found = output(Command::new("sh").args(["-c", "command -v node"]));
    found.expect("node is not on the PATH; apt-get install nodejs").trim().into()
}

/// The cookie of a new visitor, who has one visit.
async fn visitor(app: &App) -> String {
    let first = app.http.get("/visit").await.expect(200);
    let cookie = first.header("set-cookie").expect("a cookie").to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    assert_eq!(first.json()["visits"], 1);
    cookie.split(';').next().unwrap().to_owned()
}

/// Two apps over two sidecars and one Redis: every visit is counted once, whoever answered.
#[tokio::test]
async fn the_demo_counts_concurrent_visits_exactly() {
    let (redis, one) = pair().await;
    let two = Sidecar::start(&Settings::redis(redis.url())).await;
    let apps = [App::start("a", &one).await, App::start("b", &two).await];
    let cookie = visitor(&apps[0]).await;

    let answers = join_all((0..100).map(|n| apps[n % 2].visit(&cookie))).await;
    let (mut counts, mut pods) = (BTreeSet::new(), BTreeSet::new());
    for answer in answers {
        let visit = answer.expect(200).json();
        counts.insert(visit["visits"].as_u64().expect("a number"));
        pods.insert(visit["pod"].to_string());
    }
    assert_eq!(counts, (2..=101).collect(), "each visit has a number of its own");
    assert_eq!(pods.len(), 2);

    let looked =
        apps[1].http.send(Request::new("GET", "/session").header("cookie", &cookie)).await.expect(200).json();
    assert_eq!((&looked["visits"], &looked["pod"]), (&json!(101), &json!("b")));
    for stranger in ["hyperpage-session=no-such-session", "hyperpage-session=../../x", "other=1"] {
        assert_eq!(apps[0].visit(stranger).await.expect(200).json()["visits"], 1, "{stranger}");
    }
}

/// What is said through the app and what the sidecar says itself are the same message.
#[tokio::test]
async fn the_demo_passes_api_sessions_through_unchanged() {
    let (_redis, sidecar) = pair().await;
    let app = App::start("a", &sidecar).await;
    let id = new_session(&sidecar).await;
    let known = format!("/api/sessions?sessionId={id}");
    let json = |method: &str, path: &str, body: &str| Request::new(method, path).json(body);
    let cases = [
        Request::new("GET", &known),
        Request::new("GET", "/api/sessions?sessionId=bad!id"),
        Request::new("GET", "/api/sessions?sessionId=unknown"),
        Request::new("GET", "/api/sessions/check"),
        Request::new("GET", format!("/api/sessions?sessionId={}", "x".repeat(10_000))),
        Request::new("HEAD", &known),
        Request::new("OPTIONS", "/api/sessions"),
        Request::new("PUT", "/api/sessions"),
        json("POST", "/api/sessions", "{oops"),
        json("POST", "/api/sessions", &format!(r#"{{"sessionId":"{id}","updates":{{}}}}"#)),
        json("PATCH", &known, r#"{"uiState":{"dashboardLayout":"compact"}}"#),
        json("PATCH", &known, &"x".repeat(1 << 20)),
        Request::new("DELETE", "/api/sessions?sessionId=unknown"),
    ];
    for case in cases {
        let (direct, through) = (sidecar.app.send(case.clone()).await, app.http.send(case.clone()).await);
        let what = format!("{} {}", case.method, case.path.chars().take(60).collect::<String>());
        assert_eq!((direct.status, &direct.body), (through.status, &through.body), "{what}");
        // These two belong to a connection, the time to its moment, and how old a copy may be to that too.
        let ours = ["connection", "keep-alive", "date", "x-hyperpage-bound-ms"];
        for (name, value) in direct.headers.iter().filter(|(name, _)| !ours.contains(&name.as_str())) {
            assert_eq!(through.headers.get(name), Some(value), "{what}: {name}");
        }
        let added = through.headers.keys().filter(|name| !direct.headers.contains_key(*name));
        assert_eq!(
            added.filter(|name| !ours.contains(&name.as_str())).count(),
            0,
            "{what}: {:?}",
            through.headers
        );
    }
}

/// The load of the documents' `ab -n 1000 -c 10`, through the app.
#[tokio::test]
async fn the_demo_carries_a_thousand_requests_over_ten_connections() {
    let (_redis, sidecar) = pair().await;
    let app = App::start("a", &sidecar).await;
    let path = format!("/api/sessions?sessionId={}", new_session(&sidecar).await);
    let tenth = || async {
        for _ in 0..100 {
            app.http.get(&path).await.expect(200);
        }
    };
    join_all((0..10).map(|_| tenth())).await;
}

/// An outage is said kindly, keeps the cookie, and ends by itself; so does the sidecar's absence.
#[tokio::test]
async fn the_demo_says_an_outage_kindly_and_goes_on_after_it() {
    let (mut redis, sidecar) = pair().await;
    let app = App::start("a", &sidecar).await;
    let cookie = visitor(&app).await;

    redis.kill();
    let outage = app.visit(&cookie).await.expect(503);
    assert_eq!(outage.header("retry-after"), Some("1"));
    assert_eq!(outage.header("set-cookie"), None, "the session is out of reach, not gone");
    let page = app.http.send(Request::new("GET", "/").header("cookie", &cookie)).await.expect(503);
    assert!(page.body.contains("Your session is safe"), "{}", page.body);
    assert_eq!(page.header("retry-after"), Some("1"));

    // This Redis keeps nothing, so the visitor is new when it is back: what matters is that he is served.
    redis.restart().await;
    eventually("visits are counted again", RECOVERY, async || {
        let answer = app.visit(&cookie).await;
        if answer.status == 200 { Ok(()) } else { Err(answer) }
    })
    .await;

    sidecar.kill();
    let alone = app.http.get("/api/sessions").await.expect(503);
    assert_eq!((alone.code().as_str(), alone.header("retry-after")), ("SIDECAR_UNREACHABLE", Some("1")));
    app.http.get("/").await.expect(503);
    app.http.get("/healthz").await.expect(200);
    app.process.alive().expect("it goes on");
}

/// SIGTERM between two requests of a kept connection: the next is still answered, and told that it was the last.
#[tokio::test]
async fn the_demo_stops_without_resetting_a_kept_connection() {
    let (_redis, sidecar) = pair().await;
    let app = App::start("a", &sidecar).await;
    let cookie = visitor(&app).await;
    app.process.signal("TERM").expect("it runs");
    eventually("it has heard", STOP, async || {
        let log = app.process.log();
        if log.contains("stopping") { Ok(()) } else { Err(log) }
    })
    .await;
    let last = app.visit(&cookie).await.expect(200);
    assert_eq!((last.header("connection"), &last.json()["visits"]), (Some("close"), &json!(2)));
    assert_eq!(app.process.exited(STOP).await.expect("it ends"), 0);
    assert!(app.http.try_send(Request::new("GET", "/healthz")).await.is_err(), "nobody listens any more");
}

/// The page is whole without JavaScript, and what a visitor sends into it is text.
#[tokio::test]
async fn the_demos_page_is_whole_and_safe() {
    let (_redis, sidecar) = pair().await;
    let app = App::start("<b>pod</b>", &sidecar).await;
    let page = app.http.get("/").await.expect(200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(
        page.header("content-security-policy").is_some_and(|policy| policy.starts_with("default-src 'none'"))
    );
    assert!(page.body.contains("&lt;b&gt;pod&lt;/b&gt;") && !page.body.contains("<b>pod"), "{}", page.body);
    assert!(page.body.contains(r#"id="visits">1<"#), "{}", page.body);
    for (file, kind) in
        [("/style.css", "text/css; charset=utf-8"), ("/live.js", "text/javascript; charset=utf-8")]
    {
        assert!(page.body.contains(file));
        assert_eq!(app.http.get(file).await.expect(200).header("content-type"), Some(kind));
    }
    app.http.get("/nowhere").await.expect(404);
    app.http.get("//").await.expect(404);
    app.http.post("/visit", "{}").await.expect(405);
    app.process.alive().expect("nothing of this ends it");
}

/// What a person sees: the page counts, and its script says who answered and how often, with an empty console.
#[tokio::test]
async fn the_page_counts_and_stays_fresh_in_a_real_browser() {
    let (_redis, sidecar) = pair().await;
    let app = App::start("pod-in-a-browser", &sidecar).await;
    let mut page = Browser::open(&app.http.url("/")).await;
    page.sees("a first visit", START, "document.querySelector('#visits').textContent === '1'").await;
    let row = "document.querySelector('[data-pod=pod-in-a-browser]').innerText";
    page.sees("live.js asks again", START, &format!("/answered you \\d+ times/.test({row})")).await;
    page.press("form[action='/']", "Visit again").await;
    page.sees("a second visit", START, "document.querySelector('#visits').textContent === '2'").await;
    assert_eq!(page.console().await, [""; 0]);

    // Without the script it is one visit, and nobody has answered twice: what was asserted is the script's doing.
    let plain = app.http.get("/").await.expect(200).body;
    assert!(plain.contains(r#"id="visits">1<"#) && plain.contains("answered you once"), "{plain}");
    // Nobody runs the demo here: there is nothing to break, and no ledger.
    let text = page.text().await;
    assert!(
        !plain.contains("/control/") && !text.contains("Kill this pod") && !text.contains("Ledger"),
        "{text}"
    );
    app.http.get("/control/ledger").await.expect(404);
}

async fn entry(events: &mut Events) -> Event {
    events.expect(&["entry"], START).await
}

/// What one page says is heard by the browsers of all pods, and who comes again hears the rest, or that he missed it.
#[tokio::test]
async fn the_demos_browsers_hear_what_pods_tell_each_other_and_go_on_where_they_were() {
    let redis = RedisServer::start().await;
    let named = |name: &str| Settings::redis(redis.url()).env("POD_NAME", name);
    let (one, two) = (Sidecar::start(&named("a")).await, Sidecar::start(&named("b")).await);
    let apps = [App::start("a", &one).await, App::start("b", &two).await];
    eventually("both pods know each other", START, async || {
        let view = apps[0].http.get("/view").await.expect(200).json();
        check(view["cluster"]["pods"].as_array().is_some_and(|pods| pods.len() == 2), view)
    })
    .await;
    let foreign = Request::new("POST", "/broadcast").header("origin", "http://elsewhere.example");
    assert_eq!(apps[0].http.send(foreign).await.status, 403);
    assert_eq!(apps[0].http.send(Request::new("POST", "/broadcast")).await.status, 403);

    // Not before Redis is known long enough to have heard of all.
    eventually("both have applied it, and it is said", START, async || {
        let told = apps[1].tell("invalidate").await;
        check(told.status == 200 && told.body.contains("All 2 pods have applied it"), told)
    })
    .await;
    // Whoever listens only now has not heard what was before.
    let mut hears = Events::open(apps[1].address, "/events", None).await;
    let sent = eventually("it is heard, by whom is said", START, async || {
        let sent = apps[0].tell("broadcast").await.expect(202).json();
        let mut arrived = BTreeSet::new();
        let mut last = None;
        while let Next::Event(event) = hears.next(RECOVERY).await {
            let payload = event.json()["data"]["payload"].clone();
            if payload["arrived"] == sent["id"] {
                arrived.insert(event.json()["data"]["sourcePod"].to_string());
                last = event.id.clone();
            }
            if arrived.len() == 2 {
                return Ok((sent, last.expect("it has a position")));
            }
        }
        Err(arrived)
    });
    let (_, last) = sent.await;
    let told = apps[1].tell("invalidate").await;
    assert!(told.status == 200 && told.body.contains("All 2 pods have applied it"), "{told:?}");
    let next = entry(&mut hears).await.json();
    assert_eq!(
        (&next["data"]["type"], &next["data"]["sourcePod"]),
        (&json!("cache_invalidate"), &json!("b"))
    );

    // Without a script it is on the page, too, of any pod.
    eventually("the other pod has heard it", START, async || {
        let page = apps[0].http.get("/").await.expect(200).body;
        check(page.contains("<strong>b</strong> to all: forget <code>greeting</code>"), page)
    })
    .await;
    // Who was at one pod goes on at another, and has missed nothing.
    let mut again = Events::open(apps[0].address, "/events", Some(&last)).await;
    let first = entry(&mut again).await;
    assert_eq!(first.json()["id"], next["id"], "{first:?}");
    let mut stranger = Events::open(apps[0].address, "/events", Some("7-1")).await;
    assert_eq!(entry(&mut stranger).await.json()["name"], "missed");

    redis.command::<()>(&["FLUSHALL"]).await.unwrap();
    apps[0].tell("broadcast").await;
    eventually("a wipe is said", START, async || {
        let event = entry(&mut hears).await.json();
        check(event["name"] == "resync", event)
    })
    .await;
}

/// A browser that does not read costs no memory: it is let go.
#[tokio::test]
async fn the_demo_lets_a_browser_go_that_does_not_read() {
    let (_redis, sidecar) = pair().await;
    let app = App::start("a", &sidecar).await;
    let mut deaf = TcpStream::connect(app.address).await.unwrap();
    deaf.write_all(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut reads = Events::open(app.address, "/events", None).await;
    let large = json!({ "type": "broadcast", "payload": "x".repeat(60_000), "priority": "low" });
    for _ in 0..200 {
        sidecar.app.post("/v1/messages", &large).await.expect(202);
        entry(&mut reads).await;
    }
    let mut bytes = Vec::new();
    let all = tests::lived::timeout(START, deaf.read_to_end(&mut bytes)).await.expect("it is let go");
    assert!(all.is_err() || bytes.len() < 200 * 60_000, "all {} bytes were kept for it", bytes.len());
    app.process.alive().expect("it goes on");
}
