//! A folder in memory for what is read from files.
use std::{
    env, fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

thread_local! {
    // It goes with its thread, unless that is ended by what was found.
    static FOLDER: TempDir = {
        let memory = Path::new("/dev/shm");
        let root = if memory.is_dir() { memory.to_owned() } else { env::temp_dir() };
        TempDir::with_prefix_in("topip-fuzz-", root).expect("a folder can be made")
    };
}

/// A file of this thread alone; what is in it lasts as long as nobody writes
/// another thing there.
pub fn path(name: &str) -> PathBuf {
    FOLDER.with(|folder| folder.path().join(name))
}

/// The same, with this in it.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = path(name);
    fs::write(&path, bytes).expect("a file in memory can be written");
    path
}
