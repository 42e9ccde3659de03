use std::process::Command;

use serde_json::{Value, json};

use super::{children, shop};

fn redis(redis: Value) -> (String, Value) {
    let all = children(&shop(json!({"app": {"image": "shop"}, "redis": redis})));
    let of = |kind: &str| all.iter().find(|child| child["kind"] == kind).unwrap().clone();
    let conf = of("ConfigMap")["data"]["redis.conf"].as_str().unwrap().to_owned();
    (conf, of("StatefulSet"))
}

fn hash(stateful_set: &Value) -> &Value {
    &stateful_set["spec"]["template"]["metadata"]["annotations"]["hyperpage.dev/redis-config"]
}

#[test]
fn maxmemory_is_60_percent_of_the_limit() {
    let (conf, _) = redis(json!({}));
    assert!(conf.contains("\nmaxmemory 161061270\n"), "{conf}");
    let (conf, _) = redis(json!({"resources": {"limits": {"memory": "1G"}}}));
    assert!(conf.contains("\nmaxmemory 600000000\n"), "{conf}");
}

#[test]
fn a_changed_configuration_rolls_redis_and_an_equal_one_does_not() {
    let ((_, a), (_, b)) = (redis(json!({})), redis(json!({})));
    assert_eq!(hash(&a), hash(&b));
    let (conf, c) = redis(json!({"config": {"save": "60 1", "hz": "20"}}));
    assert_ne!(hash(&a), hash(&c));
    assert!(conf.starts_with("hz 20\nsave 60 1\nport 6379\n"), "{conf}");
}

/// Whether a probe succeeds where `redis-cli` says this.
fn passes(probe: &Value, answer: &str) -> bool {
    let script = probe["exec"]["command"][2].as_str().unwrap();
    let script = format!("redis-cli() {{ printf '%s\\n' \"$ANSWER\"; }}\n{script}");
    Command::new("bash").args(["-c", &script]).env("ANSWER", answer).output().unwrap().status.success()
}

#[test]
fn a_redis_that_answers_is_alive_and_one_that_serves_is_ready() {
    let (_, stateful_set) = redis(json!({}));
    let container = &stateful_set["spec"]["template"]["spec"]["containers"][0];
    let judge = |answer: &str| {
        ["startupProbe", "livenessProbe", "readinessProbe"].map(|probe| passes(&container[probe], answer))
    };
    assert_eq!(judge("PONG"), [true, true, true]);
    for busy in [
        "LOADING Redis is loading the dataset in memory",
        "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
        "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
        "MISCONF Errors writing to the AOF file: No space left on device",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "AUTH failed: ERR max number of clients reached\nError: Connection reset by peer",
    ] {
        assert_eq!(judge(busy), [true, true, false], "{busy}");
    }
    for dead in ["", "Could not connect to Redis at 127.0.0.1:6379: Connection refused"] {
        assert_eq!(judge(dead), [false, false, false], "{dead}");
    }
}
