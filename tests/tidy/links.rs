//! Everything that points somewhere arrives: symbolic links, and links between documents.

use crate::tree::{Tree, assert_caught, assert_clean, split};

fn broken_symlinks(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, to) in &tree.links {
        match resolve(split(path).0, &to.to_string_lossy()) {
            Some(target) if tree.has(&target) => {}
            Some(target) => problems.push(format!("{path}: points to {target}, which is not there")),
            None => problems.push(format!("{path}: {} leaves the tree", to.display())),
        }
    }
    problems
}

fn broken_links(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, text) in tree.ending(&["md"]) {
        for link in links(text).filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { Some(path.to_owned()) } else { resolve(split(path).0, file) };
            let Some(target) = target.filter(|target| tree.has(target)) else {
                problems.push(format!("{path}: the link {link} leads nowhere"));
                continue;
            };
            let text = tree.files.get(&target).map_or("", String::as_str);
            if !anchor.is_empty() && !anchors(text).any(|heading| heading == anchor) {
                problems.push(format!("{path}: {target} has no heading for #{anchor}"));
            }
        }
    }
    problems
}

/// The targets of `[text](target)`, outside fenced blocks.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    let prose = text.lines().filter(move |line| {
        fenced ^= line.trim_start().starts_with("```");
        !fenced
    });
    prose.flat_map(|line| line.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(to, _)| to)))
}

/// Headings as their address: lower case, blanks to dashes, other signs gone.
fn anchors(text: &str) -> impl Iterator<Item = String> {
    text.lines().filter(|line| line.starts_with('#')).map(|line| {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

/// `to` as seen from the folder `dir`, or nothing when it leaves the tree.
fn resolve(dir: &str, to: &str) -> Option<String> {
    if to.starts_with('/') {
        return None;
    }
    let mut parts: Vec<_> = dir.split('/').filter(|part| !part.is_empty()).collect();
    for part in to.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop()?,
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[test]
fn symlinks_resolve_inside_the_tree() {
    assert_clean(broken_symlinks(&Tree::read()));
}

#[test]
fn links_between_documents_resolve() {
    assert_clean(broken_links(&Tree::read()));
}

#[test]
fn rules_about_links_bite() {
    let mut tree = Tree::of(&[("crds/a.yaml", "a")]);
    tree.links.insert("charts/x/crd.yaml".to_owned(), "../../crds/a.yaml".into());
    assert_caught(&broken_symlinks(&tree), &[]);
    tree.links.insert("charts/x/gone.yaml".to_owned(), "../../crds/b.yaml".into());
    tree.links.insert("charts/x/out.yaml".to_owned(), "../../../a.yaml".into());
    assert_caught(&broken_symlinks(&tree), &["crds/b.yaml", "leaves the tree"]);

    let readme =
        "# A b: c\n[x](docs/x.md#the-top) [y](#a-b-c) [z](https://example.org)\n```\n[no](no)\n```\n";
    let docs = "## The top\n[up](../README.md)\n";
    assert_caught(&broken_links(&Tree::of(&[("README.md", readme), ("docs/x.md", docs)])), &[]);
    let broken = "[a](docs/y.md) [b](docs/x.md#nothing) [c](docs)\n";
    let tree = Tree::of(&[("README.md", broken), ("docs/x.md", docs)]);
    assert_caught(&broken_links(&tree), &["docs/y.md leads nowhere", "no heading for #nothing"]);
}
