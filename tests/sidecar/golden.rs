//! The original's contract of `/api/sessions` and our deviations from it, a case a row, in `golden.json`; its
//! `comment` says what the members of a case mean.

use std::collections::BTreeMap;
use std::time::Duration;

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use tests::eventually::{check, eventually};
use tests::http::{Answer, Request};
use tests::redis::RedisServer;
use tests::sidecar::{Settings, Sidecar};

/// Rows that contract.md's table and the deviations due by now need at least.
const FEWEST: usize = 32;

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

type Members = IndexMap<String, Box<RawValue>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Given {
    session: Option<Members>,
    raw: Option<String>,
    #[serde(default)]
    wrong_type: bool,
    #[serde(default)]
    settings: BTreeMap<String, String>,
    #[serde(default)]
    redis: Power,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
enum Power {
    #[default]
    Up,
    Down,
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

#[tokio::test]
async fn golden_table_of_api_sessions() {
    let table: Table = serde_json::from_str(include_str!("golden.json")).unwrap();
    assert!(table.cases.len() >= FEWEST, "only {} rows", table.cases.len());
    let mut groups: BTreeMap<_, Vec<&Case>> = BTreeMap::new();
    for case in &table.cases {
        groups.entry((&case.given.settings, case.given.redis)).or_default().push(case);
    }
    let mut failed = Vec::new();
    for ((settings, power), cases) in groups {
        let mut redis = RedisServer::start().await;
        let start =
            settings.iter().fold(Settings::redis(redis.url()), |start, (name, value)| start.env(name, value));
        let sidecar = Sidecar::start(&start).await;
        if power == Power::Down {
            redis.kill();
            // Until the fall is noticed, a write may be under way when it comes, and its outcome is unknown.
            eventually("the outage is noticed", Duration::from_secs(10), async || {
                let ready = sidecar.admin.get("/readyz").await.json();
                check(ready["sessions"]["state"] == "outage", ready)
            })
            .await;
        }
        for case in cases {
            for objection in run(case, &table.base, &redis, &sidecar).await {
                failed.push(format!("{}: {objection}", case.name));
            }
        }
        sidecar.stop().await;
    }
    assert!(
        failed.is_empty(),
        "{} of {} rows failed:\n{}",
        failed.len(),
        table.cases.len(),
        failed.join("\n")
    );
    println!("{} rows", table.cases.len());
}

/// What is wrong with the answer to this case and with what is stored after it.
async fn run(case: &Case, base: &str, redis: &RedisServer, sidecar: &Sidecar) -> Vec<String> {
    let Case { name: _, given, request, expect } = case;
    let id = format!("golden-{:x}", name_hash(&case.name));
    let fill = |text: &str| text.replace("{id}", &id);
    let up = given.redis == Power::Up;
    if up {
        prepare(given, base, &id, redis).await;
    }
    let before = if up { sessions(redis).await } else { 0 };
    let mut asked = Request::new(&request.method, fill(&request.path));
    for (name, value) in &request.headers {
        asked = asked.header(name, value);
    }
    if let Some(body) = &request.body {
        asked = asked.body(fill(body));
    }
    let answer = sidecar.app.send(asked).await;
    let mut objections = judge(expect, &answer, fill);
    if up {
        let created = sessions(redis).await - before;
        if expect.created.is_some_and(|expected| expected != created) {
            objections.push(format!("created {created}"));
        }
        if expect.stored.is_some() || expect.stored_text.is_some() {
            let stored = redis.session(&id).await;
            objections.extend(judge_stored(expect, stored.as_deref()));
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
        object(seen == Some(expected), name, &seen);
    }
    objections
}

fn judge_stored(expect: &Expected, stored: Option<&str>) -> Vec<String> {
    let mut objections = Vec::new();
    if expect.stored_text.as_deref().is_some_and(|expected| !matches(expected, stored.unwrap_or("(nothing)")))
    {
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
fn matches(pattern: &str, text: &str) -> bool {
    let any = pattern.find("{any}").map(|at| (at, "{any}"));
    let all = pattern.find("{text}").map(|at| (at, "{text}"));
    let Some((at, hole)) = any.into_iter().chain(all).min() else { return pattern == text };
    let (Some(rest), next) = (text.strip_prefix(&pattern[..at]), &pattern[at + hole.len()..]) else {
        return false;
    };
    let reach = if hole == "{any}" { rest.find('"').unwrap_or(rest.len()) } else { rest.len() };
    (0..=reach).filter(|end| rest.is_char_boundary(*end)).any(|end| matches(next, &rest[end..]))
}

/// Rows of other names have ids of their own, so that none meets another's tombstone.
fn name_hash(name: &str) -> u64 {
    name.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
