//! Equality of JSON values as RFC 6902 §4.6 means it: numbers by value, strings by character, members in any
//! order. Numbers are compared as decimals of any length, so 2^53 and 2^53 + 1 differ.

use super::document::{Invalid, Node};

pub(crate) fn equal(a: &mut Node<'_>, b: &mut Node<'_>) -> Result<bool, Invalid> {
    if a.is_object() && b.is_object() {
        let (a, b) = (a.object()?, b.object()?);
        if a.members() != b.members() {
            return Ok(false);
        }
        let names: Vec<String> = a.names().map(str::to_owned).collect();
        for name in names {
            let (Some(a), Some(b)) = (a.get_mut(&name), b.get_mut(&name)) else { return Ok(false) };
            if !equal(a, b)? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    if a.is_array() && b.is_array() {
        let (a, b) = (a.array()?, b.array()?);
        if a.len() != b.len() {
            return Ok(false);
        }
        for (a, b) in a.iter_mut().zip(b) {
            if !equal(a, b)? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    let (Node::Text(left), Node::Text(right)) = (&*a, &*b) else { return Ok(false) };
    if left == right {
        return Ok(true);
    }
    if let (Some(left), Some(right)) = (a.as_string(), b.as_string()) {
        return Ok(left == right);
    }
    Ok(matches!((decimal(left), decimal(right)), (Some(left), Some(right)) if left == right))
}

/// Sign, digits without zeros at either end, and the power of ten of the last digit.
#[derive(PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: String,
    exponent: i64,
}

/// `None` for what is not a number, and for exponents beyond any use.
fn decimal(text: &str) -> Option<Decimal> {
    let negative = text.starts_with('-');
    let (mantissa, power) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.trim_start_matches('-').split_once('.').unwrap_or((mantissa, ""));
    let whole = whole.trim_start_matches('-');
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let all = format!("{whole}{fraction}");
    let power: i64 = power.parse().ok()?;
    let kept = all.trim_end_matches('0');
    let digits = kept.trim_start_matches('0').to_owned();
    if digits.is_empty() {
        return Some(Decimal { negative: false, digits, exponent: 0 });
    }
    let exponent = power.checked_sub(fraction.len() as i64)?.checked_add((all.len() - kept.len()) as i64)?;
    Some(Decimal { negative, digits, exponent })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_compared_and_not_their_spelling() {
        let same = |a, b| equal(&mut Node::parse(a).unwrap(), &mut Node::parse(b).unwrap()).unwrap();
        for (a, b) in [
            ("1", "1.0"),
            ("-0", "0e5"),
            ("100", "1E+2"),
            ("0.010", "1e-2"),
            ("1200.50", "120050e-2"),
            (r#""\u00e9""#, "\"é\""),
            (r#"{"a":1,"b":[2]}"#, r#"{"b":[2.0],"\u0061":1}"#),
            ("[]", "[ ]"),
        ] {
            assert!(same(a, b), "{a} {b}");
        }
        for (a, b) in [
            ("9007199254740992", "9007199254740993"),
            ("1", "-1"),
            ("1", "\"1\""),
            ("10", "1"),
            ("[]", "{}"),
            ("[1,2]", "[2,1]"),
            ("[1]", "[1,1]"),
            (r#"{"a":1}"#, r#"{"a":1,"b":2}"#),
            (r#"{"a":1}"#, r#"{"b":1}"#),
            ("null", "false"),
            ("1e99999999999999999999", "1e99999999999999999998"),
        ] {
            assert!(!same(a, b), "{a} {b}");
        }
    }
}
