//! Files that libfaketime leaves in /dev/shm.
use std::{fs, path::Path};

/// Removes the semaphores and shared memory of processes that have ended. A new process
/// with the same PID could not start with them.
pub fn clear() {
    let Ok(entries) = fs::read_dir("/dev/shm") else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap_or_default();
        let pid =
            ["faketime_shm_", "sem.faketime_sem_"].iter().find_map(|it| name.strip_prefix(it));
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Another test may have removed it already.
            let _ = fs::remove_file(path);
        }
    }
}
