//! The commands that README.md shows, so that tests can run what a reader would type.

use std::process::Command;

use anyhow::Result;

use crate::binaries::{output, workspace};

/// One fenced ```sh block.
#[derive(Debug, Clone)]
pub struct Block {
    /// The heading it stands under.
    pub section: String,
    pub commands: Vec<String>,
}

/// Runs blocks in the root of the tree as one reader would type them, with some words exchanged; the first command that
/// fails ends it.
pub fn run(blocks: &[&Block], exchange: &[(&str, &str)]) -> Result<String> {
    let commands: Vec<_> = blocks.iter().flat_map(|block| &block.commands).map(String::as_str).collect();
    let script = format!("set -euo pipefail\n{}\n", commands.join("\n"));
    let script = exchange.iter().fold(script, |script, (from, to)| script.replace(from, to));
    output(Command::new("bash").args(["-c", &script]).current_dir(workspace()).env_remove("KUBECONFIG"))
}

pub fn blocks() -> Vec<Block> {
    parse(&std::fs::read_to_string(workspace().join("README.md")).expect("README.md is there"))
}

/// The blocks of one section; it is an error of the test if there are none.
pub fn section(heading: &str) -> Vec<Block> {
    let found: Vec<_> = blocks().into_iter().filter(|block| block.section == heading).collect();
    assert!(!found.is_empty(), "README.md shows no commands under {heading:?}");
    found
}

/// Lines that end in a backslash go on in the next; comments are for the reader.
pub fn parse(text: &str) -> Vec<Block> {
    let (mut blocks, mut section, mut open) = (Vec::new(), String::new(), None::<Block>);
    let mut pending = String::new();
    for line in text.lines() {
        match &mut open {
            None if line.starts_with('#') => section = line.trim_start_matches('#').trim().to_owned(),
            None if line == "```sh" => open = Some(Block { section: section.clone(), commands: Vec::new() }),
            None => {}
            Some(_) if line == "```" => blocks.extend(open.take()),
            Some(block) => {
                let line = line.split_once("  # ").map_or(line, |(command, _)| command).trim();
                match line.strip_suffix('\\') {
                    Some(part) => pending.push_str(part),
                    None if line.is_empty() || line.starts_with('#') => {}
                    None => block.commands.push(std::mem::take(&mut pending) + line),
                }
            }
        }
    }
    blocks
}
