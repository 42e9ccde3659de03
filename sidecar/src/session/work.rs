//! What the sessions do when nobody asks.

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Sessions;
use super::user::Named;

/// Ends after `stop`, when all writes have and the journal has had its last chance. Of the rest nothing must be
/// finished: another pod does it, or the next time.
pub(super) async fn run(sessions: Sessions, named: mpsc::Receiver<Named>, stop: CancellationToken) {
    let inner = &sessions.0;
    let work = async {
        let (users, count) = (inner.users.work(named), inner.count.work());
        tokio::join!(users, count, sessions.sweep_now_and_then(), sessions.tend());
    };
    stop.run_until_cancelled(work).await;
    sessions.take_leave().await;
    inner.leaders.close();
    inner.leaders.wait().await;
}
