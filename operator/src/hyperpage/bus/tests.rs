use serde_json::Value;

use super::{rotation::Phase, *};

const KEYS: &str = "old AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";

fn judged(owners: &Value, keys: &str) -> Look {
    let secret = json!({
        "metadata": {"name": "shop-hp-bus", "uid": "s", "resourceVersion": "7", "ownerReferences": owners},
        "data": {"keys": ByteString(keys.into())},
    });
    judge(serde_json::from_value(secret).unwrap(), "shop", "ours")
}

fn owner(kind: &str, uid: &str) -> Value {
    json!([{"apiVersion": "v1", "kind": kind, "name": "shop", "uid": uid, "controller": true}])
}

#[test]
fn ours_is_known_by_its_owner_and_one_from_before_is_taken_over() {
    assert!(matches!(judged(&owner("Hyperpage", "ours"), KEYS), Look::Found(_)));
    for before in [json!([]), owner("Hyperpage", "dead")] {
        assert!(matches!(judged(&before, KEYS), Look::Orphan(_)), "{before}");
    }
    // Where nobody wants one, only ours goes.
    assert!(matches!(unwanted(judged(&owner("Hyperpage", "ours"), KEYS)), Look::Unused(uid) if uid == "s"));
    for other in [json!([]), owner("Hyperpage", "dead"), owner("Vault", "ours")] {
        assert!(matches!(unwanted(judged(&other, KEYS)), Look::Unwanted), "{other}");
    }
}

#[test]
fn a_strangers_and_one_without_a_key_are_named_and_no_key_is_told() {
    let named = |look: Look| {
        let Look::Unusable(problem) = look else { panic!("{look:?}") };
        problem.message
    };
    assert!(named(judged(&owner("Vault", "ours"), KEYS)).contains("belongs to Vault shop"));
    let message = named(judged(&owner("Hyperpage", "ours"), "s3cret"));
    assert!(message.contains("shop-hp-bus") && !message.contains("s3cret"), "{message}");
    let seen = format!("{:?}", judged(&json!([]), KEYS));
    assert!(seen.contains("old") && !seen.contains("AAEC"), "{seen}");
}

#[test]
fn status_says_which_value_is_under_way_and_which_is_done() {
    let kept = |phase| Kept::Key { marks: Marks { phase, rotated: Some("monday".to_owned()) }, waits: None };
    let status = |kept: &Kept, before: Option<&BusKeyStatus>| kept.status("shop", before);
    let of = |rotating: Option<&str>, rotated: Option<&str>| {
        let [rotating, rotated] = [rotating, rotated].map(|it| it.map(str::to_owned));
        Some(BusKeyStatus { secret: Some("shop-hp-bus".to_owned()), rotating, rotated })
    };
    let before = status(&kept(Phase::Added(None)), None);
    assert_eq!(before, of(Some("monday"), None));
    assert_eq!(status(&Kept::Unknown, before.as_ref()), before, "what was said before stands");
    assert_eq!(status(&kept(Phase::Rest), before.as_ref()), of(None, Some("monday")));
    assert_eq!(status(&Kept::Nothing, before.as_ref()), None);
    // A process that knows nothing else looks at the Secret while a rotation is under way, and at no other time.
    assert_eq!(before.as_ref().and_then(Seen::by), None);
    let rest = of(None, Some("monday")).as_ref().and_then(Seen::by).unwrap();
    let step = |asked| rest.step(asked, Duration::from_secs(1));
    assert_eq!([step(Some("monday")), step(None), step(Some("friday"))], [Step::Rest, Step::Rest, Step::Add]);
}
