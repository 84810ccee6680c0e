//! What libfaketime leaves behind.
use std::{fs, path::Path};

/// Removes what it has called after processes that are over: a semaphore and a piece
/// of memory each. Another process of that number could not be started with it.
pub fn clear() {
    let Ok(entries) = fs::read_dir("/dev/shm") else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap_or_default();
        let pid =
            ["faketime_shm_", "sem.faketime_sem_"].iter().find_map(|it| name.strip_prefix(it));
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Another test may have done so just now.
            let _ = fs::remove_file(path);
        }
    }
}
