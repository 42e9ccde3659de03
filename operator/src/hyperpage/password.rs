//! The Secret with Redis' password: made once, kept whoever owned it before, and made anew only when it is gone. A
//! new password locks everybody out until Redis and the app have restarted.

use crds::contract::{annotation, name, secret};
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::ResourceExt;
use serde_json::json;

use super::{
    Problem, build,
    memory::Memory,
    secrets,
    tell::Deed,
    validate::{Access, Valid},
    whose::{self, Whose},
};
use crate::{
    apply::{Calls, Error},
    children::{Family, Kind},
};

/// What a look at the Secret showed.
#[derive(Debug)]
pub enum Password {
    /// Ours; its uid.
    Known(String),
    /// From before: nobody owns it, or a Hyperpage of this name that is gone.
    Orphan(Box<ObjectMeta>),
    Absent,
    /// Somebody else's Secrets do. `unused`: the uid of ours from before.
    Theirs {
        unused: Option<String>,
    },
    /// Somebody else's do not exist, as these words say.
    Missing(String),
    /// There is one that cannot be used.
    Unusable(Problem),
}

impl Password {
    /// The uid that pod templates bear; `None`: it is to be settled first.
    pub fn known(&self) -> Option<&str> {
        match self {
            Self::Known(uid) => Some(uid),
            Self::Theirs { .. } | Self::Missing(_) => Some(""),
            Self::Orphan(_) | Self::Absent | Self::Unusable(_) => None,
        }
    }
}

/// What a person should hear of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    Adopted,
    /// It was gone.
    Replaced,
    /// It was there, and gone before it could be adopted.
    Lost,
}

pub async fn read(calls: &Calls<'_>, access: &Access, hyperpage: &str) -> Result<Password, Error> {
    let ours = own(calls, hyperpage).await?;
    Ok(match (access, secrets::read(calls, access).await?, ours) {
        (Access::Generated, _, ours) => ours,
        (_, Password::Theirs { .. }, Password::Known(uid)) => Password::Theirs { unused: Some(uid) },
        (_, theirs, _) => theirs,
    })
}

async fn own(calls: &Calls<'_>, hyperpage: &str) -> Result<Password, Error> {
    let found = calls.secret(&name::redis(hyperpage)).await?;
    Ok(found.map_or(Password::Absent, |found| judge(&found, hyperpage, calls.uid)))
}

fn judge(found: &Secret, hyperpage: &str, uid: &str) -> Password {
    if found.metadata.deletion_timestamp.is_some() {
        return Password::Absent;
    }
    let whose = match whose::judge(found, hyperpage, uid) {
        Ok(whose) => whose,
        Err(problem) => return Password::Unusable(problem),
    };
    let value = |key: &str| found.data.as_ref().and_then(|data| data.get(key)).map_or(&[][..], |it| &it.0);
    let unfit = [secret::PASSWORD, secret::URL].into_iter().find(|key| value(key).is_empty());
    let unfit = unfit.map(|key| format!("has no {key}")).or_else(|| {
        let agree = contains(value(secret::URL), value(secret::PASSWORD));
        (!agree).then(|| format!("has a {} that is not in its {}", secret::PASSWORD, secret::URL))
    });
    match (unfit, whose) {
        (Some(what), _) => Password::Unusable(whose::taken(format!(
            "Secret {} exists already but {what}; restore it, or remove it to get a new password",
            found.name_any()
        ))),
        (None, Whose::Ours) => Password::Known(found.uid().unwrap_or_default()),
        (None, Whose::Orphan) => Password::Orphan(Box::new(found.metadata.clone())),
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Sees to it that there is a password: the one from before, or a new one. Whoever else makes one meanwhile wins.
pub async fn settle(
    calls: &Calls<'_>,
    valid: &Valid,
    seen: Password,
    family: &Family,
    memory: &mut Memory,
) -> Result<Password, Error> {
    let mut news = had_one(family).then_some(News::Replaced);
    match seen {
        Password::Orphan(orphan) => {
            let metadata = whose::adopted(&orphan, build::password_secret(valid, "").metadata, &valid.name);
            let body = json!({"metadata": metadata, "immutable": true});
            if calls.patch_secret(&name::redis(&valid.name), "adopt", &body).await? {
                memory.did(Deed::Password(News::Adopted));
                return Ok(Password::Known(orphan.uid.unwrap_or_default()));
            }
            news = Some(News::Lost);
        }
        Password::Absent => {}
        Password::Known(_) | Password::Theirs { .. } | Password::Missing(_) | Password::Unusable(_) => {
            return Ok(seen);
        }
    }
    let secret = build::password_secret(valid, &random_password()?);
    match calls.create_secret(&name::redis(&valid.name), &secret).await? {
        Some(created) => {
            news.into_iter().for_each(|news| memory.did(Deed::Password(news)));
            Ok(Password::Known(created.uid().unwrap_or_default()))
        }
        None => own(calls, &valid.name).await,
    }
}

/// Something runs with a password already.
fn had_one(family: &Family) -> bool {
    family.values().filter_map(|live| live.rollout()).any(|rollout| {
        rollout.template_annotations.get(annotation::REDIS_AUTH).is_some_and(|uid| !uid.is_empty())
    })
}

/// What the templates were made with: no request needed.
pub fn in_use(access: &Access, family: &Family) -> Option<Password> {
    if *access != Access::Generated {
        return Some(Password::Theirs { unused: None });
    }
    let uid = |kind: Kind| {
        let (_, live) = family.iter().find(|(id, _)| id.kind == kind)?;
        live.rollout()?.template_annotations.get(annotation::REDIS_AUTH)
    };
    let known = uid(Kind::Deployment).filter(|app| Some(*app) == uid(Kind::StatefulSet));
    known.cloned().map(Password::Known)
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
    use serde_json::Value;

    fn secret(owners: &Value, keys: &[&str]) -> Secret {
        let data: serde_json::Map<_, _> = keys.iter().map(|key| ((*key).to_owned(), json!("eA=="))).collect();
        serde_json::from_value(json!({
            "metadata": {"name": "shop-hp-redis", "uid": "s", "resourceVersion": "7", "ownerReferences": owners},
            "data": data,
        }))
        .unwrap()
    }

    fn owner(kind: &str, name: &str, uid: &str, controller: bool) -> Value {
        json!({"apiVersion": "v1", "kind": kind, "name": name, "uid": uid, "controller": controller})
    }

    fn judged(owners: &Value, keys: &[&str]) -> Password {
        judge(&secret(owners, keys), "shop", "ours")
    }

    #[test]
    fn a_secret_from_before_is_adopted_whatever_its_owners_uid() {
        let keys = ["password", "url"];
        let known = judged(&json!([owner("Hyperpage", "shop", "ours", true)]), &keys);
        assert!(matches!(known, Password::Known(ref uid) if uid == "s"), "{known:?}");
        let bystander = owner("ConfigMap", "c", "cm", false);
        for before in
            [json!([]), json!([owner("Hyperpage", "shop", "dead", true)]), json!([bystander.clone()])]
        {
            let found = judged(&before, &keys);
            assert!(matches!(found, Password::Orphan(_)), "{before}: {found:?}");
        }
    }

    #[test]
    fn adoption_replaces_the_dead_owner_and_keeps_the_others() {
        let owners =
            json!([owner("Hyperpage", "shop", "dead", true), owner("ConfigMap", "c", "alive", false)]);
        let valid = build::tests::shop(json!({"app": {"image": "shop"}}));
        let ours = build::password_secret(&valid, "").metadata;
        let adopted = whose::adopted(&secret(&owners, &[]).metadata, ours, "shop");
        let owners = adopted.owner_references.unwrap();
        let uids: Vec<_> = owners.iter().map(|owner| (owner.uid.as_str(), owner.controller)).collect();
        assert_eq!(uids, [("alive", Some(false)), ("uid-of-the-hyperpage", Some(true))]);
        assert_eq!((adopted.uid.as_deref(), adopted.resource_version.as_deref()), (Some("s"), Some("7")));
    }

    #[test]
    fn a_strangers_secret_and_one_without_a_password_are_named() {
        let stranger = judged(&json!([owner("Vault", "v", "ours", true)]), &["password", "url"]);
        let Password::Unusable(problem) = stranger else { panic!("{stranger:?}") };
        assert!(problem.message.contains("Vault v"), "{}", problem.message);
        let empty = judged(&json!([]), &["url"]);
        let Password::Unusable(problem) = empty else { panic!("{empty:?}") };
        assert!(problem.message.contains("has no password"), "{}", problem.message);
        let mut torn = secret(&json!([]), &["password", "url"]);
        torn.data.as_mut().unwrap().insert("password".to_owned(), k8s_openapi::ByteString(b"yz".to_vec()));
        let torn = judge(&torn, "shop", "ours");
        let Password::Unusable(problem) = torn else { panic!("{torn:?}") };
        assert!(problem.message.contains("has a password that is not in its url"), "{}", problem.message);
    }

    #[test]
    fn passwords_are_long_and_differ() {
        let (one, two) = (random_password().unwrap(), random_password().unwrap());
        assert_eq!(one.len(), 48);
        assert_ne!(one, two);
    }
}
