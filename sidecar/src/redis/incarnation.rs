//! Incarnations: when data of a Redis may have been lost. Each master has a record of its own, which is lost with the
//! data; whoever finds it missing, or written for another server, begins a new incarnation.

use redis::{ErrorKind, RedisError, RedisResult, Value};

use super::dial::{Connection, Place};
use super::slots;
use crate::key;

const ENROL: &str = include_str!("enrol.lua");
/// Stands for a server that does not tell its run_id.
const UNKNOWN: &str = "?";
/// How much of Redis' time the script has to arrive in.
const DEADLINE_US: i64 = 250_000;

/// While it stays the same, nothing that Redis acknowledged has been lost, as far as Redis itself can know.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Incarnation {
    pub n: u64,
    pub run_id: String,
    /// Redis TIME at which it began.
    pub since_us: i64,
}

/// What a record means to somebody who remembers another, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    Same,
    /// `lost` where something was known that may be gone.
    New {
        lost: bool,
    },
}

pub(super) fn judge(remembered: Option<&Incarnation>, record: &Incarnation) -> Judgement {
    match remembered {
        Some(remembered) if remembered == record => Judgement::Same,
        Some(_) => Judgement::New { lost: true },
        None => Judgement::New { lost: false },
    }
}

impl Incarnation {
    /// As the script writes it: `n run_id since`.
    pub(super) fn parse(record: &str) -> Option<Incarnation> {
        let mut words = record.split(' ');
        let (n, run_id, since) = (words.next()?, words.next()?, words.next()?);
        let whole = words.next().is_none() && !run_id.is_empty();
        whole.then_some(Incarnation {
            n: n.parse().ok()?,
            run_id: run_id.to_owned(),
            since_us: since.parse().ok()?,
        })
    }

    /// What a connection read at the record's key; nothing where there is none, or no record.
    pub(super) fn read(answer: RedisResult<Value>) -> RedisResult<Option<Incarnation>> {
        let record = match answer.and_then(Value::extract_error) {
            Err(error) if error.code() == Some("WRONGTYPE") => return Ok(None),
            record => redis::from_redis_value::<Option<Vec<u8>>>(record?)?,
        };
        let record = record.and_then(|record| String::from_utf8(record).ok());
        Ok(record.and_then(|record| Incarnation::parse(&record)))
    }

    pub(super) fn tells_the_server(&self) -> bool {
        self.run_id != UNKNOWN
    }
}

/// The record of the node that a connection leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Enrolled {
    pub(super) key: String,
    /// A hash tag of the node's own, in a cluster.
    pub(super) tag: Option<u32>,
    pub(super) incarnation: Incarnation,
}

/// The first act on a connection, and again whenever its record is not the one that is held. Twice is as good as once.
pub(super) async fn enrol(
    connection: &mut Connection,
    place: &Place,
    remembered: Option<&Incarnation>,
    first: bool,
) -> RedisResult<Enrolled> {
    let Met { run_id, now_us, tag } = meet(connection, place).await?;
    let key = key::incarnation(tag);
    // Who does not say which server he is may be another one each time.
    let anew = first && run_id.is_none();
    let (n, old, since) = match remembered {
        Some(Incarnation { n, run_id, since_us }) => (*n, run_id.as_str(), since_us.to_string()),
        None => (0, "", String::new()),
    };
    let mut command = redis::cmd("EVAL");
    command.arg(ENROL).arg(1).arg(&key);
    command.arg(now_us.saturating_add(DEADLINE_US)).arg(run_id.as_deref().unwrap_or(UNKNOWN));
    command.arg(u8::from(anew)).arg(n).arg(old).arg(since);
    let record: String = command.query_async(connection).await?;
    let incarnation = Incarnation::parse(&record).ok_or_else(|| unexpected("no record of an incarnation"))?;
    Ok(Enrolled { key, tag, incarnation })
}

/// What a server says about itself.
struct Met {
    /// Many a service does not let its users ask.
    run_id: Option<String>,
    now_us: i64,
    tag: Option<u32>,
}

async fn meet(connection: &mut Connection, place: &Place) -> RedisResult<Met> {
    let mut pipe = redis::pipe();
    pipe.cmd("INFO").arg("server").cmd("TIME");
    if let Place::Node(_) = place {
        pipe.cmd("CLUSTER").arg("SLOTS");
    }
    let mut answers = connection.send_packed_commands(&pipe, 0, pipe.len()).await?.into_iter();
    let mut next = || answers.next().unwrap_or(Value::Nil).extract_error();
    let info = next().and_then(|info| Ok(redis::from_redis_value::<String>(info)?));
    let (seconds, micros): (i64, i64) = redis::from_redis_value(next()?)?;
    let tag = match place {
        Place::Master => None,
        Place::Node(node) => {
            let ranges = slots::parse(next()?, &node.0).unwrap_or_default();
            Some(slots::tag(&ranges, node).ok_or_else(|| unexpected("the node owns no slot"))?)
        }
    };
    let run_id = info.ok().and_then(|info| run_id(&info).map(str::to_owned));
    Ok(Met { run_id, now_us: seconds.saturating_mul(1_000_000).saturating_add(micros), tag })
}

pub(super) fn run_id(info: &str) -> Option<&str> {
    let id = info.lines().find_map(|line| line.trim_end().strip_prefix("run_id:"))?;
    (!id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(id)
}

fn unexpected(what: &'static str) -> RedisError {
    (ErrorKind::UnexpectedReturnType, what).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incarnation(n: u64, run_id: &str, since_us: i64) -> Incarnation {
        Incarnation { n, run_id: run_id.to_owned(), since_us }
    }

    #[test]
    fn whoever_remembers_another_may_have_lost_data() {
        let known = incarnation(7, "abc", 5);
        assert_eq!(judge(None, &known), Judgement::New { lost: false });
        assert_eq!(judge(Some(&known), &known.clone()), Judgement::Same);
        for other in [incarnation(6, "abc", 5), incarnation(8, "abc", 5), incarnation(7, "abd", 5)] {
            assert_eq!(judge(Some(&known), &other), Judgement::New { lost: true }, "{other:?}");
        }
        // The record was lost, and somebody who remembered nothing wrote one with the same number.
        assert_eq!(judge(Some(&known), &incarnation(7, "abc", 6)), Judgement::New { lost: true });
    }

    #[test]
    fn a_record_is_read_and_anything_else_is_none() {
        let record = "12 0123456789abcdef 1795198834366000";
        let expected = incarnation(12, "0123456789abcdef", 1_795_198_834_366_000);
        assert_eq!(Incarnation::parse(record), Some(expected));
        for other in ["", "12", "12 a", "a b 1", "-1 a 1", "1 a 1 1", "1  1", "1 a x", "{\"n\":1}"] {
            assert_eq!(Incarnation::parse(other), None, "{other}");
        }
    }

    #[test]
    fn the_run_id_is_found_in_info() {
        assert_eq!(run_id("# Server\r\nredis_version:7.0\r\nrun_id:0af\r\nx:y\r\n"), Some("0af"));
        for info in ["", "run_id:", "run_id:a b", "xrun_id:1"] {
            assert_eq!(run_id(info), None, "{info}");
        }
    }
}
