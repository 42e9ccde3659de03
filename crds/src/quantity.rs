//! Kubernetes' quantities, as far as we calculate with them.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::{Deserialize, Deserializer};

/// `cpu: 1` is an integer to the API server and is stored as one; Kubernetes' own type only reads strings.
pub(crate) fn map<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, Quantity>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Integer(i64),
        Text(String),
    }
    let written = BTreeMap::<String, Written>::deserialize(deserializer)?;
    Ok(written
        .into_iter()
        .map(|(name, quantity)| match quantity {
            Written::Integer(n) => (name, Quantity(n.to_string())),
            Written::Text(text) => (name, Quantity(text)),
        })
        .collect())
}

#[derive(Debug, PartialEq, Eq)]
pub struct NotAQuantity;

/// The bytes a memory quantity stands for, rounded down.
pub fn bytes(quantity: &Quantity) -> Result<u64, NotAQuantity> {
    let text = quantity.0.strip_prefix('+').unwrap_or(&quantity.0);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let number: f64 = number.parse().map_err(|_| NotAQuantity)?;
    let scale = match suffix {
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 2f64.powi(10),
        "Mi" => 2f64.powi(20),
        "Gi" => 2f64.powi(30),
        "Ti" => 2f64.powi(40),
        "Pi" => 2f64.powi(50),
        "Ei" => 2f64.powi(60),
        exponent => {
            let digits = exponent.strip_prefix(['e', 'E']).ok_or(NotAQuantity)?;
            10f64.powi(digits.parse().map_err(|_| NotAQuantity)?)
        }
    };
    // `as` saturates, and Kubernetes caps quantities at 2^63-1.
    Ok((number * scale) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_quantities_are_read_as_kubernetes_reads_them() {
        let cases = [
            ("256Mi", Ok(256 << 20)),
            ("1Gi", Ok(1 << 30)),
            ("1.5Gi", Ok(3 << 29)),
            (".5Ki", Ok(512)),
            ("64M", Ok(64_000_000)),
            ("1e3", Ok(1000)),
            ("1E3", Ok(1000)),
            ("1E", Ok(1_000_000_000_000_000_000)),
            ("2500m", Ok(2)),
            ("+5", Ok(5)),
            ("5", Ok(5)),
            ("", Err(NotAQuantity)),
            ("-1", Err(NotAQuantity)),
            ("5Q", Err(NotAQuantity)),
            ("1.2.3", Err(NotAQuantity)),
        ];
        for (text, expected) in cases {
            assert_eq!(bytes(&Quantity(text.into())), expected, "{text}");
        }
    }

    #[test]
    fn an_integer_is_a_quantity() {
        let read: crate::Resources =
            serde_json::from_str(r#"{"limits": {"cpu": 1, "memory": "1Gi"}}"#).unwrap();
        assert_eq!(read.limits["cpu"], Quantity("1".into()));
        assert_eq!(read.limits["memory"], Quantity("1Gi".into()));
    }
}
