//! How a pod hears what others say. Hearing is a hint and may fail in silence; what is missed is found in the stream.

mod fred;
mod own;

pub(super) use fred::Fred;
pub(super) use own::Own;

/// Messages that wait to be looked at. More are missed, and said to be.
const WAITING: usize = 8_192;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    Message {
        channel: String,
        payload: Vec<u8>,
    },
    /// From now on all is heard; what was said before may not have been.
    Subscribed,
    /// Some of it was too much.
    Missed,
    /// Until it is subscribed again nothing is heard.
    Lost,
}

pub(super) trait Subscription: Send {
    /// What comes next. Nothing is lost where it is not waited for to the end.
    fn next(&mut self) -> impl Future<Output = Heard> + Send;

    /// Begins anew, on another connection: it may be of use no more, and not know.
    fn renew(&mut self);
}
