//! Redis absent, restarted, hung, locked, rotated: all survived; probes that tell the truth; `--dev`.

use std::time::Duration;

use tests::eventually::{check, eventually};
use tests::redis::RedisServer;
use tests::scratch::Scratch;
use tests::sidecar::{Settings, Sidecar};

use crate::common::{
    PROMPT, RECOVERY, assert_outage, assert_refused_or_kept, assert_stale_or_unchanged, new_session, pair,
};

#[tokio::test]
async fn redis_absent_at_start_is_survived_and_gates_the_start() {
    let mut redis = RedisServer::absent(&["--save", ""]);
    let sidecar = Sidecar::spawn(&Settings::redis(redis.url())).await;
    sidecar.admin.get("/healthz").await.expect(200);
    sidecar.admin.get("/startupz").await.expect(503);
    assert_outage("absent", &sidecar.app.get("/api/sessions").await);
    assert_outage("absent", &sidecar.app.get("/v1/sessions/x").await);
    eventually("the log says so", PROMPT, async || {
        check(sidecar.logs().contains("Redis not connected"), sidecar.logs())
    })
    .await;
    redis.run().await;
    sidecar.serving(RECOVERY).await;
    sidecar.admin.get("/startupz").await.expect(200);
    sidecar.admin.get("/readyz").await.expect(200);
    assert!(sidecar.logs().contains("Session Manager Redis connection"), "{}", sidecar.logs());
    new_session(&sidecar).await;
    sidecar.stop().await;
}

/// The app is not kept from starting for ever: it may have more to do than sessions.
#[tokio::test]
async fn startupz_lets_the_app_start_after_30_s_without_redis() {
    let redis = RedisServer::absent(&[]);
    let sidecar = Sidecar::spawn(&Settings::redis(redis.url())).await;
    let start = std::time::Instant::now();
    sidecar.admin.get("/startupz").await.expect(503);
    eventually("/startupz gives up waiting", Duration::from_secs(40), async || {
        let answer = sidecar.admin.get("/startupz").await;
        check(answer.status == 200, answer)
    })
    .await;
    assert!(start.elapsed() > Duration::from_secs(28), "{:?}", start.elapsed());
    assert_outage("still absent", &sidecar.app.get("/api/sessions").await);
    sidecar.stop().await;
}

#[tokio::test]
async fn redis_restarted_is_survived_with_every_session() {
    let mut redis = RedisServer::durable().await;
    let sidecar = Sidecar::start(&Settings::redis(redis.url())).await;
    for _ in 0..3 {
        let id = new_session(&sidecar).await;
        let path = format!("/api/sessions?sessionId={id}");
        redis.kill();
        for _ in 0..5 {
            assert_stale_or_unchanged("killed", &sidecar.app.get(&path).await);
            assert_refused_or_kept("killed", &sidecar.app.patch(&path, r#"{"a":1}"#).await);
        }
        redis.run().await;
        eventually("the session is back", RECOVERY, async || {
            let answer = sidecar.app.get(&path).await;
            assert_ne!(answer.status, 401, "an outage logs nobody out");
            check(answer.status == 200, answer)
        })
        .await;
    }
    sidecar.stop().await;
}

/// A Redis that comes back empty has lost its scripts too.
#[tokio::test]
async fn redis_that_lost_its_scripts_is_survived() {
    let (mut redis, sidecar) = pair().await;
    redis.command::<()>(&["SCRIPT", "FLUSH"]).await.unwrap();
    let id = new_session(&sidecar).await;
    redis.command::<()>(&["SCRIPT", "FLUSH"]).await.unwrap();
    sidecar.app.patch(&format!("/v1/sessions/{id}"), r#"{"a":1}"#).await.expect(200);
    redis.restart_empty().await;
    sidecar.serving(RECOVERY).await;
    new_session(&sidecar).await;
    sidecar.stop().await;
}

#[tokio::test]
async fn redis_hung_is_survived() {
    let (redis, sidecar) = pair().await;
    let id = new_session(&sidecar).await;
    let path = format!("/v1/sessions/{id}");
    for _ in 0..3 {
        redis.hang();
        let calls = (0..20).map(|_| sidecar.app.patch(&path, r#"{"a":1}"#));
        for answer in futures::future::join_all(calls).await {
            assert_refused_or_kept("hung", &answer);
        }
        assert_stale_or_unchanged("hung", &sidecar.app.get(&path).await);
        let ready = sidecar.admin.get("/readyz").await.expect(200);
        assert!(ready.elapsed < PROMPT, "{ready:?}");
        redis.resume();
        sidecar.serving(RECOVERY).await;
        sidecar.app.get(&path).await.expect(200);
    }
    sidecar.stop().await;
}

/// What was sent before the hang and refused to the client never acts after it.
#[tokio::test]
async fn a_write_frozen_with_redis_never_acts_late() {
    let (redis, sidecar) = pair().await;
    for round in 0..5 {
        let id = new_session(&sidecar).await;
        let before = redis.session(&id).await;
        redis.hang();
        let answer = sidecar.app.patch(&format!("/v1/sessions/{id}"), format!(r#"{{"late":{round}}}"#)).await;
        assert_outage("frozen", &answer);
        redis.resume();
        sidecar.serving(RECOVERY).await;
        assert_eq!(redis.session(&id).await, before);
    }
    sidecar.stop().await;
}

#[tokio::test]
async fn a_wrong_password_is_said_and_a_mended_file_is_read_again() {
    let redis = RedisServer::with_password("right-horse").await;
    let dir = Scratch::new("password");
    let file = dir.write("password", "wrong-horse\n");
    let settings = Settings::redis(redis.url()).env("HYPERPAGE_REDIS_PASSWORD_FILE", file.to_str().unwrap());
    let sidecar = Sidecar::spawn(&settings).await;
    assert_outage("wrong password", &sidecar.app.get("/api/sessions").await);
    eventually("the log says what is wrong", RECOVERY, async || {
        let logs = sidecar.logs();
        check(logs.contains("WRONGPASS") || logs.to_lowercase().contains("password"), logs)
    })
    .await;
    dir.write("password", "right-horse\n");
    sidecar.serving(RECOVERY).await;
    assert_secret_kept(&sidecar, &["wrong-horse", "right-horse"]).await;
    sidecar.stop().await;
}

#[tokio::test]
async fn a_password_file_that_appears_late_is_read() {
    let redis = RedisServer::with_password("right-horse").await;
    let dir = Scratch::new("password");
    let file = dir.path().join("password");
    let settings = Settings::redis(redis.url()).env("HYPERPAGE_REDIS_PASSWORD_FILE", file.to_str().unwrap());
    let sidecar = Sidecar::spawn(&settings).await;
    assert_outage("no password yet", &sidecar.app.get("/api/sessions").await);
    dir.write("password", "right-horse");
    sidecar.serving(RECOVERY).await;
    sidecar.stop().await;
}

#[tokio::test]
async fn a_rotated_password_is_followed() {
    let redis = RedisServer::with_password("first-horse").await;
    let dir = Scratch::new("password");
    let file = dir.write("password", "first-horse");
    let settings = Settings::redis(redis.url()).env("HYPERPAGE_REDIS_PASSWORD_FILE", file.to_str().unwrap());
    let sidecar = Sidecar::start(&settings).await;
    let id = new_session(&sidecar).await;
    // As one rotates: the new one is added, the file follows, the old one goes with its connections.
    redis.command::<()>(&["ACL", "SETUSER", "default", ">second-horse"]).await.unwrap();
    dir.write("password", "second-horse");
    let mut admin = redis.connection().await.unwrap();
    let run = async |admin: &mut _, words: &[&str]| {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]).query_async::<redis::Value>(admin).await.unwrap()
    };
    run(&mut admin, &["ACL", "SETUSER", "default", "<first-horse"]).await;
    run(&mut admin, &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    eventually("the session is read with the new password", RECOVERY, async || {
        let answer = sidecar.app.get(&format!("/v1/sessions/{id}")).await;
        check(answer.status == 200, answer)
    })
    .await;
    assert_secret_kept(&sidecar, &["first-horse", "second-horse"]).await;
    sidecar.stop().await;
}

#[tokio::test]
async fn a_url_file_that_names_another_redis_is_followed() {
    let (first, second) = (RedisServer::start().await, RedisServer::start().await);
    let dir = Scratch::new("url");
    let file = dir.write("url", &first.url());
    let settings = Settings::bare().env("HYPERPAGE_REDIS_URL_FILE", file.to_str().unwrap());
    let sidecar = Sidecar::start(&settings).await;
    let id = new_session(&sidecar).await;
    assert!(first.session(&id).await.is_some());
    // Both answer: nothing but the file says that it is to move.
    dir.write("url", &format!("{}\n", second.url()));
    eventually("new sessions lie in the second Redis", RECOVERY, async || {
        let id = new_session(&sidecar).await;
        check(second.session(&id).await.is_some(), id)
    })
    .await;
    assert!(sidecar.logs().contains("the URL has changed"), "{}", sidecar.logs());
    sidecar.stop().await;
}

/// What only a person can mend is told to be that, and not an outage that will pass.
#[tokio::test]
async fn a_user_who_may_not_load_scripts_is_no_outage() {
    let (redis, sidecar) = pair().await;
    redis.command::<()>(&["ACL", "SETUSER", "default", "-script|load"]).await.unwrap();
    redis.command::<()>(&["SCRIPT", "FLUSH"]).await.unwrap();
    let answer = sidecar.app.get("/v1/sessions/no-such-session").await.expect(500);
    assert!(answer.elapsed < PROMPT, "{answer:?}");
    eventually("the log says why", PROMPT, async || check(sidecar.logs().contains("NOPERM"), sidecar.logs()))
        .await;
    redis.command::<()>(&["ACL", "SETUSER", "default", "+script|load"]).await.unwrap();
    sidecar.serving(RECOVERY).await;
    sidecar.stop().await;
}

/// In no log line, argument, variable of the environment, metric or probe's answer.
async fn assert_secret_kept(sidecar: &Sidecar, secrets: &[&str]) {
    let mut places = vec![("logs", sidecar.logs())];
    for path in ["/readyz", "/startupz", "/metrics", "/openapi.json"] {
        places.push((path, sidecar.admin.get(path).await.body));
    }
    for file in ["cmdline", "environ"] {
        let bytes = std::fs::read(format!("/proc/{}/{file}", sidecar.pid())).unwrap_or_default();
        places.push((file, String::from_utf8_lossy(&bytes).into_owned()));
    }
    for (place, text) in places {
        assert!(!secrets.iter().any(|secret| text.contains(secret)), "{place}: {text}");
    }
}

#[tokio::test]
async fn dev_starts_a_private_redis_that_ends_with_it() {
    let sidecar = Sidecar::start(&Settings::bare().arg("--dev")).await;
    new_session(&sidecar).await;
    let children = children(sidecar.pid());
    assert_eq!(children.len(), 1, "{children:?}");
    sidecar.stop().await;
    eventually("the private redis-server is gone", Duration::from_secs(5), async || {
        let alive = std::path::Path::new(&format!("/proc/{}", children[0])).exists();
        check(!alive, children[0])
    })
    .await;
}

#[tokio::test]
async fn dev_with_a_redis_url_starts_none() {
    let redis = RedisServer::start().await;
    let sidecar = Sidecar::start(&Settings::redis(redis.url()).arg("--dev")).await;
    assert_eq!(children(sidecar.pid()), Vec::<u32>::new());
    sidecar.stop().await;
}

#[tokio::test]
async fn dev_without_redis_server_names_the_package_to_install() {
    let (code, output) = Settings::bare().arg("--dev").env("PATH", "/nonexistent").run().await;
    assert_ne!(code, 0, "{output}");
    assert!(output.contains("redis-server") && output.contains("install Redis 7.0"), "{output}");
    assert_eq!(output.trim().lines().count(), 1, "{output}");
}

fn children(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let lists = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>())
        .collect()
}
