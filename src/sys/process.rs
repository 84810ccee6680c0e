//! This process: whose rights it has, and who may look into its memory.
use std::io;

use rustix::process::{DumpableBehavior, getegid, geteuid, getgid, getuid, set_dumpable_behavior};

/// Whether it has another user's rights than whoever started it, by the set-uid
/// or set-gid bit of its file, or because a program that has them started it.
///
/// Capabilities of a file are not among that: they make it no other user.
#[must_use]
pub fn has_borrowed_rights() -> bool {
    getuid() != geteuid() || getgid() != getegid()
}

/// Shuts other processes of this user out of its memory, and leaves no core dump
/// of it behind, whatever the limits and the pattern of those are.
///
/// Its files below `/proc` are root's from then on: what overwrites memory by
/// `/proc/self/mem` has to come first.
///
/// # Errors
///
/// Where the kernel does not know of that.
pub fn hide_memory() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Ends it, whatever its other threads are at.
#[expect(clippy::disallowed_methods, reason = "the thread that could return hangs")]
pub fn end(exit_code: u8) -> ! {
    std::process::exit(exit_code.into())
}
