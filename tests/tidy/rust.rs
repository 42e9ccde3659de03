//! The shape of Rust files, as far as text can tell; everything else is clippy's.

use crate::tree::{Tree, assert_caught, assert_clean, split};

const FUNCTION_LINES: usize = 70;
const MAIN_LINES: usize = 40;
const INLINE_TEST_LINES: usize = 150;

/// main starts, it does not think.
fn long_mains(tree: &Tree) -> Vec<String> {
    let mains = tree.product().filter(|(path, _)| path.ends_with("/main.rs"));
    let long = mains.filter(|(_, text)| text.lines().count() >= MAIN_LINES);
    long.map(|(path, _)| format!("{path}: {MAIN_LINES} lines or more; move what it decides into lib.rs"))
        .collect()
}

fn long_functions(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, text) in tree.product() {
        let lines: Vec<_> = text.lines().collect();
        for (start, _) in lines.iter().enumerate().filter(|(_, line)| is_function(line)) {
            let length = function_length(&lines[start..]);
            if length > FUNCTION_LINES {
                problems.push(format!(
                    "{path}:{}: a function of {length} lines (at most {FUNCTION_LINES})",
                    start + 1
                ));
            }
        }
    }
    problems
}

/// rustfmt ends a function with a brace (or a signature with `);`) in the column where its first line began.
fn function_length(lines: &[&str]) -> usize {
    let first = lines[0];
    if first.ends_with(['}', ';']) {
        return 1;
    }
    let indent = &first[..first.len() - first.trim_start().len()];
    let ends = |line: &&str| {
        let rest = line.strip_prefix(indent);
        rest.is_some_and(|rest| rest == "}" || rest.starts_with(')') && rest.ends_with(';'))
    };
    lines.iter().position(ends).map_or(lines.len(), |end| end + 1)
}

fn is_function(line: &str) -> bool {
    let line = line.trim_start();
    let words = [
        "fn ",
        "pub fn ",
        "pub(crate) fn ",
        "async fn ",
        "pub async fn ",
        "pub(crate) async fn ",
        "const fn ",
    ];
    words.iter().any(|word| line.starts_with(word)) || line.starts_with("pub const fn ")
}

/// A test's file is named after what it tests, and `main.rs` says it in ten lines.
fn missing_headers(tree: &Tree) -> Vec<String> {
    let plain = |path: &str| path.ends_with("tests.rs") || path.contains("src/") && path.contains("/tests/");
    let rust = tree.ending(&["rs"]).filter(|(path, _)| !plain(path) && !path.ends_with("src/main.rs"));
    let silent = rust.filter(|(_, text)| !text.starts_with("//!"));
    silent.map(|(path, _)| format!("{path}: does not open with `//!` and what it is")).collect()
}

/// A file that no `mod` names is not compiled, and nobody notices.
fn orphans(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, _) in tree.ending(&["rs"]) {
        let (dir, file) = split(path);
        let name = file.trim_end_matches(".rs");
        // The module's own name, and the folder whose root file must declare it.
        let (module, home) = match name {
            "lib" | "main" | "build" => continue,
            "mod" => (split(dir).1, split(dir).0),
            name => (name, dir),
        };
        let roots = [
            format!("{home}/mod.rs"),
            format!("{home}/lib.rs"),
            format!("{home}/main.rs"),
            format!("{home}.rs"),
        ];
        let (declared, by_path) = (format!("mod {module};"), format!("#[path = \"{file}\"]"));
        let named = roots.iter().filter_map(|root| tree.files.get(root)).any(|text| text.contains(&declared));
        let pathed =
            || tree.ending(&["rs"]).any(|(other, text)| split(other).0 == dir && text.contains(&by_path));
        let target = || tree.ending(&["toml"]).any(|(_, text)| text.contains(&format!("{path}\"")));
        if !named && !pathed() && !target() {
            problems.push(format!("{path}: no `{declared}` beside it"));
        }
    }
    problems
}

/// A reader meets the table of contents first and the tests last.
fn order(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, text) in tree.ending(&["rs"]) {
        let lines: Vec<_> = text.lines().collect();
        let code =
            lines.iter().position(|line| is_function(line) && !line.starts_with(' ')).unwrap_or(lines.len());
        let late = lines[code..].iter().find(|line| is_module(line) && !line.contains("mod tests"));
        problems.extend(late.map(|line| format!("{path}: `{line}` after the first function")));
        let Some(start) = lines.iter().position(|line| *line == "mod tests {") else { continue };
        let inline = lines.len() - start;
        if lines.last() != Some(&"}") || lines[start..].iter().filter(|line| **line == "}").count() != 1 {
            problems.push(format!("{path}: something follows `mod tests`"));
        } else if inline > INLINE_TEST_LINES {
            problems
                .push(format!("{path}: {inline} lines of inline tests; move them into a tests.rs beside it"));
        }
    }
    problems
}

fn is_module(line: &str) -> bool {
    let rest = line.trim_start_matches("pub ").trim_start_matches("pub(crate) ");
    rest.starts_with("mod ") && rest.ends_with(';')
}

#[test]
fn main_is_short() {
    assert_clean(long_mains(&Tree::read()));
}

#[test]
fn functions_fit_a_screen() {
    assert_clean(long_functions(&Tree::read()));
}

#[test]
fn every_file_says_what_it_is() {
    assert_clean(missing_headers(&Tree::read()));
}

#[test]
fn every_file_is_compiled() {
    assert_clean(orphans(&Tree::read()));
}

#[test]
fn modules_come_first_and_tests_last() {
    assert_clean(order(&Tree::read()));
}

#[test]
fn rules_about_rust_bite() {
    let main = "//! x\n".repeat(MAIN_LINES);
    assert_caught(&long_mains(&Tree::of(&[("sidecar/src/main.rs", &main)])), &["40 lines or more"]);

    let body = |lines: usize| format!("fn a() {{\n{}}}\n", "    1;\n".repeat(lines));
    let tree = |text: &str| Tree::of(&[("sidecar/src/a.rs", text)]);
    assert_caught(&long_functions(&tree(&body(68))), &[]);
    assert_caught(&long_functions(&tree(&body(69))), &["a function of 71 lines"]);
    assert_caught(&long_functions(&tree("trait A {\n    fn a();\n    fn b() {\n    }\n}\n")), &[]);

    assert_caught(&missing_headers(&tree("use x;\n")), &["does not open"]);

    let lib = ("a/src/lib.rs", "//! x\npub mod b;\n");
    let fine = [lib, ("a/src/b/mod.rs", "mod c;"), ("a/src/b/c.rs", "")];
    assert_caught(&orphans(&Tree::of(&fine)), &[]);
    assert_caught(
        &orphans(&Tree::of(&[lib, ("a/src/b/mod.rs", ""), ("a/src/b/c.rs", "")])),
        &["no `mod c;`"],
    );
    assert_caught(&orphans(&Tree::of(&[("a/src/lib.rs", ""), ("a/src/b/mod.rs", "")])), &["no `mod b;`"]);
    let elsewhere = [("a/Cargo.toml", "path = \"../b/c.rs\""), ("b/c.rs", ""), ("b/d.rs", "")];
    assert_caught(&orphans(&Tree::of(&elsewhere)), &["b/d.rs: no `mod d;`"]);

    assert_caught(&order(&tree("mod a;\nfn b() {}\n#[cfg(test)]\nmod tests;\n")), &[]);
    assert_caught(&order(&tree("fn b() {}\nmod a;\n")), &["`mod a;` after"]);
    assert_caught(&order(&tree("mod tests {\n    1\n}\nfn b() {}\n")), &["something follows"]);
    let long = format!("mod tests {{\n{}}}\n", "    1\n".repeat(INLINE_TEST_LINES));
    assert_caught(&order(&tree(&long)), &["lines of inline tests"]);
}
