//! A Hyperpage as the API server stores it: it may be older than its schema, and one that cannot be read must not
//! keep the watch from showing the others.

use std::borrow::Cow;

use crds::Hyperpage;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, core::PartialObjectMeta};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

use super::rules;

/// What is known of a Hyperpage that does not fit the types.
#[derive(Clone, Debug)]
pub struct Unreadable {
    pub metadata: ObjectMeta,
    /// Which fields, and why.
    pub why: String,
}

/// As kube's `DeserializeGuard`, whose error has lost the field.
#[derive(Clone, Debug)]
pub struct Stored(pub Result<Hyperpage, Unreadable>);

impl<'de> Deserialize<'de> for Stored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Value::deserialize(deserializer)?;
        let error = match Hyperpage::deserialize(&object) {
            Ok(hyperpage) => return Ok(Self(Ok(hyperpage))),
            Err(error) => error,
        };
        let faults = rules::spec_faults(&object);
        let why = if faults.is_empty() { error.to_string() } else { faults.join("; ") };
        let PartialObjectMeta { metadata, .. } =
            PartialObjectMeta::<Hyperpage>::deserialize(&object).map_err(D::Error::custom)?;
        Ok(Self(Err(Unreadable { metadata, why })))
    }
}

impl Resource for Stored {
    type DynamicType = <Hyperpage as Resource>::DynamicType;
    type Scope = <Hyperpage as Resource>::Scope;

    fn kind(dt: &Self::DynamicType) -> Cow<'_, str> {
        Hyperpage::kind(dt)
    }

    fn group(dt: &Self::DynamicType) -> Cow<'_, str> {
        Hyperpage::group(dt)
    }

    fn version(dt: &Self::DynamicType) -> Cow<'_, str> {
        Hyperpage::version(dt)
    }

    fn plural(dt: &Self::DynamicType) -> Cow<'_, str> {
        Hyperpage::plural(dt)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|unreadable| &unreadable.metadata, Hyperpage::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|unreadable| &mut unreadable.metadata, Hyperpage::meta_mut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_cannot_be_read_keeps_its_name_and_says_which_field() {
        let object = json!({"metadata": {"name": "shop", "uid": "u"},
            "spec": {"app": {"image": "a"}, "sidecar": {"logLevel": "loudest"}}});
        let Stored(Err(unreadable)) = serde_json::from_value(object).unwrap() else { panic!("it was read") };
        assert_eq!(unreadable.metadata.name.as_deref(), Some("shop"));
        assert_eq!(
            unreadable.why,
            "spec.sidecar.logLevel: \"loudest\" is none of error, warn, info, debug, trace"
        );
    }

    #[test]
    fn an_object_without_a_name_fails_the_watch() {
        assert!(serde_json::from_value::<Stored>(json!({"metadata": 7})).is_err());
    }
}
