//! Hands a message to the syslog daemon of this host.
#![expect(clippy::disallowed_types, reason = "this is where messages are sent")]
use std::{io, os::unix::net::UnixDatagram, process, time::Duration};

use chrono::{DateTime, FixedOffset};

/// Where the daemon listens.
const SOCKET: &str = "/dev/log";
/// Facility `daemon`, severity `warning` (RFC 3164, 4.1.1).
const PRIORITY: u8 = 3 * 8 + 4;
/// What the messages are found by.
pub const TAG: &str = "topip";

/// Why a message did not get there.
#[derive(Debug, thiserror::Error)]
pub enum SyslogError {
    /// Nobody listens.
    #[error("cannot reach syslog at {SOCKET}")]
    Reach(#[source] io::Error),
    /// It was not taken.
    #[error("cannot write to syslog at {SOCKET}")]
    Send(#[source] io::Error),
}

impl SyslogError {
    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> String {
        match self {
            Self::Reach(_) => {
                "Does a syslog daemon run here? ls -l /dev/log; else log to a file.".to_owned()
            }
            Self::Send(_) => "Is the syslog daemon stopped or overrun?".to_owned(),
        }
    }
}

/// Sends `message`, with the time that its sample was taken. A daemon that is
/// busy is waited for as long as `patience`, which is not nothing.
///
/// # Errors
///
/// Where nobody took it.
pub fn send(
    message: &str,
    when: DateTime<FixedOffset>,
    patience: Duration,
) -> Result<(), SyslogError> {
    let socket = UnixDatagram::unbound().map_err(SyslogError::Reach)?;
    socket.connect(SOCKET).map_err(SyslogError::Reach)?;
    socket.set_write_timeout(Some(patience)).map_err(SyslogError::Send)?;
    // The form that every daemon takes from its own host: without a host name.
    let packet = format!(
        "<{PRIORITY}>{} {TAG}[{}]: {message}",
        when.format("%b %e %H:%M:%S"),
        process::id()
    );
    let sent = socket.send(packet.as_bytes()).map_err(SyslogError::Send)?;
    match sent == packet.len() {
        true => Ok(()),
        false => Err(SyslogError::Send(io::ErrorKind::WriteZero.into())),
    }
}
