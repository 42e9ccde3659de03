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
