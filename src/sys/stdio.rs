//! Hands an answer to whoever asked.
#![expect(clippy::disallowed_methods, reason = "this is where the program speaks")]
use std::io::{self, Write};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Writes `text` to standard output.
///
/// # Errors
///
/// Where it cannot be written, as on a full disk. A reader that has gone away
/// has what it wanted, and that is no error.
pub fn to_standard_output(text: &str) -> io::Result<()> {
    write(io::stdout().lock(), text)
}

/// Writes `text` to standard output; gives whether there is still a reader.
///
/// # Errors
///
/// Where it cannot be written, as on a full disk.
pub fn to_reader(text: &str) -> io::Result<bool> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true),
    }
}

/// Writes `text` to standard error, under the same terms.
///
/// # Errors
///
/// As above.
pub fn to_standard_error(text: &str) -> io::Result<()> {
    write(io::stderr().lock(), text)
}

/// Whether standard output takes the one and standard error the other without
/// making anybody wait.
#[must_use]
pub fn has_room_for(output: &str, complaint: &str) -> bool {
    // A pipe that says that it has room has a page of it (pipe(7)); it may be the
    // same one.
    const PAGE: usize = 4096;
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let mut asked = [PollFd::new(&stdout, PollFlags::OUT), PollFd::new(&stderr, PollFlags::OUT)];
    let asked = match (output, complaint) {
        ("", _) => &mut asked[1..],
        (_, "") => &mut asked[..1],
        _ => &mut asked[..],
    };
    let is_asked = poll(asked, Some(&Timespec::default())).is_ok();
    let has_room = |it: &PollFd<'_>| it.revents().contains(PollFlags::OUT);
    output.len() + complaint.len() <= PAGE && is_asked && asked.iter().all(has_room)
}

fn write(mut to: impl Write, text: &str) -> io::Result<()> {
    match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
