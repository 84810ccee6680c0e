//! Sends alerts to the systemd journal, with fields that can be searched for.
#![expect(clippy::disallowed_types, reason = "sends alerts to the local journal socket")]
use std::{io, os::unix::net::UnixDatagram, time::Duration};

use crate::model::problem::Hints;

/// Socket of the journal's native protocol (systemd.io, "Native Journal Protocol").
const SOCKET: &str = "/run/systemd/journal/socket";

/// Failure to send an alert to the journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The socket cannot be connected to.
    #[error("cannot reach the journal at {SOCKET}")]
    Connect(#[source] io::Error),
    /// The entry was not accepted.
    #[error("cannot write to the journal at {SOCKET}")]
    Send(#[source] io::Error),
}

impl Hints for JournalError {
    fn hints(&self) -> Vec<String> {
        vec![self.hint()]
    }
}

impl JournalError {
    /// Returns a hint on how to fix the error.
    fn hint(&self) -> String {
        match self {
            Self::Connect(_) => {
                "Does systemd-journald run here? If not, log to a file or to syslog.".to_owned()
            }
            Self::Send(_) => "Is systemd-journald stopped or overrun?".to_owned(),
        }
    }
}

/// Sends an entry of these fields. Waits at most `timeout` for a busy journal;
/// `timeout` must not be zero.
///
/// # Errors
///
/// Returns an error if the journal does not accept the entry.
pub fn send(fields: &[(&str, String)], timeout: Duration) -> Result<(), JournalError> {
    let socket = UnixDatagram::unbound().map_err(JournalError::Connect)?;
    socket.connect(SOCKET).map_err(JournalError::Connect)?;
    socket.set_write_timeout(Some(timeout)).map_err(JournalError::Send)?;
    let packet = encode(fields);
    let n_sent = socket.send(&packet).map_err(JournalError::Send)?;
    if n_sent == packet.len() {
        Ok(())
    } else {
        Err(JournalError::Send(io::ErrorKind::WriteZero.into()))
    }
}

/// Encodes each field as `NAME=value` and a line end. A value that contains line ends
/// is preceded by its length instead.
fn encode(fields: &[(&str, String)]) -> Vec<u8> {
    let mut packet = Vec::new();
    for (name, value) in fields {
        packet.extend(name.as_bytes());
        if value.contains('\n') {
            packet.push(b'\n');
            packet.extend((value.len() as u64).to_le_bytes());
        } else {
            packet.push(b'=');
        }
        packet.extend(value.as_bytes());
        packet.push(b'\n');
    }
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiline_value_cannot_inject_field() {
        let fields = [("MESSAGE", "one".to_owned()), ("SERVER", "a\nPRIORITY=0".to_owned())];
        let expected = b"MESSAGE=one\nSERVER\n\x0c\0\0\0\0\0\0\0a\nPRIORITY=0\n";
        assert_eq!(encode(&fields), expected);
    }
}
