//! Replaces this process by another executable, for code that this one does not
//! link.
//!
//! The kernel loads the other executable into this process (execve(2)): the
//! process ID, the standard streams, the resource limits and the waiting parent
//! stay the same.
#![expect(clippy::disallowed_types, reason = "this module executes another program")]
use std::{
    ffi::{OsStr, OsString},
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

/// Environment variable that is set for the new executable. A process that finds
/// it set must not call execve again: the new executable is then not the intended
/// one, and the two would replace each other forever.
pub const EXEC_GUARD_ENV: &str = "TOPIP_HANDED_OVER";

/// Returns the path of another executable of the suite: `name` in the directory
/// of this executable, with symbolic links resolved.
///
/// # Errors
///
/// Returns an error if `/proc` does not give the path of this executable.
pub fn sibling_executable(name: &str) -> io::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(name))
}

/// Replaces this process by `executable`, with `name` as `argv[0]`, and with
/// `args` and `env`. Returns only on failure, with the cause.
#[must_use]
pub fn replace_process<'a>(
    executable: &Path,
    name: &str,
    args: &[OsString],
    env: impl Iterator<Item = (&'a OsStr, &'a OsStr)>,
) -> io::Error {
    Command::new(executable)
        .arg0(name)
        .args(args)
        .env_clear()
        .envs(env)
        .env(EXEC_GUARD_ENV, "1")
        // With an arena for each thread of a server, each thread would reserve 64 MiB of
        // address space, which counts toward a limit such as `ulimit -v`.
        .env("GLIBC_TUNABLES", "glibc.malloc.arena_max=1")
        .exec()
}
