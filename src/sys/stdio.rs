//! Writes to standard output and standard error.
#![expect(clippy::disallowed_methods, reason = "this module writes the output of the program")]
use std::io::{self, Write};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Writes `text` to standard output.
///
/// # Errors
///
/// Returns an error if the text cannot be written, as on a full disk. A closed
/// pipe is not an error: the reader does not want more output.
pub fn write_stdout(text: &str) -> io::Result<()> {
    write_unless_closed(io::stdout().lock(), text)
}

/// Writes `text` to standard output. Returns false if standard output is a pipe
/// without a reader.
///
/// # Errors
///
/// Returns an error if the text cannot be written, as on a full disk.
pub fn write_stdout_if_open(text: &str) -> io::Result<bool> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        result => result.map(|()| true),
    }
}

/// Writes `text` to standard error.
///
/// # Errors
///
/// Returns an error if the text cannot be written, as on a full disk. A closed
/// pipe is not an error.
pub fn write_stderr(text: &str) -> io::Result<()> {
    write_unless_closed(io::stderr().lock(), text)
}

/// Returns true if standard output can take `output` and standard error can take
/// `error_output` without blocking. A stream with nothing to write is not checked.
#[must_use]
pub fn is_writable_now(output: &str, error_output: &str) -> bool {
    // A pipe that polls as writable has room for one page (pipe(7)). Both streams
    // may be the same pipe, so the texts share the page.
    const PAGE_BYTES: usize = 4096;
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let mut poll_fds = [PollFd::new(&stdout, PollFlags::OUT), PollFd::new(&stderr, PollFlags::OUT)];
    let poll_fds = match (output, error_output) {
        ("", _) => &mut poll_fds[1..],
        (_, "") => &mut poll_fds[..1],
        _ => &mut poll_fds[..],
    };
    let is_polled = poll(poll_fds, Some(&Timespec::default())).is_ok();
    output.len() + error_output.len() <= PAGE_BYTES
        && is_polled
        && poll_fds.iter().all(|poll_fd| poll_fd.revents().contains(PollFlags::OUT))
}

/// Writes all of `text`; a closed pipe counts as written.
fn write_unless_closed(mut writer: impl Write, text: &str) -> io::Result<()> {
    match writer.write_all(text.as_bytes()).and_then(|()| writer.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
