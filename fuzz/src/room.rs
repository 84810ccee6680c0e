//! A temporary directory in memory, for input that is read from files.
use std::{
    env, fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

thread_local! {
    // Removed at the end of its thread, unless a finding aborts the process.
    static DIRECTORY: TempDir = {
        let memory = Path::new("/dev/shm");
        let root = if memory.is_dir() { memory.to_owned() } else { env::temp_dir() };
        TempDir::with_prefix_in("topip-fuzz-", root).expect("a temporary directory can be created")
    };
}

/// Returns the path of a file that only this thread uses. Its content lasts until the next
/// write.
pub fn path(name: &str) -> PathBuf {
    DIRECTORY.with(|directory| directory.path().join(name))
}

/// Writes a file and returns its path.
pub fn write(name: &str, bytes: &[u8]) -> PathBuf {
    let path = path(name);
    fs::write(&path, bytes).expect("a file in memory can be written");
    path
}
