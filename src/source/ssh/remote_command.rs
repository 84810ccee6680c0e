//! A command that runs on a server, and its two output streams.
#![expect(clippy::disallowed_types, reason = "a socket is waited on")]
use std::{
    collections::VecDeque,
    io::{self, Read},
    net::TcpStream,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use ssh2::{BlockDirections, Channel, Session};

use super::ssh_error::describe_error;

/// Maximum number of bytes that a command may write, on both streams together: about
/// three million connections.
const MAX_OUTPUT_BYTES: u64 = 256 * 1024 * 1024;
/// Maximum wait for the socket before libssh2 is asked for data again.
const MAX_POLL_WAIT: Duration = Duration::from_millis(50);
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
    /// Returns the exit result: `Err` describes the signal or the exit status other
    /// than 0. Must be called only at the end of the output.
    fn exit_result(&mut self) -> io::Result<Result<(), String>>;
    /// Returns the last line of standard error, which may explain missing output.
    fn last_error_line(&self) -> Option<String>;
}

/// Running command on a server, with its two streams.
pub(super) struct RemoteCommand {
    /// Second handle of the session's socket, for polling.
    poll_stream: TcpStream,
    session: Session,
    channel: Channel,
    /// Last bytes of standard error, at most [`MAX_STDERR_BYTES`].
    stderr: VecDeque<u8>,
    deadline: Instant,
    /// Remaining byte budget.
    bytes_left: u64,
}

impl RemoteCommand {
    /// Takes over a started command, which is read until `deadline`.
    ///
    /// Sets the session to non-blocking: unread data of one stream stops both, so a
    /// read of one stream must never block.
    pub(super) fn new(
        (session, poll_stream): (Session, TcpStream),
        channel: Channel,
        deadline: Instant,
    ) -> Self {
        session.set_blocking(false);
        Self {
            poll_stream,
            session,
            channel,
            stderr: VecDeque::new(),
            deadline,
            bytes_left: MAX_OUTPUT_BYTES,
        }
    }

    /// Reads one chunk of the available standard error; returns false if there was
    /// none.
    fn read_stderr(&mut self) -> io::Result<bool> {
        let mut chunk = [0; STDERR_CHUNK_BYTES];
        let Some(length @ 1..) = non_blocking(self.channel.stderr().read(&mut chunk))? else {
            return Ok(false);
        };
        self.take_from_budget(length)?;
        self.stderr.extend(&chunk[..length]);
        let n_excess = self.stderr.len().saturating_sub(MAX_STDERR_BYTES);
        self.stderr.drain(..n_excess);
        Ok(true)
    }

    fn take_from_budget(&mut self, length: usize) -> io::Result<()> {
        let bytes_left = self.bytes_left.checked_sub(length as u64);
        self.bytes_left =
            bytes_left.ok_or_else(|| io::Error::other("it wrote more than 256 MiB"))?;
        Ok(())
    }

    /// Waits until the socket is readable or, if libssh2 needs to write, writable;
    /// at most [`MAX_POLL_WAIT`].
    fn wait(&self) -> io::Result<()> {
        let time_left = self.deadline.saturating_duration_since(Instant::now());
        if time_left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it gave no answer in time"));
        }
        let flags = match self.session.block_directions() {
            BlockDirections::Outbound => PollFlags::OUT,
            BlockDirections::Both => PollFlags::IN | PollFlags::OUT,
            BlockDirections::None | BlockDirections::Inbound => PollFlags::IN,
        };
        // While libssh2 read one stream, it may have buffered data of the other one.
        // Then the socket stays silent although data is available, so the wait is
        // short.
        let timeout = Timespec::try_from(time_left.min(MAX_POLL_WAIT)).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&self.poll_stream, flags)], Some(&timeout)) {
            Err(rustix::io::Errno::INTR) | Ok(_) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl CommandOutput for RemoteCommand {
    /// Reads standard output, and standard error on the way.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let has_stderr = self.read_stderr()?;
            match non_blocking(self.channel.read(buffer))? {
                Some(0) if self.channel.eof() => return Ok(0),
                Some(length) if length > 0 => {
                    self.take_from_budget(length)?;
                    return Ok(length);
                }
                // Reading one stream may have buffered data of the other one.
                _ if has_stderr => {}
                _ => self.wait()?,
            }
        }
    }

    fn exit_result(&mut self) -> io::Result<Result<(), String>> {
        self.session.set_blocking(true);
        let time_left = self.deadline.saturating_duration_since(Instant::now());
        let timeout_ms = u32::try_from(time_left.as_millis().max(1)).unwrap_or(u32::MAX);
        self.session.set_timeout(timeout_ms);
        self.channel.wait_close().map_err(|error| io::Error::other(describe_error(&error)))?;
        let signal = self.channel.exit_signal().map_err(io::Error::from)?;
        if let Some(name) = signal.exit_signal {
            return Ok(Err(format!("it was ended by SIG{name}")));
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

impl Drop for RemoteCommand {
    fn drop(&mut self) {
        // A dropped session sends a disconnect message. In blocking mode it would
        // wait for the server.
        self.session.set_blocking(false);
    }
}

/// Converts `WouldBlock` to `None`.
fn non_blocking(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(length) => Ok(Some(length)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
