//! What handlers share.

use crate::redis::Redis;
use crate::session::Sessions;

#[derive(Debug, Clone)]
pub struct App {
    pub redis: Redis,
    pub sessions: Sessions,
}
