use super::super::merge::Merge;
use super::*;

const LIFE: Duration = Duration::from_secs(60);

fn limits(bytes: usize) -> Limits {
    Limits { bytes, age: Duration::from_secs(600), life: LIFE }
}

fn id(text: &str) -> SessionId {
    SessionId::parse(text).unwrap()
}

fn merge(text: &str) -> Intent {
    Intent::Merge(Arc::new(Change::Merge(Merge::Deep, text.to_owned())), Identity::Kept)
}

fn op(number: u8) -> OpId {
    OpId::of([number; 8])
}

struct Story {
    journal: Journal,
    start: Instant,
    known: Option<View>,
}

impl Story {
    fn new(bytes: usize) -> Story {
        let start = Instant::now();
        let view = View {
            text: Some(r#"{"a":1}"#.to_owned().into()),
            current_at: start,
            expires_at: Some(start + LIFE),
        };
        Story { journal: Journal::new(limits(bytes)), start, known: Some(view) }
    }

    fn append(&self, seconds: u64, name: &str, intent: Intent) -> Result<Option<View>, Refused> {
        let now = Now { instant: self.start + Duration::from_secs(seconds), ms: 1_000_000 };
        self.journal.append(&id(name), op(1), intent, self.known.clone(), now)
    }

    /// Numbers and intents of a session, in the order of their replay.
    fn drain(&self, name: &str) -> Vec<(u64, &'static str)> {
        let mut all = Vec::new();
        while let Some((seq, entry)) = self.journal.first(&id(name)) {
            all.push((
                seq,
                match &*entry.intent {
                    Intent::Merge(..) => "merge",
                    Intent::Touch => "touch",
                    Intent::Delete => "delete",
                    Intent::Create(_) => "create",
                },
            ));
            assert!(self.journal.remove(seq) && !self.journal.remove(seq));
        }
        all
    }
}

#[test]
fn own_changes_are_seen_over_what_was_known_and_leave_in_their_order() {
    let story = Story::new(1 << 20);
    let view = story.append(1, "a", merge(r#"{"b":2}"#)).unwrap().unwrap();
    assert!(view.text.as_deref().unwrap().starts_with(r#"{"a":1,"b":2"#), "{view:?}");
    assert_eq!((view.current_at, view.expires_at), (story.start, Some(story.start + LIFE * 61 / 60)));
    story.append(2, "b", Intent::Touch).unwrap();
    let view = story.append(3, "a", merge(r#"{"b":3}"#)).unwrap().unwrap();
    assert!(view.text.as_deref().unwrap().starts_with(r#"{"a":1,"b":3"#), "{view:?}");
    assert_eq!(story.journal.view(&id("a")), Some(Some(view)));
    assert_eq!(story.journal.sessions(), [id("a"), id("b")]);
    assert_eq!(story.drain("a"), [(0, "merge"), (2, "merge")]);
    assert_eq!(story.drain("b"), [(1, "touch")]);
    assert!(story.journal.is_empty() && story.journal.view(&id("a")).is_none());
    assert_eq!(story.journal.depth(story.start), Depth::default(), "nothing is left, not a byte");
}

#[test]
fn a_session_that_is_not_known_is_changed_unseen() {
    let story = Story { known: None, ..Story::new(1 << 20) };
    assert_eq!(story.append(0, "a", merge("{}")).unwrap(), None);
    assert_eq!(story.journal.view(&id("a")), Some(None));
    let deleted = story.append(1, "a", Intent::Delete).unwrap().unwrap();
    assert_eq!(deleted.text, None);
    assert_eq!(story.append(2, "a", merge("{}")), Err(Refused::Over));
}

#[test]
fn what_is_deleted_or_over_takes_no_change() {
    let story = Story::new(1 << 20);
    story.append(0, "a", Intent::Delete).unwrap();
    for intent in [merge("{}"), Intent::Touch, Intent::Delete] {
        assert_eq!(story.append(1, "a", intent), Err(Refused::Over));
    }
    assert_eq!(story.append(60, "b", Intent::Touch), Err(Refused::Over));
    story.append(59, "b", Intent::Touch).unwrap();
    story.append(118, "b", Intent::Touch).unwrap();
    assert_eq!(story.drain("b").len(), 2, "a touch renews what is known of its life");
    let unfit = story.append(1, "c", merge(r#"{"metadata":1,"x":"#));
    assert!(matches!(unfit, Err(Refused::Unfit(_))), "{unfit:?}");
}

#[test]
fn it_is_full_at_its_bytes_and_takes_again_what_fits() {
    let story = Story::new(4 * OVERHEAD);
    for seconds in 0..3 {
        story.append(seconds, "a", merge("{}")).unwrap();
    }
    let depth = story.journal.depth(story.start + Duration::from_secs(5));
    assert_eq!((depth.entries, depth.oldest), (3, Duration::from_secs(5)));
    assert!(depth.bytes <= 4 * OVERHEAD, "{depth:?}");
    assert_eq!(story.append(3, "a", merge("{}")), Err(Refused::Full));
    let (seq, _) = story.journal.first(&id("a")).unwrap();
    assert!(story.journal.remove(seq));
    story.append(3, "a", merge("{}")).unwrap();
}

#[test]
fn what_is_too_old_goes_but_for_what_redis_may_have_executed() {
    let story = Story { known: None, ..Story::new(1 << 20) };
    for (seconds, name) in [(0, "a"), (1, "b"), (2, "c"), (300, "d")] {
        story.append(seconds, name, merge("{}")).unwrap();
    }
    let attempt = Attempt { base: "x".to_owned(), text: "{}".to_owned().into() };
    story.journal.attempted(1, Some(attempt.clone()));
    story.journal.attempted(1, Some(attempt));
    let at = |seconds| story.start + Duration::from_secs(seconds);
    assert_eq!(story.journal.expire(at(600)), 0);
    assert_eq!(story.journal.expire(at(603)), 2);
    assert_eq!(story.journal.sessions(), [id("b"), id("d")]);
    for name in ["b", "d"] {
        story.drain(name);
    }
    assert_eq!(story.journal.depth(at(603)), Depth::default());
}
