//! Connections that a table shows again.
use std::{
    collections::{BTreeSet, VecDeque},
    net::SocketAddr,
};

use crate::model::connection::Connection;

/// How many connections are remembered. As many as come while a table is read
/// may be shown again, and no more than these are in memory.
const REMEMBERED: usize = 32 * 1024;

/// The connections that a table has shown last.
///
/// `/proc/net/tcp` is read a page at a time, and the kernel looks for its place
/// anew each time. Where all behind it has gone, it counts rows from the start
/// (`tcp_seek_last_pos` in `tcp_ipv4.c`): those that have come meanwhile push
/// others, which were shown, behind that place.
#[derive(Debug, Default)]
pub struct Again {
    known: BTreeSet<(SocketAddr, SocketAddr)>,
    in_order: VecDeque<(SocketAddr, SocketAddr)>,
}

impl Again {
    /// Whether this connection was shown before. Sockets that listen are none:
    /// many may do so at one address.
    pub fn is(&mut self, connection: &Connection) -> bool {
        if !connection.is_connected() {
            return false;
        }
        let ends = (connection.local, connection.peer);
        if !self.known.insert(ends) {
            return true;
        }
        self.in_order.push_back(ends);
        if self.in_order.len() > REMEMBERED
            && let Some(oldest) = self.in_order.pop_front()
        {
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
        Connection { local, peer, tcp_state: Some(tcp_state), peer_cut: None }
    }

    #[test]
    fn a_connection_is_shown_once() {
        let mut again = Again::default();
        let mut is = |port, tcp_state| again.is(&connection(port, tcp_state));
        assert!(!is(1, TcpState::Established));
        assert!(!is(2, TcpState::Established));
        assert!(is(1, TcpState::Established));
        // It may have closed meanwhile.
        assert!(is(2, TcpState::TimeWait));
        assert!(!is(3, TcpState::Listen));
        assert!(!is(3, TcpState::Listen));
    }

    #[test]
    fn no_more_than_so_many_are_remembered() {
        let mut again = Again::default();
        for host in 0..2 {
            for port in 0..u16::MAX {
                let mut it = connection(port, TcpState::Established);
                it.peer.set_ip([198, 51, 100, host].into());
                assert!(!again.is(&it));
            }
        }
        assert_eq!((again.known.len(), again.in_order.len()), (REMEMBERED, REMEMBERED));
    }
}
