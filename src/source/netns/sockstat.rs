//! Detects network namespaces without TCP sockets by their socket statistics.
//!
//! The kernel has one table of TCP sockets for all namespaces, and a dump of one of them
//! walks through the sockets of all. The statistics are counted for each namespace.
use std::{io, path::Path};

use super::process::read_proc_file;

/// Returns false if the namespace with this `/proc/PID/net` has no TCP socket: no
/// listening one, no connection, with or without a process, and none in TIME_WAIT.
///
/// Requests of clients (SYN_RECV) are not in the statistics. They need a listening
/// socket, and the kernel drops those of a closed one when their timer expires.
///
/// # Errors
///
/// Returns an error if the statistics are not available.
pub(super) fn has_tcp_sockets(net_dir: &Path) -> io::Result<bool> {
    if !is_unused(&read_proc_file(&net_dir.join("sockstat"))?, "TCP:") {
        return Ok(true);
    }
    match read_proc_file(&net_dir.join("sockstat6")) {
        // The file is missing where IPv6 is disabled.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        text => Ok(!is_unused(&text?, "TCP6:")),
    }
}

/// Returns true if the line of a protocol counts no sockets: `inuse` are those in the
/// table, `tw` those in TIME_WAIT. `orphan`, `alloc` and `mem` are those of the whole
/// host.
fn is_unused(statistics: &str, protocol: &str) -> bool {
    // TCP: inuse 5 orphan 0 tw 0 alloc 9 mem 1
    let Some(values) = statistics.lines().find_map(|line| line.strip_prefix(protocol)) else {
        return false;
    };
    let mut has_inuse = false;
    let mut words = values.split_whitespace();
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        if matches!(name, "inuse" | "tw") && value != "0" {
            return false;
        }
        has_inuse |= name == "inuse";
    }
    has_inuse
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_in_table_or_time_wait_are_used() {
        for (statistics, protocol, expected) in [
            ("sockets: used 9\nTCP: inuse 0 orphan 3 tw 0 alloc 9 mem 1\n", "TCP:", true),
            ("sockets: used 9\nTCP: inuse 1 orphan 3 tw 0 alloc 9 mem 1\n", "TCP:", false),
            ("sockets: used 9\nTCP: inuse 0 orphan 0 tw 1 alloc 9 mem 1\n", "TCP:", false),
            ("TCP6: inuse 0\nUDP6: inuse 7\n", "TCP6:", true),
            ("TCP6: inuse 10\nUDP6: inuse 0\n", "TCP6:", false),
            // Without the number, nothing is known.
            ("TCP: orphan 0 tw 0\n", "TCP:", false),
            ("TCP: inuse\n", "TCP:", false),
            ("UDP: inuse 0\n", "TCP:", false),
            ("", "TCP6:", false),
        ] {
            assert_eq!(is_unused(statistics, protocol), expected, "{statistics}");
        }
    }
}
