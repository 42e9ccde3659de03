//! The Secret with the key that pods seal their messages with: made once, kept, and rotated where its Hyperpage asks
//! for it. No template knows it, so no pod restarts for a new key; sidecars read the file again and again.

mod keys;
pub mod rotation;

use std::time::{Duration, Instant};

use crds::{
    BusKeyStatus, HyperpageStatus,
    contract::{bus_secret, name},
};
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::ResourceExt;
use serde_json::json;

use super::{
    Problem, build,
    memory::Memory,
    tell::Deed,
    validate::Valid,
    whose::{self, Whose},
};
use crate::apply::{Calls, Error};
use keys::Keys;
use rotation::{Clock, Marks, Step, step};

/// All that is remembered of the Secret; its keys are not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    marks: Marks,
    /// When this process began the phase.
    began: Option<Instant>,
}

impl Seen {
    /// By an earlier status, which says nothing of the times of a rotation.
    fn by(status: &BusKeyStatus) -> Option<Self> {
        let marks = Marks::new(status.rotated.as_deref());
        status.rotating.is_none().then_some(Self { marks, began: None })
    }

    fn step(&self, asked: Option<&str>, pace: Duration) -> Step {
        let own = self.began.map(|began| began.elapsed());
        step(&self.marks, asked, Clock { now: Timestamp::now(), own }, pace)
    }
}

/// What an earlier status says of it.
pub fn told(status: Option<&HyperpageStatus>) -> Option<&BusKeyStatus> {
    status?.sidecar.as_ref()?.bus_key.as_ref()
}

/// What a look at the Secret showed.
#[derive(Debug, Default)]
pub enum Look {
    /// Pods are not coordinated, and no key of ours is known to be left.
    #[default]
    Unwanted,
    /// There was no need to look.
    Known(Seen),
    Found(Box<Found>),
    /// From before: nobody owns it, or a Hyperpage of this name that is gone.
    Orphan(Box<Found>),
    Absent,
    /// Ours, though nobody wants it any more; its uid.
    Unused(String),
    Unusable(Problem),
}

#[derive(Debug)]
pub struct Found {
    meta: ObjectMeta,
    keys: Keys,
    seen: Seen,
}

#[derive(Debug, Default)]
pub struct Bus {
    pub look: Look,
    /// There was one before, as status says.
    had: bool,
    /// How long each phase of a rotation lasts.
    pace: Duration,
}

impl Bus {
    /// Somebody has to act.
    pub fn problem(&self) -> Option<&Problem> {
        match &self.look {
            Look::Unusable(problem) => Some(problem),
            _ => None,
        }
    }

    pub fn unused(&self) -> Option<&String> {
        match &self.look {
            Look::Unused(uid) => Some(uid),
            _ => None,
        }
    }
}

/// What status says of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Kept {
    /// It was not looked at, or is still to be dropped: an earlier status stands.
    #[default]
    Unknown,
    Nothing,
    Key {
        marks: Marks,
        waits: Option<Waits>,
    },
}

/// For the next phase of a rotation.
#[derive(Clone, Debug, PartialEq)]
pub struct Waits {
    pub rest: Duration,
    pub words: String,
}

/// What a person should hear of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    Adopted,
    /// It was gone.
    Replaced,
    Rotated,
}

/// Reads the Secret where there is doubt about it, or something to do.
pub async fn look(
    calls: &Calls<'_>,
    valid: &Valid,
    before: Option<&BusKeyStatus>,
    doubt: bool,
    pace: Duration,
    memory: &mut Memory,
) -> Result<Bus, Error> {
    let bus = |look| Bus { look, had: before.is_some(), pace };
    let wanted = valid.sidecar.coordination.enabled;
    let known = memory.bus.clone().or_else(|| before.and_then(Seen::by));
    let asked = valid.rotate_bus_key.as_deref();
    match &known {
        _ if doubt => {}
        None if !wanted && before.is_none() => return Ok(bus(Look::Unwanted)),
        Some(seen) if wanted && matches!(seen.step(asked, pace), Step::Rest | Step::Wait(_)) => {
            return Ok(bus(Look::Known(seen.clone())));
        }
        _ => {}
    }
    let found = calls.secret(&name::bus(&valid.name)).await?;
    let look = found.map_or(Look::Absent, |found| judge(found, &valid.name, calls.uid));
    Ok(bus(match look {
        Look::Found(found) if wanted => Look::Found(Box::new(found.remembered(known))),
        look => {
            memory.bus = None;
            if wanted { look } else { unwanted(look) }
        }
    }))
}

impl Found {
    /// What this process began itself it times itself.
    fn remembered(self, known: Option<Seen>) -> Self {
        match known.filter(|known| known.marks == self.seen.marks) {
            Some(seen) => Self { seen, ..self },
            None => self,
        }
    }
}

fn judge(found: Secret, hyperpage: &str, uid: &str) -> Look {
    if found.metadata.deletion_timestamp.is_some() {
        return Look::Absent;
    }
    let whose = match whose::judge(&found, hyperpage, uid) {
        Ok(whose) => whose,
        Err(problem) => return Look::Unusable(problem),
    };
    let text = found.data.as_ref().and_then(|data| data.get(bus_secret::KEYS));
    let Some(keys) = text.and_then(|ByteString(text)| Keys::read(text)) else {
        return Look::Unusable(whose::taken(format!(
            "Secret {} exists already but its {} are none that a sidecar reads; restore it, or remove it to get a \
             new key",
            found.name_any(),
            bus_secret::KEYS
        )));
    };
    let marks = Marks::read(found.metadata.annotations.as_ref(), keys.count());
    let found = Box::new(Found { meta: found.metadata, keys, seen: Seen { marks, began: None } });
    match whose {
        Whose::Ours => Look::Found(found),
        Whose::Orphan => Look::Orphan(found),
    }
}

fn unwanted(look: Look) -> Look {
    match look {
        Look::Found(found) => Look::Unused(found.meta.uid.unwrap_or_default()),
        _ => Look::Unwanted,
    }
}

/// Sees to it that there is a key, and that a rotation gets on.
pub async fn settle(calls: &Calls<'_>, valid: &Valid, bus: Bus, memory: &mut Memory) -> Result<Kept, Error> {
    let Bus { look, had, pace } = bus;
    let asked = valid.rotate_bus_key.as_deref();
    let seen = match look {
        Look::Unwanted => return Ok(Kept::Nothing),
        Look::Unused(_) | Look::Unusable(_) => return Ok(Kept::Unknown),
        Look::Known(seen) => seen,
        Look::Found(found) => turn(calls, *found, asked, pace, memory).await?,
        Look::Orphan(found) => adopt(calls, valid, *found, memory).await?,
        Look::Absent => create(calls, valid, had, memory).await?,
    };
    let waits = match seen.step(asked, pace) {
        Step::Wait(rest) => seen.marks.words(pace).map(|words| Waits { rest, words }),
        // Another look follows at once.
        Step::Add | Step::Switch | Step::Drop | Step::Again => {
            Some(Waits { rest: Duration::ZERO, words: "bus key rotation: the next one begins".to_owned() })
        }
        Step::Rest => None,
    };
    memory.bus = Some(seen.clone());
    Ok(Kept::Key { marks: seen.marks, waits })
}

async fn create(calls: &Calls<'_>, valid: &Valid, had: bool, memory: &mut Memory) -> Result<Seen, Error> {
    let marks = Marks::new(valid.rotate_bus_key.as_deref());
    let name = name::bus(&valid.name);
    let notes = marks.annotations().into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let secret = build::bus_secret(valid, Keys::random()?.print(), notes.collect());
    if calls.create_secret(&name, &secret).await?.is_none() {
        // Somebody was faster, or one is still on its way out: another look decides.
        return Err(Error::Vanished(name));
    }
    if had {
        memory.did(Deed::BusKey(News::Replaced));
    }
    Ok(Seen { marks, began: None })
}

async fn adopt(calls: &Calls<'_>, valid: &Valid, found: Found, memory: &mut Memory) -> Result<Seen, Error> {
    let Found { meta, keys: _, seen } = found;
    let name = name::bus(&valid.name);
    let metadata = whose::adopted(&meta, build::bus_metadata(valid), &valid.name);
    if !calls.patch_secret(&name, "adopt", &json!({"metadata": metadata})).await? {
        return Err(Error::Vanished(name));
    }
    memory.did(Deed::BusKey(News::Adopted));
    Ok(seen)
}

/// Keys and what is noted of them change together, or not at all: in no other version than the one that was read.
async fn turn(
    calls: &Calls<'_>,
    found: Found,
    asked: Option<&str>,
    pace: Duration,
    memory: &mut Memory,
) -> Result<Seen, Error> {
    let Found { meta, keys, seen } = found;
    let step = seen.step(asked, pace);
    let keys = match step {
        Step::Rest | Step::Wait(_) => return Ok(seen),
        Step::Add => keys.first_alone().added()?,
        Step::Switch => keys.switched(),
        Step::Drop => keys.first_alone(),
        Step::Again => keys,
    };
    let marks = seen.marks.after(step, asked, Timestamp::now());
    let body = json!({
        "metadata": {
            "uid": meta.uid, "resourceVersion": meta.resource_version, "annotations": marks.annotations(),
        },
        "data": {bus_secret::KEYS: keys.print()},
    });
    let name = meta.name.unwrap_or_default();
    if !calls.patch_secret(&name, "rotate", &body).await? {
        return Err(Error::Vanished(name));
    }
    if step == Step::Drop {
        memory.did(Deed::BusKey(News::Rotated));
    }
    Ok(Seen { marks, began: Some(Instant::now()) })
}

impl Kept {
    pub fn waits(&self) -> Option<&Waits> {
        match self {
            Self::Key { marks: _, waits } => waits.as_ref(),
            Self::Unknown | Self::Nothing => None,
        }
    }

    pub fn status(&self, hyperpage: &str, before: Option<&BusKeyStatus>) -> Option<BusKeyStatus> {
        let Self::Key { marks: Marks { phase, rotated }, waits: _ } = self else {
            return before.filter(|_| *self == Self::Unknown).cloned();
        };
        let (rotating, rotated) = match phase {
            rotation::Phase::Rest => (None, rotated.clone()),
            rotation::Phase::Added(_) | rotation::Phase::Switched(_) => (rotated.clone(), None),
        };
        Some(BusKeyStatus { secret: Some(name::bus(hyperpage)), rotating, rotated })
    }
}

#[cfg(test)]
mod tests;
