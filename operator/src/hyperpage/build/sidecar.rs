//! The sidecar: an init container that goes on running. Kubernetes starts it before the app and stops it after.

use crds::{
    Coordination, External, Fallback, Sessions,
    contract::{ADMIN_PORT, REDIS_PORT, SIDECAR_CONTAINER, SIDECAR_PORT, env, mount, name, path},
};
use k8s_openapi::{
    api::core::v1::{
        Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction, ObjectFieldSelector, Probe, Volume,
        VolumeMount,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{Access, Valid, security};
use crate::hyperpage::validate::ValidSidecar;

const USER: i64 = 65532;
const AUTH_VOLUME: &str = "hyperpage-redis-auth";
pub(super) const BUS_VOLUME: &str = "hyperpage-bus";

pub(super) fn container(valid: &Valid) -> Container {
    let ValidSidecar { image, resources, log_level, sessions, coordination } = &valid.sidecar;
    Container {
        name: SIDECAR_CONTAINER.into(),
        image: Some(image.clone()),
        restart_policy: Some("Always".into()),
        ports: Some(vec![ContainerPort {
            name: Some("hp-admin".into()),
            container_port: ADMIN_PORT.into(),
            protocol: Some("TCP".into()),
            ..ContainerPort::default()
        }]),
        env: Some(
            [
                value(env::LISTEN, format!("127.0.0.1:{SIDECAR_PORT}")),
                value(env::ADMIN_LISTEN, format!("0.0.0.0:{ADMIN_PORT}")),
                value(env::LOG_LEVEL, log_level.as_str().into()),
                pod_name(),
                value(env::REDIS_MODE, "standalone".into()),
            ]
            .into_iter()
            .chain(redis(valid))
            .chain(settings(sessions))
            .chain(coordinated(valid))
            .collect(),
        ),
        resources: Some(security::resources(resources)),
        security_context: Some(security::sealed(USER)),
        // Every second: the app starts when this first succeeds. The sidecar gives up waiting for Redis after 30 s.
        startup_probe: Some(probe(path::STARTUP, 1, 120)),
        liveness_probe: Some(probe(path::LIVE, 10, 3)),
        readiness_probe: Some(probe(path::READY, 5, 2)),
        volume_mounts: Some(mounts(coordination)),
        ..Container::default()
    }
}

fn mounts(coordination: &Coordination) -> Vec<VolumeMount> {
    let mount = |name: &str, path: &str| VolumeMount {
        name: name.into(),
        mount_path: path.into(),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    // The whole folder: a single file of it would stay as it was when the container started.
    let bus = coordination.enabled.then(|| mount(BUS_VOLUME, mount::BUS));
    [mount(AUTH_VOLUME, mount::REDIS_AUTH)].into_iter().chain(bus).collect()
}

/// What is absent is the sidecar's to know: a newer one may know better.
fn settings(sessions: &Sessions) -> Vec<EnvVar> {
    let Sessions {
        ttl_seconds,
        allow_client_ids,
        allow_identity_writes,
        fallback,
        max_stale_seconds,
        trusted_hops,
        create_limit_per_minute,
        bind_ip,
        cookie,
    } = sessions;
    let memory = match fallback {
        Fallback::Journal => None,
        Fallback::Memory => Some(true),
        Fallback::Reject => Some(false),
    };
    let flag = |name, flag: Option<bool>| flag.map(|flag| value(name, flag.to_string()));
    let number = |name, number: Option<i32>| number.map(|number| value(name, number.to_string()));
    let settings = [
        number(env::SESSION_TTL_SECONDS, Some(*ttl_seconds)),
        flag(env::SESSION_ALLOW_CLIENT_IDS, *allow_client_ids),
        flag(env::SESSION_ALLOW_IDENTITY_WRITES, *allow_identity_writes),
        flag(env::SESSION_FALLBACK_TO_MEMORY, memory),
        number(env::SESSION_MAX_STALE_SECONDS, *max_stale_seconds),
        number(env::SESSION_TRUSTED_HOPS, *trusted_hops),
        number(env::SESSION_CREATE_LIMIT_PER_MINUTE, *create_limit_per_minute),
        bind_ip.map(|bind_ip| value(env::SESSION_BIND_IP, bind_ip.as_str().into())),
        flag(env::SESSION_COOKIE, *cookie),
    ];
    settings.into_iter().flatten().collect()
}

/// As [`settings`]. With a key the sidecar hears nothing in plain text, unless it is told to.
fn coordinated(valid: &Valid) -> Vec<EnvVar> {
    let Coordination {
        enabled,
        leader_profile,
        high_per_minute,
        normal_per_minute,
        channel_prefix,
        original_peers,
    } = &valid.sidecar.coordination;
    if !enabled {
        return vec![value(env::POD_COORDINATION_ENABLED, false.to_string())];
    }
    let number = |name, number: Option<i32>| number.map(|number| value(name, number.to_string()));
    let compat = original_peers.map(|peers| if peers { "original" } else { "off" });
    let settings = [
        Some(value(env::BUS_KEYS_FILE, mount::BUS_KEYS.into())),
        leader_profile.map(|profile| value(env::LEADER_PROFILE, profile.as_str().into())),
        number(env::COORD_HIGH_PRIORITY_THRESHOLD, *high_per_minute),
        number(env::COORD_NORMAL_PRIORITY_THRESHOLD, *normal_per_minute),
        channel_prefix
            .clone()
            .or_else(|| own_prefix(valid))
            .map(|prefix| value(env::POD_CHANNEL_PREFIX, prefix)),
        compat.map(|compat| value(env::COORD_COMPAT, compat.into())),
    ];
    settings.into_iter().flatten().collect()
}

/// Two apps on one Redis are not to elect one leader, but to meet those of the original takes the original's names.
fn own_prefix(valid: &Valid) -> Option<String> {
    let external = matches!(valid.access, Access::External(_));
    let meets = valid.sidecar.coordination.original_peers == Some(true);
    (external && !meets).then(|| format!("hyperpage:{}:{}", valid.namespace, valid.name))
}

/// Where Redis is, and the files that say how to enter it: nothing secret is in the environment.
fn redis(valid: &Valid) -> Vec<EnvVar> {
    match &valid.access {
        Access::Generated | Access::Given(_) => vec![
            value(env::REDIS_PASSWORD_FILE, mount::REDIS_PASSWORD.into()),
            value(env::REDIS_URL, format!("redis://{}:{REDIS_PORT}", name::redis(&valid.name))),
        ],
        Access::External(External { url_secret_ref: _, ca_secret_ref }) => {
            let ca = ca_secret_ref.as_ref().map(|_| value(env::REDIS_CA_FILE, mount::REDIS_CA.into()));
            let url = value(env::REDIS_URL_FILE, mount::REDIS_URL.into());
            ca.into_iter().chain([url]).collect()
        }
    }
}

pub(super) fn volumes(valid: &Valid) -> Vec<Volume> {
    let bus = valid.sidecar.coordination.enabled.then(|| Volume {
        name: BUS_VOLUME.into(),
        secret: Some(security::bus_keys(valid)),
        ..Volume::default()
    });
    [auth_volume(valid)].into_iter().chain(bus).collect()
}

fn auth_volume(valid: &Valid) -> Volume {
    let name = AUTH_VOLUME.into();
    match &valid.access {
        Access::Generated | Access::Given(_) => {
            Volume { name, secret: Some(security::password_file(valid)), ..Volume::default() }
        }
        Access::External(external) => {
            Volume { name, projected: Some(security::external_files(external)), ..Volume::default() }
        }
    }
}

pub(super) fn pod_name() -> EnvVar {
    EnvVar {
        name: env::POD_NAME.into(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: Some("v1".into()),
                field_path: "metadata.name".into(),
            }),
            ..EnvVarSource::default()
        }),
    }
}

pub(super) fn value(name: &str, value: String) -> EnvVar {
    EnvVar { name: name.into(), value: Some(value), value_from: None }
}

fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::String("hp-admin".into()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(2),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}
