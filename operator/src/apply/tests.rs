use super::*;

fn error(code: u16, message: &str, cause: Option<&str>) -> Error {
    let causes: Vec<_> = cause.into_iter().map(|reason| json!({"reason": reason})).collect();
    let status = json!({"code": code, "message": message, "details": {"causes": causes}});
    let source = kube::Error::Api(serde_json::from_value(status).unwrap());
    failed("apply", &ChildId { kind: Kind::Deployment, name: "shop".to_owned() }, source)
}

#[test]
fn only_what_another_spec_could_change_is_a_refusal() {
    let refused = [
        error(422, "spec.template: Invalid value", None),
        error(403, "deployments.apps \"shop\" is forbidden: exceeded quota: q", None),
        error(403, "admission webhook \"policy.test\" denied the request: no", None),
    ];
    for error in &refused {
        assert!(error.refusal().is_some() && !error.passes(), "{error}");
    }
    let unauthorized = "deployments.apps \"shop\" is forbidden: User \"system:serviceaccount:h:o\" cannot patch \
        resource \"deployments\" in API group \"apps\" in the namespace \"demo\"";
    for failed in [error(403, unauthorized, None), error(500, "etcdserver: request timed out", None)] {
        assert!(failed.refusal().is_none() && !failed.passes(), "{failed}");
    }
    let told = error(403, unauthorized, None).to_string();
    assert_eq!(told, format!("failed to apply Deployment shop: {unauthorized}"));
}

#[test]
fn what_can_never_change_is_told_from_what_is_wrong() {
    let refusal = |causes: Value| {
        let status = json!({"code": 422, "message": "no", "details": {"causes": causes}});
        let source = kube::Error::Api(serde_json::from_value(status).unwrap());
        failed("rehearse", &ChildId { kind: Kind::StatefulSet, name: "shop-hp-redis".to_owned() }, source)
    };
    let fixed = json!({"field": "spec", "reason": "FieldValueForbidden"});
    let wrong = json!({"field": "spec.template.spec.volumes[0].name", "reason": "FieldValueInvalid"});
    assert!(refusal(json!([fixed])).immutable());
    assert!(!refusal(json!([fixed, wrong])).immutable(), "made again, it would be refused");
    assert!(!refusal(json!([])).immutable());
}

#[test]
fn a_lost_race_and_a_namespace_that_goes_away_pass() {
    let words = "deployments.apps \"shop\" is forbidden: unable to create new content in namespace demo";
    for passing in [error(409, "changed", None), error(403, words, Some("NamespaceTerminating"))] {
        assert!(passing.passes() && passing.refusal().is_none(), "{passing}");
    }
}

#[test]
fn only_what_was_seen_as_ours_is_applied_by_force() {
    let wanted = Wanted::new(Kind::Service, &json!({"metadata": {"name": "shop"}}));
    let seen = json!({"metadata": {"name": "shop", "uid": "u", "resourceVersion": "1"}});
    let seen = live(&wanted.id, serde_json::from_value(seen).unwrap()).unwrap();
    let (params, body) = request(&wanted, Some(&seen));
    assert_eq!((params.force, &body["metadata"]["uid"]), (true, &json!("u")));
    let (params, body) = request(&wanted, None);
    assert_eq!((params.force, &body["metadata"]["uid"]), (false, &Value::Null));
}

/// Otherwise a failure right after it would leave a Deployment that looks settled.
#[test]
fn a_deployment_made_empty_does_not_claim_to_be_applied() {
    let object = json!({"metadata": {"name": "shop", "annotations": {"a": "b"}}, "spec": {"paused": false}});
    let empty = empty(&Wanted::new(Kind::Deployment, &object));
    assert_eq!(empty["metadata"]["annotations"], json!({"a": "b"}));
    assert_eq!(empty["spec"], json!({"paused": false, "replicas": 0}));
}
