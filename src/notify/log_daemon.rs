//! Sends messages to a log daemon of this host.
#![expect(clippy::disallowed_types, reason = "sends messages to local sockets")]
use std::{
    io::{self, Write},
    os::unix::net::{UnixDatagram, UnixStream},
    time::Duration,
};

use rustix::io::Errno;

use crate::model::problem::Hints;

/// A log daemon, with the texts for messages about it.
#[derive(Debug)]
pub struct LogDaemon {
    /// Name in messages.
    pub(super) name: &'static str,
    /// Path of its socket.
    pub(super) socket: &'static str,
    /// Hint for a failed connection to the socket.
    pub(super) connect_hint: &'static str,
    /// Hint for a message that is not accepted.
    pub(super) send_hint: &'static str,
}

/// Failure to send a message to a log daemon.
#[derive(Debug, thiserror::Error)]
pub enum LogDaemonError {
    /// The connection to the socket failed.
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
        let socket = DaemonSocket::connect(self.socket)
            .map_err(|source| LogDaemonError::Connect { daemon: self, source })?;
        socket.send(packet, timeout).map_err(|source| LogDaemonError::Send { daemon: self, source })
    }
}

/// Connection to the socket of a log daemon.
enum DaemonSocket {
    /// One datagram is one message.
    Datagram(UnixDatagram),
    /// A NUL byte ends a message, as syslog(3) of the C library writes it: `unix-stream`
    /// of syslog-ng.
    Stream(UnixStream),
}

impl DaemonSocket {
    fn connect(path: &str) -> io::Result<Self> {
        let datagram = UnixDatagram::unbound()?;
        match datagram.connect(path) {
            Ok(()) => Ok(Self::Datagram(datagram)),
            // The socket is of another type.
            Err(error) if error.raw_os_error() == Some(Errno::PROTOTYPE.raw_os_error()) => {
                UnixStream::connect(path).map(Self::Stream)
            }
            Err(error) => Err(error),
        }
    }

    fn send(self, packet: &[u8], timeout: Duration) -> io::Result<()> {
        match self {
            Self::Datagram(socket) => {
                socket.set_write_timeout(Some(timeout))?;
                let n_sent = socket.send(packet)?;
                if n_sent == packet.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
            }
            Self::Stream(mut socket) => {
                socket.set_write_timeout(Some(timeout))?;
                // The timeout applies to each write, and a message needs few writes.
                socket.write_all(&[packet, b"\0"].concat())
            }
        }
    }
}
