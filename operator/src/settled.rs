//! Whether a child is as the operator last left it, without asking the API server.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write,
    time::{Duration, Instant},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crds::contract::manager;

/// Somebody who moves a child more often than this within the window is fighting us.
const MOVES: usize = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// Managers told apart within the window; a further one is not counted before one of them has left the child alone.
const MANAGERS: usize = 16;

/// Sixteen hex digits: enough to tell one's own versions of one object apart.
pub fn hash(value: &impl Serialize) -> String {
    let json = serde_json::to_vec(value).expect("Kubernetes objects are JSON");
    Sha256::digest(json).iter().take(8).fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// What our managers own, and with which names of fields; unmoved by status, by time and by what others add.
pub fn fingerprint(meta: &ObjectMeta) -> String {
    let mut ours: Vec<_> = entries(meta)
        .filter(|entry| is_ours(entry))
        .map(|entry| {
            let ManagedFieldsEntry {
                api_version,
                fields_type: _,
                fields_v1,
                manager,
                operation,
                subresource,
                time: _,
            } = entry;
            (manager, subresource, operation, api_version, fields_v1)
        })
        .collect();
    ours.sort_by_key(|(manager, subresource, operation, api_version, _)| {
        (*manager, *subresource, *operation, *api_version)
    });
    hash(&ours)
}

/// Who last wrote anything but status, ourselves excepted.
pub fn mover(meta: &ObjectMeta) -> Option<String> {
    entries(meta)
        .filter(|entry| !is_ours(entry) && entry.subresource.as_deref() != Some("status"))
        .max_by_key(|entry| entry.time.as_ref().map(|time| time.0))
        .and_then(|entry| entry.manager.clone())
}

/// Managers of `spec.replicas`. Ours counts once it has given up the template that it may have been created with.
pub fn replica_managers(meta: &ObjectMeta) -> Vec<String> {
    let owns = |entry: &ManagedFieldsEntry, field: &str| {
        entry.fields_v1.as_ref().is_some_and(|fields| fields.0["f:spec"][field].is_object())
    };
    let unshed = |entry: &ManagedFieldsEntry| {
        entry.manager.as_deref() == Some(manager::REPLICAS) && owns(entry, "f:template")
    };
    entries(meta)
        .filter(|entry| owns(entry, "f:replicas") && !unshed(entry))
        .filter_map(|entry| entry.manager.clone())
        .collect()
}

fn entries(meta: &ObjectMeta) -> impl Iterator<Item = &ManagedFieldsEntry> {
    meta.managed_fields.iter().flatten()
}

fn is_ours(entry: &ManagedFieldsEntry) -> bool {
    entry.manager.as_deref().is_some_and(|name| name.starts_with(manager::OPERATOR))
}

/// Counts how often each manager undid what we applied to one child.
#[derive(Debug, Default)]
pub struct Moves(BTreeMap<String, VecDeque<Instant>>);

impl Moves {
    pub fn moved(&mut self, by: &str, now: Instant) {
        let recent = |at: &Instant| now.duration_since(*at) < WINDOW;
        self.0.retain(|_, at| at.back().is_some_and(recent));
        if self.0.len() >= MANAGERS && !self.0.contains_key(by) {
            return;
        }
        let at = self.0.entry(by.to_owned()).or_default();
        at.push_back(now);
        if at.len() > MOVES + 1 {
            at.pop_front();
        }
    }

    /// The manager that we are fighting with. Ends by itself once it left us alone for the window.
    pub fn fight(&self, now: Instant) -> Option<&str> {
        let recent = |at: &&Instant| now.duration_since(**at) < WINDOW;
        let mut moves = self.0.iter();
        moves.find(|(_, at)| at.iter().filter(recent).count() > MOVES).map(|(by, _)| by.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn meta(fields: serde_json::Value) -> ObjectMeta {
        serde_json::from_value(json!({ "managedFields": fields })).unwrap()
    }

    fn ours(time: &str) -> serde_json::Value {
        json!({"manager": "hyperpage-operator", "operation": "Apply", "apiVersion": "v1", "time": time,
               "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:type": {}}}})
    }

    fn theirs(subresource: Option<&str>) -> serde_json::Value {
        json!({"manager": "kubectl", "operation": "Update", "apiVersion": "v1", "time": "2026-01-01T00:00:09Z",
               "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}}}, "subresource": subresource})
    }

    #[test]
    fn time_order_and_others_do_not_move_the_fingerprint() {
        let replicas = json!({"manager": "hyperpage-operator/replicas", "operation": "Apply",
            "fieldsV1": {"f:spec": {"f:replicas": {}}}});
        let first = meta(json!([ours("2026-01-01T00:00:00Z"), replicas]));
        let later = meta(json!([replicas, theirs(None), ours("2026-01-02T00:00:00Z")]));
        assert_eq!(fingerprint(&first), fingerprint(&later));
    }

    #[test]
    fn a_lost_field_or_manager_moves_the_fingerprint() {
        let full = meta(json!([ours("2026-01-01T00:00:00Z")]));
        let mut less = ours("2026-01-01T00:00:00Z");
        less["fieldsV1"] = json!({"f:spec": {}});
        assert_ne!(fingerprint(&full), fingerprint(&meta(json!([less]))));
        assert_ne!(fingerprint(&full), fingerprint(&meta(json!([]))));
    }

    #[test]
    fn the_mover_is_the_latest_other_manager_that_wrote_more_than_status() {
        let own = ours("2026-01-03T00:00:00Z");
        assert_eq!(mover(&meta(json!([own, theirs(Some("scale"))]))).as_deref(), Some("kubectl"));
        assert_eq!(mover(&meta(json!([own, theirs(Some("status"))]))), None);
        assert_eq!(replica_managers(&meta(json!([own, theirs(None)]))), ["kubectl"]);
    }

    #[test]
    fn our_manager_of_replicas_counts_once_it_owns_nothing_else() {
        let entry = |manager: &str, spec: serde_json::Value| json!({"manager": manager, "operation": "Apply", "fieldsV1": {"f:spec": spec}});
        let (all, one) = (json!({"f:replicas": {}, "f:template": {}}), json!({"f:replicas": {}}));
        assert!(replica_managers(&meta(json!([entry(manager::REPLICAS, all.clone())]))).is_empty());
        assert_eq!(replica_managers(&meta(json!([entry(manager::REPLICAS, one)]))), [manager::REPLICAS]);
        assert_eq!(
            replica_managers(&meta(json!([entry("helm", all)]))),
            ["helm"],
            "a whole object of theirs"
        );
    }

    #[test]
    fn the_eleventh_move_of_one_manager_within_a_minute_is_a_fight() {
        let start = Instant::now();
        let mut moves = Moves::default();
        for second in 0..10 {
            moves.moved("argocd", start + Duration::from_secs(second));
        }
        assert_eq!(moves.fight(start + Duration::from_secs(10)), None);
        moves.moved("argocd", start + Duration::from_secs(10));
        assert_eq!(moves.fight(start + Duration::from_secs(10)), Some("argocd"));
        assert_eq!(moves.fight(start + Duration::from_secs(61)), None, "the first is a minute old");
    }

    #[test]
    fn each_manager_is_counted_for_itself_whoever_moves_meanwhile() {
        let start = Instant::now();
        let mut moves = Moves::default();
        for second in 0..20 {
            moves.moved(if second % 2 == 0 { "argocd" } else { "flux" }, start + Duration::from_secs(second));
        }
        assert_eq!(moves.fight(start + Duration::from_secs(20)), None, "ten moves of each");
        moves.moved("flux", start + Duration::from_secs(20));
        assert_eq!(moves.fight(start + Duration::from_secs(20)), Some("flux"));
    }

    #[test]
    fn many_managers_take_no_more_memory_than_some() {
        let start = Instant::now();
        let mut moves = Moves::default();
        for number in 0..100 {
            moves.moved(&format!("kubectl-{number}"), start);
        }
        assert_eq!(moves.0.len(), MANAGERS);
        moves.moved("argocd", start + WINDOW);
        assert_eq!(moves.0.keys().collect::<Vec<_>>(), ["argocd"], "the others have left it alone");
    }
}
