//! This process: its privileges, its memory, its exit.
use std::io;

use rustix::process::{DumpableBehavior, getegid, geteuid, getgid, getuid, set_dumpable_behavior};

/// Returns true if the effective user or group differs from the real one: the
/// executable has the set-uid or set-gid bit, or a program with such a bit
/// started it.
///
/// File capabilities do not count: they do not change the user.
#[must_use]
pub fn is_setid() -> bool {
    getuid() != geteuid() || getgid() != getegid()
}

/// Denies other processes of this user access to the memory of this process, and
/// disables core dumps regardless of limits and core pattern.
///
/// Afterwards the files of this process below `/proc` belong to root: call
/// [`wipe_passwords`](super::command_line::wipe_passwords), which writes to
/// `/proc/self/mem`, before this function.
///
/// # Errors
///
/// Returns an error if the kernel does not support the setting.
pub fn disable_dumping() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Exits the process without waiting for its other threads.
#[expect(clippy::disallowed_methods, reason = "the thread that could return hangs")]
pub fn exit(exit_code: u8) -> ! {
    std::process::exit(exit_code.into())
}
