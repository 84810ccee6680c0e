//! Goes on as another executable, for what this one does not link.
//!
//! The kernel puts that one into this process (execve(2)): the process id, the
//! standard streams, what limits it and who waits for it stay as they are.
#![expect(clippy::disallowed_types, reason = "this is where another executable takes over")]
use std::{
    ffi::{OsStr, OsString},
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

/// Set in the environment of the executable that takes over: one that would hand
/// over in its turn is not the one that was meant, and the two would never end.
pub const MARK: &str = "TOPIP_HANDED_OVER";

/// Where a second executable of the suite is: beside this one, wherever a link
/// to it is.
///
/// # Errors
///
/// Where `/proc` does not tell where this one is.
pub fn beside_this(name: &str) -> io::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(name))
}

/// Goes on as `executable`, called by `name` with `args` in `env`. Comes back only
/// where that cannot be, with the reason.
#[must_use]
pub fn to<'a>(
    executable: &Path,
    name: &str,
    args: &[OsString],
    env: impl Iterator<Item = (&'a OsStr, &'a OsStr)>,
) -> io::Error {
    Command::new(executable).arg0(name).args(args).env_clear().envs(env).env(MARK, "1").exec()
}
