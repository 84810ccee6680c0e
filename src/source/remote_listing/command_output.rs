//! The two output streams of a command that runs on a server.
use std::{collections::VecDeque, io};

/// Maximum number of bytes that a command may write, on both streams together: about
/// three million connections.
const MAX_OUTPUT_BYTES: u64 = 256 * 1024 * 1024;
/// Maximum number of bytes kept of standard error.
const MAX_STDERR_BYTES: usize = 2048;
/// Maximum length of a quoted line of output, in characters.
pub(in crate::source) const MAX_QUOTED_CHARS: usize = 120;

/// Output of a command, and its exit status.
pub(in crate::source) trait CommandOutput {
    /// Reads standard output; returns 0 at its end.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    /// Returns the exit result: `Err` describes the signal, the exit status other than 0,
    /// or the lack of an exit status. Must be called only at the end of the output.
    fn exit_result(&mut self) -> io::Result<Result<(), String>>;
    /// Returns the last line of standard error, which may explain missing output.
    fn last_error_line(&self) -> Option<String>;
}

/// Limit for the output of a command, and the end of its standard error.
#[derive(Debug)]
pub(in crate::source) struct OutputLimit {
    /// Last bytes of standard error, at most [`MAX_STDERR_BYTES`].
    stderr: VecDeque<u8>,
    /// Remaining byte budget.
    bytes_left: u64,
}

impl OutputLimit {
    pub(in crate::source) fn new() -> Self {
        Self { stderr: VecDeque::new(), bytes_left: MAX_OUTPUT_BYTES }
    }

    /// Counts bytes of output.
    ///
    /// # Errors
    ///
    /// Returns an error if the command has written too much.
    pub(in crate::source) fn count(&mut self, n_bytes: usize) -> io::Result<()> {
        let bytes_left = self.bytes_left.checked_sub(n_bytes as u64);
        self.bytes_left =
            bytes_left.ok_or_else(|| io::Error::other("the command wrote more than 256 MiB"))?;
        Ok(())
    }

    /// Counts bytes of standard error, and keeps the last ones.
    ///
    /// # Errors
    ///
    /// Returns an error if the command has written too much.
    pub(in crate::source) fn add_stderr(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.count(chunk.len())?;
        self.stderr.extend(chunk);
        let n_excess = self.stderr.len().saturating_sub(MAX_STDERR_BYTES);
        self.stderr.drain(..n_excess);
        Ok(())
    }

    /// Returns the last lines of standard error that are not blank, each truncated.
    pub(in crate::source) fn error_lines(&self) -> Vec<String> {
        let bytes: Vec<_> = self.stderr.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        lines.map(|line| line.chars().take(MAX_QUOTED_CHARS).collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_lines_of_standard_error_are_kept() {
        let mut output = OutputLimit::new();
        assert_eq!(output.error_lines(), [""; 0]);
        output.add_stderr(&[b'x'; 5000]).expect("it is below the limit");
        output.add_stderr(b"\nssh: one\r\n\n  two\n \n").expect("it is below the limit");
        let lines = output.error_lines();
        assert_eq!(lines[1..], ["ssh: one", "two"]);
        assert_eq!(lines[0].len(), MAX_QUOTED_CHARS);
        assert!(output.stderr.len() <= MAX_STDERR_BYTES);
    }

    #[test]
    fn output_above_the_limit_is_an_error() {
        let mut output = OutputLimit::new();
        output.count(MAX_OUTPUT_BYTES as usize).expect("it is the limit");
        assert!(output.add_stderr(b"x").is_err());
    }
}
