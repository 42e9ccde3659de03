//! Every command that README.md shows is run by something, and those that need no cluster are run here.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tests::binaries::{output, workspace};
use tests::eventually::eventually;
use tests::leash::Leash;
use tests::readme::{Block, blocks, parse, run, section};
use tests::scratch::Scratch;

use crate::tree::{Tree, assert_caught, assert_clean};
use crate::{names, scripts};

/// Includes building the sidecar.
const START: Duration = Duration::from_secs(540);
const STOP: Duration = Duration::from_secs(30);

enum By {
    /// A test of this name, here or elsewhere.
    Test(&'static str),
    /// This file runs it, by this line.
    Script(&'static str, &'static str),
    /// Nobody, and why.
    Nobody(&'static str),
}

const CLUSTER: By = By::Test("readme_commands_work_on_the_cluster");
const DEV: By = By::Test("readme_dev_sidecar_serves_what_the_app_asks");
const DEMO: By = By::Test("readme_demo_comes_up_counts_and_leaves_nothing");

/// Who runs what, by how the command begins.
const RUN: [(&str, By); 27] = [
    ("make up", By::Script("tests/test.sh", "tests/cluster/up.sh")),
    ("make down", By::Script("tests/test.sh", "tests/cluster/down.sh")),
    ("make test", By::Script(".ci/run", "make test")),
    ("LEVEL=sidecar make test", By::Script("tests/test.sh", "LEVEL:-")),
    ("make check", By::Nobody("its parts are steps of make test, but for clippy and the format")),
    ("make bench", By::Nobody("it takes a quiet machine, and judges nothing")),
    ("UPDATE_EXPECT=1 cargo test", By::Nobody("it rewrites what another test checks")),
    ("eval \"$(make -s kubeconfig)\"", CLUSTER),
    ("cargo run", DEV),
    ("session=$(curl", DEV),
    ("curl -fsS -X PATCH", DEV),
    ("curl -fsS \"http://127.0.0.1:4100$session\"", DEV),
    ("curl -fsSN http://127.0.0.1:4100/v1/events", DEV),
    ("curl -fsS http://127.0.0.1:4100/v1/leader", DEV),
    ("curl -fsS -X POST http://127.0.0.1:4100/v1/messages", DEV),
    ("curl -fsS -X POST 'http://127.0.0.1:4100/v1/cache/invalidate", DEV),
    ("make demo", DEMO),
    ("curl -fsS -c /tmp/hyperpage-jar", DEMO),
    ("export PATH=", CLUSTER),
    ("kubectl --namespace demo get", CLUSTER),
    ("make images", By::Test("make_images_names_pushes_or_says_what_is_missing")),
    ("helm upgrade --install", CLUSTER),
    ("kubectl --namespace demo annotate", CLUSTER),
    (
        "helm uninstall",
        By::Test("the_chart_is_upgraded_with_a_new_definition_removed_and_installed_again_under_load"),
    ),
    ("kubectl create namespace", CLUSTER),
    ("kubectl --namespace demo apply", CLUSTER),
    ("kubectl --namespace demo wait", CLUSTER),
];

fn unlisted(tree: &Tree, blocks: &[Block], run: &[(&str, By)]) -> Vec<String> {
    let commands: Vec<_> = blocks.iter().flat_map(|block| &block.commands).collect();
    let mut problems = Vec::new();
    for command in &commands {
        if !run.iter().any(|(begin, _)| command.starts_with(begin)) {
            problems.push(format!("README.md: nothing runs `{command}`"));
        }
        let target = command
            .split_once("make ")
            .and_then(|(_, rest)| rest.split([' ', ')']).find(|w| !w.starts_with('-')));
        if let Some(target) = target.filter(|target| !scripts::targets(tree).any(|name| name == *target)) {
            problems.push(format!("README.md: the Makefile has no {target}"));
        }
    }
    let tests = names::tests(tree);
    for (begin, by) in run {
        if !commands.iter().any(|command| command.starts_with(begin)) {
            problems.push(format!("README.md no longer shows `{begin}`"));
        }
        match by {
            By::Test(name) if !tests.contains(name) => {
                problems.push(format!("`{begin}`: there is no test {name}"))
            }
            By::Script(file, line) if !tree.files.get(*file).is_some_and(|text| text.contains(line)) => {
                problems.push(format!("`{begin}`: {file} does not run {line}"));
            }
            By::Test(_) | By::Script(..) => {}
            By::Nobody(why) => assert!(!why.is_empty(), "{begin}"),
        }
    }
    problems
}

/// What cargo tells a test of itself; another cargo below it would take its builds for those of another package.
const FRESH: &str = "unset \"${!CARGO_PKG_@}\" CARGO_MANIFEST_DIR CARGO_MANIFEST_PATH";

/// Starts a block of one command that goes on until it is told to stop. What it prints is the leash's log.
fn start(dir: &Scratch, block: &Block, env: &[(&str, &str)]) -> Leash {
    assert_eq!(block.commands.len(), 1, "{:?}", block.commands);
    let script = format!("{FRESH}; cd '{}' && exec {}", workspace().display(), block.commands[0]);
    Leash::start(dir.path(), "readme", Path::new("/bin/bash"), ["-c", &script], env).expect("bash starts")
}

/// What stands in its log between `before` and the next of `ends`.
async fn printed(process: &Leash, before: &str, ends: &[char]) -> String {
    eventually(&format!("{before:?} is printed"), START, async || {
        process.alive().expect("it goes on");
        let log = process.log();
        let found = log
            .split_once(before)
            .and_then(|(_, rest)| rest.split_once(ends))
            .map(|(value, _)| value.to_owned());
        found.ok_or(log)
    })
    .await
}

fn lives(pid: &str) -> bool {
    Path::new("/proc").join(pid).exists()
}

#[test]
fn readme_commands_are_run_by_something() {
    assert_clean(unlisted(&Tree::read(), &blocks(), &RUN));
}

#[test]
fn rules_about_the_readme_bite() {
    let text = "# A\n## B\n```sh\nmake a \\\n  b  # why\n# note\n```\n```\nno\n```\n";
    let parsed = parse(text);
    assert_eq!((parsed.len(), parsed[0].section.as_str()), (1, "B"));
    assert_eq!(parsed[0].commands, ["make a b"]);

    let files = [("Makefile", "a: ## x\n"), ("x.sh", "make a"), ("t.rs", "#[test]\nfn it_runs() {}\n")];
    let caught = |by: By, begin: &'static str| unlisted(&Tree::of(&files), &parsed, &[(begin, by)]);
    assert_caught(&caught(By::Test("it_runs"), "make a"), &[]);
    assert_caught(&caught(By::Test("it_ran"), "make a"), &["no test it_ran"]);
    assert_caught(&caught(By::Script("x.sh", "make a"), "make a"), &[]);
    assert_caught(&caught(By::Script("x.sh", "make b"), "make a"), &["does not run make b"]);
    assert_caught(&caught(By::Test("it_runs"), "make b"), &["nothing runs", "no longer shows"]);
    let gone = Tree::of(&files[1..]);
    assert_caught(&unlisted(&gone, &parsed, &[("make a", By::Test("it_runs"))]), &["the Makefile has no a"]);
}

#[tokio::test]
async fn readme_dev_sidecar_serves_what_the_app_asks() {
    let (dir, temporary) = (Scratch::new("readme"), Scratch::new("dev"));
    let place = temporary.path().to_string_lossy();
    let ports = [("HYPERPAGE_LISTEN", "127.0.0.1:0"), ("HYPERPAGE_ADMIN_LISTEN", "127.0.0.1:0")];
    let env = [ports[0], ports[1], ("TMPDIR", &place), ("NO_COLOR", "1")];
    let sidecar = start(&dir, &section("On your laptop, without Kubernetes")[0], &env);
    let port = printed(&sidecar, " listen=127.0.0.1:", &[' ', '\n']).await;
    let children = eventually("a redis-server and who watches it", START, async || {
        let found = descendants(sidecar.pid());
        if found.len() == 2 { Ok(found) } else { Err(format!("{found:?}")) }
    })
    .await;

    for block in section("The app's view") {
        let answers = run(&[&block], &[("4100", &port)]).expect("the README's commands work");
        assert!(answers.contains(r#""cart":["tea"]"#), "{answers}");
    }
    let script = dir.write("app.mjs", &typescript().replace("4100", &port));
    let cart = output(Command::new("node").arg(script)).expect("the README's TypeScript works");
    assert!(["tea", "milk", "sugar"].iter().all(|thing| cart.contains(thing)), "{cart}");
    pods_tell_each_other(&port).await;

    sidecar.signal("TERM").expect("it runs");
    assert_eq!(sidecar.exited(STOP).await.expect("it ends"), 0, "{}", sidecar.tail(20));
    assert!(!children.iter().any(|pid| lives(pid)), "its Redis is gone with it");
    assert_empty(&temporary);
}

/// In two terminals.
async fn pods_tell_each_other(port: &str) {
    let dir = Scratch::new("readme");
    let blocks = section("What pods tell each other");
    assert_eq!(blocks.len(), 2, "{blocks:?}");
    let (hears, tells) = (&blocks[0], &blocks[1]);
    let here = Block {
        commands: hears.commands.iter().map(|it| it.replace("4100", port)).collect(),
        ..hears.clone()
    };
    let events = start(&dir, &here, &[]);
    printed(&events, "event: hello", &['\n']).await;
    let answers = run(&[tells], &[("4100", port)]).expect("the README's commands work");
    for words in [r#""term":"#, r#""id":"#, r#""applied":"#] {
        assert!(answers.contains(words), "{words}: {answers}");
    }
    printed(&events, r#""hello":"all""#, &['\n']).await;
    printed(&events, "product-7", &['\n']).await;
}

/// The README's one block of it, which says nothing that JavaScript does not know.
fn typescript() -> String {
    let text = std::fs::read_to_string(workspace().join("README.md")).expect("README.md is there");
    let block = text.split_once("```ts\n").and_then(|(_, rest)| rest.split_once("```"));
    block.expect("README.md shows the app's view in TypeScript").0.to_owned()
}

fn descendants(pid: u32) -> Vec<String> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().map(str::to_owned);
    children
        .flat_map(|child| [vec![child.clone()], descendants(child.parse().expect("a pid"))].concat())
        .collect()
}

fn assert_empty(dir: &Scratch) {
    let left: Vec<_> = std::fs::read_dir(dir.path()).expect("ours").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn readme_demo_comes_up_counts_and_leaves_nothing() {
    let (dir, temporary) = (Scratch::new("readme"), Scratch::new("demo"));
    let [_, demo, visits] = &section("On your laptop, without Kubernetes")[..] else {
        panic!("three blocks")
    };
    let place = temporary.path().to_string_lossy();
    let process = start(&dir, demo, &[("DEMO_PORT", "0"), ("TMPDIR", &place)]);
    let port = printed(&process, "The demo:  http://127.0.0.1:", &['\n']).await;
    printed(&process, "Ctrl-C stops", &['\n']).await;

    let answers = run(&[visits], &[("8080", &port), ("/tmp", &dir.path().to_string_lossy())])
        .expect("the README's commands work");
    let answers: Vec<serde_json::Value> =
        answers.lines().map(|line| serde_json::from_str(line).expect("a visit is JSON")).collect();
    assert_eq!((&answers[0]["visits"], &answers[1]["visits"]), (&1.into(), &2.into()), "{answers:?}");
    assert_ne!(answers[0]["pod"], answers[1]["pod"], "another app answers");

    let log = process.log();
    let pids: Vec<_> =
        log.split("process ").skip(1).filter_map(|rest| rest.split(['\n', ',']).next()).collect();
    assert_eq!(pids.len(), 7, "three apps, three sidecars, one Redis: {log}");
    assert!(pids.iter().all(|pid| lives(pid)), "{log}");
    process.signal("TERM").expect("it runs");
    process.exited(STOP).await.expect("it ends");
    assert!(!pids.iter().any(|pid| lives(pid)), "a process is left: {log}");
    assert_empty(&temporary);
}
