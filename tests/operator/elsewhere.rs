//! `make up` beside this machine's own cluster: what it says before it touches somebody's.

use std::process::Command;

use tests::binaries::{kubernetes, output, present, workspace};
use tests::scratch::Scratch;

const KUBECONFIG: &str = "{apiVersion: v1, kind: Config, current-context: prod-eu, \
    contexts: [{name: prod-eu, context: {cluster: far, user: me}}], \
    clusters: [{name: far, cluster: {server: 'https://127.0.0.1:1'}}], users: [{name: me, user: {}}]}";

fn up(env: &[(&str, &str)]) -> String {
    let dir = Scratch::new("elsewhere");
    let kubeconfig = dir.write("kubeconfig", KUBECONFIG);
    let mut make = Command::new("make");
    make.args(["-s", "up"]).current_dir(workspace()).env("KUBECONFIG", kubeconfig);
    for name in ["YES", "REGISTRY"] {
        make.env_remove(name);
    }
    output(make.envs(env.iter().copied())).expect_err("it ends before anything is done").to_string()
}

#[test]
fn the_current_context_is_named_and_nothing_is_done_there_without_yes() {
    if !present(&[kubernetes("kubectl")]) {
        return;
    }
    let current = ("CLUSTER", "current");
    let said = up(&[current]);
    assert!(said.contains("context prod-eu, API server https://127.0.0.1:1"), "{said}");
    assert!(said.contains("Nothing was done") && said.contains("YES=1"), "{said}");
    let said = up(&[current, ("YES", "1")]);
    assert!(said.contains("prod-eu") && said.contains("needs REGISTRY"), "{said}");
    assert!(!workspace().join("target/cluster/current/state").exists());
    let said = up(&[("CLUSTER", "cloud")]);
    assert!(said.contains("CLUSTER=cloud is not known; there are host"), "{said}");
}
