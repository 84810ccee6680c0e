//! Decides which connections count, and remembers why the others do not.
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    ops::RangeInclusive,
};

use crate::model::{
    connection::{Connection, TcpState, TcpStates},
    network::Network,
};

mod dedup;

pub use dedup::Again;

/// What is not counted unless it is asked for: the host itself, and the
/// private range that topip.py left out.
pub const DEFAULT_EXCLUDES: [&str; 3] = ["127.0.0.0/8", "::1", "192.168.0.0/16"];

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The address family that counts; `None`: both.
    pub family: Option<IpFamily>,
    /// What does not count.
    pub excludes: Vec<Network>,
    /// The ports of this host that count; none: all.
    pub ports: Vec<RangeInclusive<u16>>,
    /// The states that count.
    pub tcp_states: TcpStates,
    /// Whether only connections to a port count that this host listens on.
    pub inbound: bool,
}

impl Default for Selection {
    /// Every connection.
    fn default() -> Self {
        Self {
            family: None,
            excludes: Vec::new(),
            ports: Vec::new(),
            tcp_states: TcpStates::CONNECTED,
            inbound: false,
        }
    }
}

/// Which connections count.
#[derive(Clone, Debug)]
pub struct Filter {
    selection: Selection,
    /// The excluded networks of IPv4, from their first address to their last.
    spans4: Vec<(u32, u32)>,
    /// Those of IPv6.
    spans6: Vec<(u128, u128)>,
    /// How many connections each of its networks took out.
    excluded: Vec<u64>,
    left_out: LeftOut,
    /// The ports that are listened on, as far as they have been seen.
    listening: BTreeSet<u16>,
    /// The host's own addresses, in order, where what is looked at are flows.
    own: Option<Vec<IpAddr>>,
}

/// Which connections did not count, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// How many were of the other address family.
    pub other_family: u64,
    /// How many went to another port.
    pub other_port: u64,
    /// How many were in another state.
    pub other_state: u64,
    /// How many were in a state that the table does not tell, where states were
    /// asked for.
    pub untold_state: u64,
    /// How many this host has opened itself: of its sockets, where those to it were
    /// asked for; of flows, always.
    pub outbound: u64,
    /// How many flows went on to other hosts, where those to it were asked for.
    pub through: u64,
    /// How many lead from this host to itself, by an address that is not
    /// loopback.
    pub own: u64,
    /// The excluded networks, and how many connections each took out; those
    /// that took none are not named.
    pub excluded: Vec<(Network, u64)>,
}

impl LeftOut {
    /// Adds what did not count elsewhere, under the same filter.
    pub fn add(&mut self, other: Self) {
        self.other_family += other.other_family;
        self.other_port += other.other_port;
        self.other_state += other.other_state;
        self.untold_state += other.untold_state;
        self.outbound += other.outbound;
        self.through += other.through;
        self.own += other.own;
        let mut sums: BTreeMap<_, u64> = self.excluded.drain(..).collect();
        for (network, n) in other.excluded {
            *sums.entry(network).or_default() += n;
        }
        self.excluded = sums.into_iter().collect();
    }

    /// How many connections the excluded networks took out together.
    #[must_use]
    pub fn n_excluded(&self) -> u64 {
        self.excluded.iter().map(|&(_, n)| n).sum()
    }
}

/// IPv4 or IPv6; an IPv4-mapped address is IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Filter {
    /// Lets through what is asked for.
    #[must_use]
    pub fn new(mut selection: Selection) -> Self {
        let excludes = &mut selection.excludes;
        // In order, and none within another, so that one look finds the only one
        // that an address can be in. A network comes before those within it.
        excludes.sort();
        excludes.dedup_by(|inner, outer| outer.contains(inner.first_address()));
        let (mut spans4, mut spans6) = (Vec::new(), Vec::new());
        for network in &*excludes {
            match (network.first_address(), network.last_address()) {
                (IpAddr::V4(first), IpAddr::V4(last)) => {
                    spans4.push((first.to_bits(), last.to_bits()));
                }
                (IpAddr::V6(first), IpAddr::V6(last)) => {
                    spans6.push((first.to_bits(), last.to_bits()));
                }
                _ => unreachable!("a network is of one family"),
            }
        }
        let excluded = vec![0; excludes.len()];
        let (left_out, listening) = (LeftOut::default(), BTreeSet::new());
        Self { selection, spans4, spans6, excluded, left_out, listening, own: None }
    }

    /// From now on, connections are flows that a host tracks which has these
    /// addresses, in order. Those that it opens itself do not count: it is no
    /// client of its own. Inbound are those that went to one of its addresses,
    /// wherever they were sent on to.
    pub fn tell_flows_by(&mut self, own: Vec<IpAddr>) {
        self.own = Some(own);
    }

    /// Whether `connection` counts. A socket with nobody at the other end does
    /// not, and is not remembered: it is no connection.
    pub fn counts(&mut self, connection: &Connection) -> bool {
        if !connection.is_connected() {
            if connection.tcp_state == Some(TcpState::Listen) {
                self.listening.insert(connection.local.port());
            }
            return false;
        }
        let Selection { family, ports, tcp_states, .. } = &self.selection;
        let port = connection.local.port();
        if !ports.is_empty() && !ports.iter().any(|range| range.contains(&port)) {
            self.left_out.other_port += 1;
            return false;
        }
        if *tcp_states != TcpStates::CONNECTED {
            match connection.tcp_state {
                None => self.left_out.untold_state += 1,
                Some(tcp_state) if !tcp_states.contains(tcp_state) => {
                    self.left_out.other_state += 1
                }
                Some(_) => {}
            }
            if !connection.tcp_state.is_some_and(|it| tcp_states.contains(it)) {
                return false;
            }
        }
        let peer = connection.peer.ip().to_canonical();
        if family.is_some_and(|family| peer.is_ipv4() != (family == IpFamily::V4)) {
            self.left_out.other_family += 1;
            return false;
        }
        if is_own(connection, peer) {
            self.left_out.own += 1;
            return false;
        }
        if let Some(own) = &self.own {
            let is_own = |address| own.binary_search(&address).is_ok();
            // Loopback is for the excludes to name.
            if is_own(peer) && !peer.is_loopback() {
                self.left_out.outbound += 1;
                return false;
            }
            let called = connection.local.ip().to_canonical();
            if self.selection.inbound && !is_own(called) && !called.is_loopback() {
                self.left_out.through += 1;
                return false;
            }
        }
        // Of a cut address only the leading bits are known: a network takes it
        // out where it would whatever the rest is.
        let known = connection.peer_cut.unwrap_or(u8::MAX);
        match self.network_of(peer) {
            Some(index) if self.selection.excludes[index].length() <= known => {
                self.excluded[index] += 1;
                false
            }
            _ => true,
        }
    }

    /// Which of the excluded networks an address is in. In their order, those of
    /// IPv4 come first.
    fn network_of(&self, peer: IpAddr) -> Option<usize> {
        match peer {
            IpAddr::V4(address) => span_of(&self.spans4, address.to_bits()),
            IpAddr::V6(address) => {
                span_of(&self.spans6, address.to_bits()).map(|index| self.spans4.len() + index)
            }
        }
    }

    /// The ports that are listened on, where only connections to them count. The
    /// tables list connections before all of them are known, so that this is for
    /// whoever has counted. `None` for flows too, which are told by their addresses.
    #[must_use]
    pub fn inbound(&self) -> Option<&BTreeSet<u16>> {
        (self.selection.inbound && self.own.is_none()).then_some(&self.listening)
    }

    /// Whether only connections to this host count.
    #[must_use]
    pub fn is_inbound(&self) -> bool {
        self.selection.inbound
    }

    /// Which connections did not count so far.
    #[must_use]
    pub fn left_out(self) -> LeftOut {
        let excluded = self.selection.excludes.into_iter().zip(self.excluded);
        LeftOut { excluded: excluded.filter(|&(_, n)| n > 0).collect(), ..self.left_out }
    }
}

fn span_of<A: Ord + Copy>(spans: &[(A, A)], address: A) -> Option<usize> {
    let index = spans.partition_point(|&(first, _)| first <= address).checked_sub(1)?;
    (address <= spans[index].1).then_some(index)
}

/// Whether a host is its own client, which is no news. For a connection to an
/// address of its own, a host takes that same address to connect from (Linux:
/// `ip route get`), so that every table shows it, wherever it is from. Loopback
/// is for the excludes to name.
fn is_own(connection: &Connection, peer: IpAddr) -> bool {
    peer == connection.local.ip().to_canonical()
        && !peer.is_loopback()
        && connection.peer_cut.is_none()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use crate::model::connection::TcpState;

    use super::*;

    fn filter(family: Option<IpFamily>, excludes: &[&str]) -> Filter {
        let excludes = excludes.iter().map(|text| text.parse().expect("a network")).collect();
        Filter::new(Selection { family, excludes, ..Selection::default() })
    }

    fn connection(peer: &str) -> Connection {
        Connection {
            local: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 443),
            peer: SocketAddr::new(peer.parse().expect("an address"), 50000),
            tcp_state: Some(TcpState::Established),
            peer_cut: None,
        }
    }

    #[track_caller]
    fn check(mut filter: Filter, peers: &[&str], expected: &str) {
        let counted: Vec<_> =
            peers.iter().copied().filter(|peer| filter.counts(&connection(peer))).collect();
        let left_out = filter.left_out();
        let excluded: Vec<_> =
            left_out.excluded.iter().map(|(network, n)| format!("{network}: {n}")).collect();
        let found =
            format!("{} | {} | {}", counted.join(" "), excluded.join(" "), left_out.other_family);
        assert_eq!(found, expected);
    }

    #[test]
    fn excluded_networks_are_counted_each() {
        check(
            filter(None, &DEFAULT_EXCLUDES),
            &[
                "127.0.0.9",
                "::1",
                "192.168.7.7",
                "::ffff:192.168.0.1",
                "10.192.168.1",
                "203.0.113.7",
            ],
            "10.192.168.1 203.0.113.7 | 127.0.0.0/8: 1 192.168.0.0/16: 2 ::1: 1 | 0",
        );
    }

    #[test]
    fn networks_within_one_another_are_one() {
        check(
            filter(
                None,
                &["203.0.113.7", "203.0.113.0/24", "203.0.113.0/25", "::/0", "10.0.0.0/8"],
            ),
            &[
                "203.0.113.200",
                "203.0.113.7",
                "203.0.112.255",
                "203.0.114.0",
                "2001:db8::1",
                "9.255.255.255",
                "11.0.0.0",
            ],
            "203.0.112.255 203.0.114.0 9.255.255.255 11.0.0.0 | 203.0.113.0/24: 2 ::/0: 1 | 0",
        );
    }

    #[test]
    fn a_mapped_address_is_ipv4() {
        let peers = ["203.0.113.7", "::ffff:203.0.113.7", "2001:db8::7"];
        check(filter(Some(IpFamily::V4), &[]), &peers, "203.0.113.7 ::ffff:203.0.113.7 |  | 1");
        check(filter(Some(IpFamily::V6), &[]), &peers, "2001:db8::7 |  | 2");
    }

    #[test]
    fn a_host_is_not_its_own_client() {
        let mut filter = filter(None, &[]);
        let to = |local: &str, peer| Connection {
            local: SocketAddr::new(local.parse().expect("an address"), 443),
            ..connection(peer)
        };
        assert!(!filter.counts(&to("192.0.2.10", "192.0.2.10")));
        assert!(!filter.counts(&to("192.0.2.10", "::ffff:192.0.2.10")));
        assert!(!filter.counts(&to("2001:db8::10", "2001:db8::10")));
        assert!(filter.counts(&to("192.0.2.10", "192.0.2.11")));
        assert!(filter.counts(&to("127.0.0.1", "127.0.0.1")));
        assert_eq!(filter.left_out().own, 3);
    }

    #[test]
    fn flows_are_told_by_the_addresses_of_the_host() {
        let own = ["10.0.0.1", "192.0.2.10", "2001:db8::10"];
        let own: Vec<IpAddr> = own.iter().map(|it| it.parse().expect("an address")).collect();
        let flow = |peer, local: &str| Connection {
            local: SocketAddr::new(local.parse().expect("an address"), 443),
            ..connection(peer)
        };
        for (inbound, expected) in [(false, (2, 0)), (true, (2, 2))] {
            let mut filter = Filter::new(Selection { inbound, ..Selection::default() });
            filter.tell_flows_by(own.clone());
            assert!(filter.counts(&flow("203.0.113.7", "192.0.2.10")));
            assert!(filter.counts(&flow("2001:db8::7", "2001:db8::10")));
            assert!(filter.counts(&flow("127.0.0.1", "127.0.0.2")));
            assert_eq!(filter.counts(&flow("203.0.113.7", "198.51.100.1")), !inbound);
            assert_eq!(filter.counts(&flow("2001:db8::7", "2001:db8::11")), !inbound);
            assert!(!filter.counts(&flow("10.0.0.1", "10.0.0.2")));
            assert!(!filter.counts(&flow("2001:db8::10", "2001:db8::7")));
            assert_eq!(filter.inbound(), None);
            let left_out = filter.left_out();
            assert_eq!((left_out.outbound, left_out.through), expected);
        }
    }

    #[test]
    fn a_cut_address_is_excluded_only_where_it_surely_is() {
        let cut = Connection { peer_cut: Some(32), ..connection("2001:db8::1234") };
        assert!(!filter(None, &["2001:db8::/32"]).counts(&cut));
        assert!(filter(None, &["2001:db8::/64"]).counts(&cut));
        assert!(!filter(Some(IpFamily::V4), &[]).counts(&cut));
    }

    #[test]
    fn listeners_are_no_connections() {
        check(filter(None, &["0.0.0.0/0"]), &["0.0.0.0", "::"], " |  | 0");
        let listen = Connection { tcp_state: Some(TcpState::Listen), ..connection("203.0.113.7") };
        assert!(!filter(None, &[]).counts(&listen));
    }
}
