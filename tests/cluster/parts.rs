//! What the tests of this binary share: small apps, and a visitor.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tests::cluster::{Cluster, password, service_url};
use tests::eventually::eventually;
use tests::kube::Scene;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// As the examples name it; in another cluster it is pulled from elsewhere.
pub(crate) const IMAGE: &str = concat!("localhost/hyperpage-demo:", env!("CARGO_PKG_VERSION"));

pub(crate) fn image() -> String {
    std::env::var_os("DEMO_IMAGE")
        .and_then(|image| image.into_string().ok())
        .unwrap_or_else(|| IMAGE.to_owned())
}

/// For a rollout on a machine with other things to do.
pub(crate) const ROLLED: Duration = Duration::from_secs(150);
const ATTEMPT: Duration = Duration::from_secs(1);

/// Small enough for ten pods on a laptop.
pub(crate) fn small() -> Value {
    json!({"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"memory": "192Mi"}})
}

/// The demo app.
pub(crate) fn demo_app() -> Value {
    hyperpage(json!({"image": image(), "resources": small(), "drainSeconds": 3}))
}

/// Another script in the demo's image.
pub(crate) fn script(source: &str) -> Value {
    hyperpage(
        json!({"image": image(), "command": ["node", "-e", source], "resources": small(), "drainSeconds": 3}),
    )
}

/// Redis has a share of the processors that a busy machine cannot take away.
fn hyperpage(app: Value) -> Value {
    let redis = json!({"requests": {"cpu": "100m"}, "limits": {"memory": "128Mi"}});
    json!({"app": app, "redis": {"resources": redis}})
}

pub(crate) fn with(mut spec: Value, key: &str, value: Value) -> Value {
    spec[key] = value;
    spec
}

/// The demo's answer to `GET /visit`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Visit {
    pub(crate) pod: String,
    pub(crate) session_id: String,
    pub(crate) visits: u64,
}

/// One person with one cookie, on a new connection each time.
pub(crate) struct Visitor {
    http: reqwest::Client,
    url: String,
    pub(crate) session: Option<String>,
}

impl Visitor {
    /// Once the Service leads somewhere: kube-proxy hears of ready pods a moment after everybody else.
    pub(crate) async fn of(scene: &Scene, name: &str) -> anyhow::Result<Self> {
        let (url, limit) = (service_url(scene, name).await?, Duration::from_secs(10));
        let address = url.trim_start_matches("http://").to_owned();
        // What was sent to a pod that is gone is sent to it again, for a minute: another attempt has another pod.
        let connect = async || anyhow::Ok(timeout(ATTEMPT, TcpStream::connect(&address)).await??);
        eventually(&format!("{url} is connected"), ROLLED, connect).await;
        let http = reqwest::Client::builder().timeout(limit).no_proxy().pool_max_idle_per_host(0).build()?;
        Ok(Self { http, url, session: None })
    }

    pub(crate) fn cookie(&self) -> String {
        format!("hyperpage-session={}", self.session.as_deref().unwrap_or_default())
    }

    pub(crate) async fn visit(&mut self) -> anyhow::Result<Visit> {
        let mut request = self.http.get(format!("{}/visit", self.url));
        if self.session.is_some() {
            request = request.header("cookie", self.cookie());
        }
        let answer = request.send().await?;
        let (status, body) = (answer.status(), answer.text().await?);
        anyhow::ensure!(status.is_success(), "{status}: {body}");
        let visit: Visit = serde_json::from_str(&body)?;
        self.session = Some(visit.session_id.clone());
        Ok(visit)
    }
}

/// A Hyperpage that is Ready.
pub(crate) async fn ready(scene: &Scene, name: &str, spec: Value) {
    scene.apply(name, spec).await.expect("the Hyperpage is accepted");
    scene.wait(name, "Ready", "True", ROLLED).await;
}

/// Waits until that condition is False for that reason, and gives its message.
pub(crate) async fn message(scene: &Scene, name: &str, condition: &str, reason: &str) -> String {
    eventually(&format!("{condition} of {name} is False because of {reason}"), ROLLED, async || {
        let seen = scene.condition(name, condition).await?;
        anyhow::ensure!(seen.status == "False" && seen.reason == reason, "{seen:?}");
        anyhow::Ok(seen.message)
    })
    .await
}

/// The password is what it was, after all that a test did.
pub(crate) struct Kept(std::collections::BTreeMap<String, String>, String);

impl Kept {
    pub(crate) async fn of(scene: &Scene, name: &str) -> Self {
        let (uid, data) = password(scene, name).await.expect("the password Secret");
        Self(data, uid)
    }

    pub(crate) async fn check(&self, scene: &Scene, name: &str) {
        let (uid, data) = password(scene, name).await.expect("the password Secret");
        assert!(uid == self.1 && data == self.0, "the password Secret of {name} is another one");
    }
}

/// Waits until a new Deployment revision runs everywhere and nothing else does.
pub(crate) async fn rolled(cluster: &Cluster, scene: &Scene, name: &str) {
    let target = format!("deployment/{name}");
    let wait = ["rollout", "status", &target, "-n", &scene.namespace, "--timeout=150s"];
    cluster.kubectl(wait).expect("the rollout ends");
    eventually("no old pod is left", ROLLED, async || {
        let selector = format!("app.kubernetes.io/instance={name},app.kubernetes.io/component=app");
        let all = cluster.kubectl(["get", "pods", "-n", &scene.namespace, "-l", &selector, "-o", "name"])?;
        let wanted = scene.pods(name, "app").await?.len();
        anyhow::ensure!(all.lines().count() == wanted, "{all}");
        anyhow::Ok(())
    })
    .await;
}
