//! Signs of life of a watch. The runtime keeps bookmarks and pages of lists to itself, and a watch that is merely
//! quiet looks like one that is deaf: what tells them apart is heard here, where the bytes come in.

use std::{sync::Arc, time::Instant};

use axum::{body::Body, http::Request};
use futures::TryStreamExt;
use kube::Client;

use crate::{metrics::Metrics, scope::Watch};

/// As `client`, noting whenever anything comes in that the API server did not mean as a refusal.
pub fn heard(client: &Client, watch: &Watch, metrics: &Arc<Metrics>) -> Client {
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
