//! Sends messages to the syslog daemon of this host.
use std::{process, time::Duration};

use chrono::{DateTime, FixedOffset};

use super::log_daemon::{LogDaemon, LogDaemonError};

/// The syslog daemon.
static SYSLOG: LogDaemon = LogDaemon {
    name: "syslog",
    socket: "/dev/log",
    connect_hint: "Check that a syslog daemon runs here (ls -l /dev/log), or log to a file.",
    send_hint: "Check whether the syslog daemon is stopped or overloaded.",
};
/// Facility `daemon`, severity `warning` (RFC 3164, 4.1.1).
const PRIORITY: u8 = 3 * 8 + 4;
/// Tag of the messages.
pub const TAG: &str = "topip";

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
) -> Result<(), LogDaemonError> {
    // The packet has no host name: a daemon accepts this format from its own host.
    let packet = format!(
        "<{PRIORITY}>{} {TAG}[{}]: {message}",
        timestamp.format("%b %e %H:%M:%S"),
        process::id()
    );
    SYSLOG.send(packet.as_bytes(), timeout)
}
