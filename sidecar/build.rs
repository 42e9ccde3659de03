//! `--version` names the commit. A tarball has none: then it is unknown, and the build goes on.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=HYPERPAGE_COMMIT");
    // Every commit moves the log; what is installed must be exact, what is tested need not be built again.
    let release = std::env::var_os("PROFILE").is_some_and(|profile| profile == "release");
    let watched = Path::new(if release { "../.git/logs/HEAD" } else { "../.git/HEAD" });
    if watched.exists() {
        println!("cargo:rerun-if-changed={}", watched.display());
    } else {
        // The operator is built with this file, too.
        println!("cargo:rerun-if-changed=../sidecar/build.rs");
    }
    let given = std::env::var_os("HYPERPAGE_COMMIT").and_then(|commit| commit.into_string().ok());
    let commit =
        given.filter(|commit| !commit.is_empty()).or_else(head).unwrap_or_else(|| "unknown".to_owned());
    // Not named HYPERPAGE_: `cargo run` hands it on, and the sidecar refuses settings it does not know.
    println!("cargo:rustc-env=BUILD_COMMIT={commit}");
}

fn head() -> Option<String> {
    let output = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
    let commit = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !commit.is_empty()).then_some(commit)
}
