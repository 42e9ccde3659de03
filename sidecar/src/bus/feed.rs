//! The last things that happened, for as many as listen: each has a place in one ring and none a queue of its own.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::position::Position;
use crate::stream::Event;

const EVENTS: usize = 4_096;
const BYTES: usize = 4 * 1024 * 1024;
/// What an event costs beside its data.
const EVENT_BYTES: usize = 128;

/// A cheap handle.
#[derive(Debug, Clone)]
pub struct Feed(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    ring: Mutex<Ring>,
    /// How many events there have been.
    count: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<Entry>,
    /// Of the first that is kept.
    first: u64,
    bytes: usize,
    /// The last message that was told, or reported as missed.
    at: Option<Position>,
}

#[derive(Debug)]
struct Entry {
    event: Arc<Event>,
    at: Option<Position>,
}

/// Where somebody is who listens.
#[derive(Debug)]
pub(super) struct Reader {
    feed: Feed,
    next: u64,
    news: watch::Receiver<u64>,
    /// The last message that was told when he came.
    pub(super) from: Option<Position>,
}

/// What a reader finds.
#[derive(Debug)]
pub(super) enum Found {
    Event(Arc<Event>),
    /// More has happened than is kept: up to here.
    Lagged(Option<Position>),
}

/// Where a reader who was here before goes on.
#[derive(Debug)]
pub(super) enum Resumed {
    /// With the next that he has not had.
    Here(Reader),
    /// What lies between is not in the ring: it ends before `until`, or with the last message.
    Behind { reader: Reader, until: Position },
    /// He has had what is not known here.
    Lost(Reader),
}

impl Default for Feed {
    fn default() -> Feed {
        Feed(Arc::new(Shared { ring: Mutex::default(), count: watch::Sender::new(0) }))
    }
}

impl Feed {
    /// Something that is in no order but that of its happening.
    pub fn tell(&self, event: Event) {
        self.push(event, None, None);
        self.announce();
    }

    /// Something at its place in the order of messages; all before it was told. It is read when it is announced.
    pub(super) fn tell_at(&self, event: Event, at: Position) {
        self.push(event, Some(at), Some(at));
    }

    /// Whoever has had this has missed nothing. Whoever listens already may have, and is told so.
    pub(super) fn begin(&self, at: Position, event: Event) {
        self.push(event, None, Some(at));
    }

    /// `place`: where the event stands in the order of messages; `told`: how far that is told now.
    fn push(&self, event: Event, place: Option<Position>, told: Option<Position>) {
        let mut ring = self.ring();
        ring.bytes += weight(&event);
        ring.events.push_back(Entry { event: Arc::new(event), at: place });
        ring.at = told.or(ring.at);
        while ring.events.len() > EVENTS || ring.bytes > BYTES {
            let Some(Entry { event, .. }) = ring.events.pop_front() else { break };
            ring.bytes -= weight(&event);
            ring.first += 1;
        }
    }

    /// Wakes whoever waits: once for all that was told since.
    pub(super) fn announce(&self) {
        let count = self.ring().count();
        // Two who tell at once may come here in the other order.
        self.0.count.send_if_modified(|known| {
            let news = count > *known;
            *known = count.max(*known);
            news
        });
    }

    /// From now on.
    pub(super) fn listen(&self) -> Reader {
        let ring = self.ring();
        self.reader(ring.count(), ring.at)
    }

    /// After what he had last.
    pub(super) fn resume(&self, last: Position) -> Resumed {
        let ring = self.ring();
        let end = ring.count();
        if ring.at == Some(last) {
            // What is in no order and came after it is told again, rather than not at all.
            let after = ring
                .events
                .iter()
                .rposition(|entry| entry.at.is_some())
                .map_or(end, |place| ring.first + place as u64 + 1);
            return Resumed::Here(self.reader(after, ring.at));
        }
        let Some(at) = ring.at.filter(|at| at.n == last.n && at.seq > last.seq) else {
            return Resumed::Lost(self.reader(end, ring.at));
        };
        if let Some(place) = ring.events.iter().rposition(|entry| entry.at == Some(last)) {
            return Resumed::Here(self.reader(ring.first + place as u64 + 1, ring.at));
        }
        let first = ring.events.iter().enumerate().find_map(|(place, entry)| Some((place, entry.at?)));
        match first {
            // A reader who was told of a gap had its end last; one within it has missed the same.
            Some((place, until)) => {
                Resumed::Behind { reader: self.reader(ring.first + place as u64, ring.at), until }
            }
            None => {
                let until = Position { seq: at.seq + 1, ..at };
                Resumed::Behind { reader: self.reader(end, ring.at), until }
            }
        }
    }

    fn reader(&self, next: u64, from: Option<Position>) -> Reader {
        Reader { feed: self.clone(), next, news: self.0.count.subscribe(), from }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn count(&self) -> u64 {
        self.first + self.events.len() as u64
    }
}

impl Reader {
    /// The next, once there is one.
    pub(super) async fn next(&mut self) -> Found {
        let _never_closed = self.news.wait_for(|count| *count > self.next).await;
        let ring = self.feed.ring();
        let Some(place) = self.next.checked_sub(ring.first) else {
            self.next = ring.count();
            return Found::Lagged(ring.at);
        };
        match usize::try_from(place).ok().and_then(|place| ring.events.get(place)) {
            Some(entry) => {
                self.next += 1;
                Found::Event(entry.event.clone())
            }
            None => Found::Lagged(ring.at),
        }
    }
}

fn weight(event: &Event) -> usize {
    event.data.len() + EVENT_BYTES
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    fn at(seq: u64) -> Position {
        Position { n: 1, seq }
    }

    fn tell(feed: &Feed, seq: u64, data: &str) {
        feed.tell_at(
            Event { name: "message", id: Some(at(seq).to_string()), data: data.to_owned() },
            at(seq),
        );
        feed.announce();
    }

    async fn next(reader: &mut Reader) -> String {
        match timeout(SOON, reader.next()).await.expect("there is something") {
            Found::Event(event) => format!("{} {}", event.id.as_deref().unwrap_or("-"), event.data),
            Found::Lagged(at) => format!("lagged {}", at.map_or_else(String::new, |at| at.to_string())),
        }
    }

    #[tokio::test]
    async fn each_reader_has_its_own_place_and_waits_there() {
        let feed = Feed::default();
        let (mut one, mut other) = (feed.listen(), feed.listen());
        tell(&feed, 1, "a");
        assert_eq!(next(&mut one).await, "1-1 a");
        assert!(timeout(Duration::from_millis(10), one.next()).await.is_err());
        feed.tell(Event { name: "leader", id: None, data: "l".to_owned() });
        assert_eq!(next(&mut one).await, "- l");
        assert_eq!((next(&mut other).await, next(&mut other).await), ("1-1 a".to_owned(), "- l".to_owned()));
        assert!(timeout(Duration::from_millis(10), feed.listen().next()).await.is_err());
    }

    #[tokio::test]
    async fn so_much_is_kept_and_who_is_behind_that_is_told() {
        let (many, large) = (Feed::default(), Feed::default());
        let (mut of_many, mut of_large) = (many.listen(), large.listen());
        let page = "x".repeat(64 * 1024);
        for seq in 0..=EVENTS as u64 {
            tell(&many, seq, "");
        }
        for seq in 0..100 {
            tell(&large, seq, &page);
        }
        assert_eq!(many.ring().events.len(), EVENTS);
        assert!(large.ring().bytes <= BYTES && large.ring().events.len() > 60);
        let last = at(EVENTS as u64);
        assert_eq!(next(&mut of_many).await, format!("lagged {last}"));
        assert_eq!(next(&mut of_large).await, format!("lagged {}", at(99)));
        tell(&many, EVENTS as u64 + 1, "next");
        assert_eq!(next(&mut of_many).await, format!("{} next", at(EVENTS as u64 + 1)));
    }

    #[tokio::test]
    async fn who_comes_back_goes_on_where_he_was_or_learns_what_he_cannot_have_here() {
        let feed = Feed::default();
        assert!(matches!(feed.resume(at(1)), Resumed::Lost(_)));
        let mut early = feed.listen();
        feed.begin(at(10), Event { name: "resync", id: None, data: "r".to_owned() });
        feed.announce();
        assert_eq!(
            (next(&mut early).await.as_str(), early.from, feed.listen().from),
            ("- r", None, Some(at(10)))
        );
        assert!(matches!(feed.resume(at(10)), Resumed::Here(_)));
        assert!(matches!(feed.resume(at(11)), Resumed::Lost(_)));
        let Resumed::Behind { until, .. } = feed.resume(at(7)) else { panic!("it is older") };
        assert_eq!(until, at(11));
        tell(&feed, 11, "a");
        feed.tell(Event { name: "leader", id: None, data: "l".to_owned() });
        tell(&feed, 12, "b");
        feed.tell(Event { name: "pods", id: None, data: "p".to_owned() });
        let Resumed::Here(mut reader) = feed.resume(at(11)) else { panic!("it is there") };
        assert_eq!(
            (next(&mut reader).await, next(&mut reader).await),
            ("- l".to_owned(), "1-12 b".to_owned())
        );
        let Resumed::Here(mut reader) = feed.resume(at(12)) else { panic!("it is the last") };
        assert_eq!(next(&mut reader).await, "- p");
        let Resumed::Behind { mut reader, until } = feed.resume(at(9)) else { panic!("it is older") };
        assert_eq!((until, next(&mut reader).await), (at(11), "1-11 a".to_owned()));
        // Redis went back in time, and he was told.
        tell(&feed, 11, "resync");
        tell(&feed, 12, "c");
        let Resumed::Here(mut reader) = feed.resume(at(11)) else { panic!("it is there") };
        assert_eq!(next(&mut reader).await, "1-12 c");
        for other in [Position { n: 2, seq: 11 }, Position { n: 0, seq: 11 }, at(13)] {
            assert!(matches!(feed.resume(other), Resumed::Lost(_)), "{other}");
        }
    }
}
