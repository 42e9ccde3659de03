//! A document that names a test names one that exists, and every promise has a verdict.

use std::collections::BTreeSet;

use crate::tree::{Tree, assert_caught, assert_clean};

const PROMISES: &str = "docs/promises.md";

/// The test functions of the tree: Rust's, and those that scripts report by name.
pub(crate) fn tests(tree: &Tree) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for (_, text) in tree.ending(&["rs"]) {
        let mut marked = false;
        for line in text.lines().map(str::trim_start) {
            if line.starts_with("#[test") || line.starts_with("#[tokio::test") {
                marked = true;
            } else if let Some((_, rest)) =
                line.split_once("fn ").filter(|_| marked && !line.starts_with('#'))
            {
                names.extend(rest.split_once('(').map(|(name, _)| name));
                marked = false;
            }
        }
    }
    for (_, text) in tree.ending(&["sh"]) {
        names.extend(text.lines().filter_map(|line| line.split_once("() {").map(|(name, _)| name)));
    }
    names
}

/// Each row of a table is `| promise | verdict | … |`: kept by tests that exist, or later, or refused with a reason.
fn unproven_promises(tree: &Tree) -> Vec<String> {
    let Some(text) = tree.files.get(PROMISES) else { return vec![format!("{PROMISES} is missing")] };
    let tests = tests(tree);
    let mut problems = Vec::new();
    let mut say = |number: usize, what: String| problems.push(format!("{PROMISES}:{}: {what}", number + 1));
    for (number, line) in text.lines().enumerate().filter(|(_, line)| line.starts_with("| ")) {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [promise, verdict, proof] = cells[..] else {
            say(number, format!("{} columns instead of three", cells.len()));
            continue;
        };
        match verdict {
            "Verdict" => {}
            "kept" if quoted(proof).next().is_none() => say(number, format!("no test keeps \"{promise}\"")),
            "kept" => {
                for name in quoted(proof).filter(|name| !tests.contains(name)) {
                    say(number, format!("there is no test {name}"));
                }
            }
            "later" | "refused" if proof.is_empty() => {
                say(number, format!("\"{promise}\" is {verdict} without a why"))
            }
            "later" | "refused" => {}
            other => say(number, format!("the verdict {other:?} is not kept, later or refused")),
        }
    }
    problems
}

/// A name with two underscores in the README is a test's.
fn unknown_names(tree: &Tree) -> Vec<String> {
    let tests = tests(tree);
    let text = tree.files.get("README.md").map_or("", String::as_str);
    let like_a_test = |name: &&str| {
        name.matches('_').count() >= 2
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let unknown = quoted(text).filter(like_a_test).filter(|name| !tests.contains(name));
    unknown.map(|name| format!("README.md: there is no test {name}")).collect()
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

#[test]
fn promises_name_tests_that_exist() {
    assert_clean(unproven_promises(&Tree::read()));
}

#[test]
fn readme_names_tests_that_exist() {
    assert_clean(unknown_names(&Tree::read()));
}

#[test]
fn rules_about_names_bite() {
    let code =
        ("a.rs", "#[tokio::test(flavor = \"multi_thread\")]\nasync fn it_is_so() {}\nfn helper_of_it() {}\n");
    let check = |rows: &str| {
        let text = format!("| Promise | Verdict | By |\n|---|---|---|\n{rows}\n");
        unproven_promises(&Tree::of(&[code, (PROMISES, &text)]))
    };
    assert_caught(
        &check("| a | kept | `it_is_so` |\n| b | later | with topics |\n| c | refused | unsafe |"),
        &[],
    );
    assert_caught(&check("| a | kept | `it_was_so` |"), &["no test it_was_so"]);
    assert_caught(&check("| a | kept | `helper_of_it` |"), &["no test helper_of_it"]);
    assert_caught(&check("| a | kept | believe us |"), &["no test keeps"]);
    assert_caught(&check("| a | refused |  |"), &["without a why"]);
    assert_caught(&check("| a | maybe | x |"), &["the verdict"]);
    assert_caught(&check("| a | kept |"), &["2 columns"]);

    let readme = |text: &str| unknown_names(&Tree::of(&[code, ("README.md", text)]));
    assert_caught(&readme("see `it_is_so`, `SOME_OTHER_NAME` and `server.js`"), &[]);
    assert_caught(&readme("see `it_was_so`"), &["no test it_was_so"]);
}
