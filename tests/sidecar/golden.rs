//! The original's contract of `/api/sessions` and our deviations from it, a case a row, in `golden.json`; its
//! `comment` says what the members of a case mean. What `/v1` answers is in `golden_v1.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::Duration;

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use tests::eventually::{check, eventually};
use tests::http::{Answer, Request};
use tests::proxy::{Mode, Proxy};
use tests::redis::RedisServer;
use tests::sidecar::{Settings, Sidecar};

use crate::ambiguous::LOSE_WRITES;
use crate::common::{RECOVERY, new_session, new_v1};

/// What `LOSE_WRITES` finds in a message.
const LOST: &str = "}:m";
static LARGE: LazyLock<String> = LazyLock::new(|| "x".repeat(65_536));

/// Whatever is said with these takes more than one request: other tests see them.
const OTHERS: [&str; 2] = ["OVERLOADED", "REQUEST_TIMEOUT"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(rename = "comment")]
    _comment: String,
    base: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    given: Given,
    request: Asked,
    expect: Expected,
}

type Environment = BTreeMap<String, String>;
type Members = IndexMap<String, Box<RawValue>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Given {
    session: Option<Members>,
    raw: Option<String>,
    #[serde(default)]
    wrong_type: bool,
    #[serde(default)]
    settings: Environment,
    #[serde(default)]
    redis: Power,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
enum Power {
    #[default]
    Up,
    Down,
    /// Like down, and the sidecar knows the given sessions.
    Gone,
    /// Up for so short a time that nothing is known to be absent.
    New,
    /// It does what it is told, and nobody hears of it.
    Mute,
    /// It answers everything with an error that nobody knows.
    Odd,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    method: String,
    path: String,
    headers: IndexMap<String, String>,
    body: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Expected {
    status: u16,
    #[serde(default, with = "known")]
    content_type: Option<Option<String>>,
    #[serde(default)]
    allow: Option<String>,
    #[serde(default, with = "known")]
    body: Option<Option<String>>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    stored: Option<Value>,
    stored_text: Option<String>,
    created: Option<i64>,
}

/// Tells a member that is null from one that is not there.
mod known {
    use serde::{Deserialize, Deserializer};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Option<String>>, D::Error> {
        Option::deserialize(from).map(Some)
    }
}

/// Nobody but the panic of a defect says the second there.
#[tokio::test]
async fn golden_table_of_api_sessions() {
    let told = holds(include_str!("golden.json")).await;
    every_code_is_told(told, |response| response.starts_with("Api"), &["INTERNAL_SERVER_ERROR"]);
}

#[tokio::test]
async fn golden_table_of_v1() {
    let told = holds(include_str!("golden_v1.json")).await;
    // What is said of coordination is told where it is tested.
    let other = |response: &str| response.starts_with("Api") || response.starts_with("Coordination");
    every_code_is_told(told, |response| !other(response), &[]);
}

/// The rest is told where answers wait, and where there are many.
#[tokio::test]
async fn golden_table_of_coordination() {
    let told = holds(include_str!("golden_coordination.json")).await;
    let coordination = |response: &str| response.starts_with("Coordination");
    every_code_is_told(told, coordination, &["SESSION_STORE_UNAVAILABLE", "TOO_MANY_STREAMS"]);
}

/// All rows of a table; returns the codes in them.
async fn holds(table: &str) -> BTreeSet<String> {
    let table: Table = serde_json::from_str(table).unwrap();
    let mut groups: BTreeMap<_, Vec<&Case>> = BTreeMap::new();
    for case in &table.cases {
        groups.entry((&case.given.settings, case.given.redis)).or_default().push(case);
    }
    let mut failed = Vec::new();
    for ((settings, power), cases) in groups {
        let world = World::start(settings, power, &table.base, &cases).await;
        for case in cases {
            for objection in run(case, &table.base, &world).await {
                failed.push(format!("{}: {objection}", case.name));
            }
        }
        world.sidecar.stop().await;
    }
    assert!(
        failed.is_empty(),
        "{} of {} rows failed:\n{}",
        failed.len(),
        table.cases.len(),
        failed.join("\n")
    );
    println!("{} rows", table.cases.len());
    let bodies = table.cases.into_iter().filter_map(|case| case.expect.body?);
    let code = |body: String| Some(body.split_once(r#""code":""#)?.1.split('"').next()?.to_owned());
    bodies.filter_map(code).collect()
}

/// Every code that `openapi.json` has for these responses is in a row.
fn every_code_is_told(told: BTreeSet<String>, which: impl Fn(&str) -> bool, but: &[&str]) {
    let document: Value = serde_json::from_str(include_str!("../../sidecar/openapi.json")).unwrap();
    let responses = document["components"]["responses"].as_object().unwrap();
    let mut codes = BTreeSet::new();
    for (_, response) in responses.iter().filter(|(name, _)| which(name)) {
        gather(response, &mut codes);
    }
    assert!(codes.len() > 10, "{codes:?}");
    let left_out = |code: &&&str| !told.contains(**code) && !OTHERS.contains(code) && !but.contains(code);
    let missing: Vec<_> = codes.iter().filter(left_out).collect();
    assert!(missing.is_empty(), "no row says {missing:?}");
}

fn gather<'a>(value: &'a Value, codes: &mut BTreeSet<&'a str>) {
    let enumerated = value.pointer("/code/enum").and_then(Value::as_array);
    codes.extend(enumerated.into_iter().flatten().filter_map(Value::as_str));
    match value {
        Value::Object(members) => members.values().for_each(|member| gather(member, codes)),
        Value::Array(items) => items.iter().for_each(|item| gather(item, codes)),
        _ => {}
    }
}

struct World {
    redis: RedisServer,
    proxy: Proxy,
    sidecar: Sidecar,
}

impl World {
    async fn start(settings: &Environment, power: Power, base: &str, cases: &[&Case]) -> World {
        let mut redis = RedisServer::start().await;
        let proxy = Proxy::start(redis.port()).await;
        let start = Settings::redis(proxy.url());
        let start = settings.iter().fold(start, |start, (name, value)| start.env(name, value));
        if power == Power::New {
            let sidecar = Sidecar::spawn(&start.env("HYPERPAGE_REPAIR_WINDOW_MS", "600000")).await;
            new_session(&sidecar).await;
            return World { redis, proxy, sidecar };
        }
        let sidecar = Sidecar::start(&start).await;
        if power == Power::Mute {
            // Redis knows the scripts: else it is the answer "unknown script" that gets lost.
            let (id, _) = new_v1(&sidecar, "{}").await;
            sidecar.app.delete(&format!("/v1/sessions/{id}")).await.expect(204);
        }
        if power == Power::Gone {
            for case in cases {
                prepare(&case.given, base, &case.id(), &redis).await;
                sidecar.app.get(&format!("/v1/sessions/{}", case.id())).await.expect(200);
            }
        }
        if matches!(power, Power::Down | Power::Gone) {
            redis.kill();
            // Until the fall is noticed, a write may be under way when it comes, and its outcome is unknown.
            eventually("the outage is noticed", Duration::from_secs(10), async || {
                let ready = sidecar.admin.get("/readyz").await.json();
                check(ready["sessions"]["state"] == "outage", ready)
            })
            .await;
        }
        World { redis, proxy, sidecar }
    }
}

impl Case {
    /// Rows of other names have ids of their own, so that none meets another's tombstone.
    fn id(&self) -> String {
        let hash = self.name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("golden-{hash:x}")
    }
}

/// What is wrong with the answer to this case and with what is stored after it.
async fn run(case: &Case, base: &str, world: &World) -> Vec<String> {
    let Case { name: _, given, request, expect } = case;
    let World { redis, proxy, sidecar } = world;
    let id = case.id();
    let fill = |text: &str| {
        let text = text.replace("{id}", &id).replace("{base}", base);
        if text.contains('{') { text.replace("{large}", &LARGE).replace("{lost}", LOST) } else { text }
    };
    let up = !matches!(given.redis, Power::Down | Power::Gone);
    if up {
        prepare(given, base, &id, redis).await;
    }
    let before = if up { sessions(redis).await } else { 0 };
    let mut asked = Request::new(&request.method, fill(&request.path));
    for (name, value) in &request.headers {
        asked = asked.header(name, fill(value));
    }
    if let Some(body) = &request.body {
        asked = asked.body(fill(body));
    }
    match given.redis {
        Power::Mute => proxy.set(LOSE_WRITES),
        Power::Odd => proxy.set(Mode::Refuse("ERR odd")),
        Power::Up | Power::Down | Power::Gone | Power::New => {}
    }
    let answer = sidecar.app.send(asked).await;
    if matches!(given.redis, Power::Mute | Power::Odd) {
        proxy.set(Mode::Pass);
        sidecar.serving(RECOVERY).await;
    }
    let mut objections = judge(expect, &answer, fill);
    if up {
        let created = sessions(redis).await - before;
        if expect.created.is_some_and(|expected| expected != created) {
            objections.push(format!("created {created}"));
        }
        if expect.stored.is_some() || expect.stored_text.is_some() {
            let stored = redis.session(&id).await;
            objections.extend(judge_stored(expect, stored.as_deref(), fill));
        }
    }
    objections
}

async fn prepare(given: &Given, base: &str, id: &str, redis: &RedisServer) {
    let key = format!("hyperpage:session:{id}");
    let text = match (&given.session, &given.raw) {
        (_, Some(raw)) => Some(raw.clone()),
        (Some(members), None) if members.is_empty() => Some(base.to_owned()),
        (Some(members), None) => {
            let mut session: Members = serde_json::from_str(base).unwrap();
            session.extend(members.iter().map(|(name, value)| (name.clone(), value.clone())));
            Some(serde_json::to_string(&session).unwrap())
        }
        (None, None) => None,
    };
    if let Some(text) = text {
        redis.command::<()>(&["SET", &key, &text, "EX", "86400"]).await.unwrap();
    }
    if given.wrong_type {
        redis.command::<()>(&["RPUSH", &key, "x"]).await.unwrap();
    }
}

/// How many sessions there are; their siblings are none.
async fn sessions(redis: &RedisServer) -> i64 {
    let keys: Vec<String> = redis.command(&["KEYS", "hyperpage:session:*"]).await.unwrap();
    keys.len() as i64
}

fn judge(expect: &Expected, answer: &Answer, fill: impl Fn(&str) -> String) -> Vec<String> {
    let Expected { status, content_type, allow, body, headers, stored: _, stored_text: _, created: _ } =
        expect;
    let mut objections = Vec::new();
    let mut object = |holds: bool, what: &str, seen: &dyn std::fmt::Debug| {
        if !holds {
            objections.push(format!("{what}: {seen:?}"));
        }
    };
    object(answer.status == *status, "status", &(answer.status, &answer.body));
    if let Some(expected) = content_type {
        let seen = answer.header("content-type");
        object(seen == expected.as_deref(), "content type", &seen);
    }
    if allow.is_some() {
        let seen = answer.header("allow");
        object(seen == allow.as_deref(), "allow", &seen);
    }
    if let Some(expected) = body {
        let expected = fill(expected.as_deref().unwrap_or_default());
        object(matches(&expected, &answer.body), "body", &answer.body);
    }
    for (name, expected) in headers {
        let seen = answer.header(name);
        object(seen.is_some_and(|seen| matches(&fill(expected), seen)), name, &seen);
    }
    objections
}

fn judge_stored(expect: &Expected, stored: Option<&str>, fill: impl Fn(&str) -> String) -> Vec<String> {
    let mut objections = Vec::new();
    let wrong = |expected| !matches(&fill(expected), stored.unwrap_or("(nothing)"));
    if expect.stored_text.as_deref().is_some_and(wrong) {
        objections.push(format!("stored text: {stored:?}"));
    }
    let fits = match &expect.stored {
        None => true,
        Some(Value::String(absent)) if absent == "absent" => stored.is_none(),
        Some(subset) => stored.is_some_and(|text| contains(&serde_json::from_str(text).unwrap(), subset)),
    };
    if !fits {
        objections.push(format!("stored: {stored:?}"));
    }
    objections
}

/// Whether every member of `part` is in `whole`; arrays and plain values are equal.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(name, part)| whole.get(name).is_some_and(|whole| contains(whole, part)))
        }
        _ => whole == part,
    }
}

/// Whether `text` is what `pattern` says, with `{any}` for characters other than a quote and `{text}` for any.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let any = pattern.find("{any}").map(|at| (at, "{any}"));
    let all = pattern.find("{text}").map(|at| (at, "{text}"));
    let Some((at, hole)) = any.into_iter().chain(all).min() else { return pattern == text };
    let (Some(rest), next) = (text.strip_prefix(&pattern[..at]), &pattern[at + hole.len()..]) else {
        return false;
    };
    let reach = if hole == "{any}" { rest.find('"').unwrap_or(rest.len()) } else { rest.len() };
    (0..=reach).filter(|end| rest.is_char_boundary(*end)).any(|end| matches(next, &rest[end..]))
}
