//! What any file must and must not be.

use crate::tree::{Tree, assert_caught, assert_clean, split};

const SOFT_LINES: usize = 400;
const HARD_LINES: usize = 600;
/// How many files may pass the soft limit: a few, each for a reason.
const LONG_FILES: usize = 6;

fn long_files(tree: &Tree) -> Vec<String> {
    let mut long = Vec::new();
    let mut problems = Vec::new();
    for (path, text) in tree.ending(&["rs", "js", "sh", "lua", "yaml", "tpl"]) {
        let lines = text.lines().count();
        if path.ends_with(".hyperpage.dev.yaml") || path.contains("/golden/") {
            continue; // generated
        } else if lines > HARD_LINES {
            problems.push(format!("{path}: {lines} lines; split it by topic (at most {HARD_LINES})"));
        } else if lines > SOFT_LINES {
            long.push(format!("{path} ({lines})"));
        }
    }
    if long.len() > LONG_FILES {
        problems.push(format!("more than {LONG_FILES} files over {SOFT_LINES} lines: {}", long.join(", ")));
    }
    problems
}

fn unfinished_words(tree: &Tree) -> Vec<String> {
    // Written in two halves, so that this file does not catch itself.
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("d", "bg!("),
        concat!("to", "do!("),
    ];
    let rust = [concat!("#[ig", "nore"), concat!("[all", "ow("), concat!("unimple", "mented!(")];
    let mut problems = Vec::new();
    for (path, text) in tree.ending(&["rs", "js", "sh", "lua", "yaml", "toml", "md", "tpl", "css"]) {
        for (number, line) in text.lines().enumerate() {
            let rust = rust.iter().filter(|_| path.ends_with(".rs"));
            for word in words.iter().chain(rust).filter(|word| holds_word(line, word)) {
                problems.push(format!(
                    "{path}:{}: {word} (finish it, or use #[expect] with a reason)",
                    number + 1
                ));
            }
        }
    }
    problems
}

/// `word` not inside a longer one; `mktemp`'s row of the same letter is a longer one.
fn holds_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let letters = word.ends_with(char::is_alphabetic);
        !(before.is_some_and(char::is_alphanumeric) || letters && after.is_some_and(char::is_alphanumeric))
    })
}

/// A checkout works anywhere: no path of one machine, no file outside the tree.
fn foreign_paths(tree: &Tree) -> Vec<String> {
    let paths =
        [concat!("../sha", "red"), concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];
    let mut problems = Vec::new();
    for (path, text) in &tree.files {
        for (number, line) in text.lines().enumerate() {
            problems.extend(
                paths
                    .iter()
                    .filter(|foreign| line.contains(*foreign))
                    .map(|foreign| format!("{path}:{}: {foreign} is a path of one machine", number + 1)),
            );
        }
    }
    problems
}

fn empty_files(tree: &Tree) -> Vec<String> {
    let empty = tree.files.iter().filter(|(_, text)| text.trim().is_empty());
    empty.map(|(path, _)| format!("{path}: empty; a file appears with its content")).collect()
}

/// Each script is compiled into the program that lies beside it, and opens with what its keys and arguments are.
fn lua_scripts(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, text) in tree.ending(&["lua"]) {
        let (dir, name) = split(path);
        let include = format!("include_str!(\"{name}\")");
        let beside = tree.ending(&["rs"]).filter(|(rust, _)| split(rust).0 == dir);
        if !beside.into_iter().any(|(_, rust)| rust.contains(&include)) {
            problems.push(format!("{path}: nothing in {dir} says {include}"));
        }
        let head: String = text.lines().take_while(|l| l.starts_with("--") || l.starts_with("#!")).collect();
        if !head.contains("KEYS") {
            problems.push(format!("{path}: its first comment does not name KEYS and ARGV"));
        }
    }
    problems
}

fn versions_outside_the_workspace(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, text) in tree.ending(&["toml"]).filter(|(path, _)| path.ends_with("/Cargo.toml")) {
        let mut section = "";
        for line in text.lines() {
            if line.starts_with('[') {
                section = line.trim_matches(['[', ']']);
            } else if section.ends_with("dependencies")
                && line.starts_with(|c: char| c.is_ascii_alphabetic())
                && line.contains('=')
                && !line.contains("workspace = true")
            {
                problems.push(format!("{path}: `{line}` belongs in [workspace.dependencies]"));
            }
        }
    }
    problems
}

fn changelog(tree: &Tree) -> Vec<String> {
    let manifest = tree.files.get("Cargo.toml").map_or("", String::as_str);
    let version = manifest.lines().find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'));
    let Some(version) = version else { return vec!["Cargo.toml: no version".to_owned()] };
    let log = tree.files.get("CHANGELOG.md").map_or("", String::as_str);
    if log.lines().any(|line| line.starts_with(&format!("## {version}"))) {
        return Vec::new();
    }
    vec![format!("CHANGELOG.md: no section `## {version}`")]
}

#[test]
fn files_are_short() {
    assert_clean(long_files(&Tree::read()));
}

#[test]
fn nothing_is_left_unfinished() {
    assert_clean(unfinished_words(&Tree::read()));
}

#[test]
fn no_path_of_one_machine() {
    assert_clean(foreign_paths(&Tree::read()));
}

#[test]
fn no_file_is_empty() {
    assert_clean(empty_files(&Tree::read()));
}

#[test]
fn lua_scripts_are_used_and_name_their_keys() {
    assert_clean(lua_scripts(&Tree::read()));
}

#[test]
fn every_version_is_written_once() {
    assert_clean(versions_outside_the_workspace(&Tree::read()));
}

#[test]
fn changelog_has_this_version() {
    assert_clean(changelog(&Tree::read()));
}

#[test]
fn rules_about_files_bite() {
    let lines = |n: usize| "x\n".repeat(n);
    assert_caught(&long_files(&Tree::of(&[("a.rs", &lines(601)), ("b.rs", &lines(600))])), &["a.rs: 601"]);
    let long: Vec<_> = (0..=LONG_FILES).map(|n| (format!("{n}.js"), lines(401))).collect();
    let long: Vec<_> = long.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    assert_caught(&long_files(&Tree::of(&long)), &["more than 6 files"]);

    let note = concat!("// TO", "DO later");
    let fine = concat!("mktemp -d x.XX", "XXXX");
    assert_caught(&unfinished_words(&Tree::of(&[("a.js", note), ("b.sh", fine)])), &["a.js:1"]);
    assert_caught(&unfinished_words(&Tree::of(&[("a.rs", concat!("#[ig", "nore]"))])), &["a.rs:1"]);

    let foreign = concat!("\nsee /wo", "rk/x");
    assert_caught(&foreign_paths(&Tree::of(&[("a.md", foreign)])), &["a.md:2"]);
    assert_caught(&empty_files(&Tree::of(&[("a/.keep", "\n"), ("b", "b")])), &["a/.keep"]);

    let script = "-- KEYS[1] the session\nreturn 1";
    let user = "const GET: &str = include_str!(\"get.lua\");";
    assert_caught(&lua_scripts(&Tree::of(&[("s/get.lua", script), ("s/store.rs", user)])), &[]);
    assert_caught(&lua_scripts(&Tree::of(&[("s/get.lua", script), ("t/store.rs", user)])), &["nothing in s"]);
    assert_caught(
        &lua_scripts(&Tree::of(&[("s/get.lua", "return 1"), ("s/m.rs", user)])),
        &["does not name KEYS"],
    );

    let manifest = "[package]\nversion = \"1\"\n[dependencies]\nbytes.workspace = true\nserde = \"1\"\n";
    assert_caught(&versions_outside_the_workspace(&Tree::of(&[("a/Cargo.toml", manifest)])), &["serde"]);

    let release = ("Cargo.toml", "version = \"0.2.0\"");
    assert_caught(&changelog(&Tree::of(&[release, ("CHANGELOG.md", "## 0.1.0\n")])), &["## 0.2.0"]);
}
