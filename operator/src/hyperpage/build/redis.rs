//! The standalone Redis: its password, configuration, Service and StatefulSet.

use std::{collections::BTreeMap, fmt::Write as _};

use crds::contract::{REDIS_CONTAINER, REDIS_PORT, annotation, mount, name, secret};
use k8s_openapi::{
    ByteString,
    api::{
        apps::v1::{
            RollingUpdateStatefulSetStrategy, StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy,
        },
        core::v1::{
            ConfigMap, ConfigMapVolumeSource, Container, ContainerPort, ExecAction, PodSecurityContext,
            PodSpec, PodTemplateSpec, Probe, Secret, Service, ServicePort, ServiceSpec, Volume, VolumeMount,
        },
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};

use super::{
    Invalid, Valid,
    meta::{Component, image_pull_secrets, label_selector, labels, metadata, selector},
    pod_template, security, volume,
};
use crate::settled;

/// `redis` in the official images.
const USER: i64 = 999;
const PORT: &str = "redis";
const CONF: &str = "redis.conf";

pub(super) fn secret(valid: &Valid, password: &str) -> Secret {
    let name = name::redis(&valid.name);
    let url = format!("redis://:{password}@{name}:{REDIS_PORT}");
    Secret {
        metadata: metadata(valid, name, Component::Redis),
        immutable: Some(true),
        type_: Some("Opaque".into()),
        data: Some(BTreeMap::from([
            (secret::PASSWORD.to_owned(), ByteString(password.into())),
            (secret::URL.to_owned(), ByteString(url.into_bytes())),
        ])),
        string_data: None,
    }
}

/// Everything but the password, which Redis reads from its standard input.
pub(super) fn config_map(valid: &Valid) -> ConfigMap {
    ConfigMap {
        metadata: metadata(valid, name::redis(&valid.name), Component::Redis),
        data: Some(BTreeMap::from([(CONF.to_owned(), conf(valid))])),
        ..ConfigMap::default()
    }
}

/// The user's directives first: of two, Redis obeys the last, and reserved ones were refused anyway.
fn conf(valid: &Valid) -> String {
    let mut conf = String::new();
    if !valid.redis.config.contains_key("save") {
        conf.push_str("save \"\"\n");
    }
    for (directive, value) in &valid.redis.config {
        let _ = writeln!(conf, "{directive} {value}");
    }
    let maxmemory = valid.redis.maxmemory;
    let _ = write!(
        conf,
        "port {REDIS_PORT}\n\
         dir /data\n\
         appendonly yes\n\
         appendfsync everysec\n\
         maxmemory {maxmemory}\n\
         maxmemory-policy noeviction\n"
    );
    conf
}

pub(super) fn service(valid: &Valid) -> Service {
    Service {
        metadata: metadata(valid, name::redis(&valid.name), Component::Redis),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".into()),
            selector: Some(selector(valid, Component::Redis)),
            ports: Some(vec![ServicePort {
                name: Some(PORT.into()),
                protocol: Some("TCP".into()),
                port: REDIS_PORT.into(),
                target_port: Some(IntOrString::String(PORT.into())),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

pub(super) fn stateful_set(
    valid: &Valid,
    password: &str,
    config: &ConfigMap,
) -> Result<StatefulSet, Invalid> {
    let name = name::redis(&valid.name);
    Ok(StatefulSet {
        metadata: metadata(valid, name.clone(), Component::Redis),
        spec: Some(StatefulSetSpec {
            replicas: Some(1),
            service_name: Some(name.clone()),
            selector: label_selector(valid, Component::Redis),
            pod_management_policy: Some("Parallel".into()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(RollingUpdateStatefulSetStrategy {
                    partition: Some(0),
                    max_unavailable: None,
                }),
            }),
            revision_history_limit: Some(3),
            template: template(valid, password, config)?,
            volume_claim_templates: volume::claim(valid).map(|claim| vec![claim]),
            persistent_volume_claim_retention_policy: valid
                .redis
                .storage
                .as_ref()
                .map(|storage| volume::retention(storage.retention_policy)),
            ..StatefulSetSpec::default()
        }),
        status: None,
    })
}

/// What Redis' password goes through, what the Service finds it by, and what its maxmemory was reckoned from.
const KEPT: [&str; 7] = [
    "command",
    "ports[redis]",
    "resources.limits.memory",
    "securityContext.readOnlyRootFilesystem",
    "volumeMounts[/data]",
    "volumeMounts[/etc/hyperpage/redis]",
    "volumeMounts[/run/hyperpage/redis]",
];

fn template(valid: &Valid, password: &str, config: &ConfigMap) -> Result<PodTemplateSpec, Invalid> {
    let built =
        PodTemplateSpec { metadata: Some(pod_metadata(valid, password, config)), spec: Some(pod(valid)) };
    let kept = KEPT.map(|field| format!("spec.containers[{REDIS_CONTAINER}].{field}"));
    pod_template::merge(built, valid.redis.pod_template.as_ref(), "spec.redis.podTemplate", &kept)
}

fn pod_metadata(valid: &Valid, password: &str, config: &ConfigMap) -> ObjectMeta {
    ObjectMeta {
        labels: Some(labels(valid, Component::Redis)),
        annotations: Some(
            security::auth(valid, password)
                .into_iter()
                .chain([(annotation::REDIS_CONFIG.to_owned(), settled::hash(&config.data))])
                .collect(),
        ),
        ..ObjectMeta::default()
    }
}

fn pod(valid: &Valid) -> PodSpec {
    PodSpec {
        containers: vec![container(valid)],
        volumes: Some(volume::volume(valid).into_iter().chain(files(valid)).collect()),
        image_pull_secrets: image_pull_secrets(valid),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(PodSecurityContext {
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            ..security::pod()
        }),
        termination_grace_period_seconds: Some(60),
        ..PodSpec::default()
    }
}

fn files(valid: &Valid) -> [Volume; 2] {
    let config = ConfigMapVolumeSource { name: name::redis(&valid.name), ..ConfigMapVolumeSource::default() };
    [
        Volume { name: "config".into(), config_map: Some(config), ..Volume::default() },
        Volume { name: "auth".into(), secret: Some(security::password_file(valid)), ..Volume::default() },
    ]
}

fn container(valid: &Valid) -> Container {
    Container {
        name: REDIS_CONTAINER.into(),
        image: Some(valid.redis.image.clone()),
        command: Some(shell(&start())),
        ports: Some(vec![ContainerPort {
            name: Some(PORT.into()),
            container_port: REDIS_PORT.into(),
            protocol: Some("TCP".into()),
            ..ContainerPort::default()
        }]),
        resources: Some(security::resources(&valid.redis.resources)),
        security_context: Some(security::sealed(USER)),
        startup_probe: Some(probe(&ping(ALIVE), 1, 60)),
        liveness_probe: Some(probe(&ping(ALIVE), 10, 6)),
        readiness_probe: Some(probe(&ping("PONG"), 5, 2)),
        volume_mounts: Some(vec![
            volume::mount(),
            read_only("config", mount::REDIS_CONFIG),
            read_only("auth", mount::REDIS_AUTH),
        ]),
        ..Container::default()
    }
}

/// The password is in no argument and no environment: the shell hands it over on standard input.
fn start() -> String {
    format!(
        "set -eu\n\
         password=$(cat {})\n\
         exec redis-server {}/{CONF} - <<EOF\n\
         requirepass $password\n\
         EOF\n",
        mount::REDIS_PASSWORD,
        mount::REDIS_CONFIG,
    )
}

/// What a Redis that lives may answer to PING: it loads its data, runs a long script, cannot write to its disk, has
/// lost its primary, or has no room for another client. A restart would only begin all over.
const ALIVE: &str = "PONG*|LOADING*|BUSY*|MISCONF*|MASTERDOWN*|*\"max number of clients\"";

fn ping(accepted: &str) -> String {
    format!(
        "answer=$(REDISCLI_AUTH=$(cat {}) redis-cli -p {REDIS_PORT} ping 2>&1)\n\
         case \"$answer\" in\n\
         {accepted}*) exit 0 ;;\n\
         esac\n\
         echo \"$answer\"\n\
         exit 1\n",
        mount::REDIS_PASSWORD,
    )
}

fn probe(script: &str, period: i32, failures: i32) -> Probe {
    Probe {
        exec: Some(ExecAction { command: Some(shell(script)) }),
        period_seconds: Some(period),
        timeout_seconds: Some(5),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

fn shell(script: &str) -> Vec<String> {
    vec!["sh".into(), "-c".into(), script.into()]
}

fn read_only(volume: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: volume.into(),
        mount_path: path.into(),
        read_only: Some(true),
        ..VolumeMount::default()
    }
}
