//! Every Redis key of the sidecar. A session's id cannot contain braces, so its sibling, whose hash tag is the
//! session's whole key, is always in the session's slot, and one script may act on both.

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
        let session = format!("hyperpage:session:{id}");
        let sibling = format!("{{{session}}}:m");
        SessionKeys { session, sibling }
    }

    pub(crate) fn both(&self) -> [&str; 2] {
        [&self.session, &self.sibling]
    }
}

/// `hyperpage:inc`, the record of a Redis' incarnation; in a cluster each master has one of its own, and `tag` is what
/// makes it lie in a slot of that master.
pub(crate) fn incarnation(tag: Option<u32>) -> String {
    tag.map_or_else(|| "hyperpage:inc".to_owned(), |tag| format!("hyperpage:inc:{{{tag}}}"))
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
}
