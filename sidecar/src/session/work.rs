//! What the sessions do when nobody asks.

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Sessions;
use super::user::Named;

/// Ends after `stop`, when all writes have. Of the rest nothing must be finished: another pod does it, or the next time.
pub(super) async fn run(sessions: Sessions, named: mpsc::Receiver<Named>, stop: CancellationToken) {
    let inner = &sessions.0;
    let work = async {
        tokio::join!(inner.users.work(named), inner.count.work(), sessions.sweep_now_and_then());
    };
    stop.run_until_cancelled(work).await;
    inner.leaders.close();
    inner.leaders.wait().await;
}
