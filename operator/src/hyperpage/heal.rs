//! A pod of Redis that can never become ready, and that nobody replaces. Where Kubernetes limits how many pods of a
//! StatefulSet may be missing (its feature MaxUnavailableStatefulSet), a pod with a bad image counts as missing, and
//! so the corrected one is never made.

use std::time::Duration;

use jiff::Timestamp;

use super::{memory::Memory, tell::Deed};
use crate::{
    apply::{Calls, Error},
    children::Live,
    pods::Unready,
};

/// A pod that starts slowly is given this long.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cure {
    #[default]
    None,
    /// Its time is not over.
    Wait(Duration),
    /// It makes room for one as the spec wants it now.
    Replace(Unready),
}

impl Cure {
    /// When to look again.
    pub fn after(&self) -> Option<Duration> {
        match self {
            Self::Wait(rest) => Some(*rest),
            Self::None | Self::Replace(_) => None,
        }
    }

    /// For RedisReady. Without a number that counts down: each would be a write.
    pub fn words(&self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Wait(_) => {
                Some("the pod is of an older revision; once it has not been ready for 30 s it is replaced")
            }
            Self::Replace(_) => {
                Some("the pod was of an older revision and not ready for 30 s; it is replaced")
            }
        }
    }
}

/// Only a pod that the StatefulSet made. Every one is given its time anew, so none is deleted twice, and one of the
/// newest revision never.
pub fn cure(pod: Option<&Unready>, stateful_set: Option<&Live>, now: Timestamp) -> Cure {
    let stateful_set = stateful_set.filter(|live| !live.deleting);
    let (Some(pod), Some(live)) = (pod, stateful_set) else { return Cure::None };
    let Some(rollout) = live.rollout().filter(|_| pod.controller.as_ref() == Some(&live.uid)) else {
        return Cure::None;
    };
    // What the controller has not seen has no revision yet.
    let current = rollout.observed_generation >= rollout.generation;
    if !current || rollout.update_revision.as_ref().is_none_or(|newest| *newest == pod.revision) {
        return Cure::None;
    }
    // A clock that is behind the kubelet's must not prolong it.
    let unready = Duration::try_from(now.duration_since(pod.since)).unwrap_or_default();
    match PATIENCE.checked_sub(unready).filter(|rest| !rest.is_zero()) {
        Some(rest) => Cure::Wait(rest),
        None => Cure::Replace(pod.clone()),
    }
}

pub async fn act(calls: &Calls<'_>, cure: &Cure, memory: &mut Memory) -> Result<(), Error> {
    if let Cure::Replace(pod) = cure {
        calls.delete_pod(&pod.name, &pod.uid).await?;
        memory.did(Deed::Replaced(pod.name.clone()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::children::{Detail, Rollout};

    fn pod(revision: &str) -> Unready {
        let (name, uid) = ("shop-hp-redis-0".to_owned(), "u".to_owned());
        let controller = Some("s".to_owned());
        Unready { name, uid, revision: revision.to_owned(), controller, since: Timestamp::UNIX_EPOCH }
    }

    fn stateful_set(newest: &str, observed_generation: i64) -> Live {
        let update_revision = Some(newest.to_owned());
        let rollout = Rollout { generation: 2, observed_generation, update_revision, ..Rollout::default() };
        Live { uid: "s".to_owned(), ..Live::showing(Detail::Rollout(rollout)) }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_pod_of_an_older_revision_is_replaced_when_its_time_is_over_and_not_before() {
        let (old, set) = (pod("bad"), stateful_set("good", 2));
        assert_eq!(cure(Some(&old), Some(&set), at(0)), Cure::Wait(PATIENCE));
        assert_eq!(cure(Some(&old), Some(&set), at(29)), Cure::Wait(Duration::from_secs(1)));
        assert_eq!(cure(Some(&old), Some(&set), at(30)), Cure::Replace(old.clone()));
        assert_eq!(cure(Some(&old), Some(&set), at(-5)), Cure::Wait(PATIENCE), "a clock that is behind");
    }

    #[test]
    fn what_the_spec_wants_now_is_never_deleted() {
        let late = at(3600);
        assert_eq!(cure(Some(&pod("good")), Some(&stateful_set("good", 2)), late), Cure::None);
        assert_eq!(cure(Some(&pod("bad")), Some(&stateful_set("bad", 1)), late), Cure::None, "not seen yet");
        assert_eq!(cure(Some(&pod("bad")), None, late), Cure::None);
        assert_eq!(cure(None, Some(&stateful_set("good", 2)), late), Cure::None, "ready, or terminating");
        for controller in [None, Some("t".to_owned())] {
            let theirs = Unready { controller, ..pod("bad") };
            assert_eq!(cure(Some(&theirs), Some(&stateful_set("good", 2)), late), Cure::None, "a stranger's");
        }
        let going = Live { deleting: true, ..stateful_set("good", 2) };
        assert_eq!(cure(Some(&pod("bad")), Some(&going), late), Cure::None);
    }
}
