//! Whose turn it is where tests share something large: most use it side by side, some alone, one only at rest.

use tokio::sync::watch;

/// Who is there, and who waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Present {
    together: usize,
    /// Those who only wait for room: they go before who would be alone, who then waits for nobody.
    waiting: usize,
    alone: usize,
    leaving: usize,
}

impl Present {
    fn has_room(&self, limit: usize) -> bool {
        self.alone == 0 && self.together < limit
    }

    fn is_empty(&self) -> bool {
        let Present { together, waiting, alone, leaving: _ } = self;
        *together == 0 && *waiting == 0 && *alone == 0
    }

    fn is_at_rest(&self) -> bool {
        self.is_empty() && self.leaving == 0
    }
}

#[derive(Default)]
pub struct Turns(watch::Sender<Present>);

/// What a turn counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Waiting,
    Together,
    Alone,
    Leaving,
}

/// It ends when it is dropped.
pub struct Turn {
    turns: &'static Turns,
    kind: Kind,
}

impl Turns {
    /// So many may be there together.
    pub async fn together(&'static self, limit: usize) -> Turn {
        self.0.send_modify(|present| present.waiting += 1);
        let mut turn = Turn { turns: self, kind: Kind::Waiting };
        self.when(|present| present.has_room(limit).then(|| turn.become_in(present, Kind::Together))).await;
        turn
    }

    pub async fn alone(&'static self) -> Turn {
        self.exclusive(Present::is_empty).await
    }

    /// Not even somebody who leaves is there.
    pub async fn at_rest(&'static self) -> Turn {
        self.exclusive(Present::is_at_rest).await
    }

    async fn exclusive(&'static self, may: fn(&Present) -> bool) -> Turn {
        self.when(|present| may(present).then(|| present.alone += 1)).await;
        Turn { turns: self, kind: Kind::Alone }
    }

    /// Tries it whenever something has changed.
    async fn when(&self, mut attempt: impl FnMut(&mut Present) -> Option<()>) {
        let mut changes = self.0.subscribe();
        while !self.0.send_if_modified(|present| attempt(present).is_some()) {
            let _ends_with_the_process = changes.changed().await;
        }
    }
}

impl Present {
    fn of(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Waiting => &mut self.waiting,
            Kind::Together => &mut self.together,
            Kind::Alone => &mut self.alone,
            Kind::Leaving => &mut self.leaving,
        }
    }
}

impl Turn {
    /// Only what is to be cleared away is left: nobody but who wants rest waits for it.
    pub fn leave(&mut self) {
        self.turns.0.send_modify(|present| self.become_in(present, Kind::Leaving));
    }

    fn become_in(&mut self, present: &mut Present, kind: Kind) {
        *present.of(self.kind) -= 1;
        *present.of(kind) += 1;
        self.kind = kind;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.0.send_modify(|present| *present.of(self.kind) -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn who_would_be_alone_waits_for_those_who_want_room_and_one_for_those_who_leave() {
        static TURNS: LazyLock<Turns> = LazyLock::new(Turns::default);
        let first = TURNS.together(2).await;
        let mut second = TURNS.together(2).await;
        let mut third = Box::pin(TURNS.together(2));
        let (mut alone, mut rest) = (Box::pin(TURNS.alone()), Box::pin(TURNS.at_rest()));
        assert!(futures::poll!(&mut third).is_pending() && futures::poll!(&mut alone).is_pending());
        drop(first);
        let third = third.now_or_never().expect("there is room");
        second.leave();
        assert!(futures::poll!(&mut alone).is_pending());
        drop(third);
        assert!(futures::poll!(&mut rest).is_pending(), "somebody leaves");
        let alone = alone.now_or_never().expect("nobody else is at work");
        drop(second);
        assert!(futures::poll!(&mut rest).is_pending(), "somebody is alone");
        let mut late = Box::pin(TURNS.together(2));
        assert!(futures::poll!(&mut late).is_pending());
        drop(alone);
        assert!(futures::poll!(&mut rest).is_pending(), "somebody waits for room");
        drop(late.now_or_never().expect("there is room"));
        rest.now_or_never().expect("nobody is there");
        assert_eq!(*TURNS.0.borrow(), Present::default());
    }
}
