use serde_json::json;

use super::*;
use crate::children::{Detail, Rollout};

fn storage(size: &str) -> Storage {
    serde_json::from_value(json!({"size": size})).unwrap()
}

fn claim(asked: &str, capacity: Option<&str>) -> Claim {
    Claim {
        name: "data-shop-hp-redis-0".to_owned(),
        uid: "c".to_owned(),
        class: Some("fast".to_owned()),
        asked: Quantity(asked.to_owned()),
        capacity: capacity.map(|capacity| Quantity(capacity.to_owned())),
        bound: capacity.is_some(),
        deleting: false,
        resize: None,
    }
}

fn stateful_set(claim_size: Option<&str>) -> Live {
    let claim_size = claim_size.map(|size| Quantity(size.to_owned()));
    Live::showing(Detail::Rollout(Rollout { claim_size, ..Rollout::default() }))
}

fn told(size: &str, claim: Option<&Claim>, live: Option<&Live>) -> String {
    step(Some(&storage(size)), claim, live).to_string()
}

#[test]
fn a_claim_grows_before_the_statefulset_is_made_again() {
    let (old, new) = (stateful_set(Some("1Gi")), stateful_set(Some("2Gi")));
    let small = claim("1Gi", Some("1Gi"));
    assert_eq!(told("1Gi", Some(&small), Some(&old)), "apply the StatefulSet");
    assert_eq!(
        told("2Gi", Some(&small), Some(&old)),
        "PersistentVolumeClaim data-shop-hp-redis-0 is asked to grow from 1Gi to 2Gi"
    );
    let mut asked = claim("2Gi", Some("1Gi"));
    assert_eq!(
        told("2Gi", Some(&asked), Some(&old)),
        "PersistentVolumeClaim data-shop-hp-redis-0 grows to 2Gi: the resizer of its class has not answered yet"
    );
    asked.resize = Some("FileSystemResizePending: restart the pod".to_owned());
    assert!(
        told("2Gi", Some(&asked), Some(&old))
            .ends_with("grows to 2Gi: FileSystemResizePending: restart the pod")
    );
    let large = claim("2Gi", Some("2048Mi"));
    assert_eq!(
        told("2Gi", Some(&large), Some(&old)),
        "the StatefulSet of Redis is made again; its pod runs on"
    );
    assert_eq!(told("2Gi", Some(&large), None), "apply the StatefulSet");
    assert_eq!(told("2Gi", Some(&large), Some(&new)), "apply the StatefulSet");
}

#[test]
fn a_claim_that_was_kept_grows_under_its_new_statefulset() {
    let (kept, new) = (claim("1Gi", Some("1Gi")), stateful_set(Some("2Gi")));
    assert!(matches!(step(Some(&storage("2Gi")), Some(&kept), Some(&new)), Step::Grow { .. }));
    let larger = claim("5Gi", Some("5Gi"));
    assert_eq!(step(Some(&storage("2Gi")), Some(&larger), Some(&new)), Step::Apply);
}

#[test]
fn what_has_no_volume_or_goes_away_does_not_grow() {
    let (old, unbound) = (stateful_set(Some("1Gi")), claim("1Gi", None));
    assert!(told("2Gi", Some(&unbound), Some(&old)).contains("has no volume yet"));
    assert_eq!(step(Some(&storage("1Gi")), Some(&unbound), Some(&old)), Step::Apply);
    let going = Claim { deleting: true, ..claim("1Gi", Some("1Gi")) };
    assert_eq!(
        step(Some(&storage("2Gi")), Some(&going), Some(&old)),
        Step::Renew,
        "the next claim is larger"
    );
    assert_eq!(step(Some(&storage("2Gi")), None, Some(&old)), Step::Renew);
    let renewed = Live { deleting: true, ..old };
    assert_eq!(
        step(Some(&storage("2Gi")), None, Some(&renewed)),
        Step::Apply,
        "it is on its way out already"
    );
    assert_eq!(step(None, Some(&unbound), Some(&stateful_set(None))), Step::Apply);
}

/// Every look begins anew, as after a restart of the operator: each state leads on, and the end is quiet.
#[test]
fn from_every_state_a_growth_comes_to_its_end() {
    let wanted = storage("3Gi");
    for asked in ["1Gi", "2Gi", "3Gi"] {
        for capacity in [None, Some("1Gi"), Some("2Gi"), Some("3Gi")] {
            for made_with in [None, Some("1Gi"), Some("3Gi")] {
                let mut claim = claim(asked, capacity);
                let mut live = made_with.map(|size| stateful_set(Some(size)));
                let mut steps = Vec::new();
                while let next @ (Step::Grow { .. } | Step::Wait(_) | Step::Renew) =
                    step(Some(&wanted), Some(&claim), live.as_ref())
                {
                    match &next {
                        Step::Grow { size, .. } => claim.asked = size.clone(),
                        // Kubernetes does what is waited for: it binds, then it grows.
                        Step::Wait(_) => {
                            claim.bound = true;
                            claim.capacity = Some(claim.asked.clone());
                        }
                        Step::Renew => live = None,
                        Step::Apply => unreachable!("ends the loop"),
                    }
                    steps.push(next.to_string());
                    assert!(steps.len() <= 4, "{steps:#?}");
                }
                assert!(
                    !less(&claim.asked, &wanted.size)
                        && template(live.as_ref()).is_none_or(|has| !less(has, &wanted.size))
                );
            }
        }
    }
}

#[test]
fn a_refusal_names_the_class_and_what_to_do() {
    let problem = refused(&claim("1Gi", Some("1Gi")), &Quantity("2Gi".to_owned()), "must support resize");
    assert_eq!(
        problem.message,
        "PersistentVolumeClaim data-shop-hp-redis-0 cannot grow from 1Gi to 2Gi: must support resize; set \
         allowVolumeExpansion in StorageClass fast if its volumes can grow, or move the data to a Hyperpage with a \
         larger volume"
    );
}
