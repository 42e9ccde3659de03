//! Where the real programs are, and what is said when they are not there.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

pub fn workspace() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("tests/ lies in the workspace").to_owned()
}

/// Writes `text` where `make test` has its logs, and returns where that is.
pub fn keep(name: &str, text: &str) -> PathBuf {
    let dir = workspace().join("target/test");
    let path = dir.join(name);
    let written = std::fs::create_dir_all(dir).and_then(|()| std::fs::write(&path, text));
    written.expect("the target directory is writable");
    path
}

/// What `make up` built; another folder by `CLUSTER_BIN`.
pub fn kubernetes(tool: &str) -> PathBuf {
    match std::env::var_os("CLUSTER_BIN") {
        Some(dir) => PathBuf::from(dir).join(tool),
        None => workspace().join("target/cluster/bin").join(tool),
    }
}

/// Our own binary, as built by the cargo that built this test.
pub fn ours(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    let profile = test.parent().and_then(Path::parent).expect("target/PROFILE/deps/TEST");
    profile.join(name)
}

/// Of a program that somebody else installed.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|place| place.is_file())
}

/// False, with one line that says what to do, when a program is missing; a failure under CI, where nobody reads it.
pub fn present(programs: &[PathBuf]) -> bool {
    let missing: Vec<_> = programs.iter().filter(|p| !p.is_file()).map(|p| p.display().to_string()).collect();
    if missing.is_empty() {
        return true;
    }
    let line = format!("skipped: {} missing; `make up` builds what Kubernetes needs", missing.join(", "));
    assert!(std::env::var_os("CI").is_none(), "{line}");
    eprintln!("{line}");
    false
}

/// Runs to the end and gives what it printed; an error carries both outputs.
pub fn output(command: &mut Command) -> Result<String> {
    let out = command.output()?;
    let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    ensure!(out.status.success(), "{command:?}: {}\n{stdout}{stderr}", out.status);
    Ok(stdout.into_owned())
}
