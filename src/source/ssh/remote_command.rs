//! A command that runs on a server, and its two output streams.
use std::io::{self, Read};

use ssh2::Channel;

use super::{relay::if_ready, session::LimitedSession, ssh_error::describe_error};
use crate::source::remote_listing::{CommandOutput, OutputLimit};

/// Maximum number of bytes of standard error read at a time.
const STDERR_CHUNK_BYTES: usize = 16 * 1024;

/// Running command on a server, with its two streams.
pub(super) struct RemoteCommand {
    // The channel is dropped before the session because it sends a last packet.
    channel: Channel,
    session: LimitedSession,
    limit: OutputLimit,
}

impl RemoteCommand {
    /// Takes over a started command.
    pub(super) fn new(session: LimitedSession, channel: Channel) -> Self {
        Self { channel, session, limit: OutputLimit::new() }
    }

    /// Reads one chunk of the available standard error; returns false if there was
    /// none.
    fn read_stderr(&mut self) -> io::Result<bool> {
        let mut chunk = [0; STDERR_CHUNK_BYTES];
        let result = self.channel.stderr().read(&mut chunk);
        let Some(length @ 1..) = if_ready(result).map_err(|error| self.explain(error))? else {
            return Ok(false);
        };
        self.limit.add_stderr(&chunk[..length])?;
        self.session.relay().add_consumed(length);
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
        let mut problem = "the server closed the connection".to_owned();
        let message = self.session.disconnect_message();
        if !message.is_empty() {
            problem += &format!(" ({message})");
        }
        Some(io::Error::new(io::ErrorKind::ConnectionAborted, problem))
    }
}

impl CommandOutput for RemoteCommand {
    /// Reads standard output, and also the standard error that is available meanwhile.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let has_stderr = self.read_stderr()?;
            let result = self.channel.read(buffer);
            match if_ready(result).map_err(|error| self.explain(error))? {
                Some(0) if self.channel.eof() => return Ok(0),
                Some(length) if length > 0 => {
                    self.limit.count(length)?;
                    self.session.relay().add_consumed(length);
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
            return Ok(Err(format!("the command ended with SIG{name}")));
        }
        // A server that closes the channel early sends no exit status.
        if !self.channel.has_exit_status() {
            if let Some(error) = self.disconnect_error() {
                return Err(error);
            }
            return Ok(Err("the output ended early, without an exit status".to_owned()));
        }
        match self.channel.exit_status().map_err(io::Error::from)? {
            0 => Ok(Ok(())),
            exit_status => Ok(Err(format!("the command ended with exit status {exit_status}"))),
        }
    }

    fn last_error_line(&self) -> Option<String> {
        self.limit.error_lines().pop()
    }
}

fn to_io_error(error: ssh2::Error) -> io::Error {
    io::Error::other(describe_error(&error))
}
