//! The files of the project as text, read from disk or made up by a test.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tests::binaries::workspace;

/// Made by tools, never committed.
const SKIPPED: [&str; 3] = ["target", ".git", "node_modules"];

#[derive(Default)]
pub(crate) struct Tree {
    /// Text by path from the root, with `/`.
    pub(crate) files: BTreeMap<String, String>,
    /// The paths of files that are no text.
    pub(crate) pictures: BTreeSet<String>,
    /// Where each symbolic link points, as written in it.
    pub(crate) links: BTreeMap<String, PathBuf>,
}

impl Tree {
    pub(crate) fn read() -> Tree {
        let mut tree = Tree::default();
        tree.add(&workspace(), "");
        assert!(tree.files.len() > 50, "only {} files found", tree.files.len());
        tree
    }

    pub(crate) fn of(files: &[(&str, &str)]) -> Tree {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        Tree { files: files.collect(), ..Tree::default() }
    }

    fn add(&mut self, dir: &Path, prefix: &str) {
        for entry in std::fs::read_dir(dir).expect("a folder of the project can be listed") {
            let entry = entry.expect("a folder of the project can be listed");
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            // A scratch folder of a test that runs beside us may go while we look.
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_symlink() {
                self.links.extend(std::fs::read_link(entry.path()).map(|to| (path, to)));
            } else if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
                self.add(&entry.path(), &format!("{path}/"));
            } else if kind.is_file() {
                match std::fs::read_to_string(entry.path()) {
                    Ok(text) => _ = self.files.insert(path, text),
                    Err(error) if error.kind() == ErrorKind::InvalidData => _ = self.pictures.insert(path),
                    Err(_) => {}
                }
            }
        }
    }

    /// Files with one of these extensions.
    pub(crate) fn ending(&self, extensions: &'static [&str]) -> impl Iterator<Item = (&str, &str)> {
        let wanted = |path: &str| extensions.iter().any(|end| path.ends_with(&format!(".{end}")));
        self.files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .filter(move |(path, _)| wanted(path))
    }

    /// Rust that runs in a cluster: not tests, though unit tests lie beside it.
    pub(crate) fn product(&self) -> impl Iterator<Item = (&str, &str)> {
        let roots = ["crds/src/", "operator/src/", "sidecar/src/"];
        self.ending(&["rs"]).filter(move |(path, _)| roots.iter().any(|root| path.starts_with(root)))
    }

    /// A file or a folder.
    pub(crate) fn has(&self, path: &str) -> bool {
        let inside = format!("{path}/");
        self.files.contains_key(path)
            || self.links.contains_key(path)
            || self.pictures.contains(path)
            || self.files.keys().any(|file| file.starts_with(&inside))
    }
}

/// `a/b.rs` → (`a`, `b.rs`).
pub(crate) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

#[track_caller]
pub(crate) fn assert_clean(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

/// The rule bites: it says `expected` about a broken sample, and nothing else.
#[track_caller]
pub(crate) fn assert_caught(problems: &[String], expected: &[&str]) {
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.contains(expected), "{problem:?} does not say {expected:?}");
    }
}
