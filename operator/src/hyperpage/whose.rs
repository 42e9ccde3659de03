//! Whose a Secret is that bears the name of one of ours; how one from before is taken over, and one that nobody needs
//! goes.

use crds::{Hyperpage, Reason};
use k8s_openapi::{
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{Resource, ResourceExt};

use super::{Problem, memory::Memory, status::complete, tell::Deed};
use crate::{
    apply::{Calls, Error},
    children::Family,
};

#[derive(Debug, PartialEq, Eq)]
pub enum Whose {
    /// Of the Hyperpage with this uid.
    Ours,
    /// From before: nobody owns it, or a Hyperpage of this name that is gone.
    Orphan,
}

/// A stranger's is left alone and named.
pub fn judge(found: &Secret, hyperpage: &str, uid: &str) -> Result<Whose, Problem> {
    let controller = found.owner_references().iter().find(|owner| owner.controller == Some(true));
    match controller {
        Some(owner) if !is_of(owner, hyperpage) => Err(taken(format!(
            "Secret {} belongs to {} {}; remove it, or choose another name",
            found.name_any(),
            owner.kind,
            owner.name
        ))),
        Some(owner) if owner.uid == uid => Ok(Whose::Ours),
        Some(_) | None => Ok(Whose::Orphan),
    }
}

pub fn taken(message: String) -> Problem {
    Problem { reason: Reason::NameTaken, message, child: None }
}

/// Labels and owners as our own has them; other owners stay, a dead one goes.
pub fn adopted(orphan: &ObjectMeta, ours: ObjectMeta, hyperpage: &str) -> ObjectMeta {
    let others = orphan.owner_references.iter().flatten().filter(|owner| !is_of(owner, hyperpage));
    let owners = others.cloned().chain(ours.owner_references.into_iter().flatten());
    ObjectMeta {
        labels: ours.labels,
        owner_references: Some(owners.collect()),
        uid: orphan.uid.clone(),
        resource_version: orphan.resource_version.clone(),
        ..ObjectMeta::default()
    }
}

/// Deletes one of ours once no pod uses it: until then an old one may start again. `false`: not yet.
pub async fn drop_unused(
    calls: &Calls<'_>,
    name: &str,
    uid: &str,
    family: &Family,
    memory: &mut Memory,
) -> Result<bool, Error> {
    let rolled = family.values().filter_map(|live| live.rollout()).all(complete);
    if rolled {
        calls.delete_secret(name, uid).await?;
        memory.did(Deed::SecretDropped(name.to_owned()));
    }
    Ok(rolled)
}

/// Of the Hyperpage of this name, or of one that had the name before.
fn is_of(owner: &OwnerReference, hyperpage: &str) -> bool {
    owner.kind == Hyperpage::kind(&()) && owner.name == hyperpage
}
