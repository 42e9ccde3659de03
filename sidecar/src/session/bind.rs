//! A session that is bound to an address is of no use to who has stolen its id. It is not deleted: its owner may come
//! back, and who asks from elsewhere may be its owner too.

use std::net::IpAddr;

use axum::http::HeaderMap;

use super::address::{client, network, parse};
use super::condition::Condition;
use super::document::{self, Invalid};
use super::{Error, SessionId, Sessions};
use crate::config::BindIp;

impl Sessions {
    /// Whether a request with these headers may use the session. One that no trusted proxy forwarded may, and so may
    /// everybody where the session does not know its own address.
    pub(super) async fn bound(&self, id: &SessionId, headers: &HeaderMap) -> Result<(), Error> {
        let guards = self.0.guards;
        let Some(from) = client(headers, guards.trusted_hops).filter(|_| guards.bind_ip != BindIp::Off)
        else {
            return Ok(());
        };
        let stored = match Box::pin(self.stored(id, &Condition::default())).await {
            Err(Error::NotFound) => return Ok(()),
            stored => stored?,
        };
        let unreadable = |invalid: Invalid| Error::Unreadable { reason: invalid.to_string() };
        match address(&stored.text).map_err(unreadable)? {
            Some(own) if !is_near(guards.bind_ip, own, from) => Err(Error::AddressMismatch),
            Some(_) | None => Ok(()),
        }
    }
}

/// Where the session was made.
fn address(text: &str) -> Result<Option<IpAddr>, Invalid> {
    let Some(metadata) = document::peek(text, "metadata")? else { return Ok(None) };
    // Whatever else metadata is, no address is in it.
    let Ok(Some(address)) = document::peek(metadata, "ipAddress") else { return Ok(None) };
    Ok(serde_json::from_str(address).ok().and_then(|address: String| parse(&address)))
}

fn is_near(bind_ip: BindIp, own: IpAddr, from: IpAddr) -> bool {
    match bind_ip {
        BindIp::Off => true,
        BindIp::Subnet => network(own, 24, 64) == network(from, 24, 64),
        BindIp::Exact => own == from,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_is_the_same_address_or_the_same_network() {
        for (own, from, subnet, exact) in [
            ("1.2.3.4", "1.2.3.4", true, true),
            ("1.2.3.4", "1.2.3.5", true, false),
            ("1.2.3.4", "1.2.4.4", false, false),
            ("2001:db8::1", "2001:db8::2", true, false),
            ("2001:db8::1", "2001:db8:0:1::1", false, false),
            ("1.2.3.4", "::1.2.3.4", false, false),
        ] {
            let (own, from) = (parse(own).unwrap(), parse(from).unwrap());
            assert_eq!(is_near(BindIp::Subnet, own, from), subnet, "{own} {from}");
            assert_eq!(is_near(BindIp::Exact, own, from), exact, "{own} {from}");
            assert!(is_near(BindIp::Off, own, from));
        }
    }

    #[test]
    fn a_session_that_names_no_address_is_bound_to_none() {
        let of = |text: &str| address(text).unwrap().map(|address| address.to_string());
        assert_eq!(of(r#"{"metadata":{"ipAddress":"1.2.3.4"}}"#).as_deref(), Some("1.2.3.4"));
        for text in [
            "{}",
            r#"{"metadata":{}}"#,
            r#"{"metadata":[1]}"#,
            r#"{"metadata":{"ipAddress":7}}"#,
            r#"{"metadata":{"ipAddress":"unknown"}}"#,
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
