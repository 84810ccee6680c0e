//! Selects the connections that are counted, and records why others are skipped.
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    ops::RangeInclusive,
};

use super::network_set::NetworkSet;
use crate::model::{
    connection::{Connection, TcpState, TcpStates},
    network::{Network, canonical_address},
    protocol::Protocol,
};

mod dedup;
mod default_excludes;

pub use dedup::DuplicateDetector;
pub use default_excludes::DEFAULT_EXCLUDES;

/// The connections that a user selected.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Counted address family; `None`: both.
    pub family: Option<IpFamily>,
    /// Networks whose addresses are counted; empty: all.
    pub only: Vec<Network>,
    /// Networks whose addresses are not counted.
    pub excludes: Vec<Network>,
    /// Counted local ports; empty: all.
    pub ports: Vec<RangeInclusive<u16>>,
    /// Counted protocols.
    pub protocol: Protocol,
    /// Counted TCP states.
    pub tcp_states: TcpStates,
    /// Count only connections to a port that this host listens on.
    pub inbound_only: bool,
}

impl Default for Selection {
    /// Selects every connection.
    fn default() -> Self {
        Self {
            family: None,
            only: Vec::new(),
            excludes: Vec::new(),
            ports: Vec::new(),
            protocol: Protocol::Tcp,
            tcp_states: TcpStates::CONNECTED,
            inbound_only: false,
        }
    }
}

/// The decision for each connection, with counters of those that were skipped.
#[derive(Clone, Debug)]
pub struct Filter {
    selection: Selection,
    only: NetworkSet,
    excludes: NetworkSet,
    /// Number of connections that each of `excludes` excluded.
    excluded_counts: Vec<u64>,
    skipped: Skipped,
    /// Ports of the listening sockets so far.
    listening_ports: BTreeSet<u16>,
    /// The host's own addresses, in order, if the connections are flows.
    local_addresses: Option<Vec<IpAddr>>,
}

/// Numbers of connections that were not counted, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Connections of the other address family.
    pub other_family: u64,
    /// Connections of addresses outside the selected networks.
    pub other_network: u64,
    /// Connections to another port.
    pub other_port: u64,
    /// Connections in another TCP state.
    pub other_state: u64,
    /// Connections whose TCP state the table does not show, if states were selected.
    pub unknown_state: u64,
    /// Connections that this host opened. Those of its sockets are skipped only if inbound
    /// connections were selected; those among flows are always skipped.
    pub outbound: u64,
    /// Flows that were forwarded to other hosts, if only inbound ones were selected.
    pub forwarded: u64,
    /// Connections from this host to itself over an address that is not
    /// loopback.
    pub self_connections: u64,
    /// The excluded networks that match a connection, and the number of connections that
    /// each of them excluded.
    pub excluded: Vec<(Network, u64)>,
}

impl Skipped {
    /// Adds the numbers of another source that used the same filter.
    pub fn merge(&mut self, other: Self) {
        self.other_family += other.other_family;
        self.other_network += other.other_network;
        self.other_port += other.other_port;
        self.other_state += other.other_state;
        self.unknown_state += other.unknown_state;
        self.outbound += other.outbound;
        self.forwarded += other.forwarded;
        self.self_connections += other.self_connections;
        let mut sums: BTreeMap<_, u64> = self.excluded.drain(..).collect();
        for (network, n) in other.excluded {
            *sums.entry(network).or_default() += n;
        }
        self.excluded = sums.into_iter().collect();
    }

    /// Returns the number of connections of all excluded networks.
    #[must_use]
    pub fn n_excluded(&self) -> u64 {
        self.excluded.iter().map(|&(_, n)| n).sum()
    }
}

/// IPv4 or IPv6; an IPv4-mapped address and a NAT64 client are IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Filter {
    /// Creates a filter that accepts the selected connections.
    #[must_use]
    pub fn new(mut selection: Selection) -> Self {
        let only = NetworkSet::new(std::mem::take(&mut selection.only));
        let excludes = NetworkSet::new(std::mem::take(&mut selection.excludes));
        Self {
            selection,
            excluded_counts: vec![0; excludes.networks().len()],
            only,
            excludes,
            skipped: Skipped::default(),
            listening_ports: BTreeSet::new(),
            local_addresses: None,
        }
    }

    /// Treats the following connections as flows that are tracked by a host with
    /// these addresses, which are in order. Flows that the host itself opened are
    /// skipped: the host is not its own client. A flow to one of the host's
    /// addresses is inbound, even if it was forwarded to another host.
    pub fn set_local_addresses(&mut self, local_addresses: Vec<IpAddr>) {
        self.local_addresses = Some(local_addresses);
    }

    /// Returns whether `connection` is counted, and records the reason if it is not.
    /// A socket without a peer is not counted, and is not recorded as skipped: it is
    /// not a connection.
    pub fn accepts(&mut self, connection: &Connection) -> bool {
        if !connection.is_connected() {
            if connection.tcp_state == Some(TcpState::Listen) {
                self.listening_ports.insert(connection.local.port());
            }
            return false;
        }
        let Selection { family, ports, protocol, tcp_states, .. } = &self.selection;
        let n = connection.n_connections();
        let port = connection.local.port();
        if !ports.is_empty() && !ports.iter().any(|range| range.contains(&port)) {
            self.skipped.other_port += n;
            return false;
        }
        if *tcp_states != protocol.states() {
            match connection.tcp_state {
                None => self.skipped.unknown_state += n,
                Some(tcp_state) if !tcp_states.contains(tcp_state) => self.skipped.other_state += n,
                Some(_) => {}
            }
            if !connection.tcp_state.is_some_and(|tcp_state| tcp_states.contains(tcp_state)) {
                return false;
            }
        }
        let peer = connection.peer_address();
        if family.is_some_and(|family| peer.is_ipv4() != (family == IpFamily::V4)) {
            self.skipped.other_family += n;
            return false;
        }
        if is_self_connection(connection, peer) {
            self.skipped.self_connections += n;
            return false;
        }
        if let Some(local_addresses) = &self.local_addresses {
            // `excludes` decides about loopback addresses.
            if is_local(local_addresses, peer) && !peer.is_loopback() {
                self.skipped.outbound += n;
                return false;
            }
            let destination = canonical_address(connection.local.ip());
            if self.selection.inbound_only
                && !is_local(local_addresses, destination)
                && !destination.is_loopback()
            {
                self.skipped.forwarded += n;
                return false;
            }
        }
        // Only the leading bits of a truncated address are known. A network excludes the
        // address only if all addresses with these bits are in the network.
        let n_known_bits = connection.peer_truncated.as_ref().map_or(u8::MAX, |it| it.n_known_bits);
        if !self.only.may_contain(peer, n_known_bits) {
            self.skipped.other_network += n;
            return false;
        }
        match self.excludes.index_of(peer) {
            Some(index) if self.excludes.networks()[index].prefix_length() <= n_known_bits => {
                self.excluded_counts[index] += n;
                false
            }
            _ => true,
        }
    }

    /// Returns the ports of the listening sockets if only connections to them are
    /// counted. The tables list connections before all listening sockets are
    /// known, so the caller removes connections to other ports after counting.
    /// Returns `None` for flows too: their addresses show their direction.
    #[must_use]
    pub fn inbound_ports(&self) -> Option<&BTreeSet<u16>> {
        if self.selection.inbound_only && self.local_addresses.is_none() {
            Some(&self.listening_ports)
        } else {
            None
        }
    }

    /// Returns the counted protocols.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.selection.protocol
    }

    /// Returns the option of the selection that needs more details of a connection than its
    /// peer; `None` if every selected option needs the peer only.
    #[must_use]
    pub fn detail_option(&self) -> Option<&'static str> {
        let Selection { ports, protocol, tcp_states, inbound_only, .. } = &self.selection;
        if !ports.is_empty() {
            Some("`--port`")
        } else if *tcp_states != protocol.states() {
            Some("`--state` or `--exclude-state`")
        } else if *inbound_only {
            Some("`--inbound`")
        } else {
            None
        }
    }

    /// Returns whether only connections to this host are counted.
    #[must_use]
    pub fn is_inbound_only(&self) -> bool {
        self.selection.inbound_only
    }

    /// Returns the numbers of connections that were skipped.
    #[must_use]
    pub fn into_skipped(self) -> Skipped {
        let excluded = self.excludes.networks().iter().copied().zip(self.excluded_counts);
        Skipped { excluded: excluded.filter(|&(_, n)| n > 0).collect(), ..self.skipped }
    }
}

/// Returns whether `address` is one of `local_addresses`, which are sorted.
fn is_local(local_addresses: &[IpAddr], address: IpAddr) -> bool {
    local_addresses.binary_search(&address).is_ok()
}

/// Returns whether a host is connected to itself. Such a connection is not counted,
/// because it has no remote peer. To connect to one of its own addresses, a host uses the
/// same address as the source address (Linux: `ip route get`), so the tables of every
/// operating system show the same address at both ends. The excluded networks decide about
/// loopback addresses.
fn is_self_connection(connection: &Connection, peer: IpAddr) -> bool {
    peer == canonical_address(connection.local.ip())
        && !peer.is_loopback()
        && connection.peer_truncated.is_none()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use crate::model::connection::{TcpState, TruncatedAddress};

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
            peer_truncated: None,
            count: None,
            is_local_truncated: false,
        }
    }

    #[track_caller]
    fn check(mut filter: Filter, peers: &[&str], expected: &str) {
        let counted: Vec<_> =
            peers.iter().copied().filter(|peer| filter.accepts(&connection(peer))).collect();
        let skipped = filter.into_skipped();
        let excluded: Vec<_> =
            skipped.excluded.iter().map(|(network, n)| format!("{network}: {n}")).collect();
        let found =
            format!("{} | {} | {}", counted.join(" "), excluded.join(" "), skipped.other_family);
        assert_eq!(found, expected);
    }

    #[test]
    fn excluded_connections_are_counted_per_network() {
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
    fn nested_excluded_networks_count_as_the_outer_one() {
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
    fn mapped_address_is_ipv4() {
        let peers = ["203.0.113.7", "::ffff:203.0.113.7", "2001:db8::7"];
        check(filter(Some(IpFamily::V4), &[]), &peers, "203.0.113.7 ::ffff:203.0.113.7 |  | 1");
        check(filter(Some(IpFamily::V6), &[]), &peers, "2001:db8::7 |  | 2");
    }

    #[test]
    fn only_selected_networks_are_counted() {
        let networks = |texts: &[&str]| texts.iter().map(|it| it.parse().unwrap()).collect();
        let mut filter = Filter::new(Selection {
            only: networks(&["203.0.113.0/24", "203.0.113.128/25", "2001:db8::/32"]),
            excludes: networks(&["203.0.113.7"]),
            ..Selection::default()
        });
        for peer in ["203.0.113.8", "::ffff:203.0.113.200", "2001:db8::7"] {
            assert!(filter.accepts(&connection(peer)), "{peer}");
        }
        for peer in ["203.0.113.7", "203.0.114.0", "2001:db9::7"] {
            assert!(!filter.accepts(&connection(peer)), "{peer}");
        }
        let mut truncated = |peer: &str, n_known_bits| {
            let mut connection = connection(peer);
            let visible = TruncatedAddress::new(peer.as_bytes(), n_known_bits, true);
            connection.peer_truncated = Some(visible);
            filter.accepts(&connection)
        };
        assert!(truncated("203.0.0.0", 16) && truncated("203.0.113.0", 30));
        assert!(!truncated("203.1.0.0", 16) && !truncated("203.0.112.0", 24));
        assert!(truncated("64:ff9b::cb00:0", 112) && truncated("2001::", 16));
        let skipped = filter.into_skipped();
        assert_eq!((skipped.other_network, skipped.n_excluded()), (4, 1));
    }

    #[test]
    fn nat64_client_is_ipv4() {
        let peers = ["64:ff9b::203.0.113.7", "64:ff9b::198.51.100.7", "64:ff9b:1::203.0.113.7"];
        let excludes = ["203.0.113.0/24"];
        let [_, other, local_prefix] = peers;
        let expected = format!("{other} | 203.0.113.0/24: 1 | 1");
        check(filter(Some(IpFamily::V4), &excludes), &peers, &expected);
        check(filter(Some(IpFamily::V6), &excludes), &peers, &format!("{local_prefix} |  | 2"));
    }

    #[test]
    fn nat64_address_does_not_pass_for_a_private_one() {
        let peers = ["64:ff9b::127.0.0.1", "64:ff9b::192.168.0.1"];
        check(filter(None, &DEFAULT_EXCLUDES), &peers, &format!("{} |  | 0", peers.join(" ")));
    }

    #[test]
    fn self_connections_are_skipped() {
        let mut filter = filter(None, &[]);
        let to = |local: &str, peer| Connection {
            local: SocketAddr::new(local.parse().expect("an address"), 443),
            ..connection(peer)
        };
        assert!(!filter.accepts(&to("192.0.2.10", "192.0.2.10")));
        assert!(!filter.accepts(&to("192.0.2.10", "::ffff:192.0.2.10")));
        assert!(!filter.accepts(&to("2001:db8::10", "2001:db8::10")));
        assert!(filter.accepts(&to("192.0.2.10", "192.0.2.11")));
        assert!(filter.accepts(&to("127.0.0.1", "127.0.0.1")));
        assert_eq!(filter.into_skipped().self_connections, 3);
    }

    #[test]
    fn local_addresses_determine_the_direction_of_flows() {
        let local_addresses: Vec<IpAddr> = ["10.0.0.1", "192.0.2.10", "2001:db8::10"]
            .iter()
            .map(|text| text.parse().expect("an address"))
            .collect();
        let flow = |peer, local: &str| Connection {
            local: SocketAddr::new(local.parse().expect("an address"), 443),
            ..connection(peer)
        };
        for (inbound, expected) in [(false, (2, 0)), (true, (2, 2))] {
            let mut filter =
                Filter::new(Selection { inbound_only: inbound, ..Selection::default() });
            filter.set_local_addresses(local_addresses.clone());
            assert!(filter.accepts(&flow("203.0.113.7", "192.0.2.10")));
            assert!(filter.accepts(&flow("2001:db8::7", "2001:db8::10")));
            assert!(filter.accepts(&flow("127.0.0.1", "127.0.0.2")));
            assert_eq!(filter.accepts(&flow("203.0.113.7", "198.51.100.1")), !inbound);
            assert_eq!(filter.accepts(&flow("2001:db8::7", "2001:db8::11")), !inbound);
            assert!(!filter.accepts(&flow("10.0.0.1", "10.0.0.2")));
            assert!(!filter.accepts(&flow("2001:db8::10", "2001:db8::7")));
            assert_eq!(filter.inbound_ports(), None);
            let skipped = filter.into_skipped();
            assert_eq!((skipped.outbound, skipped.forwarded), expected);
        }
    }

    #[test]
    fn truncated_address_is_excluded_only_if_its_prefix_is() {
        let truncated = Connection {
            peer_truncated: Some(TruncatedAddress::new(b"2001:db8::1234", 32, true)),
            ..connection("2001:db8::1234")
        };
        assert!(!filter(None, &["2001:db8::/32"]).accepts(&truncated));
        assert!(filter(None, &["2001:db8::/64"]).accepts(&truncated));
        assert!(!filter(Some(IpFamily::V4), &[]).accepts(&truncated));
        // The missing digits belong to the IPv4 address of the client.
        let nat64 = Connection {
            peer_truncated: Some(TruncatedAddress::new(b"64:ff9b::cb00:", 112, false)),
            ..connection("64:ff9b::cb00:0")
        };
        assert!(filter(None, &["203.0.0.0/16"]).accepts(&nat64));
    }

    #[test]
    fn merged_numbers_are_sums_of_each_reason() {
        let network = |text: &str| text.parse().expect("a network");
        // Without `..`, so that a new reason must be added here.
        let mut skipped = Skipped {
            other_family: 1,
            other_network: 1,
            other_port: 2,
            other_state: 3,
            unknown_state: 4,
            outbound: 5,
            forwarded: 6,
            self_connections: 7,
            excluded: vec![(network("192.0.2.0/24"), 8), (network("2001:db8::/32"), 9)],
        };
        skipped.merge(Skipped {
            other_family: 10,
            other_network: 10,
            other_port: 20,
            other_state: 30,
            unknown_state: 40,
            outbound: 50,
            forwarded: 60,
            self_connections: 70,
            excluded: vec![(network("127.0.0.0/8"), 80), (network("192.0.2.0/24"), 90)],
        });
        let expected = Skipped {
            other_family: 11,
            other_network: 11,
            other_port: 22,
            other_state: 33,
            unknown_state: 44,
            outbound: 55,
            forwarded: 66,
            self_connections: 77,
            excluded: vec![
                (network("127.0.0.0/8"), 80),
                (network("192.0.2.0/24"), 98),
                (network("2001:db8::/32"), 9),
            ],
        };
        assert_eq!(skipped, expected);
        assert_eq!(skipped.n_excluded(), 187);
    }

    #[test]
    fn listening_sockets_are_not_counted() {
        check(filter(None, &["0.0.0.0/0"]), &["0.0.0.0", "::"], " |  | 0");
        let listen = Connection { tcp_state: Some(TcpState::Listen), ..connection("203.0.113.7") };
        assert!(!filter(None, &[]).accepts(&listen));
    }
}
