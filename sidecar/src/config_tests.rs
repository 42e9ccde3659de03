use super::*;

fn parse(args: &[&str]) -> Result<Config, Exit> {
    parse_with(args, &[])
}

fn parse_with(args: &[&str], names: &[&str]) -> Result<Config, Exit> {
    let args = std::iter::once("hyperpage-sidecar").chain(args.iter().copied()).map(OsString::from);
    Config::parse(args, names.iter().map(|name| (*name).to_owned()).collect())
}

fn misused(args: &[&str], names: &[&str]) -> String {
    match parse_with(args, names) {
        Err(Exit::Misused(line)) => line,
        Err(Exit::Answered(text)) => panic!("answered {text}"),
        Ok(_) => panic!("accepted {args:?}"),
    }
}

#[test]
fn defaults_are_the_documented_ones() {
    let config = parse(&["--redis-url", "redis://h"]).ok().unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:4100");
    assert_eq!(config.server.admin_listen.to_string(), "0.0.0.0:4101");
    assert_eq!(config.server.max_requests, 512);
    assert_eq!(config.session.ttl_seconds, 86_400);
    assert_eq!((config.session.repair_window_ms, config.session.l1_bytes), (5_000, 8 << 20));
    assert_eq!(config.session.guards, Guards::default());
    assert_eq!(config.session.cleanup_interval_minutes, 60);
    assert!(!config.session.allow_client_ids && !config.session.allow_identity_writes && !config.dev);
    assert!(matches!(config.redis, Store::At(Source { mode: Mode::Standalone, .. })));
    assert!(config.notes.is_empty());
}

#[test]
fn dev_needs_no_redis_and_everything_else_does() {
    assert!(matches!(parse(&["--dev"]).ok().unwrap().redis, Store::Private));
    assert!(misused(&[], &[]).contains("REDIS_URL"));
    assert!(misused(&["--redis-url", ""], &[]).contains("REDIS_URL"));
    assert!(
        misused(&["--dev", "--redis-password-file", "/f"], &[]).contains("HYPERPAGE_REDIS_PASSWORD_FILE")
    );
    assert!(misused(&["--dev", "--redis-mode", "cluster"], &[]).contains("HYPERPAGE_REDIS_MODE"));
}

#[test]
fn the_mode_follows_the_scheme_unless_given() {
    let mode = |args: &[&str]| match parse(args).ok().unwrap().redis {
        Store::At(source) => source.mode,
        Store::Private => panic!("private"),
    };
    assert_eq!(mode(&["--redis-url", "redis-sentinel://a,b/m"]), Mode::Sentinel);
    assert_eq!(
        mode(&["--redis-mode", "sentinel", "--redis-url", "redis://a:1,redis://b:2/m"]),
        Mode::Sentinel
    );
    assert_eq!(mode(&["--redis-mode", "cluster", "--redis-url", "redis://a:1,redis://b:2"]), Mode::Cluster);
}

#[test]
fn a_password_is_refused_in_an_argument_and_never_repeated() {
    for args in [
        &["--redis-url", "redis://:hunter2@h"][..],
        &["--redis-url", "redis://u:hunter2@h:x"],
        &["--redis-url", "redis-sentinel://a,u:hunter2@b/m"],
    ] {
        let line = misused(args, &[]);
        assert!(line.contains("HYPERPAGE_REDIS_PASSWORD_FILE") && !line.contains("hunter2"), "{line}");
    }
    let mut notes = Vec::new();
    check_password("redis://:hunter2@h", false, &mut notes).unwrap();
    assert!(notes.iter().all(|note| !note.contains("hunter2")) && notes.len() == 1);
}

#[test]
fn contradictions_name_the_settings() {
    let cases = [
        (
            &["--redis-url", "redis://h", "--redis-url-file", "/f"][..],
            "REDIS_URL and HYPERPAGE_REDIS_URL_FILE",
        ),
        (&["--redis-url", "redis://a,redis://b"], "REDIS_URL: several hosts"),
        (&["--redis-mode", "sentinel", "--redis-url", "redis://a"], "REDIS_URL: the master's name"),
        (&["--redis-mode", "standalone", "--redis-url", "redis-sentinel://a/m"], "REDIS_URL: the scheme"),
        (&["--dev", "--listen", "127.0.0.1:9", "--admin-listen", "127.0.0.1:9"], "HYPERPAGE_ADMIN_LISTEN"),
        (&["--dev", "--redis-mode", "ring"], "HYPERPAGE_REDIS_MODE"),
        (&["--dev", "--listen", "nowhere"], "HYPERPAGE_LISTEN"),
        (&["--dev", "--max-requests", "0"], "HYPERPAGE_MAX_REQUESTS"),
        (&["--dev", "--session-bind-ip", "somehow"], "SESSION_BIND_IP"),
        (&["--dev", "--session-bind-ip", "exact"], "SESSION_BIND_IP needs SESSION_TRUSTED_HOPS"),
        (
            &["--dev", "--session-create-limit-per-minute", "9"],
            "SESSION_CREATE_LIMIT_PER_MINUTE needs SESSION_TRUSTED_HOPS",
        ),
        (&["--dev", "--session-ttl-seconds", "0"], "SESSION_DEFAULT_TTL_SECONDS"),
        (&["--dev", "--log-level", "loud"], "HYPERPAGE_LOG_LEVEL"),
        (&["--dev", "--nonsense"], "--nonsense"),
    ];
    for (args, expected) in cases {
        let line = misused(args, &[]);
        assert!(line.contains(expected) && !line.contains('\n'), "{args:?}: {line}");
    }
}

#[test]
fn unknown_names_are_refused_and_those_of_kubernetes_ignored() {
    assert!(misused(&["--dev"], &["HYPERPAGE_REDIS_MOD", "PATH"]).contains("HYPERPAGE_REDIS_MOD "));
    let injected = [
        "HYPERPAGE_SERVICE_HOST",
        "HYPERPAGE_SERVICE_PORT",
        "HYPERPAGE_SERVICE_PORT_HTTP",
        "HYPERPAGE_PORT",
        "HYPERPAGE_PORT_80_TCP_ADDR",
    ];
    assert!(parse_with(&["--dev"], &injected).is_ok());
    assert!(parse_with(&["--dev"], &["HYPERPAGE_URL", "SOMETHING_ELSE", "HYPERPAGE_LISTEN"]).is_ok());
}

#[test]
fn the_documents_times_of_an_election_make_it_slow_and_are_said_to() {
    let times = |args: &[&str]| {
        let config = parse(&[&["--dev"], args].concat()).ok().unwrap();
        let timing = config.coordination.timing();
        (timing.ttl.as_millis(), timing.renew.as_millis(), config.notes.len())
    };
    assert_eq!(times(&[]), (600, 150, 0));
    assert_eq!(times(&["--leader-profile", "relaxed"]), (30_000, 10_000, 0));
    assert_eq!(times(&["--leader-heartbeat-interval", "5000"]), (30_000, 5_000, 1));
    assert_eq!(
        times(&["--leader-profile", "relaxed", "--leader-election-timeout", "40000"]),
        (40_000, 10_000, 0)
    );
    for (args, named) in [
        (&["--leader-profile", "fast", "--leader-election-timeout", "900"][..], "HYPERPAGE_LEADER_PROFILE"),
        (&["--leader-election-timeout", "900"], "LEADER_HEARTBEAT_INTERVAL"),
        (&["--pod-channel-prefix", "a b"], "POD_CHANNEL_PREFIX"),
    ] {
        let line = misused(&[&["--dev"], args].concat(), &[]);
        assert!(line.contains(named), "{line}");
    }
}

#[test]
fn pods_of_the_original_are_heard_until_there_is_a_key() {
    let compat = |args: &[&str]| parse(&[&["--dev"], args].concat()).ok().unwrap().coordination.compat();
    assert!(compat(&[]) && !compat(&["--bus-keys-file", "/f"]) && !compat(&["--coord-compat", "off"]));
    assert!(compat(&["--bus-keys-file", "/f", "--coord-compat", "original"]));
}

#[test]
fn help_and_version_are_answers() {
    assert!(matches!(parse(&["--version"]), Err(Exit::Answered(text)) if text.contains(VERSION)));
    assert!(matches!(parse(&["--help"]), Err(Exit::Answered(text)) if text.contains("--redis-url")));
}
