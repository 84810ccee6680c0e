//! Counts connections by the address at their other end.
//!
//! Nothing is hashed. Whoever holds one IPv6 /64 chooses among 2^64 addresses,
//! and could choose those that collide. Keys are collected, sorted, and merged
//! into `runs` instead; memory grows with the distinct (address, local port,
//! state) that were seen, not with the connections, and what was seen of each
//! address comes out exact.
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::model::connection::{Connection, TcpState};

mod counts;
mod sorted_counts;

pub use counts::{Counted, Grain, Peer};
use sorted_counts::Runs;

/// How many connections each peer has, and by which ports and in which states.
#[derive(Debug, Default)]
pub struct Tally {
    v4: Runs<u64>,
    v6: Runs<Key6>,
}

/// There is no memory for more addresses than that.
///
/// How many there are is a stranger's choice, so that it is no mistake of topip
/// where they do not fit; and who runs out of memory elsewhere is ended by the
/// library without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no memory to count more than {0} addresses")]
pub struct Full(pub usize);

/// Address, port and state of an IPv6 peer in one comparable key.
type Key6 = [u32; 5];

impl Tally {
    /// Counts one connection.
    pub fn add(&mut self, connection: &Connection) {
        let port = connection.local.port();
        let state = connection.tcp_state.map_or(0, TcpState::number);
        // A dual-stack listener shows an IPv4 peer as ::ffff:192.0.2.1. It is
        // the same machine, and counting it twice would hide half an attack.
        match connection.peer.ip().to_canonical() {
            IpAddr::V4(address) => self.v4.add(key4(address, port, state)),
            IpAddr::V6(address) => self.v6.add(key6(address, port, state)),
        }
    }

    /// Adds what was counted elsewhere.
    pub fn add_all(&mut self, other: Self) {
        self.v4.add_all(other.v4);
        self.v6.add_all(other.v6);
    }

    /// Takes out what does not go to one of `ports`; gives how many those were.
    pub fn keep_ports(&mut self, ports: &BTreeSet<u16>) -> u64 {
        let before = self.connections();
        self.v4.retain(|key| ports.contains(&port_and_state((key & 0xFFFF_FFFF) as u32).0));
        self.v6.retain(|[.., seen]| ports.contains(&port_and_state(seen).0));
        before - self.connections()
    }

    /// How many connections were counted.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.v4.sum() + self.v6.sum()
    }

    /// Whether all that was added could be counted, and there is memory left to
    /// judge it.
    ///
    /// # Errors
    ///
    /// Where it could not, or there is not.
    pub fn fits(&mut self) -> Result<(), Full> {
        self.v4.fits().map_err(Full)?;
        self.v6.fits().map_err(Full)?;
        // The counts alone are looked at after this, and a list of them grows by
        // doubling.
        let n = self.v4.len() + self.v6.len();
        Vec::<[u64; 2]>::new().try_reserve_exact(n).map_err(|_| Full(n))
    }

    /// Ends the counting.
    #[must_use]
    pub fn finish(self) -> Counted {
        Counted::new(self.v4.in_order(), self.v6.in_order())
    }
}

/// Keys sort by address first, then by port, then by state.
fn key4(address: Ipv4Addr, port: u16, state: u8) -> u64 {
    u64::from(address.to_bits()) << 32 | u64::from(seen(port, state))
}

fn address4(key: u64) -> Ipv4Addr {
    let [a, b, c, d, ..] = key.to_be_bytes();
    Ipv4Addr::new(a, b, c, d)
}

fn key6(address: Ipv6Addr, port: u16, state: u8) -> Key6 {
    let bits = address.to_bits();
    let [a, b, c, d] = [96, 64, 32, 0].map(|shift| (bits >> shift & 0xFFFF_FFFF) as u32);
    [a, b, c, d, seen(port, state)]
}

fn address6([a, b, c, d, _]: Key6) -> Ipv6Addr {
    Ipv6Addr::from_bits(
        [a, b, c, d].into_iter().fold(0, |bits, word| bits << 32 | u128::from(word)),
    )
}

fn seen(port: u16, state: u8) -> u32 {
    u32::from(port) << 8 | u32::from(state)
}

fn port_and_state(seen: u32) -> (u16, u8) {
    let [_, high, low, state] = seen.to_be_bytes();
    (u16::from_be_bytes([high, low]), state)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn connection(peer: &str, port: u16, tcp_state: Option<TcpState>) -> Connection {
        Connection {
            local: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port),
            peer: SocketAddr::new(peer.parse().expect("an address"), 50000),
            tcp_state,
            peer_cut: None,
        }
    }

    #[track_caller]
    fn check(peers: &[&str], n: usize, expected: &str) {
        let mut tally = Tally::default();
        for peer in peers {
            tally.add(&connection(peer, 443, None));
        }
        let found: Vec<_> = tally
            .finish()
            .top(n, Grain::ADDRESSES)
            .iter()
            .map(|peer| format!("{} {}", peer.network, peer.connections))
            .collect();
        assert_eq!(found.join(", "), expected);
    }

    #[test]
    fn the_busiest_comes_first() {
        check(&[], 3, "");
        check(&["192.0.2.1"], 0, "");
        check(&["192.0.2.1", "192.0.2.2", "192.0.2.2"], 3, "192.0.2.2 2, 192.0.2.1 1");
        check(&["192.0.2.1", "192.0.2.2", "192.0.2.2"], 1, "192.0.2.2 2");
    }

    #[test]
    fn a_tie_goes_to_the_lower_address() {
        check(
            &["2001:db8::1", "198.51.100.9", "198.51.100.10", "2001:db8::"],
            4,
            "198.51.100.9 1, 198.51.100.10 1, 2001:db8:: 1, 2001:db8::1 1",
        );
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_one() {
        check(&["::ffff:192.0.2.1", "192.0.2.1", "::ffff:c000:201"], 9, "192.0.2.1 3");
    }

    #[test]
    fn only_some_ports_are_kept() {
        let mut tally = Tally::default();
        for (peer, port) in
            [("192.0.2.1", 80), ("192.0.2.1", 50000), ("2001:db8::1", 443), ("2001:db8::1", 50001)]
        {
            tally.add(&connection(peer, port, None));
        }
        assert_eq!(tally.keep_ports(&BTreeSet::from([80, 443, 25])), 2);
        let ports: Vec<_> = tally
            .finish()
            .top(9, Grain::ADDRESSES)
            .into_iter()
            .flat_map(|peer| peer.ports)
            .collect();
        assert_eq!(ports, [(80, 1), (443, 1)]);
    }

    #[test]
    fn evidence_is_by_port_and_state() {
        let mut tally = Tally::default();
        for peer in ["192.0.2.1", "2001:db8::1"] {
            for (port, state) in [
                (80, Some(TcpState::Established)),
                (443, Some(TcpState::Established)),
                (443, Some(TcpState::TimeWait)),
                (443, Some(TcpState::TimeWait)),
                (65535, None),
            ] {
                tally.add(&connection(peer, port, state));
            }
        }
        for peer in tally.finish().top(9, Grain::ADDRESSES) {
            assert_eq!(peer.connections, 5);
            assert_eq!(peer.ports, [(443, 3), (80, 1), (65535, 1)]);
            assert_eq!(
                peer.states,
                [(Some(TcpState::Established), 2), (Some(TcpState::TimeWait), 2), (None, 1)]
            );
        }
    }
}
