//! Sends messages to a log daemon of this host, one datagram each.
#![expect(clippy::disallowed_types, reason = "sends messages to local sockets")]
use std::{io, os::unix::net::UnixDatagram, time::Duration};

use crate::model::problem::Hints;

/// A log daemon, and its part of the messages about it.
#[derive(Debug)]
pub struct LogDaemon {
    /// Name in messages.
    pub(super) name: &'static str,
    /// Path of its datagram socket.
    pub(super) socket: &'static str,
    /// Hint if the socket cannot be connected to.
    pub(super) connect_hint: &'static str,
    /// Hint if a message is not accepted.
    pub(super) send_hint: &'static str,
}

/// Failure to send a message to a log daemon.
#[derive(Debug, thiserror::Error)]
pub enum LogDaemonError {
    /// The socket cannot be connected to.
    #[error("cannot reach {} at {}", daemon.name, daemon.socket)]
    Connect {
        /// The daemon.
        daemon: &'static LogDaemon,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The message was not accepted.
    #[error("cannot write to {} at {}", daemon.name, daemon.socket)]
    Send {
        /// The daemon.
        daemon: &'static LogDaemon,
        /// Error of the operating system.
        source: io::Error,
    },
}

impl Hints for LogDaemonError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Connect { daemon, .. } => vec![daemon.connect_hint.to_owned()],
            Self::Send { daemon, .. } => vec![daemon.send_hint.to_owned()],
        }
    }
}

impl LogDaemon {
    /// Sends `packet`. Waits at most `timeout` for a busy daemon; `timeout` must not be
    /// zero.
    ///
    /// # Errors
    ///
    /// Returns an error if the daemon does not accept the packet.
    pub(super) fn send(
        &'static self,
        packet: &[u8],
        timeout: Duration,
    ) -> Result<(), LogDaemonError> {
        let socket =
            self.connect().map_err(|source| LogDaemonError::Connect { daemon: self, source })?;
        send_packet(&socket, packet, timeout)
            .map_err(|source| LogDaemonError::Send { daemon: self, source })
    }

    fn connect(&self) -> io::Result<UnixDatagram> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(self.socket)?;
        Ok(socket)
    }
}

fn send_packet(socket: &UnixDatagram, packet: &[u8], timeout: Duration) -> io::Result<()> {
    socket.set_write_timeout(Some(timeout))?;
    let n_sent = socket.send(packet)?;
    if n_sent == packet.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}
