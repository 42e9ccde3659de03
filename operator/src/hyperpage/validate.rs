//! From a Hyperpage as somebody wrote it to one that can be built: defaults resolved, rules checked. The API
//! server checked most of them too, but a stored object may be older than the rules.

use std::collections::{BTreeMap, BTreeSet};

use crds::{
    App, Autoscaling, Coordination, External, Hyperpage, LogLevel, NetworkPolicy, PodDisruptionBudget,
    PodTemplate, PullSecret, Redis, RedisMode, Resources, SecretKey, Service, ServiceAccount, Sessions,
    Storage, contract::annotation,
};
use k8s_openapi::apimachinery::pkg::{api::resource::Quantity, util::intstr::IntOrString};

use super::{
    invalid::{Invalid, invalid},
    pod_template, rules,
    sticky::{Ask, Images},
};
use crate::settled;

/// What the operator was told to use where a Hyperpage says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    pub sidecar_image: String,
    pub redis_image: String,
}

/// A Hyperpage that can be built. Only [`validate`] makes one.
#[derive(Clone, Debug, PartialEq)]
pub struct Valid {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    /// What `spec.replicas` says; who applies it is not decided here.
    pub replicas: i32,
    pub suspend: bool,
    pub image_pull_secrets: Vec<PullSecret>,
    pub app: App,
    pub service_account: ServiceAccount,
    pub service: Service,
    pub autoscaling: Option<Autoscaling>,
    pub budget: Budget,
    pub network_policy: NetworkPolicy,
    pub sidecar: ValidSidecar,
    /// Of use where the operator runs Redis.
    pub redis: ValidRedis,
    pub images: Images,
    pub access: Access,
    /// A new value replaces the key that pods seal their messages with.
    pub rotate_bus_key: Option<String>,
}

/// How Redis is reached and entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Ours, by the password that we made.
    Generated,
    /// Ours, by somebody's password.
    Given(SecretKey),
    /// Somebody's.
    External(External),
}

impl Access {
    pub fn of(redis: &Redis) -> Self {
        match (&redis.external, &redis.password_secret_ref) {
            (Some(external), _) => Self::External(external.clone()),
            (None, Some(key)) => Self::Given(key.clone()),
            (None, None) => Self::Generated,
        }
    }

    pub fn mode(&self) -> RedisMode {
        match self {
            Self::Generated | Self::Given(_) => RedisMode::Standalone,
            Self::External(_) => RedisMode::External,
        }
    }
}

/// The pods that may be away at once.
#[derive(Clone, Debug, PartialEq)]
pub enum Budget {
    MaxUnavailable(IntOrString),
    MinAvailable(IntOrString),
}

#[derive(Clone, Debug, PartialEq)]
pub struct ValidSidecar {
    pub image: String,
    pub resources: Resources,
    pub log_level: LogLevel,
    pub sessions: Sessions,
    pub coordination: Coordination,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ValidRedis {
    pub image: String,
    pub resources: Resources,
    /// 60 % of the memory limit: the rest is for buffers, and for the copies a rewrite of the AOF makes.
    pub maxmemory: u64,
    /// Absent: an emptyDir.
    pub storage: Option<Storage>,
    pub config: BTreeMap<String, String>,
    pub pod_template: Option<PodTemplate>,
}

pub fn validate(hyperpage: &Hyperpage, defaults: &Defaults) -> Result<Valid, Invalid> {
    obey_rules(hyperpage)?;
    let metadata = &hyperpage.metadata;
    let spec = &hyperpage.spec;
    unique_env_names(&spec.app)?;
    pod_template::check_probes(&spec.app)?;
    let redis_resources = redis_resources(spec.redis.resources.as_ref());
    Ok(Valid {
        name: known(metadata.name.as_ref(), "name")?,
        namespace: known(metadata.namespace.as_ref(), "namespace")?,
        uid: known(metadata.uid.as_ref(), "uid")?,
        replicas: spec.replicas,
        suspend: spec.suspend,
        image_pull_secrets: spec.image_pull_secrets.clone(),
        app: spec.app.clone(),
        service_account: spec.service_account.clone(),
        service: spec.service.clone(),
        images: Images {
            sidecar: ask(hyperpage, spec.sidecar.image.as_ref(), annotation::UPGRADE_SIDECAR),
            redis: ask(hyperpage, spec.redis.image.as_ref(), annotation::UPGRADE_REDIS),
        },
        autoscaling: spec.autoscaling.clone(),
        budget: budget(spec.pod_disruption_budget.clone()),
        network_policy: spec.network_policy.clone(),
        sidecar: ValidSidecar {
            image: spec.sidecar.image.clone().unwrap_or_else(|| defaults.sidecar_image.clone()),
            resources: spec.sidecar.resources.clone(),
            log_level: spec.sidecar.log_level,
            sessions: spec.sidecar.sessions.clone(),
            coordination: spec.sidecar.coordination.clone(),
        },
        redis: ValidRedis {
            image: spec.redis.image.clone().unwrap_or_else(|| defaults.redis_image.clone()),
            maxmemory: maxmemory(&redis_resources)?,
            resources: redis_resources,
            storage: spec.redis.storage.clone(),
            config: spec.redis.config.clone(),
            pod_template: spec.redis.pod_template.clone(),
        },
        access: Access::of(&spec.redis),
        rotate_bus_key: rotation(hyperpage),
    })
}

/// A long value, which no status could hold, is known by its hash.
fn rotation(hyperpage: &Hyperpage) -> Option<String> {
    let asked = hyperpage.metadata.annotations.as_ref()?.get(annotation::ROTATE_BUS_KEY)?;
    let known = if asked.len() > 253 { settled::hash(asked) } else { asked.clone() };
    Some(known).filter(|value| !value.is_empty())
}

fn ask(hyperpage: &Hyperpage, named: Option<&String>, upgrade: &str) -> Ask {
    let annotations = hyperpage.metadata.annotations.as_ref();
    Ask { named: named.is_some(), upgrade: annotations.and_then(|all| all.get(upgrade)).cloned() }
}

fn obey_rules(hyperpage: &Hyperpage) -> Result<(), Invalid> {
    let broken = rules::broken(hyperpage);
    if broken.is_empty() { Ok(()) } else { Err(invalid(broken.join("; "))) }
}

fn known(value: Option<&String>, field: &str) -> Result<String, Invalid> {
    value.cloned().ok_or_else(|| {
        invalid(format!("metadata.{field} is missing: apply the Hyperpage to a cluster first"))
    })
}

/// The API server refuses a Deployment with duplicates without saying where they are.
fn unique_env_names(app: &App) -> Result<(), Invalid> {
    let mut seen = BTreeSet::new();
    match app.env.iter().find(|variable| !seen.insert(&variable.name)) {
        Some(twice) => Err(invalid(format!("spec.app.env: {} is set twice; keep one of them", twice.name))),
        None => Ok(()),
    }
}

/// One by default, which never holds up a drain for good, however many pods there are.
fn budget(asked: Option<PodDisruptionBudget>) -> Budget {
    let one = || Budget::MaxUnavailable(IntOrString::Int(1));
    // A number may come in quotes, which Kubernetes would take for a percentage without its sign.
    let plain = |pods: IntOrString| match &pods {
        IntOrString::String(text) => text.parse().map_or(pods, IntOrString::Int),
        IntOrString::Int(_) => pods,
    };
    asked.map_or_else(one, |PodDisruptionBudget { max_unavailable, min_available }| {
        let min = min_available.map(|pods| Budget::MinAvailable(plain(pods)));
        min.or(max_unavailable.map(|pods| Budget::MaxUnavailable(plain(pods)))).unwrap_or_else(one)
    })
}

/// Everybody waits for Redis: without a share of its own it starves on a busy node, and with it every app.
fn redis_resources(asked: Option<&Resources>) -> Resources {
    let quantity = |name: &str, value: &str| (name.to_owned(), Quantity(value.to_owned()));
    let unasked = || Resources { limits: [quantity("memory", "256Mi")].into(), ..Resources::default() };
    let mut resources = asked.cloned().unwrap_or_else(unasked);
    if !resources.requests.contains_key("cpu") && !resources.limits.contains_key("cpu") {
        resources.requests.extend([quantity("cpu", "100m")]);
    }
    resources
}

fn maxmemory(resources: &Resources) -> Result<u64, Invalid> {
    let field = "spec.redis.resources.limits.memory";
    let limit = resources
        .limits
        .get("memory")
        .ok_or_else(|| invalid(format!("{field} is missing: maxmemory is 60 % of it")))?;
    let bytes = crds::bytes(limit)
        .map_err(|_| invalid(format!("{field}: {:?} is not a quantity such as 256Mi", limit.0)))?;
    Ok(bytes / 10 * 6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(spec: Value) -> Result<Valid, Invalid> {
        let whole = json!({
            "apiVersion": "hyperpage.dev/v1alpha1", "kind": "Hyperpage", "spec": spec,
            "metadata": {"name": "shop", "namespace": "demo", "uid": "u", "generation": 7},
        });
        let defaults = Defaults { sidecar_image: "sidecar:1".to_owned(), redis_image: "redis:7".to_owned() };
        validate(&serde_json::from_value(whole).unwrap(), &defaults)
    }

    #[test]
    fn what_is_absent_gets_the_operators_defaults() {
        let valid = check(json!({"app": {"image": "shop"}})).unwrap();
        assert_eq!((valid.sidecar.image.as_str(), valid.redis.image.as_str()), ("sidecar:1", "redis:7"));
        assert_eq!(valid.redis.resources.limits["memory"].0, "256Mi");
        let named = json!({"app": {"image": "shop"}, "sidecar": {"image": "s"}, "redis": {"image": "r"}});
        let valid = check(named).unwrap();
        assert_eq!((valid.sidecar.image.as_str(), valid.redis.image.as_str()), ("s", "r"));
    }

    #[test]
    fn a_budget_has_one_member_and_its_numbers_are_numbers() {
        let budget = |asked: Value| {
            check(json!({"app": {"image": "shop"}, "podDisruptionBudget": asked})).unwrap().budget
        };
        let absent = check(json!({"app": {"image": "shop"}})).unwrap().budget;
        assert_eq!(absent, Budget::MaxUnavailable(IntOrString::Int(1)));
        assert_eq!(budget(json!({"minAvailable": "2"})), Budget::MinAvailable(IntOrString::Int(2)));
        let quarter = IntOrString::String("25%".to_owned());
        assert_eq!(budget(json!({"maxUnavailable": "25%"})), Budget::MaxUnavailable(quarter));
    }

    #[test]
    fn a_message_names_the_field_and_every_fault() {
        let cases = [
            (
                json!({"app": {"image": "a b", "port": 4100}}),
                vec!["spec.app.image: app.image may not", "; spec.app"],
            ),
            (
                json!({"app": {"image": "a", "env": [{"name": "A"}, {"name": "A"}]}}),
                vec!["spec.app.env: A is set twice"],
            ),
            (
                json!({"app": {"image": "a"}, "redis": {"resources": {"limits": {"memory": "1Q"}}}}),
                vec!["spec.redis.resources"],
            ),
        ];
        for (spec, expected) in cases {
            let invalid = check(spec.clone()).unwrap_err();
            assert_eq!(invalid.reason, crds::Reason::InvalidSpec);
            for part in expected {
                assert!(invalid.message.contains(part), "{spec}: {}", invalid.message);
            }
        }
    }
}
