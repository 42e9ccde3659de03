//! What it is told, and what it says when it is told nonsense: one line that names the setting, exit code 64.

use tests::redis::RedisServer;
use tests::sidecar::{Settings, Sidecar};

const USAGE: i32 = 64;

/// Ends at once with 64, and one line names `name`.
async fn refused(settings: Settings, name: &str) -> String {
    let (code, output) = settings.run().await;
    assert_eq!(code, USAGE, "{name}: {output}");
    assert!(output.contains(name), "{name} is not named: {output}");
    assert_eq!(output.trim().lines().count(), 1, "one line: {output}");
    output
}

#[tokio::test]
async fn a_wrong_setting_is_one_line_that_names_it_and_exit_64() {
    let url = "redis://127.0.0.1:1";
    let cases = [
        ("HYPERPAGE_REDIS_MOD", "cluster"),
        ("HYPERPAGE_TYPO", "1"),
        ("HYPERPAGE_REDIS_MODE", "ring"),
        ("HYPERPAGE_LISTEN", "nowhere"),
        ("HYPERPAGE_ADMIN_LISTEN", "127.0.0.1:99999"),
        ("SESSION_DEFAULT_TTL_SECONDS", "0"),
        ("SESSION_DEFAULT_TTL_SECONDS", "soon"),
        ("SESSION_ALLOW_CLIENT_IDS", "perhaps"),
        ("SESSION_ALLOW_IDENTITY_WRITES", "2"),
    ];
    let runs =
        cases.map(|(name, value)| refused(Settings::default().env("REDIS_URL", url).env(name, value), name));
    futures::future::join_all(runs).await;
}

#[tokio::test]
async fn a_redis_url_that_cannot_be_one_is_refused() {
    let urls = ["http://127.0.0.1", "127.0.0.1:6379", "redis://", "redis://a,redis://b", "redis://h:port"];
    futures::future::join_all(urls.map(|url| refused(Settings::bare().env("REDIS_URL", url), "REDIS_URL")))
        .await;
}

#[tokio::test]
async fn no_redis_at_all_is_refused_with_what_to_do() {
    let output = refused(Settings::bare(), "REDIS_URL").await;
    assert!(output.contains("--dev"), "{output}");
}

#[tokio::test]
async fn unknown_arguments_are_refused() {
    let (code, output) = Settings::redis("redis://127.0.0.1:1").arg("--no-such-thing").run().await;
    assert_eq!(code, USAGE, "{output}");
    assert!(output.contains("--no-such-thing"), "{output}");
}

#[tokio::test]
async fn a_password_in_an_argument_is_refused_and_not_repeated() {
    for url in ["redis://:hunter2@127.0.0.1:1", "redis://u:hunter2@a,redis://u:hunter2@b"] {
        let (code, output) = Settings::bare().arg("--redis-url").arg(url).run().await;
        assert_eq!(code, USAGE, "{output}");
        assert!(!output.contains("hunter2") && output.contains("HYPERPAGE_REDIS_PASSWORD_FILE"), "{output}");
    }
}

#[tokio::test]
async fn settings_that_contradict_each_other_are_refused() {
    let url = "redis://:hunter2@127.0.0.1:1";
    let both = Settings::bare().env("REDIS_URL", url).env("HYPERPAGE_REDIS_PASSWORD_FILE", "/nowhere");
    let output = refused(both, "REDIS_URL").await;
    assert!(!output.contains("hunter2"), "{output}");
}

/// What Kubernetes puts into every container for a Service named `hyperpage` is no setting of ours.
#[tokio::test]
async fn names_that_kubernetes_injects_for_services_are_ignored() {
    let redis = RedisServer::start().await;
    let mut settings = Settings::redis(redis.url());
    for name in [
        "HYPERPAGE_SERVICE_HOST",
        "HYPERPAGE_SERVICE_PORT",
        "HYPERPAGE_SERVICE_PORT_HTTP",
        "HYPERPAGE_PORT",
        "HYPERPAGE_PORT_4100_TCP",
        "HYPERPAGE_PORT_4100_TCP_ADDR",
        "HYPERPAGE_DEMO_SERVICE_HOST",
        "HYPERPAGE_DEMO_PORT_80_TCP_PROTO",
    ] {
        settings = settings.env(name, "tcp://10.0.0.1:4100");
    }
    Sidecar::start(&settings).await.stop().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_so() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let settings = Settings::default()
        .env("REDIS_URL", "redis://127.0.0.1:1")
        .env("HYPERPAGE_ADMIN_LISTEN", "127.0.0.1:0");
    let (code, output) = settings.env("HYPERPAGE_LISTEN", &address).run().await;
    assert_ne!(code, 0, "{output}");
    assert!(output.contains(&address), "{output}");
}

#[tokio::test]
async fn version_and_help_need_no_redis() {
    let (code, version) = Settings::default().arg("--version").run().await;
    assert!(code == 0 && version.contains("0.1.0"), "{version}");
    let (code, help) = Settings::default().arg("--help").run().await;
    assert_eq!(code, 0, "{help}");
    for name in
        ["REDIS_URL", "HYPERPAGE_REDIS_PASSWORD_FILE", "HYPERPAGE_REDIS_MODE", "SESSION_DEFAULT_TTL_SECONDS"]
    {
        assert!(help.contains(name), "{name} is not documented:\n{help}");
    }
}
