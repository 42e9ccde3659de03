//! Where Redis' password may be: in its Secret, in files of two containers, in one variable of the app.

use serde_json::{Value, json};

use super::{super::password_secret, PASSWORD, children, defaults, shop, stored};
use crate::hyperpage::validate::validate;

fn deployment() -> Value {
    let all = children(&shop(json!({"app": {"image": "shop"}})));
    all.into_iter().find(|child| child["kind"] == "Deployment").unwrap()
}

fn from_secret(container: &Value) -> Vec<&str> {
    let env = container["env"].as_array().into_iter().flatten();
    let secret = env.filter(|it| !it["valueFrom"]["secretKeyRef"].is_null());
    secret.filter_map(|it| it["name"].as_str()).collect()
}

fn mounts_password(container: &Value, pod: &Value) -> bool {
    let volumes = pod["volumes"].as_array().into_iter().flatten();
    let secrets: Vec<_> = volumes.filter(|it| !it["secret"].is_null()).map(|it| &it["name"]).collect();
    let mounts = container["volumeMounts"].as_array().into_iter().flatten();
    mounts.map(|it| &it["name"]).any(|name| secrets.contains(&name))
}

#[test]
fn the_sidecar_has_the_password_as_a_file_and_the_app_as_a_variable() {
    let deployment = deployment();
    let pod = &deployment["spec"]["template"]["spec"];
    let (app, sidecar) = (&pod["containers"][0], &pod["initContainers"][0]);
    assert_eq!(from_secret(app), ["REDIS_URL"]);
    assert!(!mounts_password(app, pod));
    assert_eq!(from_secret(sidecar), Vec::<&str>::new());
    assert!(sidecar.get("envFrom").is_none());
    assert!(mounts_password(sidecar, pod));
}

#[test]
fn a_new_password_rolls_both_kinds_of_pod() {
    let all = children(&shop(json!({"app": {"image": "shop"}})));
    let templates: Vec<_> =
        all.iter().map(|it| &it["spec"]["template"]).filter(|it| it.is_object()).collect();
    assert_eq!(templates.len(), 2);
    for template in templates {
        assert_eq!(template["metadata"]["annotations"]["hyperpage.dev/redis-auth"], json!(PASSWORD));
    }
}

#[test]
fn the_secret_is_immutable_and_holds_the_password_and_a_url() {
    let secret = password_secret(&shop(json!({"app": {"image": "shop"}})), "s3cret");
    assert_eq!(secret.immutable, Some(true));
    assert_eq!(secret.metadata.name.as_deref(), Some("shop-hp-redis"));
    let text = |key: &str| String::from_utf8(secret.data.as_ref().unwrap()[key].0.clone()).unwrap();
    assert_eq!(text("password"), "s3cret");
    assert_eq!(text("url"), "redis://:s3cret@shop-hp-redis:6379");
}

fn pod_of(redis: Value) -> Value {
    let all = children(&shop(json!({"app": {"image": "shop"}, "redis": redis})));
    let deployment = all.iter().find(|child| child["kind"] == "Deployment").unwrap();
    deployment["spec"]["template"].clone()
}

fn variable<'a>(container: &'a Value, name: &str) -> &'a Value {
    container["env"].as_array().unwrap().iter().find(|it| it["name"] == name).unwrap_or(&Value::Null)
}

#[test]
fn a_given_password_is_referred_to_and_never_spelt() {
    let template = pod_of(json!({"passwordSecretRef": {"name": "p", "key": "k"}}));
    let pod = &template["spec"];
    let (app, sidecar) = (&pod["containers"][0], &pod["initContainers"][0]);
    let password = variable(app, "HYPERPAGE_REDIS_PASSWORD");
    assert_eq!(password["valueFrom"]["secretKeyRef"], json!({"name": "p", "key": "k"}));
    let url = "redis://:$(HYPERPAGE_REDIS_PASSWORD)@shop-hp-redis:6379";
    assert_eq!(variable(app, "REDIS_URL")["value"], url);
    assert_eq!(from_secret(sidecar), Vec::<&str>::new());
    let items = json!([{"key": "k", "path": "password"}]);
    assert_eq!(
        (&pod["volumes"][0]["secret"]["secretName"], &pod["volumes"][0]["secret"]["items"]),
        (&json!("p"), &items)
    );
    assert!(template["metadata"]["annotations"].get("hyperpage.dev/redis-auth").is_none());
}

#[test]
fn an_external_redis_is_reached_by_files_and_has_no_children() {
    let redis = json!({"mode": "External", "external": {
        "urlSecretRef": {"name": "u", "key": "k"}, "caSecretRef": {"name": "c", "key": "pem"}}});
    let all = children(&shop(json!({"app": {"image": "shop"}, "redis": redis.clone()})));
    assert!(all.iter().all(|child| child["metadata"]["name"] != "shop-hp-redis"), "{all:?}");
    let template = pod_of(redis);
    let pod = &template["spec"];
    let (app, sidecar) = (&pod["containers"][0], &pod["initContainers"][0]);
    assert_eq!(variable(app, "REDIS_URL")["valueFrom"]["secretKeyRef"], json!({"name": "u", "key": "k"}));
    assert_eq!(variable(sidecar, "HYPERPAGE_REDIS_URL_FILE")["value"], "/run/hyperpage/redis/url");
    assert_eq!(variable(sidecar, "HYPERPAGE_REDIS_CA_FILE")["value"], "/run/hyperpage/redis/ca.crt");
    assert!(variable(sidecar, "REDIS_URL").is_null() && from_secret(sidecar).is_empty());
    assert_eq!(
        pod["volumes"][0]["projected"]["sources"],
        json!([
            {"secret": {"name": "u", "items": [{"key": "k", "path": "url"}]}},
            {"secret": {"name": "c", "items": [{"key": "pem", "path": "ca.crt"}]}},
        ])
    );
}

#[test]
fn replicas_are_another_managers() {
    assert!(deployment()["spec"].get("replicas").is_none());
}

fn coordinated(coordination: Value) -> Value {
    let spec = json!({"app": {"image": "shop"}, "sidecar": {"coordination": coordination}});
    let all = children(&shop(spec));
    all.iter().find(|child| child["kind"] == "Deployment").unwrap()["spec"]["template"].clone()
}

#[test]
fn the_bus_key_is_a_file_of_the_sidecar_alone_that_a_new_key_changes_without_a_roll() {
    let template = coordinated(json!({}));
    let pod = &template["spec"];
    let (app, sidecar) = (&pod["containers"][0], &pod["initContainers"][0]);
    let volume = json!({"name": "hyperpage-bus", "secret": {
        "secretName": "shop-hp-bus", "items": [{"key": "keys", "path": "keys"}], "defaultMode": 0o444}});
    assert_eq!(pod["volumes"][1], volume);
    let mount = json!({"name": "hyperpage-bus", "mountPath": "/run/hyperpage/bus", "readOnly": true});
    assert_eq!(sidecar["volumeMounts"][1], mount, "no subPath: such a file never changes");
    assert!(app.get("volumeMounts").is_none());
    assert_eq!(variable(sidecar, "HYPERPAGE_BUS_KEYS_FILE")["value"], "/run/hyperpage/bus/keys");
    assert!(variable(sidecar, "POD_COORDINATION_ENABLED").is_null(), "on is the sidecar's default");
    assert!(variable(sidecar, "COORD_COMPAT").is_null(), "with a key it is off");
    assert_eq!(variable(sidecar, "POD_NAME")["valueFrom"]["fieldRef"]["fieldPath"], "metadata.name");
    // A rotation is no part of the template.
    let hyperpage = |rotate: &str| {
        let annotations = json!({"hyperpage.dev/rotate-bus-key": rotate});
        stored(
            json!({"metadata": {"name": "shop", "annotations": annotations}, "spec": {"app": {"image": "shop"}}}),
        )
    };
    let built = |rotate: &str| children(&validate(&hyperpage(rotate), &defaults()).unwrap());
    assert_eq!(built("monday"), built("friday"));
}

#[test]
fn without_coordination_there_is_neither_mount_nor_key() {
    let template = coordinated(json!({"enabled": false, "leaderProfile": "fast", "highPerMinute": 7}));
    let sidecar = &template["spec"]["initContainers"][0];
    assert_eq!(variable(sidecar, "POD_COORDINATION_ENABLED")["value"], "false");
    let text = template.to_string();
    assert!(
        !text.contains("hp-bus") && !text.contains("hyperpage-bus") && !text.contains("KEYS_FILE"),
        "{text}"
    );
}

#[test]
fn what_is_said_of_coordination_reaches_the_sidecar_by_its_own_names() {
    let template = coordinated(json!({
        "leaderProfile": "relaxed", "highPerMinute": 7, "normalPerMinute": 0, "originalPeers": true}));
    let sidecar = &template["spec"]["initContainers"][0];
    let set = [
        "HYPERPAGE_LEADER_PROFILE",
        "COORD_HIGH_PRIORITY_THRESHOLD",
        "COORD_NORMAL_PRIORITY_THRESHOLD",
        "COORD_COMPAT",
    ];
    let values = set.map(|name| variable(sidecar, name)["value"].as_str().unwrap_or_default().to_owned());
    assert_eq!(values, ["relaxed", "7", "0", "original"]);
}

/// What a Hyperpage says of itself, and where its Redis is.
#[test]
fn on_a_redis_that_others_use_the_pods_are_a_group_of_their_own_unless_it_is_said_otherwise() {
    let external = json!({"mode": "External", "external": {"urlSecretRef": {"name": "u", "key": "k"}}});
    let prefix = |redis: &Value, coordination: Value| {
        let sidecar = json!({"coordination": coordination});
        let all = children(&shop(json!({"app": {"image": "shop"}, "redis": redis, "sidecar": sidecar})));
        let deployment = all.iter().find(|child| child["kind"] == "Deployment").unwrap();
        let sidecar = &deployment["spec"]["template"]["spec"]["initContainers"][0];
        variable(sidecar, "POD_CHANNEL_PREFIX")["value"].clone()
    };
    assert_eq!(prefix(&external, json!({})), "hyperpage:demo:shop");
    assert_eq!(prefix(&external, json!({"originalPeers": true})), Value::Null, "theirs is the default");
    let own = json!({"channelPrefix": "ours"});
    assert_eq!((prefix(&external, own.clone()), prefix(&json!({}), own)), (json!("ours"), json!("ours")));
    assert_eq!(prefix(&json!({}), json!({})), Value::Null, "nobody else is there");
}
