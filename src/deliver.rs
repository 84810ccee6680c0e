//! Hands an answer to whoever asked.
#![expect(clippy::disallowed_methods, reason = "this is where the program speaks")]
use std::io::{self, Write};

/// Writes `text` to standard output.
///
/// # Errors
///
/// Where it cannot be written, as on a full disk. A reader that has gone away
/// has what it wanted, and that is no error.
pub fn to_standard_output(text: &str) -> io::Result<()> {
    write(io::stdout().lock(), text)
}

/// Writes `text` to standard error, under the same terms.
///
/// # Errors
///
/// As above.
pub fn to_standard_error(text: &str) -> io::Result<()> {
    write(io::stderr().lock(), text)
}

fn write(mut to: impl Write, text: &str) -> io::Result<()> {
    match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
