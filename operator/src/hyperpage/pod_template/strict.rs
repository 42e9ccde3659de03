//! The type that the API server knows, and not a field more. Our own type passes over what it does not know, so
//! what was read is compared with what was given.

use crds::bytes;
use k8s_openapi::{api::core::v1::PodTemplateSpec, apimachinery::pkg::api::resource::Quantity};
use serde_json::Value;

use super::{Fault, fields};

/// The patch with its quantities as strings, once each field of it is known and has the right type.
pub(super) fn check(patch: &Value) -> Result<Value, Fault> {
    let mut patch = patch.clone();
    quantities(&mut patch, "")?;
    let given = without_nulls(&patch);
    let read = serde_json::to_value(decode(given.clone())?).expect("Kubernetes objects are JSON");
    match unknown(&given, &read, "") {
        Some(at) => Err(Fault::new(at, "there is no such field in a pod template; check its spelling")),
        None => Ok(patch),
    }
}

pub(super) fn decode(template: Value) -> Result<PodTemplateSpec, Fault> {
    serde_path_to_error::deserialize(template)
        .map_err(|error| Fault::new(error.path().to_string(), error.inner().to_string()))
}

/// The first path that is in `given` and not in `read`.
fn unknown(given: &Value, read: &Value, at: &str) -> Option<String> {
    let items = given.as_array().into_iter().flatten().enumerate();
    let mut items = items.map(|(i, item)| (format!("{at}[{i}]"), item, read.get(i)));
    let mut fields = fields(given).map(|(name, value)| (field(at, name), value, read.get(name)));
    let look = |(at, given, read): (String, &Value, Option<&Value>)| match read {
        None => Some(at),
        Some(read) => unknown(given, read, &at),
    };
    items.find_map(look).or_else(|| fields.find_map(look))
}

fn field(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}

/// What null deletes is not there to be read; elsewhere Kubernetes takes null for absence.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(_) => {
            let there = fields(value).filter(|(_, value)| !value.is_null());
            Value::Object(there.map(|(name, value)| (name.clone(), without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        scalar => scalar.clone(),
    }
}

/// `cpu: 1` is a quantity, which our type reads only as `"1"`; `cpu: lots` is none, which the API server would
/// say without naming the field. No map of a user's own is meant here: the values of those are strings.
fn quantities(value: &mut Value, at: &str) -> Result<(), Fault> {
    if let Value::Array(items) = value {
        return items
            .iter_mut()
            .enumerate()
            .try_for_each(|(i, item)| quantities(item, &format!("{at}[{i}]")));
    }
    for (name, value) in value.as_object_mut().into_iter().flatten() {
        let at = field(at, name);
        match (name.as_str(), value.as_object_mut()) {
            ("limits" | "requests" | "overhead", Some(resources)) => {
                let mut resources = resources.iter_mut();
                resources.try_for_each(|(name, value)| quantity(value, &field(&at, name)))?;
            }
            ("emptyDir", Some(volume)) => {
                volume
                    .get_mut("sizeLimit")
                    .map_or(Ok(()), |size| quantity(size, &field(&at, "sizeLimit")))?;
            }
            ("resourceFieldRef", Some(resource)) => {
                resource.get_mut("divisor").map_or(Ok(()), |unit| quantity(unit, &field(&at, "divisor")))?;
            }
            _ => quantities(value, &at)?,
        }
    }
    Ok(())
}

fn quantity(value: &mut Value, at: &str) -> Result<(), Fault> {
    if value.is_number() {
        *value = Value::String(value.to_string());
    }
    match value.as_str() {
        Some(text) if bytes(&Quantity(text.to_owned())).is_err() => {
            Err(Fault::new(at, format!("{text:?} is not a quantity such as 250m or 1Gi")))
        }
        _ => Ok(()),
    }
}
