//! Sends alerts to the systemd journal, with fields that can be searched for.
use std::time::Duration;

use super::log_daemon::{LogDaemon, LogDaemonError};

/// The systemd journal, by its native protocol (systemd.io, "Native Journal Protocol").
static JOURNAL: LogDaemon = LogDaemon {
    name: "the journal",
    socket: "/run/systemd/journal/socket",
    connect_hint: "Check that systemd-journald runs here, or log to a file or to syslog.",
    send_hint: "Check whether systemd-journald is stopped or overloaded.",
};

/// Sends an entry of these fields. Waits at most `timeout` for a busy journal;
/// `timeout` must not be zero.
///
/// # Errors
///
/// Returns an error if the journal does not accept the entry.
pub fn send(fields: &[(&str, String)], timeout: Duration) -> Result<(), LogDaemonError> {
    JOURNAL.send(&encode(fields), timeout)
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
