//! Ten Hyperpages at rest: nobody asks for anything, whatever was started again.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use tests::apiserver::ApiServer;
use tests::audit::{Entry, Mark, unquiet, unquiet_at_start};
use tests::eventually::eventually;
use tests::installation::{OPERATOR, Operator, holder};
use tests::nodes::Nodes;

use crate::requests::{autoscaled, settled, verbs};
use crate::world::{SOON, bare, machine, scene, shop, until_replicas, with};

const REST: Duration = Duration::from_secs(60);
const HYPERPAGES: usize = 10;

/// Two replicas; one leads.
async fn pair(server: &ApiServer, names: [&str; 2]) -> [Operator; 2] {
    let pair = names.map(|name| Operator::start(server, name).unwrap());
    eventually("one of them leads", SOON, async || {
        let holder = holder(server).await?;
        anyhow::ensure!(names.contains(&holder.as_str()), "{holder:?}");
        anyhow::Ok(())
    })
    .await;
    pair
}

/// Nobody else is kept waiting meanwhile: what rests does not use the machine.
async fn rest(server: &ApiServer, since: Mark) -> Vec<Entry> {
    server.audit().during(REST, OPERATOR).await.unwrap();
    server.audit().since(since, OPERATOR).unwrap()
}

#[tokio::test]
async fn ten_hyperpages_at_rest_after_restarts_and_closed_watches_cause_no_request() {
    let work = machine().await;
    let Some(mut server) = bare("rest").await else { return };
    let scene = scene(&server, "t-rest").await;
    let _nodes = Nodes::healthy(&scene);
    let [a, b] = pair(&server, ["operator-a", "operator-b"]).await;
    for number in 0..HYPERPAGES {
        let spec = if number == 0 { autoscaled() } else { with(shop(), json!({"replicas": 1})) };
        scene.apply(&format!("shop-{number}"), spec).await.unwrap();
    }
    for number in 1..HYPERPAGES {
        scene.wait(&format!("shop-{number}"), "Ready", "True", SOON).await;
    }
    until_replicas(&scene, "shop-0", 2).await;
    settled(&server).await;
    drop(work);

    let mark = server.audit().mark().unwrap();
    let entries = rest(&server, mark).await;
    assert_eq!(unquiet(&entries), Vec::<String>::new(), "at rest");

    let work = machine().await;
    for operator in [a, b] {
        operator.process.signal("TERM").unwrap();
        assert_eq!(operator.process.exited(SOON).await.unwrap(), 0);
    }
    let mark = server.audit().mark().unwrap();
    let _pair = pair(&server, ["operator-c", "operator-d"]).await;
    drop(work);
    let entries = rest(&server, mark).await;
    println!("{HYPERPAGES} Hyperpages after a restart of both replicas: {}", verbs(&entries));
    assert_eq!(unquiet_at_start(&entries), Vec::<String>::new(), "after a restart of both replicas");

    let before = holder(&server).await.unwrap();
    let entries = after_closed_watches(&mut server).await;
    // A server that takes longer to start than a Lease may go without renewal costs the leader its own.
    let leaders = 1 + usize::from(holder(&server).await.unwrap() != before);
    println!(
        "{HYPERPAGES} Hyperpages after an API server restart, under {leaders} leader(s): {}",
        verbs(&entries)
    );
    let (lists, others): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.verb == "list");
    let mut kinds: BTreeMap<_, usize> = BTreeMap::new();
    lists
        .iter()
        .filter(|list| !list.is_next_page())
        .for_each(|list| *kinds.entry(&list.object_ref.resource).or_default() += 1);
    let once = kinds.values().all(|lists| *lists <= 1 + leaders);
    assert!(once, "each kind is read again once by each of {leaders}: {kinds:?}");
    assert_eq!(unquiet(&others), Vec::<String>::new(), "after every watch was closed");
    // It was not quiet because it was dead.
    scene.apply("late", shop()).await.unwrap();
    until_replicas(&scene, "late", 3).await;
}

/// The API server restarts, which closes every watch; a minute of what is asked then.
async fn after_closed_watches(server: &mut ApiServer) -> Vec<Entry> {
    let work = machine().await;
    let mark = server.audit().mark().unwrap();
    server.restart().await.unwrap();
    let server = &*server;
    let again = async || {
        let entries = server.audit().since(mark, OPERATOR)?;
        let watched =
            entries.iter().any(|entry| entry.verb == "watch" && entry.object_ref.resource == "pods");
        anyhow::ensure!(watched, "{}", verbs(&entries));
        anyhow::Ok(())
    };
    eventually("it watches again", SOON, again).await;
    drop(work);
    rest(server, mark).await
}
