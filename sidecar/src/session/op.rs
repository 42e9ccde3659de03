//! Operation ids: by its id Redis knows a write that comes again.

use super::{Error, random};

/// One intent of one client, however often it is sent and over whatever bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct OpId([u8; 8]);

impl OpId {
    pub(crate) fn mint() -> Result<OpId, Error> {
        let random = random()? as u64;
        Ok(OpId(random.to_ne_bytes()))
    }

    #[cfg(test)]
    pub(crate) fn of(bytes: [u8; 8]) -> OpId {
        OpId(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}
