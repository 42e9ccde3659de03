//! Somebody else's Secrets, many and large.

use anyhow::Result;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, PostParams};
use tests::kube::Scene;
use tests::process::{self, Memory};

use crate::run::Bench;
use crate::{Settings, Shape};

pub(crate) struct Secrets {
    pub(crate) shape: Shape,
    pub(crate) before: Memory,
    /// While it ran.
    pub(crate) after: Memory,
    pub(crate) restarted: Memory,
}

/// None where none are asked for.
pub(crate) async fn run(settings: &Settings) -> Result<Vec<Secrets>> {
    let mut found = Vec::new();
    for shape in settings.shapes() {
        if settings.secrets > 0 {
            found.push(one(settings, shape).await?);
        }
    }
    Ok(found)
}

async fn one(settings: &Settings, shape: Shape) -> Result<Secrets> {
    let bench = Bench::start(settings, shape, format!("{} Secrets, {shape}", settings.secrets)).await?;
    let operator = bench.operator("operator-a").await?;
    tokio::time::sleep(settings.rest()).await;
    let before = process::memory(operator.process.pid())?;
    create(&bench, settings).await?;
    tokio::time::sleep(settings.rest()).await;
    let after = process::memory(operator.process.pid())?;
    bench.say("there");
    bench.stop(&operator).await?;
    let operator = bench.operator("operator-b").await?;
    tokio::time::sleep(settings.rest()).await;
    let restarted = process::memory(operator.process.pid())?;
    bench.say("restarted");
    drop(operator);
    bench.end()?;
    Ok(Secrets { shape, before, after, restarted })
}

async fn create(bench: &Bench<'_>, settings: &Settings) -> Result<()> {
    let scene = Scene::open(bench.client.clone(), "others").await?;
    let content = ByteString((0..settings.secret_kb * 1024).map(|at| b'a' + (at % 26) as u8).collect());
    let api: Api<Secret> = scene.api();
    let made = stream::iter(0..settings.secrets).map(Ok::<_, anyhow::Error>);
    let made = made.try_for_each_concurrent(8, |number| {
        let (api, content) = (api.clone(), content.clone());
        async move {
            let mut secret =
                Secret { data: Some([("content".to_owned(), content)].into()), ..Secret::default() };
            secret.metadata.name = Some(format!("theirs-{number}"));
            api.create(&PostParams::default(), &secret).await?;
            if (number + 1) % 2000 == 0 {
                bench.say(&format!("{} made", number + 1));
            }
            Ok(())
        }
    });
    made.await
}
