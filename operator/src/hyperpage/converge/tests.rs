use super::*;
use crate::children::{Detail, Rollout};
use serde_json::json;

fn deployment(scaled_by: &[&str]) -> Live {
    let scaled_by = scaled_by.iter().map(|by| (*by).to_owned()).collect();
    Live::showing(Detail::Rollout(Rollout { wanted: 40, scaled_by, ..Rollout::default() }))
}

fn id(kind: Kind, name: &str) -> ChildId {
    ChildId { kind, name: name.to_owned() }
}

fn plan() -> Plan {
    Plan {
        hyperpage: "shop".to_owned(),
        volume: storage::Step::Apply,
        children: Vec::new(),
        prunes: true,
        replicas: 3,
        suspend: false,
        min_replicas: None,
        foreign: None,
    }
}

#[test]
fn a_fight_keeps_only_what_the_old_pods_may_use() {
    let (app, hpa) = (id(Kind::Deployment, "shop"), id(Kind::HorizontalPodAutoscaler, "shop"));
    let (account, service) = (id(Kind::ServiceAccount, "shop-hp-app"), id(Kind::Service, "shop"));
    let wanted = [&app, &service].map(|it| Wanted { id: it.clone(), body: json!({}), hash: String::new() });
    let plan = Plan { children: wanted.to_vec(), ..plan() };
    let live = || deployment(&[]);
    let rolled = Live { detail: Detail::Rollout(Rollout { wanted: 0, ..Rollout::default() }), ..live() };
    assert!(rolled.rollout().is_some_and(complete), "the old pods are gone");
    let family = Family::from([
        (app.clone(), rolled),
        (service.clone(), live()),
        (hpa.clone(), live()),
        (account.clone(), live()),
    ]);
    let gone = |fought: &[&ChildId]| {
        let fought = fought.iter().map(|it| (*it).clone()).collect();
        leftovers(&plan, &family, &fought).into_iter().map(|(it, _)| it).collect::<Vec<_>>()
    };
    assert_eq!(gone(&[&service]), [account, hpa.clone()]);
    assert_eq!(gone(&[&app]), [hpa], "what runs has the old template");
}

#[test]
fn every_fight_is_named_and_its_child_alone_left_out() {
    let ids = [id(Kind::Deployment, "shop"), id(Kind::Service, "shop"), id(Kind::ConfigMap, "shop-hp-redis")];
    let wanted = ids.clone().map(|id| Wanted { id, body: json!({}), hash: "new".to_owned() });
    let live = Live { mover: Some("argocd".to_owned()), ..deployment(&[]) };
    let moved = Live { fingerprint: "theirs".to_owned(), ..live.clone() };
    let (mut memory, now) = (Memory::default(), Instant::now());
    for _ in 0..11 {
        for id in &ids[..2] {
            memory.wrote(id, None, Some(live.clone()), now);
            memory.note_move(id, &moved, now);
        }
    }
    let family = ids.clone().map(|id| (id, moved.clone())).into();
    let todo = todo(&wanted, &family, &mut memory, now);
    let fought: Vec<_> = todo.fights.iter().map(|(id, _)| id).collect();
    assert_eq!(fought, [&ids[0], &ids[1]]);
    assert_eq!(todo.wanted, [&wanted[2]]);
    let problem = todo.fights.into_iter().map(|(_, problem)| problem).reduce(Problem::and).unwrap();
    for name in ["Deployment shop", "Service shop"] {
        assert!(problem.message.contains(name), "{}", problem.message);
    }
    let both = problem.and(Problem::foreign("theirs", &plan()));
    assert!(both.concerns_one_child_alone() && !both.concerns_scaling_alone(), "{both:?}");
    assert!(both.message.contains("HorizontalPodAutoscaler theirs"), "{}", both.message);
}

#[test]
fn a_deployment_is_new_when_it_was_not_seen_and_nobody_scaled_it() {
    let (unscaled, scaled) = (deployment(&[]), deployment(&["kube-controller-manager"]));
    assert!(is_new(None, &unscaled));
    assert!(!is_new(None, &scaled), "its number of pods is not ours to set back");
    assert!(!is_new(Some(&unscaled), &unscaled), "a second write may have failed before");
    assert!(!is_new(Some(&scaled), &scaled));
}
