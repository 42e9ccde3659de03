//! How long a connection may keep its place: silent, in the middle of a head, or with an answer that nobody takes.
//! Bodies have their own time, and so has the answer's making.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep, sleep_until};

use super::turn::Turn;

#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Between two requests, or before the first; `head` where places are scarce.
    pub idle: Duration,
    /// From the first byte of a head to its last.
    pub head: Duration,
    /// For a client that takes nothing of its answer.
    pub answer: Duration,
}

/// A connection that fails when it has waited long enough.
#[derive(Debug)]
pub(super) struct Patient<S> {
    stream: S,
    patience: Patience,
    places: Places,
    turn: Turn,
    request: Waiting,
    /// One timer for all requests: it looks now and then how long the present one has waited.
    look: Option<Pin<Box<Sleep>>>,
    stalled: Option<Pin<Box<Sleep>>>,
}

/// How many places there are for connections, and when they are few.
#[derive(Debug, Clone)]
pub(super) struct Places {
    pub(super) free: Arc<Semaphore>,
    pub(super) few: usize,
}

impl Places {
    pub(super) fn are_scarce(&self) -> bool {
        self.free.available_permits() < self.few
    }
}

#[derive(Debug)]
struct Waiting {
    turn: u64,
    since: Instant,
    /// Something has come.
    begun: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Enough,
    LookAgain(Duration),
}

impl Patience {
    fn verdict(self, begun: bool, scarce: bool, waited: Duration) -> Verdict {
        let limit = if begun || scarce { self.head } else { self.idle };
        if waited >= limit {
            return Verdict::Enough;
        }
        // Places may become scarce meanwhile.
        Verdict::LookAgain((limit - waited).min(self.head))
    }
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, patience: Patience, places: Places, turn: Turn) -> Patient<S> {
        let request = Waiting { turn: turn.now(), since: Instant::now(), begun: false };
        Patient { stream, patience, places, turn, request, look: None, stalled: None }
    }

    /// Ready when the wait for the present request is over.
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let head = self.patience.head;
        let look = self.look.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + head)));
        loop {
            ready!(look.as_mut().poll(cx));
            let now = Instant::now();
            let Waiting { turn: _, since, begun } = self.request;
            match self.patience.verdict(begun, self.places.are_scarce(), now - since) {
                Verdict::Enough => return Poll::Ready(()),
                Verdict::LookAgain(after) => look.as_mut().reset(now + after),
            }
        }
    }

    /// The time for an answer begins when the client takes no more of it, and ends when it has taken all there is.
    fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        wrote: Poll<io::Result<usize>>,
        of: usize,
    ) -> Poll<io::Result<usize>> {
        if wrote.is_ready() {
            if matches!(wrote, Poll::Ready(Ok(all)) if all == of) {
                self.stalled = None;
            }
            return wrote;
        }
        let answer = self.patience.answer;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + answer)));
        stalled.as_mut().poll(cx).map(|()| Err(late("an answer was not taken")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        let turn = self.turn.now();
        if Turn::is_serving(turn) {
            return read;
        }
        if self.request.turn != turn {
            self.request = Waiting { turn, since: Instant::now(), begun: false };
        }
        if read.is_ready() {
            if buf.filled().len() > before && !self.request.begun {
                self.request = Waiting { turn, since: Instant::now(), begun: true };
            }
            return read;
        }
        self.poll_request(cx).map(|()| Err(late("a request did not come")))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.poll_answer(cx, wrote, buf.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.poll_answer(cx, wrote, bufs.iter().map(|buf| buf.len()).sum())
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn late(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_head_is_waited_for_less_than_silence_unless_places_are_scarce() {
        let s = Duration::from_secs;
        let patience = Patience { idle: s(300), head: s(5), answer: s(10) };
        for (begun, scarce, waited, expect) in [
            (true, false, 4, Verdict::LookAgain(s(1))),
            (true, false, 5, Verdict::Enough),
            (false, true, 4, Verdict::LookAgain(s(1))),
            (false, true, 5, Verdict::Enough),
            (false, false, 5, Verdict::LookAgain(s(5))),
            (false, false, 298, Verdict::LookAgain(s(2))),
            (false, false, 300, Verdict::Enough),
        ] {
            let verdict = patience.verdict(begun, scarce, s(waited));
            assert_eq!(verdict, expect, "begun {begun}, scarce {scarce}, waited {waited} s");
        }
    }
}
