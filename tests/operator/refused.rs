//! An API server with too much to do (API Priority and Fairness) answers 429 to what it is asked.

use std::time::Duration;

use tests::door::Door;
use tests::installation::{NAMESPACE, OPERATOR, Operator};
use tests::lived::Lived;
use tests::nodes::Nodes;

use crate::world::{SOON, bare, machine, scene, shop};

const REFUSED: Duration = Duration::from_secs(20);
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
/// Of each Hyperpage: soon at first, then ever more seldom.
const ASKED: usize = 20;

#[tokio::test]
async fn a_server_that_refuses_for_a_while_is_not_hammered_and_obeyed_when_it_is_back() {
    let _machine = machine().await;
    let Some(server) = bare("refused").await else { return };
    let scene = scene(&server, "t-refused").await;
    let _nodes = Nodes::healthy(&scene);
    let door = Door::open(server.client(OPERATOR).await.unwrap()).await.unwrap();
    let kubeconfig = door.kubeconfig(server.dir()).unwrap();
    let namespace = ["--namespace", NAMESPACE];
    let operator = Operator::start_by(&kubeconfig, server.dir(), "operator-a", &namespace).unwrap();
    operator.leads(&server, SOON).await;
    scene.apply("before", shop()).await.unwrap();
    scene.wait("before", "Ready", "True", SOON).await;

    door.refuse(true);
    for name in NAMES {
        scene.apply(name, shop()).await.unwrap();
    }
    server.audit().during(REFUSED, OPERATOR).await.unwrap();
    let refused = door.refused();
    assert!(refused >= NAMES.len(), "{refused}");
    assert!(refused <= NAMES.len() * ASKED, "{refused} requests in {REFUSED:?}");
    operator.process.alive().unwrap();

    door.refuse(false);
    let back = Lived::now();
    for name in NAMES {
        scene.wait(name, "Ready", "True", SOON).await;
    }
    println!(
        "{refused} requests refused in {REFUSED:?}, {} Hyperpages ready {:?} after",
        NAMES.len(),
        back.elapsed()
    );
}
