//! Writes `sidecar/openapi.json` from what the product is made of, and holds it to what the router does. A new route
//! is described beside its siblings; a new error finds its way into the refusals by itself.

mod bulk;
mod cookie;
mod coordination;
mod operation;
mod original;
mod refusals;
mod schemas;
mod v1;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use expect_test::expect_file;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use prometheus_client::registry::Registry;
use refusals::{Surface, refusal_name};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tracing::level_filters::LevelFilter;

use crate::app::{App, Settings, Stops};
use crate::config::{self, Telemetry};
use crate::in_flight::InFlight;
use crate::redis::{Mode, Redis, Source, Url};
use crate::rules::Rules;

fn document() -> Value {
    let mut paths = json!({
        "/api/sessions": original::sessions(),
        "/api/sessions/check": original::check(),
        "/v1/session": cookie::session(),
        "/v1/session/touch": cookie::touch(),
        "/v1/sessions": v1::sessions(),
        "/v1/sessions/{id}": v1::session(),
        "/v1/sessions/{id}/touch": v1::touch(),
        "/v1/sessions:batchGet": bulk::batch_get(),
        "/v1/sessions:count": bulk::count(),
        "/v1/sessions:import": bulk::import(),
        "/v1/users/{id}/sessions": bulk::of_user(),
    });
    paths.as_object_mut().expect("an object").extend(coordination::paths());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Hyperpage sidecar",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Sessions and coordination for the app in the same pod, on localhost",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "http://127.0.0.1:4100" }],
        "tags": [
            { "name": Surface::Original.tag(), "description": "The original's contract, to the byte." },
            { "name": Surface::V1.tag(), "description": "Typed, with ETags and problem details (RFC 9457)." },
            { "name": Surface::Coordination.tag(), "description": "The app's pods; 404 where it is off." },
        ],
        "components": {
            "schemas": schemas::schemas(),
            "parameters": schemas::parameters(),
            "headers": schemas::headers(),
            "responses": refusals::responses(&paths),
        },
        "paths": paths,
    })
}

#[test]
fn openapi_json_is_fresh() {
    let text = format!("{:#}\n", document());
    expect_file!["../../openapi.json"].assert_eq(&text);
}

#[test]
fn every_reference_in_openapi_json_leads_somewhere() {
    fn walk(root: &Value, node: &Value, seen: &mut Vec<String>) {
        match node {
            Value::Object(members) => {
                if let Some(target) = members.get("$ref").and_then(Value::as_str) {
                    let pointer = target.strip_prefix('#').expect("a local reference");
                    assert!(root.pointer(pointer).is_some(), "{target}");
                    seen.push(pointer.to_owned());
                }
                members.values().for_each(|value| walk(root, value, seen));
            }
            Value::Array(items) => items.iter().for_each(|item| walk(root, item, seen)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let root = document();
    let mut seen = Vec::new();
    walk(&root, &root, &mut seen);
    for kind in ["schemas", "parameters", "headers", "responses"] {
        for name in root["components"][kind].as_object().unwrap().keys() {
            let pointer = format!("/components/{kind}/{name}");
            assert!(seen.contains(&pointer), "{pointer} is used nowhere");
        }
    }
}

/// What a refusal says is derived; that an operation names it is not.
#[test]
fn every_refusal_of_the_product_is_in_openapi_json() {
    let root = document();
    for surface in Surface::ALL {
        for (status, codes) in refusals::codes(surface) {
            let name = refusal_name(surface, status);
            let described = root.pointer(&format!("/components/responses/{name}")).is_some();
            assert!(described, "{name}: {codes:?}");
        }
    }
}

#[tokio::test]
async fn openapi_json_names_every_method_of_every_path_and_no_other() {
    let source = Source {
        mode: Mode::Standalone,
        url: Url::Given("redis://127.0.0.1:1".to_owned()),
        password_file: None,
        ca_file: None,
        wait_replicas: 0,
    };
    let mut registry = Registry::default();
    // Nobody runs the supervisor, so Redis is never there: what answers is told from what does not exist.
    let stop = CancellationToken::new();
    let (redis, _supervisor) = Redis::connect(source, &mut registry, stop.clone());
    let (session, coordination) = (config::Session::default(), config::Coordination::default());
    let telemetry = Telemetry { log_level: LevelFilter::OFF, pod_name: "a".to_owned() };
    let settings = Settings { session: &session, coordination: &coordination, telemetry: &telemetry };
    let (app, _metrics, _work) =
        App::new(redis, InFlight::new(1), &settings, Rules::default(), registry, &Stops::default());
    let service = TowerToHyperService::new(crate::router::router(app));
    for (path, described) in document()["paths"].as_object().unwrap() {
        for method in ["get", "post", "put", "patch", "delete", "options"] {
            let request =
                Request::builder().method(method.to_uppercase().as_str()).uri(path.replace("{id}", "x"));
            let response = service.call(request.body(Body::from("{}")).unwrap()).await.unwrap();
            let answered = response.status() != StatusCode::METHOD_NOT_ALLOWED;
            assert_eq!(answered, described.get(method).is_some(), "{method} {path}: {}", response.status());
            assert_ne!(response.status(), StatusCode::NOT_FOUND, "{method} {path}");
        }
    }
}
