//! The Pod Security Standard `restricted`, as far as our fields reach, and no token.

use serde_json::{Value, json};

use super::{children, shop};

fn violations(pod: &Value) -> Vec<String> {
    let mut found = vec![];
    let mut must = |holds: bool, what: String| {
        if !holds {
            found.push(what);
        }
    };
    let security = &pod["securityContext"];
    must(security["runAsNonRoot"] == true, "pod: runAsNonRoot".to_owned());
    must(security["seccompProfile"]["type"] == "RuntimeDefault", "pod: seccompProfile".to_owned());
    must(pod["automountServiceAccountToken"] == false, "pod: token".to_owned());
    must(pod["enableServiceLinks"] == false, "pod: service links".to_owned());
    for host in ["hostNetwork", "hostPID", "hostIPC"] {
        must(pod.get(host).is_none(), format!("pod: {host}"));
    }
    for volume in pod["volumes"].as_array().into_iter().flatten() {
        let kind = ["secret", "configMap", "emptyDir"].iter().any(|kind| volume.get(kind).is_some());
        must(kind, format!("volume {}", volume["name"]));
    }
    let containers =
        ["initContainers", "containers"].iter().filter_map(|list| pod[list].as_array()).flatten();
    for container in containers {
        let (name, security) = (&container["name"], &container["securityContext"]);
        must(security["allowPrivilegeEscalation"] == false, format!("{name}: allowPrivilegeEscalation"));
        must(security["capabilities"] == json!({"drop": ["ALL"]}), format!("{name}: capabilities"));
        must(security.get("privileged").is_none(), format!("{name}: privileged"));
        let root = security["runAsUser"] == 0 || security["runAsNonRoot"] == false;
        must(!root, format!("{name}: root"));
        let ours = name != "app";
        must(!ours || security["readOnlyRootFilesystem"] == true, format!("{name}: readOnlyRootFilesystem"));
        must(!ours || security["runAsUser"].is_number(), format!("{name}: numeric user"));
    }
    found
}

fn pods() -> Vec<Value> {
    let all = children(&shop(json!({"app": {"image": "shop"}})));
    let pods = all.iter().map(|child| child["spec"]["template"]["spec"].clone());
    pods.filter(Value::is_object).collect()
}

#[test]
fn every_pod_is_restricted() {
    let pods = pods();
    assert_eq!(pods.len(), 2);
    for pod in &pods {
        assert_eq!(violations(pod), Vec::<String>::new());
    }

    let mut loose = pods[0].clone();
    loose["securityContext"]["runAsNonRoot"] = Value::Null;
    loose["hostNetwork"] = json!(true);
    loose["initContainers"][0]["securityContext"]["readOnlyRootFilesystem"] = json!(false);
    loose["containers"][0]["securityContext"]["capabilities"]["add"] = json!(["NET_RAW"]);
    let found = violations(&loose);
    assert_eq!(
        found,
        [
            "pod: runAsNonRoot",
            "pod: hostNetwork",
            "\"sidecar\": readOnlyRootFilesystem",
            "\"app\": capabilities"
        ]
    );
}
