//! Sends messages to the syslog daemon of this host.
#![expect(clippy::disallowed_types, reason = "sends messages to the local syslog socket")]
use std::{io, os::unix::net::UnixDatagram, process, time::Duration};

use chrono::{DateTime, FixedOffset};

use crate::model::problem::Hints;

/// Socket of the daemon.
const SOCKET: &str = "/dev/log";
/// Facility `daemon`, severity `warning` (RFC 3164, 4.1.1).
const PRIORITY: u8 = 3 * 8 + 4;
/// Tag of the messages.
pub const TAG: &str = "topip";

/// Failure to send a message to syslog.
#[derive(Debug, thiserror::Error)]
pub enum SyslogError {
    /// The socket cannot be connected to.
    #[error("cannot reach syslog at {SOCKET}")]
    Connect(#[source] io::Error),
    /// The message was not accepted.
    #[error("cannot write to syslog at {SOCKET}")]
    Send(#[source] io::Error),
}

impl Hints for SyslogError {
    fn hints(&self) -> Vec<String> {
        vec![self.hint()]
    }
}

impl SyslogError {
    /// Returns a hint on how to fix the error.
    fn hint(&self) -> String {
        match self {
            Self::Connect(_) => {
                "Does a syslog daemon run here? ls -l /dev/log; else log to a file.".to_owned()
            }
            Self::Send(_) => "Is the syslog daemon stopped or overrun?".to_owned(),
        }
    }
}

/// Sends `message` with the timestamp of its sample. Waits at most `timeout` for a
/// busy daemon; `timeout` must not be zero.
///
/// # Errors
///
/// Returns an error if the daemon does not accept the message.
pub fn send(
    message: &str,
    timestamp: DateTime<FixedOffset>,
    timeout: Duration,
) -> Result<(), SyslogError> {
    let socket = UnixDatagram::unbound().map_err(SyslogError::Connect)?;
    socket.connect(SOCKET).map_err(SyslogError::Connect)?;
    socket.set_write_timeout(Some(timeout)).map_err(SyslogError::Send)?;
    // Without a host name: each daemon accepts this format from its own host.
    let packet = format!(
        "<{PRIORITY}>{} {TAG}[{}]: {message}",
        timestamp.format("%b %e %H:%M:%S"),
        process::id()
    );
    let n_sent = socket.send(packet.as_bytes()).map_err(SyslogError::Send)?;
    if n_sent == packet.len() {
        Ok(())
    } else {
        Err(SyslogError::Send(io::ErrorKind::WriteZero.into()))
    }
}
