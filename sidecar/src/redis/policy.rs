//! What kind of Redis it is: old ones do not know our scripts, and only `noeviction` never throws sessions away.

use super::dial::Connection;

/// Scripts declare flags since then.
const OLDEST: u32 = 7;

/// What INFO says; nothing of a field that it does not have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Server {
    version: Option<String>,
    eviction: Option<String>,
    evicted: Option<u64>,
}

/// None where it cannot be known.
pub(super) async fn ask(connection: &mut Connection) -> Option<Server> {
    let mut pipe = redis::pipe();
    // An old Redis takes one section at a time.
    pipe.cmd("INFO").arg("server").cmd("INFO").arg("memory").cmd("INFO").arg("stats");
    let (server, memory, stats): (String, String, String) = pipe.query_async(connection).await.ok()?;
    Some(Server::read(&server, &memory, &stats))
}

impl Server {
    fn read(server: &str, memory: &str, stats: &str) -> Server {
        let evicted = field(stats, "evicted_keys").and_then(|count| count.parse().ok());
        let field = |info, name| field(info, name).map(str::to_owned);
        Server {
            version: field(server, "redis_version"),
            eviction: field(memory, "maxmemory_policy"),
            evicted,
        }
    }

    /// Keys thrown away since it started.
    pub(super) fn evicted(&self) -> Option<u64> {
        self.evicted
    }

    pub(super) fn evicts(&self) -> bool {
        self.eviction.as_ref().is_some_and(|policy| policy != "noeviction")
    }

    pub(super) fn warning(&self) -> Option<String> {
        let major = |version: &&String| version.split('.').next()?.parse::<u32>().ok();
        let old = self.version.as_ref().filter(|version| major(version).is_some_and(|major| major < OLDEST));
        let old = old.map(|version| format!("Redis {version} is too old: use Redis {OLDEST}.0 or later"));
        let evicts = self.eviction.as_ref().filter(|_| self.evicts()).map(|policy| {
            format!(
                "Redis evicts sessions when memory is short: set maxmemory-policy noeviction (it is {policy})"
            )
        });
        let warnings: Vec<String> = old.into_iter().chain(evicts).collect();
        (!warnings.is_empty()).then(|| warnings.join("; "))
    }
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(version: &str, policy: &str) -> Server {
        let server = format!("# Server\r\nredis_version:{version}\r\nredis_mode:standalone\r\n");
        let memory = format!("# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:{policy}\r\nmem:1\r\n");
        Server::read(&server, &memory, "# Stats\r\nevicted_keys:17\r\n")
    }

    #[test]
    fn only_noeviction_is_safe() {
        let evicting = server("7.0.15", "allkeys-lru");
        assert_eq!(evicting.evicted(), Some(17));
        assert!(evicting.evicts() && evicting.warning().unwrap().contains("allkeys-lru"));
        let safe = server("7.0.15", "noeviction");
        assert_eq!((safe.evicts(), safe.warning()), (false, None));
        let unknown = Server::read("# Server", "# Memory", "");
        assert_eq!((unknown.evicts(), unknown.warning()), (false, None));
    }

    #[test]
    fn an_old_redis_is_named_beside_what_else_is_wrong() {
        for version in ["6.2.14", "5.0.7", "2.8"] {
            let warning = server(version, "allkeys-lru").warning().unwrap();
            assert!(warning.contains(version) && warning.contains("7.0 or later"), "{warning}");
            assert!(warning.contains("allkeys-lru"), "{warning}");
        }
        for version in ["7.0.0", "7.4.1", "8.0.2", "10.1", "unstable"] {
            assert_eq!(server(version, "noeviction").warning(), None, "{version}");
        }
    }
}
