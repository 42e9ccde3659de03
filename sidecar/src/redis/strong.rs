//! Writes that replicas confirm. WAIT speaks for the connection that it comes on, and blocks it: each strong write has
//! one to itself. They are dialled when they are first needed, and end with the supervised connection beside them.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::{ErrorKind, Value};
use tokio::sync::Semaphore;
use tokio::time::timeout_at;

use super::dial::{self, Connection, Place};
use super::error::Error;
use super::link::{ATTEMPT, Ask, Failed, Link, NO_SCRIPT, load};
use super::subscribe::Pushed;
use super::target::Source;

/// Strong writes at once, for each node; more wait for a place.
const PLACES: usize = 4;
/// So long may replicas take.
const PATIENCE: Duration = Duration::from_millis(200);
const SLACK: Duration = Duration::from_millis(50);

/// How a strong write is confirmed. All but the first prove nothing: what a checker must notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// On the connection that executed the write, by as many replicas as are asked for.
    Here,
    OnAnotherConnection,
    /// By as many replicas as there are.
    AsInfoCounts,
}

/// By whom a write is to be confirmed.
#[derive(Debug, Clone, Copy)]
pub struct Confirm {
    pub replicas: u32,
    pub wait: Wait,
}

pub(super) struct Strong {
    source: Arc<Source>,
    place: Place,
    places: Semaphore,
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    connection: Connection,
    /// Since when the supervised connection was there. Another one may lead to another Redis.
    beside: Instant,
}

impl Strong {
    pub(super) fn new(source: Arc<Source>, place: Place) -> Strong {
        Strong { source, place, places: Semaphore::new(PLACES), idle: Mutex::default() }
    }

    /// The answer, and whether it is confirmed. Once Redis has executed the write, nothing is an error any more.
    pub(super) async fn run(
        &self,
        link: &Link,
        ask: &Ask<'_>,
        confirm: Confirm,
        end: Instant,
    ) -> Result<Value, Failed> {
        let beside = link.up_since().await?;
        let soon = end.min(Instant::now() + ATTEMPT).into();
        let Ok(Ok(_place)) = timeout_at(soon, self.places.acquire()).await else {
            return Err(Error::unavailable("too many strong writes wait").into());
        };
        let mut connection = match self.take(beside) {
            Some(connection) => connection,
            None => match timeout_at(soon, self.dial()).await {
                Ok(dialled) => dialled?,
                Err(_) => return Err(Error::unavailable("no connection for a strong write in time").into()),
            },
        };
        let answer = execute(&mut connection, ask, end).await;
        let sound = match &answer {
            Err(failed) => {
                let redis = failed.redis.as_ref();
                redis.inspect(|error| link.doubt(error));
                redis.is_some_and(|error| !matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse))
            }
            Ok(_) => true,
        };
        let confirmed = match &answer {
            Ok(_) => confirmed(&mut connection, link, confirm, end).await,
            Err(_) => Some(false),
        };
        if sound && confirmed.is_some() {
            self.idle().push(Idle { connection, beside });
        }
        Ok(Value::Array(vec![answer?, Value::Boolean(confirmed == Some(true))]))
    }

    /// One that nobody else will use, to the same node.
    pub(super) async fn dial(&self) -> Result<Connection, Error> {
        let dialled = dial::dial(&self.source, &self.place, None).await;
        dialled.map(|held| held.connection).map_err(|failure| Error::unavailable(failure.reason))
    }

    pub(super) async fn dial_listening(&self, pushed: &Pushed) -> Result<Connection, Error> {
        match dial::dial(&self.source, &self.place, Some(pushed)).await {
            Ok(held) if held.pushes => Ok(held.connection),
            Ok(_) => Err(Error::unavailable("Redis does not speak RESP3: set HYPERPAGE_BUS_SUBSCRIBER=fred")),
            Err(failure) => Err(Error::unavailable(failure.reason)),
        }
    }

    fn take(&self, beside: Instant) -> Option<Connection> {
        let mut idle = self.idle();
        idle.retain(|idle| idle.beside == beside);
        idle.pop().map(|idle| idle.connection)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where Redis does not know the script, it is loaded first.
async fn execute(connection: &mut Connection, ask: &Ask<'_>, end: Instant) -> Result<Value, Failed> {
    match (send(connection, ask, end).await, ask.script) {
        (Err(Failed { redis: Some(error), .. }), Some(script)) if error.kind() == NO_SCRIPT => {
            load(connection, script, end, |_| ()).await?;
            send(connection, ask, end).await
        }
        (answer, _) => answer,
    }
}

async fn send(connection: &mut Connection, ask: &Ask<'_>, end: Instant) -> Result<Value, Failed> {
    let commands = ask.packed();
    let sent = connection.send_packed_commands(&commands, 0, commands.len());
    let Ok(answer) = timeout_at(end.min(Instant::now() + ATTEMPT).into(), sent).await else {
        return Err(Error::Unknown { reason: "no answer in time".to_owned() }.into());
    };
    answer
        .and_then(|answers| ask.value(answers))
        .map_err(|error| Failed { error: (&error).into(), redis: Some(error) })
}

/// None where nobody said, and the connection is not to be used again.
async fn confirmed(connection: &mut Connection, link: &Link, confirm: Confirm, end: Instant) -> Option<bool> {
    let end = end.min(Instant::now() + PATIENCE + SLACK).into();
    let replicas = match confirm.wait {
        Wait::Here | Wait::OnAnotherConnection => confirm.replicas,
        Wait::AsInfoCounts => {
            let mut info = redis::cmd("INFO");
            let info: String =
                timeout_at(end, info.arg("replication").query_async(connection)).await.ok()?.ok()?;
            let count = info.lines().find_map(|line| line.trim_end().strip_prefix("connected_slaves:"));
            count?.parse().ok()?
        }
    };
    let mut wait = redis::cmd("WAIT");
    wait.arg(replicas).arg(PATIENCE.as_millis().to_string());
    let mut other = if confirm.wait == Wait::OnAnotherConnection { link.snapshot().connection } else { None };
    let on = other.as_mut().unwrap_or(connection);
    let count: u32 = timeout_at(end, wait.query_async(on)).await.ok()?.ok()?;
    Some(count >= replicas)
}

impl fmt::Debug for Strong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Strong").field("idle", &self.idle().len()).finish_non_exhaustive()
    }
}
