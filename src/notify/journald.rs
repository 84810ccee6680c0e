//! Hands an alert to systemd's journal, in fields that it can be searched by.
#![expect(clippy::disallowed_types, reason = "this is where alerts are sent")]
use std::{io, os::unix::net::UnixDatagram, time::Duration};

/// Where the journal listens, by its native protocol (systemd.io, "Native
/// Journal Protocol").
const SOCKET: &str = "/run/systemd/journal/socket";

/// Why an alert did not get there.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Nobody listens.
    #[error("cannot reach the journal at {SOCKET}")]
    Reach(#[source] io::Error),
    /// It was not taken.
    #[error("cannot write to the journal at {SOCKET}")]
    Send(#[source] io::Error),
}

impl JournalError {
    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> String {
        match self {
            Self::Reach(_) => {
                "Does systemd-journald run here? If not, log to a file or to syslog.".to_owned()
            }
            Self::Send(_) => "Is systemd-journald stopped or overrun?".to_owned(),
        }
    }
}

/// Sends an entry of these fields. A journal that is busy is waited for as long
/// as `patience`, which is not nothing.
///
/// # Errors
///
/// Where nobody took it.
pub fn send(fields: &[(&str, String)], patience: Duration) -> Result<(), JournalError> {
    let socket = UnixDatagram::unbound().map_err(JournalError::Reach)?;
    socket.connect(SOCKET).map_err(JournalError::Reach)?;
    socket.set_write_timeout(Some(patience)).map_err(JournalError::Send)?;
    let packet = packet(fields);
    let sent = socket.send(&packet).map_err(JournalError::Send)?;
    match sent == packet.len() {
        true => Ok(()),
        false => Err(JournalError::Send(io::ErrorKind::WriteZero.into())),
    }
}

/// `NAME=value` and a line end; a value that has line ends comes with its
/// length before it.
fn packet(fields: &[(&str, String)]) -> Vec<u8> {
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
    fn a_value_cannot_become_a_field() {
        let fields = [("MESSAGE", "one".to_owned()), ("SERVER", "a\nPRIORITY=0".to_owned())];
        let expected = b"MESSAGE=one\nSERVER\n\x0c\0\0\0\0\0\0\0a\nPRIORITY=0\n";
        assert_eq!(packet(&fields), expected);
    }
}
