//! The fetch step: what the watches show, corrected by our own last writes, and the password Secret where
//! there is a reason to read it.

use std::time::Instant;

use crds::{
    Hyperpage, HyperpageStatus, Reason,
    contract::{annotation, label, name, secret},
};
use k8s_openapi::api::core::v1::Secret;
use kube::{Resource, ResourceExt};

use super::{
    Problem,
    build::{self, SecretRef},
    memory::{self, Memory},
    validate::Valid,
};
use crate::{
    apply::{Calls, Error},
    children::{Family, Kind},
    context::Context,
    pods::Trouble,
};

pub struct Fetched {
    pub family: Family,
    /// The last status we know of.
    pub status: Option<HyperpageStatus>,
    /// An error is told in status, as those of writes are.
    pub password: Result<Password, Error>,
    pub app: Option<Trouble>,
    pub redis: Option<Trouble>,
}

/// The Secret that holds Redis' password.
#[derive(Debug)]
pub enum Password {
    Known(SecretRef),
    Absent,
    /// There is one that cannot be used.
    Unusable(Problem),
}

pub async fn fetch(
    hyperpage: &Hyperpage,
    context: &Context,
    calls: &Calls<'_>,
    memory: &mut Memory,
) -> Fetched {
    let (namespace, name, uid) = (calls.namespace, hyperpage.name_any(), calls.uid);
    let family = memory.correct(context.children.family(namespace, uid), Instant::now());
    let status = memory.last_status().or(hyperpage.status.as_ref()).cloned();
    memory.recall(&family, status.as_ref().and_then(|status| status.applied_digest.as_deref()));
    let app = context.pods.trouble(namespace, &name, label::COMPONENT_APP);
    let redis = context.pods.trouble(namespace, &name, label::COMPONENT_REDIS);
    let missing = [&app, &redis].into_iter().flatten().any(|t| t.reason == Reason::ContainerConfigError);
    let known = match missing || moved(hyperpage, status.as_ref(), &family) {
        true => None,
        false => password_in_use(&family),
    };
    let password = match known {
        Some(uid) => Ok(Password::Known(SecretRef { name: name::redis(&name), uid })),
        None => read_password(calls, &name).await,
    };
    Fetched { family, status, password, app, redis }
}

/// The spec, or anything we applied, is not as it was when status was written.
fn moved(hyperpage: &Hyperpage, status: Option<&HyperpageStatus>, family: &Family) -> bool {
    let Some(status) = status else { return true };
    status.observed_generation != hyperpage.metadata.generation
        || status.applied_digest.as_deref() != Some(&memory::digest(family))
}

/// The uid of the Secret, from the templates that were made with it: no request needed.
fn password_in_use(family: &Family) -> Option<String> {
    let uid = |kind: Kind| {
        let (_, live) = family.iter().find(|(id, _)| id.kind == kind)?;
        live.rollout()?.template_annotations.get(annotation::REDIS_AUTH)
    };
    uid(Kind::Deployment).filter(|app| Some(*app) == uid(Kind::StatefulSet)).cloned()
}

async fn read_password(calls: &Calls<'_>, hyperpage: &str) -> Result<Password, Error> {
    let name = name::redis(hyperpage);
    Ok(match calls.secret(&name).await? {
        Some(found) => usable(&found, hyperpage),
        None => Password::Absent,
    })
}

/// A Secret of ours from before, whatever its owner's uid, is used and never replaced: a new password would
/// lock everybody out.
fn usable(found: &Secret, hyperpage: &str) -> Password {
    let name = name::redis(hyperpage);
    let problem =
        |message: String| Password::Unusable(Problem { reason: Reason::NameTaken, message, child: None });
    let stranger = found.owner_references().iter().find(|owner| {
        owner.controller == Some(true) && (owner.kind != Hyperpage::kind(&()) || owner.name != hyperpage)
    });
    if let Some(owner) = stranger {
        return problem(format!(
            "Secret {name} belongs to {} {}; remove it, or choose another name",
            owner.kind, owner.name
        ));
    }
    let keys = [secret::PASSWORD, secret::URL];
    let empty =
        |key: &&str| found.data.iter().flatten().all(|(name, value)| name != key || value.0.is_empty());
    match keys.iter().find(|key| empty(key)) {
        Some(key) => problem(format!(
            "Secret {name} exists already but has no {key}; restore it, or remove it to get a new password"
        )),
        None => Password::Known(SecretRef { name, uid: found.uid().unwrap_or_default() }),
    }
}

/// Makes the Secret when there is none. Whoever else makes one at the same time wins.
pub async fn create_password(calls: &Calls<'_>, valid: &Valid) -> Result<Password, Error> {
    let secret = build::password_secret(valid, &random_password()?);
    match calls.create_secret(&name::redis(&valid.name), &secret).await? {
        Some(created) => Ok(usable(&created, &valid.name)),
        None => read_password(calls, &valid.name).await,
    }
}

/// 192 bits, in characters that need no quoting in a URL, a configuration file or a shell.
fn random_password() -> Result<String, Error> {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes).map_err(|error| Error::Random(error.to_string()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn secret(owner: Option<(&str, &str)>, keys: &[&str]) -> Secret {
        let owners = owner.map(|(kind, name)| {
            json!([{"apiVersion": "v1", "kind": kind, "name": name, "uid": "other", "controller": true}])
        });
        let data: serde_json::Map<_, _> = keys.iter().map(|key| ((*key).to_owned(), json!("eA=="))).collect();
        serde_json::from_value(
            json!({"metadata": {"name": "shop-hp-redis", "uid": "s", "ownerReferences": owners},
            "data": data}),
        )
        .unwrap()
    }

    #[test]
    fn a_secret_from_before_is_used_whatever_its_owners_uid() {
        for owner in [None, Some(("Hyperpage", "shop"))] {
            let found = usable(&secret(owner, &["password", "url"]), "shop");
            assert!(matches!(found, Password::Known(ref known) if known.uid == "s"), "{found:?}");
        }
    }

    #[test]
    fn a_strangers_secret_and_one_without_a_password_are_named() {
        let stranger = usable(&secret(Some(("Vault", "v")), &["password", "url"]), "shop");
        let Password::Unusable(problem) = stranger else { panic!("{stranger:?}") };
        assert!(problem.message.contains("Vault v"), "{}", problem.message);
        let empty = usable(&secret(None, &["url"]), "shop");
        let Password::Unusable(problem) = empty else { panic!("{empty:?}") };
        assert!(problem.message.contains("has no password"), "{}", problem.message);
    }

    #[test]
    fn passwords_are_long_and_differ() {
        let (one, two) = (random_password().unwrap(), random_password().unwrap());
        assert_eq!(one.len(), 48);
        assert_ne!(one, two);
    }
}
