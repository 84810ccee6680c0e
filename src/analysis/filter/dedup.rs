//! Detection of connections that a table lists twice.
use std::{
    collections::{BTreeSet, VecDeque},
    net::SocketAddr,
};

use crate::model::connection::Connection;

/// Maximum number of remembered connections. The kernel lists at most as many connections
/// twice as arrive while the table is read.
const MAX_REMEMBERED: usize = 32 * 1024;

/// The connections that a table listed most recently.
///
/// `/proc/net/tcp` is read a page at a time, and the kernel searches for its
/// position again for each page. If all rows behind the position are gone, the
/// kernel counts rows from the start (`tcp_seek_last_pos` in `tcp_ipv4.c`): rows
/// that were added in the meantime then push rows that were already listed behind
/// the position.
#[derive(Debug, Default)]
pub struct DuplicateDetector {
    known: BTreeSet<(SocketAddr, SocketAddr)>,
    /// The same connections, oldest first.
    queue: VecDeque<(SocketAddr, SocketAddr)>,
}

impl DuplicateDetector {
    /// Returns whether this connection was listed before. A listening socket is
    /// never a duplicate: many sockets may listen at one address.
    pub fn is_duplicate(&mut self, connection: &Connection) -> bool {
        if !connection.is_connected() {
            return false;
        }
        let endpoints = (connection.local, connection.peer);
        if !self.known.insert(endpoints) {
            return true;
        }
        self.queue.push_back(endpoints);
        if self.queue.len() > MAX_REMEMBERED {
            let oldest = self.queue.pop_front().expect("the queue is not empty");
            self.known.remove(&oldest);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::connection::TcpState;

    fn connection(port: u16, tcp_state: TcpState) -> Connection {
        let peer = match tcp_state {
            TcpState::Listen => "0.0.0.0:0".parse().expect("an address"),
            _ => SocketAddr::from(([203, 0, 113, 7], port)),
        };
        let local = SocketAddr::from(([192, 0, 2, 10], 443));
        Connection {
            local,
            peer,
            tcp_state: Some(tcp_state),
            peer_truncated: None,
            count: None,
            is_local_truncated: false,
        }
    }

    #[test]
    fn repeated_connection_is_a_duplicate() {
        let mut detector = DuplicateDetector::default();
        let mut is_duplicate =
            |port, tcp_state| detector.is_duplicate(&connection(port, tcp_state));
        assert!(!is_duplicate(1, TcpState::Established));
        assert!(!is_duplicate(2, TcpState::Established));
        assert!(is_duplicate(1, TcpState::Established));
        // The connection may have been closed in the meantime.
        assert!(is_duplicate(2, TcpState::TimeWait));
        assert!(!is_duplicate(3, TcpState::Listen));
        assert!(!is_duplicate(3, TcpState::Listen));
    }

    /// Returns whether a connection is a duplicate that is listed again after `n_others`
    /// other connections.
    fn is_duplicate_after(n_others: u16) -> bool {
        let mut detector = DuplicateDetector::default();
        for port in 0..=n_others {
            assert!(!detector.is_duplicate(&connection(port, TcpState::Established)));
        }
        detector.is_duplicate(&connection(0, TcpState::Established))
    }

    /// The numbers are literals, so that the test fails if the constant becomes smaller.
    #[test]
    fn connection_is_remembered_for_32_thousand_others() {
        assert!(is_duplicate_after(32_767));
        assert!(!is_duplicate_after(32_768));
    }

    #[test]
    fn memory_of_connections_is_bounded() {
        let mut detector = DuplicateDetector::default();
        for host in 0..2 {
            for port in 0..u16::MAX {
                let mut connection = connection(port, TcpState::Established);
                connection.peer.set_ip([198, 51, 100, host].into());
                assert!(!detector.is_duplicate(&connection));
            }
        }
        assert_eq!((detector.known.len(), detector.queue.len()), (32_768, 32_768));
    }
}
