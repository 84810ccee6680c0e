//! This process's own command line, as other users can see it.
#![expect(clippy::disallowed_methods, reason = "the process's memory is a file")]
use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::FileExt,
};

use memchr::memmem;

/// Overwrites every `secret` in the command line that `ps` shows.
///
/// It stands there from the start of the process until now, which is long
/// enough to be read: this makes it shorter, and no more.
///
/// # Errors
///
/// Where the kernel does not let the process write to its own memory that way.
pub fn wipe(secret: &str) -> io::Result<()> {
    if secret.is_empty() {
        return Ok(());
    }
    let (start, command_line) = (address()?, fs::read("/proc/self/cmdline")?);
    let memory = OpenOptions::new().write(true).open("/proc/self/mem")?;
    let cover = vec![b'x'; secret.len()];
    for at in memmem::find_iter(&command_line, secret) {
        memory.write_all_at(&cover, start + at as u64)?;
    }
    Ok(())
}

/// Where the command line is in memory: `arg_start` of proc(5), field 48 of
/// `stat`.
fn address() -> io::Result<u64> {
    let unlike = || io::Error::other("/proc/self/stat is not as it is known");
    let stat = fs::read("/proc/self/stat")?;
    let stat = String::from_utf8_lossy(&stat).into_owned();
    // The second field is the name in parentheses, which may hold anything.
    let (_, fields) = stat.rsplit_once(") ").ok_or_else(unlike)?;
    let field = fields.split_whitespace().nth(48 - 3).ok_or_else(unlike)?;
    field.parse().map_err(|_| unlike())
}
