//! Every Redis key of the sidecar. A session's id cannot contain braces, so its sibling, whose hash tag is the
//! session's whole key, is always in the session's slot, and one script may act on both.

use crds::contract::CHANNEL_PREFIX;
use sha2::{Digest, Sha256};

use crate::session::SessionId;

/// The two keys of one session.
#[derive(Debug)]
pub(crate) struct SessionKeys {
    /// `hyperpage:session:ID`, a string: the JSON that the original's pods read too.
    pub(crate) session: String,
    /// `{hyperpage:session:ID}:m`, a hash: all that is known of the session beside its bytes.
    pub(crate) sibling: String,
}

impl SessionKeys {
    pub(crate) fn new(id: &SessionId) -> SessionKeys {
        let session = session(id);
        let sibling = format!("{{{session}}}:m");
        SessionKeys { session, sibling }
    }

    pub(crate) fn both(&self) -> [&str; 2] {
        [&self.session, &self.sibling]
    }
}

pub(crate) fn session(id: &SessionId) -> String {
    format!("hyperpage:session:{id}")
}

/// `hyperpage:inc`, the record of a Redis' incarnation; in a cluster each master has one of its own, and `tag` is what
/// makes it lie in a slot of that master.
pub(crate) fn incarnation(tag: Option<u32>) -> String {
    tag.map_or_else(|| "hyperpage:inc".to_owned(), |tag| format!("hyperpage:inc:{{{tag}}}"))
}

/// What SCAN finds sessions by; their siblings begin otherwise.
pub(crate) const ALL_SESSIONS: &str = "hyperpage:session:*";
/// Users' indexes, and what lies beside them.
pub(crate) const ALL_INDEXES: &str = "{hyperpage:user:*";
/// The last count of sessions, and who counts.
pub(crate) const COUNT: [&str; 2] = ["{hyperpage:sessions}:count", "{hyperpage:sessions}:counting"];
/// There while no sweep is due.
pub(crate) const SWEPT: &str = "{hyperpage:sessions}:swept";

/// The keys of one user, all in one slot; hardly ever in that of one of the user's sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserKeys {
    /// `{hyperpage:user:UID}`, a sorted set: the user's sessions, by their expiry.
    pub(crate) index: String,
    /// `{hyperpage:user:UID}:since`, a sorted set: when they became the user's.
    pub(crate) since: String,
    /// `{hyperpage:user:UID}:nb`: which of them are the user's no longer.
    pub(crate) not_before: String,
}

impl UserKeys {
    pub(crate) fn new(user: &str) -> UserKeys {
        UserKeys::tagged(format!("{{{USER}{}}}", user_name(user)))
    }

    /// Of an index's own key, as a scan finds it.
    pub(crate) fn of_index(key: &str) -> Option<UserKeys> {
        let name = key.strip_prefix('{')?.strip_prefix(USER)?.strip_suffix('}')?;
        (!name.contains('}')).then(|| UserKeys::tagged(key.to_owned()))
    }

    fn tagged(index: String) -> UserKeys {
        UserKeys { since: format!("{index}:since"), not_before: format!("{index}:nb"), index }
    }
}

/// The keys of pods that are one app, by the prefix of their channels. One script may act on the first five.
#[derive(Debug, Clone)]
pub(crate) struct GroupKeys {
    /// `{hyperpage:coord}:lease`, a string: JSON of whoever leads.
    pub(crate) lease: String,
    /// `{hyperpage:coord}:fence`, a string: the highest term under which something was done.
    pub(crate) fence: String,
    /// `{hyperpage:coord}:top`, a hash: number and incarnation of the last message, and the bytes of the stream.
    pub(crate) top: String,
    /// `{hyperpage:coord}:stream`: the last messages.
    pub(crate) stream: String,
    /// `{hyperpage:coord}:pods`, a hash: what each pod says of itself.
    pub(crate) pods: String,
    /// `hyperpage:leader`, as the original's pods read it; never our truth. Those know no prefix but theirs.
    pub(crate) mirror: String,
}

impl GroupKeys {
    pub(crate) fn new(prefix: &str) -> GroupKeys {
        let of = |what: &str| format!("{{{prefix}}}:{what}");
        let mirror =
            if prefix == CHANNEL_PREFIX { "hyperpage:leader".to_owned() } else { format!("{prefix}:leader") };
        let [lease, fence, top, stream, pods] = ["lease", "fence", "top", "stream", "pods"].map(of);
        GroupKeys { lease, fence, top, stream, pods, mirror }
    }
}

/// `hyperpage:pod:POD:heartbeat`, as the original's pods read it.
pub fn heartbeat(pod: &str) -> String {
    format!("hyperpage:pod:{pod}:heartbeat")
}

const USER: &str = "hyperpage:user:";
const LONGEST_USER: usize = 128;

/// Users are named by others, with braces perhaps, and at any length: each has a name that is short, safe, and of
/// nobody else.
fn user_name(user: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:@|".contains(&byte);
    let mut name = String::new();
    for byte in user.bytes() {
        if plain(byte) {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02x}"));
        }
        if name.len() > LONGEST_USER {
            return Sha256::digest(user)
                .iter()
                .fold("#".to_owned(), |name, byte| format!("{name}{byte:02x}"));
        }
    }
    name
}

/// `hyperpage:canary:NAME`, written for nobody but the process that gave it the name, and tagged like the record.
pub(crate) fn canary(name: u64, tag: Option<u32>) -> String {
    let key = format!("hyperpage:canary:{name:016x}");
    tag.map_or_else(|| key.clone(), |tag| format!("{key}:{{{tag}}}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sibling_is_tagged_with_the_whole_session_key() {
        let keys = SessionKeys::new(&SessionId::parse("mwpb19rt-psaxzqngk").unwrap());
        assert_eq!(
            keys.both(),
            ["hyperpage:session:mwpb19rt-psaxzqngk", "{hyperpage:session:mwpb19rt-psaxzqngk}:m"]
        );
    }

    #[test]
    fn the_default_group_has_the_names_that_the_original_reads_and_no_other_group_has_one_of_them() {
        let all = |prefix: &str| {
            let GroupKeys { lease, fence, top, stream, pods, mirror } = GroupKeys::new(prefix);
            [lease, fence, top, stream, pods, mirror]
        };
        assert_eq!(all(CHANNEL_PREFIX)[0], "{hyperpage:coord}:lease");
        assert_eq!(all(CHANNEL_PREFIX)[5], "hyperpage:leader");
        let other = all("hyperpage:demo:shop");
        assert!(other.iter().all(|key| !all(CHANNEL_PREFIX).contains(key)), "{other:?}");
        assert!(
            other[..5].iter().all(|key| key.starts_with("{hyperpage:demo:shop}:")),
            "one slot: {other:?}"
        );
    }

    #[test]
    fn a_user_has_keys_of_one_slot_whatever_the_name() {
        let keys = UserKeys::new("github:1");
        assert_eq!(keys.index, "{hyperpage:user:github:1}");
        assert_eq!(keys.since, "{hyperpage:user:github:1}:since");
        assert_eq!(keys.not_before, "{hyperpage:user:github:1}:nb");
        let long = "x".repeat(LONGEST_USER + 1);
        let names =
            ["a}b{", "a%7db%7b", "é", "#", "a\0", &long, &long[1..], &"{".repeat(99), &"}".repeat(99)];
        let all: std::collections::HashSet<_> = names.iter().map(|name| UserKeys::new(name).index).collect();
        assert_eq!(all.len(), names.len());
        for name in names {
            let keys = UserKeys::new(name);
            assert_eq!(keys.index.matches(['{', '}']).count(), 2, "{name}");
            assert!(keys.index.len() < 160 && keys.index.is_ascii(), "{name}");
            assert_eq!(UserKeys::of_index(&keys.index).as_ref(), Some(&keys));
            assert_eq!(UserKeys::of_index(&keys.since), None);
        }
        for other in ["{hyperpage:user:a}b}", "hyperpage:user:a", "{hyperpage:session:a}:m"] {
            assert_eq!(UserKeys::of_index(other), None, "{other}");
        }
    }
}
