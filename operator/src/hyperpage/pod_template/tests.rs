use super::*;
use k8s_openapi::api::core::v1::PodTemplateSpec;

/// Small, with one of everything that a rule is about.
fn built() -> Value {
    let floor = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    json!({
        "metadata": {"labels": {"ours": "l"}, "annotations": {"ours": "a"}},
        "spec": {
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "initContainers": [{"name": "sidecar", "restartPolicy": "Always", "securityContext": floor}],
            "containers": [{
                "name": "app",
                "image": "shop:1",
                "args": ["a", "b"],
                "env": [{"name": "OURS", "value": "1"}, {"name": "A", "value": "1"}],
                "ports": [{"name": "http", "containerPort": 3000, "protocol": "TCP"}],
                "readinessProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 5},
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
                "securityContext": floor,
                "volumeMounts": [{"mountPath": "/tmp", "name": "tmp", "readOnly": true}],
            }],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        },
    })
}

fn merge(patch: Value) -> Result<Value, String> {
    let kept = ["spec.containers[app].env[OURS]".to_owned()];
    let built: PodTemplateSpec = serde_json::from_value(built()).unwrap();
    let merged = super::merge(built, Some(&PodTemplate(patch)), "spec.app.podTemplate", &kept);
    merged.map(|template| serde_json::to_value(template).unwrap()).map_err(|invalid| invalid.message)
}

fn app(patch: Value) -> Value {
    let mut container = patch;
    container["name"] = json!("app");
    json!({"spec": {"containers": [container]}})
}

#[test]
fn a_patch_merges_objects_by_rfc_7396() {
    assert_merges([
        (json!({}), "", built()),
        (json!({"spec": {"nodeSelector": {"disk": "ssd"}}}), "/spec/nodeSelector", json!({"disk": "ssd"})),
        (
            json!({"metadata": {"labels": {"team": "x"}}}),
            "/metadata/labels",
            json!({"ours": "l", "team": "x"}),
        ),
        // null deletes, lists replace.
        (app(json!({"args": ["c"]})), "/spec/containers/0/args", json!(["c"])),
        (app(json!({"args": null})), "/spec/containers/0/args", Value::Null),
        (
            app(json!({"resources": {"limits": {"cpu": null, "memory": "2Gi"}}})),
            "/spec/containers/0/resources",
            json!({"limits": {"memory": "2Gi"}}),
        ),
        (
            app(json!({"readinessProbe": {"tcpSocket": null, "httpGet": {"port": 1}}})),
            "/spec/containers/0/readinessProbe",
            json!({"httpGet": {"port": 1}, "periodSeconds": 5}),
        ),
    ]);
}

#[test]
fn a_patch_replaces_items_with_a_key_whole_and_keeps_the_others() {
    assert_merges([
        (
            app(
                json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}, {"name": "B"}]}),
            ),
            "/spec/containers/0/env",
            json!([
                {"name": "OURS", "value": "1"},
                {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
                {"name": "B"},
            ]),
        ),
        (
            app(json!({"ports": [{"name": "http", "containerPort": 8080}]})),
            "/spec/containers/0/ports",
            json!([{"name": "http", "containerPort": 8080}]),
        ),
        (
            app(json!({"volumeMounts": [{"mountPath": "/tmp", "name": "other"}]})),
            "/spec/containers/0/volumeMounts",
            json!([{"mountPath": "/tmp", "name": "other"}]),
        ),
        (
            json!({"spec": {"volumes": [{"name": "cache", "emptyDir": {"sizeLimit": 5}}]}}),
            "/spec/volumes",
            json!([{"name": "tmp", "emptyDir": {}}, {"name": "cache", "emptyDir": {"sizeLimit": "5"}}]),
        ),
        // A quantity may be a number.
        (
            app(json!({"resources": {"limits": {"cpu": 2}}})),
            "/spec/containers/0/resources/limits/cpu",
            json!("2"),
        ),
        // A container of theirs has the floor under it, an init container runs after the sidecar.
        (
            json!({"spec": {"initContainers": [{"name": "migrate", "image": "m", "securityContext": {"runAsUser": 7}}]}}),
            "/spec/initContainers/1",
            json!({
                "name": "migrate", "image": "m",
                "securityContext": {"runAsUser": 7, "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }),
        ),
    ]);
}

/// Each patch, and what stands at a path of the result.
fn assert_merges<const N: usize>(cases: [(Value, &str, Value); N]) {
    for (patch, at, expected) in cases {
        let merged = merge(patch.clone()).unwrap_or_else(|message| panic!("{patch}: {message}"));
        assert_eq!(merged.pointer(at).unwrap_or(&Value::Null), &expected, "{patch} at {at}");
        let containers = merged["spec"]["containers"].as_array().unwrap().len();
        assert_eq!(containers, 1, "{patch}: the app's container stays the only one");
    }
}

#[test]
fn a_patch_that_does_not_fit_is_refused_by_field_and_rule() {
    let cases = [
        // Decoded strictly.
        (json!({"sepc": {}}), "sepc: there is no such field"),
        (json!({"spec": {"nodeSelecter": {}}}), "spec.nodeSelecter: there is no such field"),
        (
            json!({"spec": {"containers": [{"name": "app", "env": [{"name": "A", "valeu": "x"}]}]}}),
            "spec.containers[0].env[0].valeu: there is no such field",
        ),
        (json!({"spec": {"tolerations": {}}}), "spec.tolerations: invalid type: map, expected"),
        (
            app(json!({"tty": "yes"})),
            "spec.containers[0].tty: invalid type: string \"yes\", expected a boolean",
        ),
        (
            app(json!({"resources": {"requests": {"cpu": "lots"}}})),
            "spec.containers[0].resources.requests.cpu: \"lots\" is not a quantity",
        ),
        // Keys.
        (app(json!({"ports": [{"containerPort": 1}]})), "spec.containers[0].ports[0]: has no name"),
        (app(json!({"env": [{"name": "B"}, {"name": "B"}]})), "spec.containers[0].env[1]: B is there twice"),
        // One of several.
        (
            app(json!({"readinessProbe": {"httpGet": {"port": 1}}})),
            "spec.containers[app].readinessProbe: has httpGet and tcpSocket",
        ),
        (
            app(json!({"lifecycle": {"preStop": {"sleep": {"seconds": 1}, "exec": {"command": ["a"]}}}})),
            "spec.containers[app].lifecycle.preStop: has exec and sleep",
        ),
        (
            app(json!({"env": [{"name": "B", "value": "1", "valueFrom": {"fieldRef": {"fieldPath": "a"}}}]})),
            "spec.containers[app].env[B]: has either value or valueFrom",
        ),
        // What is ours.
        (json!({"metadata": {"labels": {"ours": "x"}}}), "metadata.labels.ours: is set by the operator"),
        (json!({"metadata": {"annotations": null}}), "metadata.annotations.ours: is set by the operator"),
        (app(json!({"env": [{"name": "OURS"}]})), "spec.containers[app].env[OURS]: is set by the operator"),
        (app(json!({"env": null})), "spec.containers[app].env[OURS]: is set by the operator"),
        (json!({"spec": {"containers": null}}), "spec.containers[app].env[OURS]: is set by the operator"),
        (json!({"spec": {"volumes": null}}), "spec.volumes[tmp]: is set by the operator"),
        (
            json!({"spec": {"volumes": [{"name": "tmp", "secret": {"secretName": "s"}}]}}),
            "spec.volumes[tmp]: is set by the operator",
        ),
        (
            json!({"spec": {"initContainers": [{"name": "sidecar", "image": "mine"}]}}),
            "spec.initContainers[sidecar]: is set by the operator",
        ),
        (json!({"spec": {"initContainers": null}}), "spec.initContainers[sidecar]: is set by the operator"),
        (
            json!({"spec": {"automountServiceAccountToken": true}}),
            "spec.automountServiceAccountToken: is set by the operator",
        ),
        (json!({"spec": {"enableServiceLinks": null}}), "spec.enableServiceLinks: is set by the operator"),
        // The floor.
        (
            json!({"spec": {"volumes": [{"name": "root", "hostPath": {"path": "/"}}]}}),
            "spec.volumes[root]: must be a configMap",
        ),
        (
            json!({"spec": {"securityContext": null}}),
            "spec.securityContext.runAsNonRoot: must be true: pods obey the Pod Security Standard restricted",
        ),
    ];
    for (patch, expected) in cases {
        let message = merge(patch.clone()).expect_err(&patch.to_string());
        assert!(message.starts_with(&format!("spec.app.podTemplate.{expected}")), "{patch}: {message}");
    }
}

/// Whatever it is: what it is now may not be what it is by the operator's next default.
#[test]
fn the_image_of_a_container_that_is_built_is_refused_with_its_own_field() {
    for image in [json!("shop:2"), json!("shop:1"), Value::Null] {
        let message = merge(app(json!({"image": image}))).unwrap_err();
        let expected =
            "spec.app.podTemplate.spec.containers[app].image: is set by the operator; use spec.app.image";
        assert!(message.starts_with(expected), "{message}");
    }
    merge(json!({"spec": {"containers": [{"name": "theirs", "image": "theirs:1"}]}})).unwrap();
}

/// The order is checked for itself, should the merge ever put a container first.
#[test]
fn the_sidecar_starts_first() {
    let mut after = built();
    let migrate = json!({"name": "migrate"});
    after["spec"]["initContainers"].as_array_mut().unwrap().push(migrate.clone());
    assert_eq!(unchanged(&built(), &after, &[]), Ok(()));
    after["spec"]["initContainers"].as_array_mut().unwrap().reverse();
    assert_eq!(unchanged(&built(), &after, &[]).unwrap_err().at, "spec.initContainers");
}

/// One thing below the floor each, for the template's own container and for one that the patch adds.
#[test]
fn nothing_goes_below_the_floor() {
    let of_containers = [
        (json!({"allowPrivilegeEscalation": true}), "allowPrivilegeEscalation"),
        (json!({"allowPrivilegeEscalation": null}), "allowPrivilegeEscalation"),
        (json!({"privileged": true}), "privileged"),
        (json!({"runAsNonRoot": false}), "runAsNonRoot"),
        (json!({"runAsUser": 0}), "runAsUser"),
        (json!({"procMount": "Unmasked"}), "procMount"),
        (json!({"capabilities": null}), "capabilities.drop"),
        (json!({"capabilities": {"drop": ["NET_RAW"]}}), "capabilities.drop"),
        (json!({"capabilities": {"add": ["NET_BIND_SERVICE", "SYS_ADMIN"]}}), "capabilities.add"),
        (json!({"seccompProfile": {"type": "Unconfined"}}), "seccompProfile.type"),
        (json!({"appArmorProfile": {"type": "Unconfined"}}), "appArmorProfile.type"),
        (json!({"seLinuxOptions": {"type": "spc_t"}}), "seLinuxOptions.type"),
        (json!({"seLinuxOptions": {"user": "root"}}), "seLinuxOptions.user"),
        (json!({"windowsOptions": {"hostProcess": true}}), "windowsOptions.hostProcess"),
    ];
    for (context, field) in of_containers {
        for (list, name) in [("containers", "app"), ("containers", "theirs"), ("initContainers", "theirs")] {
            let patch = json!({"spec": {list: [{"name": name, "securityContext": context}]}});
            let at = format!("spec.app.podTemplate.spec.{list}[{name}].securityContext.{field}: ");
            let message = merge(patch).expect_err(&at);
            assert!(message.starts_with(&at) && message.ends_with("Standard restricted"), "{at} {message}");
        }
    }
    let of_pods = [
        (json!({"hostPID": true}), "hostPID"),
        (json!({"hostIPC": true}), "hostIPC"),
        (json!({"hostNetwork": true}), "hostNetwork"),
        (json!({"securityContext": {"runAsUser": 0}}), "securityContext.runAsUser"),
        (json!({"securityContext": {"seccompProfile": null}}), "securityContext.seccompProfile"),
        (
            json!({"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}}),
            "securityContext.sysctls[kernel.msgmax]",
        ),
        (
            json!({"containers": [{"name": "app", "ports": [{"name": "p", "containerPort": 1, "hostPort": 1}]}]}),
            "containers[app].ports[p].hostPort",
        ),
        (
            json!({"containers": [{"name": "app", "readinessProbe": {"tcpSocket": {"host": "10.0.0.1"}}}]}),
            "containers[app].readinessProbe.tcpSocket.host",
        ),
    ];
    for (spec, field) in of_pods {
        let message = merge(json!({"spec": spec})).expect_err(field);
        assert!(message.starts_with(&format!("spec.app.podTemplate.spec.{field}: ")), "{field} {message}");
    }
}
