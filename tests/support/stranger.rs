//! Commands as other users of this host.
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use super::{CHECK, LOG, MUNIN, TestDir, copy_program};

/// UID of the user nobody.
pub const NOBODY: u32 = 65534;
/// A UID that no package uses.
pub const OTHER_USER: u32 = 65533;

/// Returns a command for `program` as that user, without supplementary groups.
pub fn as_user(user: u32, program: impl AsRef<Path>) -> Command {
    let mut command = Command::new("setpriv");
    let user = user.to_string();
    command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]).arg(program.as_ref());
    command
}

/// Runs a script in `directory` as that user.
#[track_caller]
pub fn run_script_as(user: u32, directory: &Path, script: &str) {
    let mut command = as_user(user, "sh");
    let result = command.args(["-c", &format!("set -e; {script}")]).current_dir(directory).output();
    let result = result.unwrap();
    assert!(result.status.success(), "{script}: {}", String::from_utf8_lossy(&result.stderr));
}

/// Returns whether the test runs as root, which may switch users. Reports a skipped test if
/// not.
pub fn is_possible() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        super::skip("root, to switch users");
    }
    is_root
}

/// Creates a directory that every user can enter, with the programs in it.
pub fn shared_test_dir() -> TestDir {
    let dir = TestDir::new();
    fs::set_permissions(dir.path("."), fs::Permissions::from_mode(0o755)).unwrap();
    for program in [CHECK, MUNIN, LOG] {
        copy_program(program, &dir.path(Path::new(program).file_name().unwrap().to_str().unwrap()));
    }
    dir
}

/// Creates a directory in `dir` with the mode of /tmp.
pub fn create_sticky_directory(dir: &TestDir, name: &str) -> PathBuf {
    let path = dir.path(name);
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o1777)).unwrap();
    path
}
