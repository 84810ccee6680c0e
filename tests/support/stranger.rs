//! Other users of this host, for what they may not do.
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use super::{CHECK, LOG, MUNIN, Room, copy_of};

/// Two users that no package runs anything as.
pub const NOBODY: u32 = 65534;
pub const SOMEBODY: u32 = 65533;

/// `program` as that user, in no group.
pub fn as_user(user: u32, program: impl AsRef<Path>) -> Command {
    let mut command = Command::new("setpriv");
    let user = user.to_string();
    command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]).arg(program.as_ref());
    command
}

/// Runs a script in `folder` as that user.
#[track_caller]
pub fn script(user: u32, folder: &Path, script: &str) {
    let mut command = as_user(user, "sh");
    let ran = command.args(["-c", &format!("set -e; {script}")]).current_dir(folder).output();
    let ran = ran.unwrap();
    assert!(ran.status.success(), "{script}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// Whether this is root, who alone can be two users; says aloud where not.
pub fn is_possible() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        super::skip("root, to be several users");
    }
    is_root
}

/// A folder that everybody can get to, with the programs in it.
pub fn open_room() -> Room {
    let room = Room::new();
    fs::set_permissions(room.path("."), fs::Permissions::from_mode(0o755)).unwrap();
    for program in [CHECK, MUNIN, LOG] {
        copy_of(program, &room.path(Path::new(program).file_name().unwrap().to_str().unwrap()));
    }
    room
}

/// A folder like /tmp in `room`.
pub fn everybodys(room: &Room, name: &str) -> PathBuf {
    let path = room.path(name);
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o1777)).unwrap();
    path
}
