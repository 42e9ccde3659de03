//! What an apply alone cannot undo: fields that others put beside ours, which the API server then refuses to keep
//! together. Our manager never removes what it does not own.

use serde_json::{Value, json};

use crate::{
    apply::{Calls, Error, Wanted},
    children::{Kind, Live},
};
use crds::contract::manager;

/// Applies, and once more after a repair where one helps.
pub async fn apply(calls: &Calls<'_>, wanted: &Wanted, seen: Option<&Live>) -> Result<Live, Error> {
    let (error, seen) = match (calls.apply(wanted, seen).await, seen) {
        (Err(error), Some(seen)) if error.is_invalid() => (error, seen),
        (answer, _) => return answer,
    };
    match remedy(calls, wanted).await? {
        Some(Remedy::Ports { owners, wanted }) => {
            calls.own(&wanted.id, owners).await?;
            calls.apply(&wanted, Some(seen)).await
        }
        Some(Remedy::Anew) => {
            calls.delete(&wanted.id, seen).await?;
            calls.apply(wanted, None).await
        }
        None => Err(error),
    }
}

/// Whether [`apply`] would succeed where an apply was refused.
pub async fn would_help(calls: &Calls<'_>, wanted: &Wanted) -> Result<bool, Error> {
    Ok(remedy(calls, wanted).await?.is_some())
}

/// What lets an apply pass that was refused.
#[derive(Debug, PartialEq)]
enum Remedy {
    /// Others' ports become ours alone, by these managedFields; then this apply does not name them.
    Ports {
        owners: Value,
        wanted: Wanted,
    },
    Anew,
}

async fn remedy(calls: &Calls<'_>, wanted: &Wanted) -> Result<Option<Remedy>, Error> {
    match wanted.id.kind {
        // Deleted, it would come back under another address.
        Kind::Service => Ok(take_over(&calls.whole(&wanted.id).await?, wanted)),
        Kind::PodDisruptionBudget | Kind::HorizontalPodAutoscaler | Kind::NetworkPolicy => {
            match calls.rehearse_new(wanted).await {
                Ok(()) => Ok(Some(Remedy::Anew)),
                // What would not do as a new object either stands in the spec, and is no reason to delete.
                Err(refused) if refused.refusal().is_some() => Ok(None),
                Err(failed) => Err(failed),
            }
        }
        Kind::Deployment | Kind::StatefulSet | Kind::ServiceAccount | Kind::ConfigMap => Ok(None),
    }
}

/// The version of the Service, and its managedFields with our apply as the only owner of every port that cannot
/// stand beside ours: the next apply does not name those ports, and so removes them. Nothing else of the Service
/// moves: not its address, and not the port on the nodes. `None`: there is no such port.
fn take_over(found: &Value, wanted: &Wanted) -> Option<Remedy> {
    let (found_ports, our_ports) = (ports(found), ports(&wanted.body));
    let others = found_ports.iter().filter(|port| our_ports.iter().all(|our| key(our) != key(port)));
    let foreign: Vec<_> = others.filter(|port| our_ports.iter().any(|our| clash(our, port))).collect();
    if foreign.is_empty() {
        return None;
    }
    let keys: Vec<_> = foreign.iter().map(|port| key_field(&key(port))).collect();
    let mut entries = found["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let owned = ["fieldsV1", "f:spec", "f:ports"];
    for entry in &mut entries {
        let fields = owned.iter().try_fold(entry, |at, step| at.get_mut(step)).and_then(Value::as_object_mut);
        if let Some(fields) = fields {
            fields.retain(|field, _| !keys.contains(field));
        }
    }
    let is_ours = |entry: &Value| entry["manager"] == manager::OPERATOR && entry["operation"] == "Apply";
    if !entries.iter().any(is_ours) {
        entries.push(json!({
            "manager": manager::OPERATOR, "operation": "Apply", "apiVersion": found["apiVersion"],
            "fieldsType": "FieldsV1", "fieldsV1": {},
        }));
    }
    for ours in entries.iter_mut().filter(|entry| is_ours(entry)) {
        for key in &keys {
            ours[owned[0]][owned[1]][owned[2]][key] = json!({".": {}});
        }
    }
    let version = &found["metadata"]["resourceVersion"];
    let owners = json!({"resourceVersion": version, "managedFields": entries});
    Some(Remedy::Ports { owners, wanted: keep_node_port(wanted, &foreign) })
}

/// Kubernetes keeps a port of the nodes for a port of the same name alone.
fn keep_node_port(wanted: &Wanted, foreign: &[&Value]) -> Wanted {
    let mut wanted = wanted.clone();
    let free = foreign.iter().map(|port| &port["nodePort"]).find(|port| port.is_number());
    let free = free.filter(|_| wanted.body["spec"]["type"] != "ClusterIP").cloned();
    let mut ours = wanted.body["spec"]["ports"].as_array_mut().into_iter().flatten();
    if let (Some(free), Some(unset)) = (free, ours.find(|our| our["nodePort"].is_null())) {
        unset["nodePort"] = free;
    }
    wanted
}

fn ports(service: &Value) -> &[Value] {
    service["spec"]["ports"].as_array().map_or(&[], Vec::as_slice)
}

/// By which an apply tells one port from another.
fn key(port: &Value) -> Value {
    json!({"port": port["port"], "protocol": port["protocol"]})
}

/// How managedFields spell it.
fn key_field(key: &Value) -> String {
    format!("k:{key}")
}

/// Of several ports each has a name of its own, and a port of the nodes.
fn clash(our: &Value, other: &Value) -> bool {
    let node = |port: &Value| port["nodePort"].as_i64();
    other["name"].is_null() || other["name"] == our["name"] || node(our).is_some() && node(other) == node(our)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(type_: &str, node: Option<i32>) -> Wanted {
        let ports = json!([{"name": "http", "port": 80, "protocol": "TCP", "nodePort": node}]);
        Wanted::new(
            Kind::Service,
            &json!({"metadata": {"name": "shop"}, "spec": {"type": type_, "ports": ports}}),
        )
    }

    /// What becomes of the owners, and which port of the nodes is asked for.
    fn taken(found: &Value, wanted: &Wanted) -> Option<(Value, Value)> {
        let Remedy::Ports { owners, wanted } = take_over(found, wanted)? else { panic!("deleted") };
        Some((owners, wanted.body["spec"]["ports"][0]["nodePort"].clone()))
    }

    fn found(name: Option<&str>) -> Value {
        let field = key_field(&json!({"port": 81, "protocol": "TCP"}));
        json!({
            "apiVersion": "v1",
            "metadata": {"resourceVersion": "7", "managedFields": [
                {"manager": "kubectl-edit", "operation": "Update",
                 "fieldsV1": {"f:spec": {"f:ports": {field: {".": {}}, "k:{\"port\":90,\"protocol\":\"TCP\"}": {}}}}},
                {"manager": manager::OPERATOR, "operation": "Apply", "fieldsV1": {"f:spec": {"f:type": {}}}},
            ]},
            "spec": {"ports": [
                {"name": name, "port": 81, "protocol": "TCP", "nodePort": 30081},
                {"name": "more", "port": 90, "protocol": "TCP", "nodePort": 30090},
            ]},
        })
    }

    #[test]
    fn a_port_that_cannot_stand_beside_ours_becomes_ours_alone() {
        for (name, type_, node, keeps) in [
            (Some("http"), "NodePort", None, json!(30081)),
            (None, "NodePort", None, json!(30081)),
            (None, "ClusterIP", None, Value::Null),
            (Some("web"), "NodePort", Some(30081), json!(30081)),
        ] {
            let (taken, kept) = taken(&found(name), &ours(type_, node)).expect("a clash");
            assert_eq!((&taken["resourceVersion"], kept), (&json!("7"), keeps), "{name:?} {type_} {node:?}");
            let fields = &taken["managedFields"];
            assert_eq!(
                fields[0]["fieldsV1"],
                json!({"f:spec": {"f:ports": {"k:{\"port\":90,\"protocol\":\"TCP\"}": {}}}})
            );
            let own = json!({"f:type": {}, "f:ports": {"k:{\"port\":81,\"protocol\":\"TCP\"}": {".": {}}}});
            assert_eq!(fields[1]["fieldsV1"]["f:spec"], own);
        }
    }

    #[test]
    fn a_port_that_nobody_owns_is_taken_too() {
        let mut stripped = found(Some("http"));
        stripped["metadata"]["managedFields"] = Value::Null;
        let (taken, _) = taken(&stripped, &ours("ClusterIP", None)).unwrap();
        let own = &taken["managedFields"][0];
        assert_eq!(own["manager"], manager::OPERATOR);
        assert!(
            own["fieldsV1"]["f:spec"]["f:ports"]["k:{\"port\":81,\"protocol\":\"TCP\"}"].is_object(),
            "{own}"
        );
    }

    #[test]
    fn a_port_that_can_stand_beside_ours_is_left_alone() {
        assert_eq!(take_over(&found(Some("web")), &ours("NodePort", Some(30080))), None);
    }
}
