//! `make demo` itself: what its buttons break, what its ledger says of it, and that it leaves nothing.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::binaries::{ours, output, workspace};
use tests::browser::Browser;
use tests::eventually::{check, eventually};
use tests::http::{Answer, Http, Request};
use tests::leash::Leash;
use tests::scratch::Scratch;

use crate::demo::node;

const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(30);
/// For what happens within seconds, on a machine with other things to do.
const SOON: Duration = Duration::from_secs(60);
/// Between two presses of a button; an invalidation is answered within two seconds.
const AGAIN: Duration = Duration::from_secs(6);
/// How long the button cuts.
const CUT: Duration = Duration::from_secs(5);

struct Demo {
    process: Leash,
    http: Http,
    origin: String,
    temporary: Scratch,
    _dir: Scratch,
}

impl Demo {
    /// As demo.sh runs it when it has built the sidecar, which cargo has done for us.
    async fn start(env: &[(&str, &str)]) -> Demo {
        let (dir, temporary) = (Scratch::new("demo"), Scratch::new("demo-tmp"));
        let (program, sidecar) = (workspace().join("examples/demo/control.js"), ours("hyperpage-sidecar"));
        let place = temporary.path().to_string_lossy().into_owned();
        let env = [&[("DEMO_PORT", "0"), ("TMPDIR", &place)], env].concat();
        let process =
            Leash::start(dir.path(), "demo", &node(), [program, sidecar], &env).expect("node starts");
        let origin = eventually("the demo is up", START, async || {
            process.alive().expect("it runs");
            let log = process.log();
            let origin = log.split_once("The demo:  ").and_then(|(_, rest)| rest.split_once('\n'));
            let origin = origin.filter(|_| log.contains("Ctrl-C stops")).map(|(origin, _)| origin.to_owned());
            origin.ok_or(log)
        })
        .await;
        let http = Http::new(origin.trim_start_matches("http://").parse().expect("an address"));
        Demo { process, http, origin, temporary, _dir: dir }
    }

    async fn ledger(&self) -> Value {
        self.http.get("/control/ledger").await.expect(200).json()
    }

    /// Waits until the ledger says so.
    async fn until(&self, what: &str, within: Duration, holds: impl Fn(&Value) -> bool) -> Value {
        eventually(what, within, async || {
            let ledger = self.ledger().await;
            if holds(&ledger) { Ok(ledger) } else { Err(ledger) }
        })
        .await
    }

    /// The page, by this name for the machine; it counts a visit, which a busy one may ask to be repeated.
    async fn page(&self, host: &str) -> String {
        eventually("the page", SOON, async || {
            let answer = self.http.send(Request::new("GET", "/").header("host", host)).await;
            if answer.status == 200 { Ok(answer.body) } else { Err(answer) }
        })
        .await
    }

    async fn token(&self) -> String {
        let page = self.page(self.origin.trim_start_matches("http://")).await;
        let token = page.split_once(r#"name="token" value=""#).and_then(|(_, rest)| rest.split_once('"'));
        token.unwrap_or_else(|| panic!("the page has no token: {page}")).0.to_owned()
    }

    async fn post(&self, action: &str, form: &str) -> Answer {
        let request = Request::new("POST", format!("/control/{action}")).header("origin", &self.origin);
        self.http.send(request.body(form)).await
    }

    async fn kill(&self, token: &str, pod: &str) {
        self.post("kill", &format!("token={token}&pod={pod}")).await.expect(202);
    }

    /// Process of the app with this name.
    fn app(&self, name: &str) -> String {
        let log = self.process.log();
        let line = log.lines().find(|line| line.trim_start().starts_with(name)).expect("it is listed");
        let pid = line.split_once("process ").and_then(|(_, rest)| rest.split_once(','));
        pid.expect("its process is listed").0.to_owned()
    }

    /// Of all that it has said to have started.
    fn pids(&self) -> Vec<String> {
        let log = self.process.log();
        let pids = log.split("process ").skip(1).filter_map(|rest| rest.split(['\n', ',']).next());
        pids.map(str::to_owned).collect()
    }

    async fn assert_gone(&self) {
        let pids = self.pids();
        assert_eq!(pids.len(), 7, "{pids:?}");
        let main = self.temporary.path();
        eventually("nothing is left", STOP, async || {
            let left: Vec<_> = pids.iter().filter(|pid| Path::new("/proc").join(pid).exists()).collect();
            let files: Vec<_> = std::fs::read_dir(main).expect("ours").flatten().collect();
            check(left.is_empty() && files.is_empty(), (left, files))
        })
        .await;
    }
}

fn count(ledger: &Value, name: &str) -> u64 {
    ledger[name].as_u64().expect("a count")
}

fn runs(ledger: &Value, pod: &str, starts: u64) -> bool {
    let pods = ledger["pods"].as_array().expect("a list");
    pods.iter().any(|it| it["pod"] == pod && it["runs"] == true && it["starts"] == starts)
}

async fn leader(demo: &Demo) -> String {
    let ledger = demo.until("somebody leads", SOON, |ledger| ledger["leader"]["id"].is_string()).await;
    ledger["leader"]["id"].as_str().unwrap().to_owned()
}

/// The pod that led comes back, another leads, and nothing that was acknowledged is lost, by this or by the cut.
#[tokio::test]
async fn the_demos_ledger_loses_nothing_when_the_leader_is_killed_and_redis_is_cut_off() {
    let demo = Demo::start(&[]).await;
    let token = demo.token().await;
    let first = leader(&demo).await;
    let before = demo.until("writes are read back", SOON, |ledger| count(ledger, "readBack") > 5).await;
    demo.kill(&token, &first).await;
    let moved = demo.until("another leads, and the pod is back", SOON, |ledger| {
        ledger["leader"]["id"] != *first && runs(ledger, &first, 2)
    });
    let moved = moved.await;
    assert!(moved["leader"]["term"].as_u64() > before["leader"]["term"].as_u64(), "{moved}");
    assert!(moved["leader"]["gapMaxMs"].as_f64().unwrap() > 0.0, "{moved}");
    eventually("all three are on the page", SOON, async || {
        let view = demo.http.get("/view").await.expect(200).json();
        check(view["cluster"]["pods"].as_array().is_some_and(|pods| pods.len() == 3), view)
    })
    .await;

    demo.post("cut", &format!("token={token}")).await.expect(202);
    let cut = demo
        .until("reads are marked, and writes wait", CUT + SOON, |ledger| {
            count(ledger, "staleReads") > 0 && count(ledger, "journaled") > 0
        })
        .await;
    assert!(count(&cut, "staleMaxMs") > 0, "{cut}");
    let after = demo
        .until("what waited is in Redis, and writes go on", CUT + SOON, |ledger| {
            count(ledger, "applied") >= count(&cut, "journaled")
                && count(ledger, "readBack") > count(&cut, "acknowledged") + 5
        })
        .await;
    assert_eq!((count(&after, "lost"), count(&after, "cutForMs")), (0, 0), "{after}");
    println!("{after}");
}

/// What no living pod holds is lost with Redis, and the ledger says how much that was.
#[tokio::test]
async fn the_demos_ledger_says_what_a_wipe_has_cost() {
    let demo = Demo::start(&[("HYPERPAGE_REPAIR_WINDOW_MS", "1000")]).await;
    let token = demo.token().await;
    let form = format!("token={token}");
    let before = demo.until("writes are read back", SOON, |ledger| count(ledger, "readBack") > 5).await;
    demo.post("wipe", &form).await.expect(202);
    let wiped = demo
        .until("it goes on after a wipe", SOON, |ledger| {
            count(ledger, "acknowledged") > count(&before, "acknowledged") + 10
                && count(ledger, "readBack") > count(&before, "readBack") + 5
        })
        .await;
    for pod in ["app-1", "app-2", "app-3"] {
        demo.kill(&token, pod).await;
    }
    let known = count(&demo.ledger().await, "readBack");
    demo.post("wipe", &form).await.expect(202);
    let lost = demo.until("what nobody holds is lost", SOON, |ledger| count(ledger, "lost") >= known).await;
    let more = demo
        .until("it goes on", SOON, |ledger| count(ledger, "readBack") > count(&lost, "readBack") + 5)
        .await;
    assert!(count(&more, "acknowledged") > count(&more, "lost"), "{more}");
    println!("a wipe: {wiped}\na wipe while all pods are dead: {more}");
}

/// It kills processes: nobody but the page of this origin, with its token, under a name of this machine, is obeyed.
#[tokio::test]
async fn the_demos_buttons_obey_nobody_but_their_page() {
    let demo = Demo::start(&[]).await;
    let token = demo.token().await;
    let form = format!("token={token}&pod=app-1");
    let kill = |header: &str, value: &str| {
        Request::new("POST", "/control/kill").header(header, value).body(form.clone())
    };
    let own = demo.origin.as_str();
    let port = own.rsplit_once(':').unwrap().1;
    let rebound = format!("elsewhere.example:{port}");
    for (request, status) in [
        (Request::new("POST", "/control/kill").body(form.clone()), 403),
        (kill("origin", "http://elsewhere.example"), 403),
        (kill("origin", "null"), 403),
        (kill("host", &rebound).header("origin", format!("http://{rebound}")), 421),
        (Request::new("GET", "/control/ledger").header("host", &rebound), 421),
        (Request::new("GET", "/control/kill"), 405),
        (Request::new("POST", "/control/constructor").header("origin", own).body(form.clone()), 404),
    ] {
        let what = format!("{request:?}");
        assert_eq!(demo.http.send(request).await.status, status, "{what}");
    }
    for (form, status) in [
        ("pod=app-1".to_owned(), 403),
        (format!("token={}&pod=app-1", "0".repeat(32)), 403),
        (format!("token={token}&pod=app-9"), 400),
        ("x".repeat(10_000), 400),
    ] {
        assert_eq!(demo.post("kill", &form).await.status, status, "{form}");
    }
    let page = demo.page(&rebound).await;
    assert!(!page.contains(&token) && !page.contains("/control/"), "{page}");
    for pod in ["app-1", "app-2", "app-3"] {
        assert!(runs(&demo.ledger().await, pod, 1), "nobody was obeyed");
    }
    // Without a script the buttons are forms, after which the page is shown again.
    let mut plain = Browser::without_scripts(own).await;
    plain.sees("the pods", SOON, "document.querySelectorAll('#pods li').length === 3").await;
    plain.press("#pods li[data-pod=app-1]", "Kill this pod").await;
    demo.until("it is obeyed", SOON, |ledger| runs(ledger, "app-1", 2)).await;
    plain.sees("the page", SOON, "document.title === 'Hyperpage demo' && location.pathname === '/'").await;
    assert_eq!(plain.console().await, [""; 0]);
}

/// Ctrl-C, the death of whoever owns the processes, and that of whoever started them: none is left, and no file.
#[tokio::test]
async fn the_demo_leaves_nothing_however_it_ends() {
    let (told, killed, broken) = tokio::join!(Demo::start(&[]), Demo::start(&[]), Demo::start(&[]));
    told.process.signal("INT").expect("it runs");
    killed.process.signal("KILL").expect("it runs");
    let pid = broken.process.pid();
    let starter = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("it runs");
    output(Command::new("kill").args(["-KILL", starter.trim()])).expect("it has one child");
    assert_eq!(told.process.exited(STOP).await.expect("it ends"), 0, "{}", told.process.tail(20));
    assert_eq!(broken.process.exited(STOP).await.expect("it ends"), 1, "{}", broken.process.tail(20));
    for demo in [told, killed, broken] {
        demo.assert_gone().await;
    }
}

/// What does not start is said with its last words, and what has started is ended.
#[tokio::test]
async fn the_demo_says_what_did_not_start_and_ends_the_rest() {
    let demo = Demo::start(&[]).await;
    let port = demo.origin.rsplit_once(':').unwrap().1.to_owned();
    let dir = Scratch::new("demo");
    let place = dir.path().to_string_lossy().into_owned();
    let program = workspace().join("examples/demo/control.js");
    for (port, sidecar, words) in [
        (port.as_str(), ours("hyperpage-sidecar"), "DEMO_PORT"),
        ("0", "/bin/false".into(), "ended before it was ready"),
    ] {
        let env = [("DEMO_PORT", port), ("TMPDIR", place.as_str())];
        let second = Leash::start(
            &workspace().join("target/tmp"),
            "demo-second",
            &node(),
            [program.clone(), sidecar],
            &env,
        );
        let second = second.expect("node starts");
        assert_eq!(second.exited(START).await.expect("it ends"), 1, "{}", second.log());
        assert!(second.log().contains(words), "{}", second.log());
        assert_eq!(std::fs::read_dir(dir.path()).expect("ours").count(), 0, "a file is left");
    }
}

/// Presses, again where a busy machine has answered otherwise or an answer was lost, until this holds.
async fn press_until(page: &mut Browser, button: &str, what: &str, holds: &str) {
    let mut pressed: Option<Instant> = None;
    eventually(what, SOON, async || {
        if pressed.is_none_or(|at| at.elapsed() > AGAIN) {
            page.press("section:has(#feed)", button).await;
            pressed = Some(Instant::now());
        }
        if page.value(holds).await == true { Ok(()) } else { Err(page.text().await) }
    })
    .await;
}

fn heard_by_three(words: &str) -> String {
    format!(
        "[...document.querySelectorAll('#feed li')].some((li) => li.innerText.includes('{words}') \
         && li.querySelectorAll('.chip').length === 3)"
    )
}

const INVALIDATE: &str = "Invalidate a cache key";
const ALL: &str =
    "/^All 3 pods have applied it, after \\d+ ms\\.$/.test(document.querySelector('#told').innerText)";

/// An app that stands still has not applied what its sidecar has heard.
async fn one_that_does_not_answer_is_named(demo: &Demo, page: &mut Browser) {
    let app = demo.app("app-2");
    let signal = |name: &str| output(Command::new("kill").args([name, &app])).expect("it runs");
    signal("-STOP");
    // A button that this one would have to answer says nothing; the next does.
    let named = "document.querySelector('#told').innerText \
        === 'Not answered within 1.5 s: app-2. Whoever is not named has applied it.'";
    press_until(page, INVALIDATE, "the one that stands still is named", named).await;
    signal("-CONT");
    press_until(page, INVALIDATE, "all three have applied it again", ALL).await;
}

/// What a person sees and presses, with an empty console all the while.
#[tokio::test]
async fn the_demos_page_shows_its_pods_and_what_its_buttons_do_in_a_real_browser() {
    let demo = Demo::start(&[]).await;
    let mut page = Browser::open(&demo.origin).await;
    page.sees(
        "three pods and their leader",
        SOON,
        "document.querySelectorAll('#pods li[data-state=ready]').length === 3 \
         && document.querySelector('#pods li .badge')?.textContent === 'leads'",
    )
    .await;
    page.sees(
        "others answer, too",
        SOON,
        "document.querySelector('#pods').innerText.match(/answered you/g).length > 1",
    )
    .await;
    page.press("form[action='/']", "Visit again").await;
    page.sees("the visit is counted", SOON, "document.querySelector('#visits').textContent === '2'").await;

    press_until(&mut page, "Say hello to all pods", "all three have heard it", &heard_by_three("hello"))
        .await;
    press_until(&mut page, INVALIDATE, "all three have applied it", ALL).await;
    page.sees("all three have heard that, too", SOON, &heard_by_three("forget greeting")).await;
    let keeps = "document.querySelector('#pods').innerText.match(/keeps a greeting for /g).length === 3";
    page.sees("each says what it keeps", SOON, keeps).await;
    one_that_does_not_answer_is_named(&demo, &mut page).await;

    let first = leader(&demo).await;
    page.press(&format!("#pods li[data-pod={first}]"), "Kill this pod").await;
    page.sees(
        "it has ended",
        SOON,
        &format!("document.querySelector('[data-pod={first}]').dataset.state === 'ended'"),
    )
    .await;
    page.sees(
        "another leads",
        SOON,
        &format!("document.querySelector('.badge') && !document.querySelector('[data-pod={first}] .badge')"),
    )
    .await;
    page.sees("it is back", SOON, "document.querySelectorAll('#pods li[data-state=ready]').length === 3")
        .await;

    page.press("#ledger", "Cut Redis 5 s").await;
    page.sees("the cut is told", SOON, "document.querySelector('#counts').innerText.includes('is cut off')")
        .await;
    page.sees("it has ended", SOON, "!document.querySelector('#counts').innerText.includes('is cut off')")
        .await;
    page.press("#ledger", "Wipe Redis").await;
    let ledger = demo.ledger().await;
    page.sees(
        "the ledger goes on",
        SOON,
        &format!(
            "parseInt(document.querySelector('#figures dd').textContent.replace(/\\D/g, '')) > {}",
            count(&ledger, "acknowledged")
        ),
    )
    .await;
    let text = page.text().await;
    for words in
        ["Acknowledged", "Lost", "Stale max", "Leader gap", "the living pods put back what they still hold"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    // A busy machine may refuse a visit or what a button asks, and it is asked again; nothing else may be said.
    let refused = |line: &String| {
        let asked = ["/\"", "/broadcast\"", "/invalidate\""].iter().any(|path| line.contains(path));
        asked && line.contains("status of 503")
    };
    let console: Vec<_> = page.console().await.into_iter().filter(|line| !refused(line)).collect();
    assert_eq!(console, [""; 0]);
}
