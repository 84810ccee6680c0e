//! A command that runs on a server, and its two output streams.
use std::{
    collections::VecDeque,
    io::{self, Read},
};

use ssh2::Channel;

use super::{relay::if_ready, session::LimitedSession, ssh_error::describe_error};

/// Maximum number of bytes that a command may write, on both streams together: about
/// three million connections.
const MAX_OUTPUT_BYTES: u64 = 256 * 1024 * 1024;
/// Maximum number of bytes of standard error read at a time.
const STDERR_CHUNK_BYTES: usize = 16 * 1024;
/// Maximum number of bytes kept of standard error.
const MAX_STDERR_BYTES: usize = 2048;
/// Maximum length of a quoted line of output, in characters.
pub(super) const MAX_QUOTED_CHARS: usize = 120;

/// Output of a command, and its exit status.
pub(super) trait CommandOutput {
    /// Reads standard output; returns 0 at its end.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    /// Returns the exit result: `Err` describes the signal, the exit status other than 0,
    /// or that there is none. Must be called only at the end of the output.
    fn exit_result(&mut self) -> io::Result<Result<(), String>>;
    /// Returns the last line of standard error, which may explain missing output.
    fn last_error_line(&self) -> Option<String>;
}

/// Running command on a server, with its two streams.
pub(super) struct RemoteCommand {
    // Dropped before the session: it sends a last packet.
    channel: Channel,
    session: LimitedSession,
    /// Last bytes of standard error, at most [`MAX_STDERR_BYTES`].
    stderr: VecDeque<u8>,
    /// Remaining byte budget.
    bytes_left: u64,
}

impl RemoteCommand {
    /// Takes over a started command.
    pub(super) fn new(session: LimitedSession, channel: Channel) -> Self {
        Self { channel, session, stderr: VecDeque::new(), bytes_left: MAX_OUTPUT_BYTES }
    }

    /// Reads one chunk of the available standard error; returns false if there was
    /// none.
    fn read_stderr(&mut self) -> io::Result<bool> {
        let mut chunk = [0; STDERR_CHUNK_BYTES];
        let result = self.channel.stderr().read(&mut chunk);
        let Some(length @ 1..) = if_ready(result).map_err(|error| self.explain(error))? else {
            return Ok(false);
        };
        self.take_from_budget(length)?;
        self.stderr.extend(&chunk[..length]);
        let n_excess = self.stderr.len().saturating_sub(MAX_STDERR_BYTES);
        self.stderr.drain(..n_excess);
        Ok(true)
    }

    /// Replaces the error of a closed connection, for which libssh2 has several.
    fn explain(&self, error: io::Error) -> io::Error {
        self.disconnect_error().unwrap_or(error)
    }

    /// Returns the error for a connection that the server has closed; `None` if it is open.
    fn disconnect_error(&self) -> Option<io::Error> {
        if !self.session.is_closed() {
            return None;
        }
        let mut problem = "it closed the connection".to_owned();
        let message = self.session.disconnect_message();
        if !message.is_empty() {
            problem += &format!(" ({message})");
        }
        Some(io::Error::new(io::ErrorKind::ConnectionAborted, problem))
    }

    fn take_from_budget(&mut self, length: usize) -> io::Result<()> {
        let bytes_left = self.bytes_left.checked_sub(length as u64);
        self.bytes_left =
            bytes_left.ok_or_else(|| io::Error::other("it wrote more than 256 MiB"))?;
        self.session.relay().add_consumed(length);
        Ok(())
    }
}

impl CommandOutput for RemoteCommand {
    /// Reads standard output, and standard error on the way.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let has_stderr = self.read_stderr()?;
            let result = self.channel.read(buffer);
            match if_ready(result).map_err(|error| self.explain(error))? {
                Some(0) if self.channel.eof() => return Ok(0),
                Some(length) if length > 0 => {
                    self.take_from_budget(length)?;
                    return Ok(length);
                }
                // Reading one stream may have buffered data of the other one.
                _ if has_stderr => {}
                _ => self.session.relay().exchange().map_err(to_io_error)?,
            }
        }
    }

    fn exit_result(&mut self) -> io::Result<Result<(), String>> {
        let channel = &mut self.channel;
        let closed = self.session.complete(|_| channel.wait_close());
        closed.map_err(|error| self.explain(to_io_error(error)))?;
        let signal = self.channel.exit_signal().map_err(io::Error::from)?;
        if let Some(name) = signal.exit_signal {
            return Ok(Err(format!("it was ended by SIG{name}")));
        }
        // A server that closes the channel early sends none.
        if !self.channel.has_exit_status() {
            if let Some(error) = self.disconnect_error() {
                return Err(error);
            }
            return Ok(Err("it broke off without an exit status".to_owned()));
        }
        match self.channel.exit_status().map_err(io::Error::from)? {
            0 => Ok(Ok(())),
            exit_status => Ok(Err(format!("it ended with {exit_status}"))),
        }
    }

    fn last_error_line(&self) -> Option<String> {
        let bytes: Vec<_> = self.stderr.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
        Some(line.chars().take(MAX_QUOTED_CHARS).collect())
    }
}

fn to_io_error(error: ssh2::Error) -> io::Error {
    io::Error::other(describe_error(&error))
}
