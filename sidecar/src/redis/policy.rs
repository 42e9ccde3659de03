//! Whether Redis may throw sessions away: only `noeviction` never does.

use super::dial::Connection;

/// None where it cannot be known.
pub(super) async fn eviction(connection: &mut Connection) -> Option<String> {
    let info: String = redis::cmd("INFO").arg("memory").query_async(connection).await.ok()?;
    field(&info, "maxmemory_policy").map(str::to_owned)
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'))
}

pub(super) fn warning(policy: &str) -> Option<String> {
    let warning = || {
        format!(
            "Redis evicts sessions when memory is short: set maxmemory-policy noeviction (it is {policy})"
        )
    };
    (policy != "noeviction").then(warning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_noeviction_is_safe() {
        let info = "# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\nmem:1\r\n";
        let policy = field(info, "maxmemory_policy").unwrap();
        assert!(warning(policy).unwrap().contains("allkeys-lru"));
        assert_eq!(warning("noeviction"), None);
        assert_eq!(field("# Memory", "maxmemory_policy"), None);
    }
}
