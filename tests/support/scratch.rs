//! A directory under the target directory that goes with the test.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::binaries::workspace;

pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(purpose: &str) -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = workspace().join(format!("target/tmp/{purpose}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the target directory is writable");
        Scratch(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes `text` to the file `name` and returns its path. The file is replaced by a rename, so that a
    /// reader never sees half of it; Kubernetes does the same to mounted Secrets.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let (path, new) = (self.0.join(name), self.0.join(format!(".{name}.new")));
        std::fs::write(&new, text).expect("the scratch directory is writable");
        std::fs::rename(&new, &path).expect("both lie in one directory");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
