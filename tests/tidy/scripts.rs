//! Scripts stop at the first error, can be run, and are what the Makefile says.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use tests::binaries::{output, workspace};

use crate::tree::{Tree, assert_caught, assert_clean};

/// A file that is sourced by others has no first line of its own and is not run.
fn careless_scripts(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, text) in tree.ending(&["sh"]).filter(|(path, _)| is_run(path)) {
        if !text.starts_with("#!/usr/bin/env bash\n") {
            problems.push(format!("{path}: its first line is not #!/usr/bin/env bash"));
        }
        if !text.lines().any(|line| line.starts_with("set -euo pipefail")) {
            problems.push(format!("{path}: no `set -euo pipefail`"));
        }
    }
    problems
}

fn is_run(path: &str) -> bool {
    !path.contains("/lib/")
}

/// `make help` is complete, and a target is one line of real command.
fn vague_targets(tree: &Tree) -> Vec<String> {
    let text = tree.files.get("Makefile").map_or("", String::as_str);
    let mut problems = Vec::new();
    let mut target = ("", 0);
    for line in text.lines() {
        if let Some((name, rest)) = line.split_once(':').filter(|(name, _)| is_target(name)) {
            target = (name, 0);
            if !rest.contains("## ") {
                problems.push(format!("Makefile: {name} has no `##` description"));
            }
        } else if line.starts_with('\t') {
            target.1 += 1;
            if target.1 > 1 {
                problems.push(format!("Makefile: {} is more than one line", target.0));
            }
            let script = line.trim().trim_start_matches('@');
            if script.ends_with(".sh") && !tree.files.contains_key(script) {
                problems.push(format!("Makefile: {} runs {script}, which is not there", target.0));
            }
        }
    }
    problems
}

fn is_target(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c == '-')
}

pub(crate) fn targets(tree: &Tree) -> impl Iterator<Item = &str> {
    let text = tree.files.get("Makefile").map_or("", String::as_str);
    text.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name).filter(|name| is_target(name))
}

#[test]
fn scripts_stop_at_the_first_error() {
    assert_clean(careless_scripts(&Tree::read()));
}

#[test]
fn scripts_can_be_run() {
    let tree = Tree::read();
    for (path, _) in tree.ending(&["sh"]).chain([(".ci/run", "")]) {
        let file = workspace().join(path);
        output(Command::new("bash").arg("-n").arg(&file)).expect("bash understands it");
        let mode = file.metadata().expect("it was listed").permissions().mode();
        assert!(!is_run(path) || mode & 0o111 == 0o111, "{path} is not executable (chmod +x)");
    }
}

#[test]
fn makefile_targets_are_one_described_command() {
    assert_clean(vague_targets(&Tree::read()));
}

#[test]
fn rules_about_scripts_bite() {
    let fine = "#!/usr/bin/env bash\n# why\nset -euo pipefail\n";
    let careless =
        |text: &str| careless_scripts(&Tree::of(&[("a.sh", text), ("x/lib/part.sh", "f() { :; }")]));
    assert_caught(&careless(fine), &[]);
    assert_caught(&careless("#!/bin/sh\n"), &["first line", "pipefail"]);

    let script = ("a.sh", fine);
    let vague = |makefile: &str| vague_targets(&Tree::of(&[script, ("Makefile", makefile)]));
    assert_caught(&vague("up: ## start\n\t@a.sh\n"), &[]);
    assert_caught(
        &vague("up:\n\t@b.sh\n\techo\n"),
        &["no `##`", "b.sh, which is not there", "more than one line"],
    );
}
