//! Where a request came from, as far as somebody trustworthy says so.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::http::HeaderMap;

const FORWARDED: &str = "x-forwarded-for";

/// The address that the outermost of so many trusted proxies was called from. Each appends one, so they are counted
/// from the right; what stands further left is whatever the client sent.
pub(super) fn client(headers: &HeaderMap, trusted_hops: u8) -> Option<IpAddr> {
    let nth = usize::from(trusted_hops).checked_sub(1)?;
    let lines = headers.get_all(FORWARDED).iter().rev();
    let mut tokens = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
    parse(tokens.nth(nth)?)
}

/// With or without a port. An IPv4 address stays one when it is written as IPv6.
pub(super) fn parse(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

/// The part of the network that an address is in, of so many bits: one for each family.
pub(super) fn network(address: IpAddr, v4_bits: u32, v6_bits: u32) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - v4_bits).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - v6_bits).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str], hops: u8) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED, line.parse().unwrap());
        }
        client(&headers, hops).map(|address| address.to_string())
    }

    #[test]
    fn trusted_hops_count_from_the_right() {
        let lines = ["spoofed, 1.1.1.1", "2.2.2.2 ,3.3.3.3"];
        for (hops, expect) in [
            (0, None),
            (1, Some("3.3.3.3")),
            (2, Some("2.2.2.2")),
            (3, Some("1.1.1.1")),
            (4, None),
            (9, None),
        ] {
            assert_eq!(of(&lines, hops).as_deref(), expect, "{hops}");
        }
        assert_eq!(of(&[], 1), None);
        assert_eq!(of(&["1.1.1.1,"], 1), None);
    }

    #[test]
    fn addresses_come_with_ports_and_in_brackets() {
        for (text, expect) in [
            ("1.2.3.4:5678", Some("1.2.3.4")),
            ("[2001:db8::1]:443", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("::ffff:1.2.3.4", Some("1.2.3.4")),
            ("unknown", None),
            ("_hidden", None),
            ("1.2.3", None),
            ("[1.2.3.4", None),
        ] {
            assert_eq!(parse(text).map(|address| address.to_string()).as_deref(), expect, "{text}");
        }
    }

    #[test]
    fn a_network_is_the_first_bits_of_an_address() {
        let of = |text, v4, v6| network(parse(text).unwrap(), v4, v6).to_string();
        assert_eq!(of("1.2.3.4", 24, 64), "1.2.3.0");
        assert_eq!(of("1.2.3.4", 32, 64), "1.2.3.4");
        assert_eq!(of("1.2.3.4", 0, 0), "0.0.0.0");
        assert_eq!(of("2001:db8:1:2:3:4:5:6", 24, 64), "2001:db8:1:2::");
        assert_eq!(of("2001:db8::1", 24, 128), "2001:db8::1");
    }
}
