//! From a Hyperpage as somebody wrote it to one that can be built: defaults resolved, rules checked. The API
//! server checked most of them too, but a stored object may be older than the rules.

use std::collections::BTreeSet;

use crds::{App, Autoscaling, Hyperpage, LogLevel, Reason, Resources, Service};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

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
    pub generation: i64,
    /// What `spec.replicas` says; who applies it is not decided here.
    pub replicas: i32,
    pub app: App,
    pub service: Service,
    pub autoscaling: Option<Autoscaling>,
    pub sidecar: ValidSidecar,
    pub redis: ValidRedis,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ValidSidecar {
    pub image: String,
    pub resources: Resources,
    pub log_level: LogLevel,
    pub session_ttl_seconds: i32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ValidRedis {
    pub image: String,
    pub resources: Resources,
    /// 60 % of the memory limit: the rest is for buffers, and for the copies a rewrite of the AOF makes.
    pub maxmemory: u64,
    pub config: std::collections::BTreeMap<String, String>,
}

/// Why a Hyperpage cannot be built; `message` names the field and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    pub reason: Reason,
    pub message: String,
}

pub fn validate(hyperpage: &Hyperpage, defaults: &Defaults) -> Result<Valid, Invalid> {
    hyperpage.validate_cel().map_err(|errors| {
        let all: Vec<String> = errors.iter().map(|e| format!("{}: {}", e.field_path, e.message)).collect();
        invalid(all.join("; "))
    })?;
    let metadata = &hyperpage.metadata;
    let spec = &hyperpage.spec;
    unique_env_names(&spec.app)?;
    let redis_resources = spec.redis.resources.clone().unwrap_or_else(redis_resources);
    Ok(Valid {
        name: known(metadata.name.as_ref(), "name")?,
        namespace: known(metadata.namespace.as_ref(), "namespace")?,
        uid: known(metadata.uid.as_ref(), "uid")?,
        generation: metadata.generation.unwrap_or_default(),
        replicas: spec.replicas,
        app: spec.app.clone(),
        service: spec.service.clone(),
        autoscaling: spec.autoscaling.clone(),
        sidecar: ValidSidecar {
            image: spec.sidecar.image.clone().unwrap_or_else(|| defaults.sidecar_image.clone()),
            resources: spec.sidecar.resources.clone(),
            log_level: spec.sidecar.log_level,
            session_ttl_seconds: spec.sidecar.sessions.ttl_seconds,
        },
        redis: ValidRedis {
            image: spec.redis.image.clone().unwrap_or_else(|| defaults.redis_image.clone()),
            maxmemory: maxmemory(&redis_resources)?,
            resources: redis_resources,
            config: spec.redis.config.clone(),
        },
    })
}

fn invalid(message: String) -> Invalid {
    Invalid { reason: Reason::InvalidSpec, message }
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

fn redis_resources() -> Resources {
    Resources { limits: [("memory".to_owned(), Quantity("256Mi".to_owned()))].into(), ..Resources::default() }
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
