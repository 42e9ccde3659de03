//! Signs of life of a watch. The runtime keeps bookmarks and pages of lists to itself, and a watch that is merely
//! quiet looks like one that is deaf: what tells them apart is heard here, where the bytes come in.

use std::{sync::Arc, time::Instant};

use axum::{body::Body, http::Request};
use futures::TryStreamExt;
use kube::Client;

use crate::{metrics::Metrics, scope::Watch};

/// As `client`, noting whenever anything comes in that the API server did not mean as a refusal. A watch that never
/// hears anything is as old as this call.
pub fn heard(client: &Client, watch: &Watch, metrics: &Arc<Metrics>) -> Client {
    metrics.heard(watch, Instant::now());
    let namespace = client.default_namespace().to_owned();
    let (client, watch, metrics) = (client.clone(), watch.clone(), metrics.clone());
    let service = tower::service_fn(move |request: Request<kube::client::Body>| {
        let (client, watch, metrics) = (client.clone(), watch.clone(), metrics.clone());
        async move {
            let answer = client.send(request).await?;
            let accepted = answer.status().is_success();
            let note = move || {
                if accepted {
                    metrics.heard(&watch, Instant::now());
                }
            };
            let answer = answer.map(|body| {
                Body::from_stream(Body::new(body).into_data_stream().inspect_ok(move |_| note()))
            });
            Ok::<_, kube::Error>(answer)
        }
    });
    Client::new(service, namespace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope::Scope;
    use k8s_openapi::api::core::v1::Service;
    use kube::{Api, api::ListParams};
    use std::{convert::Infallible, time::Duration};

    #[tokio::test]
    async fn a_watch_that_is_only_refused_grows_old_from_its_start() {
        let refuse = tower::service_fn(|_: Request<kube::client::Body>| async {
            let answer = axum::http::Response::builder().status(403).body(Body::from("{}"));
            Ok::<_, Infallible>(answer.expect("a response"))
        });
        let (client, metrics) = (Client::new(refuse, "default"), Arc::new(Metrics::default()));
        let watch = Watch { kind: "Service", scope: Scope::All };
        let client = heard(&client, &watch, &metrics);
        let start = Instant::now();
        let services: Api<Service> = Api::all(client);
        services.list(&ListParams::default()).await.unwrap_err();
        let text = metrics.encode(start + Duration::from_secs(90)).unwrap();
        let name = "hyperpage_operator_watch_age_seconds{kind=\"Service\",namespace=\"\"} ";
        let age = text.lines().find_map(|line| line.strip_prefix(name)).expect(&text);
        assert!(age.parse::<f64>().unwrap() >= 90.0, "{age}");
    }
}
