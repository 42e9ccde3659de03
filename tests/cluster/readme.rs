//! What README.md tells a person to type once `make up` has ended.

use tests::cluster::{Cluster, done};
use tests::kube::Scene;
use tests::readme::{Block, run, section};

const NAMESPACE: &str = "t-readme";

/// What makes kubectl and helm talk to the cluster of `make up`.
pub(crate) fn look() -> Block {
    let start = section("Start");
    let look = start.into_iter().find(|block| block.commands.iter().any(|it| it.contains("kubectl")));
    look.expect("README.md shows how to look around")
}

#[tokio::test(flavor = "multi_thread")]
async fn readme_commands_work_on_the_cluster() {
    let Some(cluster) = Cluster::shared().await else { return };
    // The commands make the namespace themselves; one that an earlier run left is removed first.
    done(cluster.scene(NAMESPACE).await).await;

    let look = look();
    let install = section("On your own cluster");
    let install = install.iter().filter(|block| block.commands.iter().any(|it| it.starts_with("helm")));
    let seen = run(&[&look], &[]).expect("the README's commands work");
    assert!(seen.contains("hyperpage.hyperpage.dev/shop") && seen.contains("pod/shop-"), "{seen}");

    // The release that is there keeps its images, and the Hyperpage gets a namespace of its own.
    let exchange =
        [("--create-namespace --wait", "--reuse-values --wait"), ("namespace demo", "namespace t-readme")];
    let blocks: Vec<_> = std::iter::once(&look).chain(install).collect();
    let said = run(&blocks, &exchange).expect("the README's commands work");
    assert!(said.contains("hyperpage.hyperpage.dev/shop condition met"), "{said}");
    let said = run(&[&look, &section("Upgrade")[0]], &[("namespace demo", "namespace t-readme")]);
    assert!(said.expect("the README's commands work").contains("shop annotated"));
    done(Scene { client: cluster.client.clone(), namespace: NAMESPACE.to_owned() }).await;
}
