//! The Deployment: the user's container beside our sidecar.

use crds::{
    App, External, SecretKey,
    contract::{
        APP_CONTAINER, APP_REDIS_PASSWORD_ENV, APP_URL_ENV, REDIS_PORT, SIDECAR_PORT, env, label, name,
        secret,
    },
};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            Affinity, Container, ContainerPort, EnvVar, EnvVarSource, Lifecycle, LifecycleHandler,
            PodAffinityTerm, PodAntiAffinity, PodSpec, PodTemplateSpec, Probe, SecretKeySelector,
            SleepAction, TCPSocketAction, TopologySpreadConstraint, WeightedPodAffinityTerm,
        },
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};

use super::{
    Access, Invalid, Valid,
    meta::{Component, image_pull_secrets, label_selector, labels, metadata},
    pod_template, security, sidecar,
};

/// The container's port by name; probes and the Service refer to it.
const PORT: &str = "http";

/// `spec.replicas` is absent: it belongs to a second field manager, or to the autoscaler.
pub(super) fn deployment(valid: &Valid, password: &str) -> Result<Deployment, Invalid> {
    Ok(Deployment {
        metadata: metadata(valid, name::app(&valid.name), Component::App),
        spec: Some(DeploymentSpec {
            selector: label_selector(valid, Component::App),
            // Numbers always sent: with only one of the pair ours, a stranger's other one could block the roll.
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::String("25%".into())),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            revision_history_limit: Some(3),
            progress_deadline_seconds: Some(600),
            template: template(valid, password)?,
            ..DeploymentSpec::default()
        }),
        status: None,
    })
}

fn template(valid: &Valid, password: &str) -> Result<PodTemplateSpec, Invalid> {
    let built = PodTemplateSpec { metadata: Some(pod_metadata(valid, password)), spec: Some(pod(valid)) };
    let mut kept = vec![format!("spec.containers[{APP_CONTAINER}].ports[{PORT}]")];
    kept.extend(
        our_env(valid).into_iter().map(|it| format!("spec.containers[{APP_CONTAINER}].env[{}]", it.name)),
    );
    pod_template::merge(built, valid.app.pod_template.as_ref(), "spec.app.podTemplate", &kept)
}

fn pod_metadata(valid: &Valid, password: &str) -> ObjectMeta {
    let mut labels = labels(valid, Component::App);
    labels.insert(label::APP.into(), valid.name.clone());
    ObjectMeta {
        labels: Some(labels),
        annotations: Some(security::auth(valid, password)),
        ..ObjectMeta::default()
    }
}

fn pod(valid: &Valid) -> PodSpec {
    let account = valid.service_account.name.clone();
    PodSpec {
        init_containers: Some(vec![sidecar::container(valid)]),
        containers: vec![container(valid)],
        volumes: Some(sidecar::volumes(valid)),
        service_account_name: Some(account.unwrap_or_else(|| name::service_account(&valid.name))),
        image_pull_secrets: image_pull_secrets(valid),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(security::pod()),
        termination_grace_period_seconds: Some(valid.app.termination_grace_period_seconds.into()),
        affinity: Some(over_zones(valid)),
        topology_spread_constraints: Some(vec![over_nodes(valid)]),
        ..PodSpec::default()
    }
}

fn container(valid: &Valid) -> Container {
    let App {
        image,
        image_pull_policy,
        port,
        command,
        args,
        env,
        env_from,
        resources,
        startup_probe,
        liveness_probe,
        readiness_probe,
        drain_seconds,
        termination_grace_period_seconds: _, // the pod's
        pod_template: _,
    } = valid.app.clone();
    Container {
        name: APP_CONTAINER.into(),
        image: Some(image),
        image_pull_policy: image_pull_policy.map(|policy| policy.as_str().into()),
        command: (!command.is_empty()).then_some(command),
        args: (!args.is_empty()).then_some(args),
        ports: Some(vec![ContainerPort {
            name: Some(PORT.into()),
            container_port: port,
            protocol: Some("TCP".into()),
            ..ContainerPort::default()
        }]),
        // Ours come first, so that the user's may refer to them as $(POD_NAME).
        env: Some(our_env(valid).into_iter().chain(env).collect()),
        env_from: (!env_from.is_empty()).then_some(env_from),
        resources: Some(security::resources(&resources)),
        security_context: Some(security::container()),
        startup_probe,
        liveness_probe,
        readiness_probe: Some(readiness_probe.unwrap_or_else(accepts_connections)),
        lifecycle: drain(drain_seconds),
        ..Container::default()
    }
}

fn our_env(valid: &Valid) -> Vec<EnvVar> {
    let name = name::redis(&valid.name);
    let url = |value_from| EnvVar { name: env::REDIS_URL.into(), value: None, value_from };
    let redis = match &valid.access {
        Access::Generated => vec![url(key(&name, secret::URL))],
        Access::Given(SecretKey { name: given, key: password }) => vec![
            EnvVar { name: APP_REDIS_PASSWORD_ENV.into(), value: None, value_from: key(given, password) },
            // Kubernetes puts the password in, whatever it is: who reads the Secret has to see that it fits.
            sidecar::value(
                env::REDIS_URL,
                format!("redis://:$({APP_REDIS_PASSWORD_ENV})@{name}:{REDIS_PORT}"),
            ),
        ],
        Access::External(External { url_secret_ref, ca_secret_ref: _ }) => {
            vec![url(key(&url_secret_ref.name, &url_secret_ref.key))]
        }
    };
    let ours = [sidecar::value(APP_URL_ENV, format!("http://127.0.0.1:{SIDECAR_PORT}")), sidecar::pod_name()];
    ours.into_iter().chain(redis).collect()
}

fn key(secret: &str, key: &str) -> Option<EnvVarSource> {
    Some(EnvVarSource {
        secret_key_ref: Some(SecretKeySelector { name: secret.into(), key: key.into(), optional: None }),
        ..EnvVarSource::default()
    })
}

fn accepts_connections() -> Probe {
    Probe {
        tcp_socket: Some(TCPSocketAction { port: IntOrString::String(PORT.into()), host: None }),
        period_seconds: Some(5),
        ..Probe::default()
    }
}

/// The kubelet sleeps, so the image needs no shell. Clusters before 1.34 refuse to sleep for 0 seconds.
fn drain(seconds: i32) -> Option<Lifecycle> {
    (seconds > 0).then(|| Lifecycle {
        pre_stop: Some(LifecycleHandler {
            sleep: Some(SleepAction { seconds: seconds.into() }),
            ..LifecycleHandler::default()
        }),
        ..Lifecycle::default()
    })
}

/// Pods of one revision only are spread: counting those that leave would let a roll pack the new ones on one node.
const REVISION: &str = "pod-template-hash";
pub(super) const ZONE: &str = "topology.kubernetes.io/zone";

fn over_nodes(valid: &Valid) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        topology_key: "kubernetes.io/hostname".into(),
        max_skew: 1,
        when_unsatisfiable: "ScheduleAnyway".into(),
        label_selector: Some(label_selector(valid, Component::App)),
        match_label_keys: Some(vec![REVISION.into()]),
        ..TopologySpreadConstraint::default()
    }
}

/// No second constraint: the scheduler takes no account of any of them on a node that lacks the label of one, and where
/// there is one zone nodes are rarely labelled with it.
fn over_zones(valid: &Valid) -> Affinity {
    let elsewhere = WeightedPodAffinityTerm {
        weight: 100,
        pod_affinity_term: PodAffinityTerm {
            topology_key: ZONE.into(),
            label_selector: Some(label_selector(valid, Component::App)),
            match_label_keys: Some(vec![REVISION.into()]),
            ..PodAffinityTerm::default()
        },
    };
    let apart = PodAntiAffinity {
        preferred_during_scheduling_ignored_during_execution: Some(vec![elsewhere]),
        ..PodAntiAffinity::default()
    };
    Affinity { pod_anti_affinity: Some(apart), ..Affinity::default() }
}
