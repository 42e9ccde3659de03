//! examples/compose.yaml, its services as plain processes: what Docker would start, without Docker.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tests::binaries::{ours, output, workspace};
use tests::eventually::eventually;
use tests::http::Http;
use tests::leash::Leash;
use tests::redis::RedisServer;
use tests::scratch::Scratch;

use crate::demo::node;

const START: Duration = Duration::from_secs(20);

fn strings(list: &Value) -> Vec<String> {
    serde_json::from_value(list.clone()).expect("a list of words")
}

fn environment(service: &Value, exchange: &dyn Fn(&str) -> String) -> Vec<(String, String)> {
    let all = service["environment"].as_object().expect("an environment");
    all.iter().map(|(name, value)| (name.clone(), exchange(value.as_str().expect("a string")))).collect()
}

fn start(
    dir: &Scratch,
    name: &str,
    program: &std::path::Path,
    args: &[String],
    env: &[(String, String)],
) -> Leash {
    let env: Vec<_> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    Leash::start(dir.path(), name, program, args, &env).expect("a program that is there")
}

#[tokio::test]
async fn the_services_of_compose_find_each_other_and_pass_their_health_check() {
    let text = std::fs::read_to_string(workspace().join("examples/compose.yaml")).unwrap();
    let compose: Value = serde_yaml::from_str(&text).unwrap();
    let [redis, sidecar, app] = ["redis", "sidecar", "app"].map(|name| compose["services"][name].clone());
    assert_eq!(app["network_mode"], "service:sidecar", "localhost is shared");
    let contract = std::fs::read_to_string(workspace().join("crds/src/contract.rs")).unwrap();

    let command = strings(&redis["command"]);
    let options: Vec<_> = command.iter().skip(1).map(String::as_str).collect();
    let server = RedisServer::with(&options).await;
    let free: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let ports: Vec<_> = free.iter().map(|it| it.local_addr().unwrap().port().to_string()).collect();
    drop(free);
    let exchange = |text: &str| {
        let text = text.replace("redis://redis:6379", &server.url()).replace("0.0.0.0", "127.0.0.1");
        ["3000", "4100", "4101"].iter().zip(&ports).fold(text, |text, (from, to)| text.replace(from, to))
    };

    let dir = Scratch::new("compose");
    let settings = environment(&sidecar, &exchange);
    for (name, _) in &settings {
        assert!(contract.contains(&format!("\"{name}\"")), "the contract knows no {name}");
    }
    let _sidecar = start(&dir, "sidecar", &ours("hyperpage-sidecar"), &[], &settings);
    let main = workspace().join("examples/demo/server.js").to_string_lossy().into_owned();
    let _app = start(&dir, "app", &node(), &[main], &environment(&app, &exchange));

    let test = strings(&app["healthcheck"]["test"]);
    assert_eq!(test[0], "CMD");
    let check = |script: String| output(Command::new(node()).arg("-e").arg(script));
    eventually("the health check passes", START, async || check(exchange(&test[3]))).await;
    let visit = Http::new(format!("127.0.0.1:{}", ports[0]).parse().unwrap()).get("/visit").await;
    assert_eq!(visit.expect(200).json()["visits"], 1);
    // A check that looks elsewhere is not healthy.
    assert!(check(exchange(&test[3]).replace("/readyz", "/nowhere")).is_err());
    assert!(server.command::<u64>(&["DBSIZE"]).await.unwrap() > 0, "the session is in that Redis");
}
