//! Which node of a cluster owns a key.

use redis::Value;

use super::dial::Address;

const SLOTS: u16 = 16_384;

/// One run of slots and its primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Range {
    first: u16,
    last: u16,
    pub(super) node: Address,
}

#[cfg(test)]
impl Range {
    pub(super) fn new(first: u16, last: u16, node: Address) -> Range {
        Range { first, last, node }
    }
}

/// CRC-16/XMODEM of the key, or of what is between its first braces.
pub(super) fn slot(key: &str) -> u16 {
    let hashed = key
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .map(|(tag, _)| tag)
        .filter(|tag| !tag.is_empty())
        .unwrap_or(key);
    let mut crc = 0u16;
    for byte in hashed.bytes() {
        crc ^= u16::from(byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
        }
    }
    crc % SLOTS
}

pub(super) fn owner(ranges: &[Range], slot: u16) -> Option<&Address> {
    ranges.iter().find(|range| (range.first..=range.last).contains(&slot)).map(|range| &range.node)
}

/// How many slots have an owner.
pub(super) fn covered(ranges: &[Range]) -> u32 {
    ranges.iter().map(|range| u32::from(range.last - range.first) + 1).sum()
}

pub(super) fn whole(ranges: &[Range]) -> bool {
    covered(ranges) == u32::from(SLOTS)
}

/// The first number that, as a hash tag, lies in one of the node's slots.
pub(super) fn tag(ranges: &[Range], node: &Address) -> Option<u32> {
    // A single slot out of all is found within these but once in a million times.
    (0..14 * u32::from(SLOTS)).find(|tag| owner(ranges, slot(&format!("{{{tag}}}"))) == Some(node))
}

/// The answer to CLUSTER SLOTS; a node that does not know its own name is called as it was reached.
pub(super) fn parse(answer: Value, asked: &str) -> Option<Vec<Range>> {
    let Value::Array(entries) = answer else { return None };
    entries.into_iter().map(|entry| range(entry, asked)).collect()
}

fn range(entry: Value, asked: &str) -> Option<Range> {
    let Value::Array(fields) = entry else { return None };
    let mut fields = fields.into_iter();
    let (first, last, primary) = (fields.next()?, fields.next()?, fields.next()?);
    let (first, last) = (redis::from_redis_value(first).ok()?, redis::from_redis_value(last).ok()?);
    let Value::Array(primary) = primary else { return None };
    let mut primary = primary.into_iter();
    let host: Option<String> = redis::from_redis_value(primary.next()?).ok()?;
    let port = redis::from_redis_value(primary.next()?).ok()?;
    let host = host.filter(|host| !host.is_empty() && host != "?").unwrap_or_else(|| asked.to_owned());
    (first <= last && last < SLOTS).then_some(Range { first, last, node: (host, port) })
}

/// `host:port` of a MOVED or ASK; without a host it is the one that answered.
pub(super) fn redirect(address: &str, asked: &str) -> Option<Address> {
    let (host, port) = address.rsplit_once(':')?;
    let host = if host.is_empty() || host == "?" { asked } else { host };
    Some((host.to_owned(), port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        // As CLUSTER KEYSLOT answers.
        for (key, expected) in [("123456789", 12_739), ("foo", 12_182), ("{foo}.bar", 12_182), ("", 0)] {
            assert_eq!(slot(key), expected, "{key}");
        }
        assert_eq!(slot("hyperpage:session:a.b"), slot("{hyperpage:session:a.b}:m"));
        assert_ne!(slot("{}a"), slot("{}b"));
    }

    #[test]
    fn every_node_has_a_tag_of_its_own() {
        let node = |name: &str| (name.to_owned(), 1);
        let ranges = [Range::new(0, 8_190, node("a")), Range::new(8_191, 8_191, node("b"))];
        for name in ["a", "b"] {
            let tag = tag(&ranges, &node(name)).unwrap();
            assert_eq!(owner(&ranges, slot(&crate::key::incarnation(Some(tag)))), Some(&node(name)));
        }
        assert_eq!(tag(&ranges, &node("c")), None);
    }

    #[test]
    fn a_map_of_slots_is_read_and_nonsense_refused() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let node = |host: Value, port| Value::Array(vec![host, Value::Int(port), text("id")]);
        let entry = |first, last, node| Value::Array(vec![Value::Int(first), Value::Int(last), node]);
        let answer = Value::Array(vec![
            entry(0, 8_191, node(text("a"), 1)),
            entry(8_192, 16_383, node(Value::Nil, 2)),
        ]);
        let ranges = parse(answer, "seed").unwrap();
        assert!(whole(&ranges));
        assert_eq!(owner(&ranges, 8_191), Some(&("a".to_owned(), 1)));
        assert_eq!(owner(&ranges, 8_192), Some(&("seed".to_owned(), 2)));
        assert!(!whole(&ranges[..1]));
        assert_eq!(owner(&ranges[..1], 16_000), None);
        for nonsense in
            [Value::Nil, Value::Array(vec![Value::Nil]), Value::Array(vec![entry(5, 4, Value::Nil)])]
        {
            assert_eq!(parse(nonsense, "seed"), None);
        }
        assert_eq!(redirect("h:7", "x"), Some(("h".to_owned(), 7)));
        assert_eq!(redirect(":7", "x"), Some(("x".to_owned(), 7)));
        assert_eq!(redirect("h", "x"), None);
    }
}
