//! One of several operators works; who it is survives the death of any.

use std::time::Instant;

use tests::installation::{Operator, holder};

use crate::world::{SOON, bare, machine, scene, shop, until_replicas};

#[tokio::test]
async fn another_operator_takes_over_from_a_dead_and_from_a_stopped_one() {
    let _machine = machine().await;
    let Some(server) = bare("leader").await else { return };
    let start = |name| Operator::start(&server, name).unwrap();
    let a = start("operator-a");
    a.leads(&server, SOON).await;
    let b = start("operator-b");
    let scene = scene(&server, "t-leader").await;
    scene.apply("one", shop()).await.unwrap();
    until_replicas(&scene, "one", 3).await;
    assert_eq!(holder(&server).await.unwrap(), "operator-a");

    a.process.signal("KILL").unwrap();
    let killed = Instant::now();
    b.leads(&server, SOON).await;
    println!("leader killed: the other leads after {:.1} s", killed.elapsed().as_secs_f32());
    scene.apply("two", shop()).await.unwrap();
    until_replicas(&scene, "two", 3).await;

    let c = start("operator-c");
    b.process.signal("TERM").unwrap();
    let stopped = Instant::now();
    assert_eq!(b.process.exited(SOON).await.unwrap(), 0, "{}", b.process.tail(20));
    assert_ne!(holder(&server).await.unwrap(), "operator-b", "it keeps the Lease that it has no use for");
    c.leads(&server, SOON).await;
    println!("leader stopped: the other leads after {:.1} s", stopped.elapsed().as_secs_f32());
    scene.apply("three", shop()).await.unwrap();
    until_replicas(&scene, "three", 3).await;
}
