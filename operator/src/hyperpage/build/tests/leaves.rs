//! No field before its act: whatever can be set changes what is built.

use crds::{
    Hyperpage,
    contract::{APP_CONTAINER, REDIS_CONTAINER},
};
use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::{Children, PASSWORD, RedisChildren, build, listed, shop, upgrade::shown};
use crate::{children::Rollout, hyperpage::sticky};

/// What the leaves are set in: enough around each that the rules hold.
fn context() -> Value {
    json!({
        "app": {"image": "image", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}},
        "service": {"type": "NodePort"},
        "autoscaling": {"minReplicas": 1, "maxReplicas": 9, "targetCPUUtilizationPercentage": 70},
        "podDisruptionBudget": {"maxUnavailable": 1},
        "sidecar": {"resources": {"requests": {"cpu": "1", "memory": "1Gi"}}, "sessions": {"trustedHops": 1}},
        "redis": {"resources": {"limits": {"memory": "1Gi"}}},
    })
}

/// For a leaf that cannot be set beside what the context has in its place.
fn context_of(leaf: &str) -> Value {
    let mut context = context();
    if leaf == "podDisruptionBudget.minAvailable" {
        context["podDisruptionBudget"] = json!({"minAvailable": 1});
        context["autoscaling"]["minReplicas"] = json!(9);
    }
    context
}

/// What runs already, of the app and of Redis.
type Live = [Option<Rollout>; 2];

/// All that is applied beside what runs already; or why nothing is. A second manager applies what `replicas` and
/// `suspend` ask for, so they are beside the children here.
fn built(spec: &Value, [app, redis]: &Live) -> Result<(Value, Live), String> {
    let valid = shop(consistent(spec.clone()));
    let all = build(&valid, PASSWORD).map_err(|invalid| invalid.message)?;
    let deployment = sticky::sidecar(all.deployment, &valid.images.sidecar, app.as_ref());
    let settle = |set| sticky::redis(set, &valid.images.redis, redis.as_ref(), None);
    let redis = all.redis.map(|it| RedisChildren { stateful_set: settle(it.stateful_set), ..it });
    let live = [shown(&deployment), redis.as_ref().and_then(|it| shown(&it.stateful_set))];
    let children = listed(Children { deployment, redis, ..all });
    Ok((json!([valid.replicas, valid.suspend, children]), live))
}

/// Where Redis is external, nothing is said of one of ours.
fn consistent(mut spec: Value) -> Value {
    let redis = &spec["redis"];
    let external = redis.get("external").filter(|external| external.is_object());
    if redis["mode"] == "External" || external.is_some() {
        let any = json!({"urlSecretRef": {"name": "n", "key": "k"}});
        spec["redis"] = json!({"mode": "External", "external": external.cloned().unwrap_or(any)});
    }
    spec
}

#[derive(Clone, Debug)]
enum Step {
    Field(String),
    Item,
    Entry,
    /// A field of an open object, with its value.
    Sample(Value),
}

/// Fields of a PodSpec, which the schema leaves open; `built` is the container that we make.
fn samples(built: &str) -> Vec<Value> {
    let container = json!([{"name": "theirs", "image": "image", "env": [{"name": "A", "value": "b"}]}]);
    vec![
        json!({"nodeSelector": {"disk": "ssd"}}),
        json!({"tolerations": [{"key": "gpu", "operator": "Exists"}]}),
        json!({"priorityClassName": "high"}),
        json!({"terminationGracePeriodSeconds": 7}),
        json!({"securityContext": {"supplementalGroups": [7]}}),
        json!({"volumes": [{"name": "cache", "emptyDir": {"sizeLimit": "1Gi"}}]}),
        json!({"containers": container}),
        json!({"initContainers": container}),
        json!({"containers": [{"name": built, "image": "another"}]}),
        json!({"containers": [{"name": built, "imagePullPolicy": "Always"}]}),
        json!({"containers": [{"name": built, "args": ["a"]}]}),
        json!({"containers": [{"name": built, "env": [{"name": "A", "value": "b"}]}]}),
        json!({"containers": [{"name": built, "livenessProbe": {"exec": {"command": ["a"]}}}]}),
        json!({"containers": [{"name": built, "lifecycle": {"preStop": {"sleep": {"seconds": 7}}}}]}),
    ]
}

/// The samples for the podTemplate that `path` leads to.
fn samples_at(path: &[Step]) -> Vec<Value> {
    let redis = matches!(path.first(), Some(Step::Field(name)) if name == "redis");
    samples(if redis { REDIS_CONTAINER } else { APP_CONTAINER })
}

fn leaves(schema: &Value, path: &mut Vec<Step>, found: &mut Vec<Vec<Step>>) {
    let samples = samples_at(path);
    let mut below = |step: Step, schema: &Value| {
        path.push(step);
        leaves(schema, path, found);
        path.pop();
    };
    if schema["x-kubernetes-preserve-unknown-fields"] == true {
        samples.into_iter().for_each(|sample| below(Step::Sample(sample), &Value::Null));
    } else if let Some(properties) = schema["properties"].as_object() {
        for (name, property) in properties {
            below(Step::Field(name.clone()), property);
        }
    } else if schema["items"].is_object() {
        below(Step::Item, &schema["items"]);
    } else if schema["additionalProperties"].is_object() {
        below(Step::Entry, &schema["additionalProperties"]);
    } else {
        found.push(path.clone());
    }
}

/// A value that fits the schema and is not `taken`; `None` where the schema has no second one.
fn other(schema: &Value, taken: &Value) -> Option<Value> {
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().find(|value| *value != taken).cloned();
    }
    let least = schema["minimum"].as_f64().map_or(1, |least| least as i64).max(1);
    let candidates = match schema["type"].as_str() {
        Some("string") if schema["pattern"].is_string() => [json!("3"), json!("4")],
        Some("string") => [json!("a"), json!("b")],
        Some("boolean") => [json!(true), json!(false)],
        Some("object") => [whole(schema), json!({})],
        Some("array") => [json!([whole(&schema["items"])]), json!([])],
        _ => [json!(least + 1), json!(least + 2)],
    };
    candidates.into_iter().find(|value| value != taken)
}

/// The least object that fits.
fn whole(schema: &Value) -> Value {
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let fields = required.map(|name| {
        let property = &schema["properties"][name];
        (name.to_owned(), other(property, &Value::Null).unwrap_or_else(|| panic!("{name}: {property}")))
    });
    if schema["type"] == "object" {
        Value::Object(fields.collect())
    } else {
        other(schema, &Value::Null).unwrap_or_default()
    }
}

/// Two specs that differ in the leaf alone.
fn pair(schema: &Value, context: Option<&Value>, path: &[Step]) -> Option<(Value, Value)> {
    let Some((step, rest)) = path.split_first() else {
        let before = context.cloned().or_else(|| other(schema, &schema["default"]))?;
        let after = other(schema, &before)?;
        return Some((before, after));
    };
    match step {
        Step::Field(name) => {
            let mut object = context.cloned().unwrap_or_else(|| whole(schema));
            let property = &schema["properties"][name];
            let optional = object.get(name).is_none();
            let (before, after) = pair(property, object.get(name), rest)?;
            let with = |value: Value| {
                let mut object = object.clone();
                object[name] = value;
                object
            };
            // An optional leaf is compared with its absence, which must not mean the same.
            let (with_before, with_after) = (with(before), with(after));
            Some(if rest.is_empty() && optional {
                object.as_object_mut()?.remove(name);
                (object, if property["default"] == with_after[name] { with_before } else { with_after })
            } else {
                (with_before, with_after)
            })
        }
        Step::Sample(sample) => Some((json!({}), sample.clone())),
        Step::Item => {
            let (before, after) = pair(&schema["items"], None, rest)?;
            Some((json!([before]), json!([after])))
        }
        Step::Entry => {
            let (before, after) = pair(&schema["additionalProperties"], None, rest)?;
            let with = |value: Value| {
                let mut map = context.cloned().unwrap_or(json!({}));
                map["extra"] = value;
                map
            };
            Some((with(before), with(after)))
        }
    }
}

fn spell(path: &[Step]) -> String {
    path.iter().fold(String::new(), |text, step| match step {
        Step::Field(name) if text.is_empty() => name.clone(),
        Step::Field(name) => format!("{text}.{name}"),
        Step::Item => format!("{text}[]"),
        Step::Entry => format!("{text}{{}}"),
        Step::Sample(sample) => format!("{text}.{sample}"),
    })
}

struct Verdict {
    acting: usize,
    idle: Vec<String>,
    /// Samples that the build refuses.
    refused: Vec<String>,
    /// Fields that can have one value only.
    fixed: Vec<String>,
}

fn judge(built: impl Fn(&Value, &Live) -> Result<(Value, Live), String>) -> Verdict {
    let crd = serde_json::to_value(Hyperpage::crd()).unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut paths = vec![];
    leaves(schema, &mut vec![], &mut paths);
    let mut verdict = Verdict { acting: 0, idle: vec![], refused: vec![], fixed: vec![] };
    for path in paths {
        let Some((before, after)) = pair(schema, Some(&context_of(&spell(&path))), &path) else {
            verdict.fixed.push(spell(&path));
            continue;
        };
        // Changed while it runs: what runs must not hide the change.
        let (_, live) = built(&before, &[None, None]).unwrap();
        let (unchanged, _) = built(&before, &live).unwrap();
        match built(&after, &live) {
            Err(_) => verdict.refused.push(spell(&path)),
            Ok((changed, _)) if changed == unchanged => verdict.idle.push(spell(&path)),
            Ok(_) => verdict.acting += 1,
        }
    }
    verdict
}

fn image_of(container: &str) -> String {
    let sample = json!({"containers": [{"name": container, "image": "another"}]});
    format!("{container}.podTemplate.spec.{sample}")
}

#[test]
fn every_leaf_of_the_spec_changes_what_is_built() {
    let Verdict { acting, idle, refused, fixed } = judge(built);
    assert_eq!(idle, Vec::<String>::new());
    let images = ["app", "redis"].map(image_of);
    assert_eq!(refused, images, "these have fields of their own");
    assert_eq!(fixed, Vec::<String>::new());
    assert!(acting > 100, "{acting}");
    println!("{acting} leaves act");
}

#[test]
fn a_build_that_forgets_a_field_is_caught() {
    let forgetful = |spec: &Value, live: &Live| {
        let mut spec = spec.clone();
        spec["app"].as_object_mut().unwrap().remove("args");
        let metrics = spec.pointer_mut("/autoscaling/metrics").and_then(Value::as_array_mut);
        for metric in metrics.into_iter().flatten().filter_map(Value::as_object_mut) {
            metric.remove("object");
        }
        let redis = spec.pointer_mut("/redis/podTemplate/spec/containers/0").and_then(Value::as_object_mut);
        redis.filter(|redis| redis["name"] == "redis").map(|redis| redis.remove("image"));
        built(&spec, live)
    };
    let idle = judge(forgetful).idle;
    let image = image_of("redis");
    assert!(idle.contains(&image), "{idle:?}");
    assert!(idle.contains(&"app.args[]".to_owned()), "{idle:?}");
    assert!(idle.contains(&"autoscaling.metrics[].object.metric.name".to_owned()), "{idle:?}");
    let forgotten = |leaf: &String| ["app.args[]", &image].contains(&leaf.as_str());
    assert!(idle.iter().all(|leaf| forgotten(leaf) || leaf.contains(".metrics[].object")), "{idle:?}");
}
