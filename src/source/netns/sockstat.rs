//! Detects network namespaces without TCP sockets by their socket statistics.
//!
//! The kernel has one table of TCP sockets for all namespaces, and a dump of one of them
//! walks through the sockets of all. The statistics are counted for each namespace.
use std::{io, path::Path};

use super::process::read_proc_file;

/// Returns false if the namespace with this `/proc/PID/net` has no TCP socket: no
/// listening one, no connection, with or without a process, and none in TIME_WAIT.
///
/// # Errors
///
/// Returns an error if the statistics are not available.
pub(super) fn has_tcp_sockets(net_dir: &Path) -> io::Result<bool> {
    Ok(n_tcp_sockets(net_dir)? != Some(0))
}

/// Returns the number of TCP sockets in the namespace with this `/proc/PID/net`; `None` if
/// the statistics do not contain it.
///
/// Half-open connections (SYN_RECV) are not in the statistics. They need a listening
/// socket. After that socket is closed, the kernel drops them when their timer expires.
///
/// # Errors
///
/// Returns an error if the statistics are not available.
pub(in crate::source) fn n_tcp_sockets(net_dir: &Path) -> io::Result<Option<u64>> {
    let v4 = n_sockets(&read_proc_file(&net_dir.join("sockstat"))?, "TCP:");
    let v6 = match read_proc_file(&net_dir.join("sockstat6")) {
        // The file is missing where IPv6 is disabled.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(0),
        text => n_sockets(&text?, "TCP6:"),
    };
    Ok(v4.zip(v6).map(|(v4, v6)| v4 + v6))
}

/// Returns the number of sockets of a protocol: `inuse` are those in the table, `tw` those
/// in TIME_WAIT. `orphan`, `alloc` and `mem` are those of the whole host.
fn n_sockets(statistics: &str, protocol: &str) -> Option<u64> {
    // TCP: inuse 5 orphan 0 tw 0 alloc 9 mem 1
    let values = statistics.lines().find_map(|line| line.strip_prefix(protocol))?;
    let (mut n_in_use, mut n_time_wait) = (None, 0);
    let mut words = values.split_whitespace();
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        match name {
            "inuse" => n_in_use = Some(value.parse::<u64>().ok()?),
            "tw" => n_time_wait = value.parse().ok()?,
            _ => {}
        }
    }
    Some(n_in_use? + n_time_wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_in_table_or_time_wait_are_used() {
        for (statistics, protocol, expected) in [
            ("sockets: used 9\nTCP: inuse 0 orphan 3 tw 0 alloc 9 mem 1\n", "TCP:", Some(0)),
            ("sockets: used 9\nTCP: inuse 1 orphan 3 tw 0 alloc 9 mem 1\n", "TCP:", Some(1)),
            ("sockets: used 9\nTCP: inuse 2 orphan 0 tw 7 alloc 9 mem 1\n", "TCP:", Some(9)),
            ("TCP6: inuse 0\nUDP6: inuse 7\n", "TCP6:", Some(0)),
            ("TCP6: inuse 10\nUDP6: inuse 0\n", "TCP6:", Some(10)),
            // Without the number, nothing is known.
            ("TCP: orphan 0 tw 0\n", "TCP:", None),
            ("TCP: inuse\n", "TCP:", None),
            ("TCP: inuse -1 tw 0\n", "TCP:", None),
            ("UDP: inuse 0\n", "TCP:", None),
            ("", "TCP6:", None),
        ] {
            assert_eq!(n_sockets(statistics, protocol), expected, "{statistics}");
        }
    }
}
