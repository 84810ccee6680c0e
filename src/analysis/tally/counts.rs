//! What was counted: by address, or by network.
use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::model::{connection::TcpState, network::Network};

use super::{Key6, address4, address6, key4, key6, port_and_state};

/// A tally that is complete.
#[derive(Debug, Default)]
pub struct Counted {
    v4: Vec<(u64, u32)>,
    v6: Vec<(Key6, u32)>,
    addresses: u64,
}

/// A peer and its connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address, never an IPv4-mapped one; or the network that its addresses
    /// are in.
    pub network: Network,
    /// How many addresses it has connections from.
    pub addresses: u64,
    /// How many connections it has.
    pub connections: u64,
    /// The ports of this host that they go to, the busiest first.
    pub ports: Vec<(u16, u64)>,
    /// Their states, the commonest first; `None` where the table did not tell.
    pub states: Vec<(Option<TcpState>, u64)>,
    /// What the administrator calls it; clean, and no business of the tally.
    pub label: Option<String>,
    /// When it was first seen on top, in seconds since 1970-01-01 UTC; `None`
    /// where nobody remembers, and no business of the tally either.
    pub first_on_top: Option<u64>,
}

/// What is one peer: how many bits of its addresses are alike.
///
/// A client owns one IPv4 address, and of IPv6 a /64 at the least (RFC 4291,
/// section 2.5.1: the other 64 bits are its interface's own choice); and whoever
/// rents a fleet gets neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grain {
    /// Bits of an IPv4 address, 0 to 32.
    pub v4: u8,
    /// Bits of an IPv6 address, 0 to 128.
    pub v6: u8,
    /// How many addresses of a network must have connections for it to be one
    /// peer; where there are fewer, each of them is.
    pub members: u64,
}

impl Grain {
    /// Each address is a peer.
    pub const ADDRESSES: Self = Self { v4: 32, v6: 128, members: 1 };

    /// The network of an address, as far as the lengths tell.
    fn network(self, address: IpAddr) -> Network {
        Network::of(address, if address.is_ipv4() { self.v4 } else { self.v6 })
    }
}

/// A peer before anything is known of it but its count. The greatest is the
/// busiest, and among equals the one with the lower address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Count {
    connections: u64,
    network: Reverse<Network>,
    addresses: u64,
}

impl Counted {
    /// Takes what was counted, each in order.
    pub(super) fn new(v4: Vec<(u64, u32)>, v6: Vec<(Key6, u32)>) -> Self {
        let mut counted = Self { v4, v6, addresses: 0 };
        counted.addresses = counted.by_address().count() as u64;
        counted
    }

    /// How many addresses have connections.
    #[must_use]
    pub fn addresses(&self) -> u64 {
        self.addresses
    }

    /// The counts of all peers, highest first.
    #[must_use]
    pub fn counts(&self, grain: Grain) -> Vec<u64> {
        let mut counts = Vec::new();
        self.each(grain, |count| counts.push(count.connections));
        counts.sort_unstable_by_key(|&connections| Reverse(connections));
        counts
    }

    /// The `n` peers with the most connections, the busiest first.
    ///
    /// Equal counts are ordered by address, IPv4 before IPv6: a report that
    /// changes its order from run to run looks like news.
    #[must_use]
    pub fn top(&self, n: usize, grain: Grain) -> Vec<Peer> {
        // The least of the top ones is on top of the heap, to make room.
        let mut top = BinaryHeap::new();
        self.each(grain, |count| {
            // Most are less than the least, and cost a look.
            let is_full = top.len() >= n;
            if is_full && top.peek().is_none_or(|Reverse(least)| count <= *least) {
                return;
            }
            if is_full {
                top.pop();
            }
            top.push(Reverse(count));
        });
        top.into_sorted_vec().into_iter().map(|Reverse(count)| self.peer(count)).collect()
    }

    /// How many connections come from `network`.
    #[must_use]
    pub fn connections_of(&self, network: Network) -> u64 {
        match (network.first_address(), network.last_address()) {
            (IpAddr::V4(first), IpAddr::V4(last)) => self.seen4(first, last).map(|it| it.2).sum(),
            (IpAddr::V6(first), IpAddr::V6(last)) => self.seen6(first, last).map(|it| it.2).sum(),
            _ => 0,
        }
    }

    /// Gives each peer with its count, in the order of their addresses.
    fn each(&self, grain: Grain, mut give: impl FnMut(Count)) {
        let mut addresses = self.by_address().peekable();
        let mut few = Vec::new();
        while let Some((address, connections)) = addresses.next() {
            let network = grain.network(address);
            let mut sum = Count { connections, network: Reverse(network), addresses: 1 };
            if network.is_address() {
                give(sum);
                continue;
            }
            few.clear();
            few.push((address, connections));
            while let Some((address, connections)) =
                addresses.next_if(|&(address, _)| network.contains(address))
            {
                sum.connections += connections;
                sum.addresses += 1;
                // Beyond that they are not asked for.
                if sum.addresses < grain.members {
                    few.push((address, connections));
                }
            }
            if sum.addresses >= grain.members {
                give(sum);
                continue;
            }
            for &(address, connections) in &few {
                let network = Reverse(Network::of(address, u8::MAX));
                give(Count { connections, network, addresses: 1 });
            }
        }
    }

    /// Every address with its count, in order.
    fn by_address(&self) -> impl Iterator<Item = (IpAddr, u64)> {
        let v4 = self.v4.chunk_by(|a, b| a.0 >> 32 == b.0 >> 32).map(|run| {
            let connections = run.iter().map(|&(_, n)| u64::from(n)).sum();
            (IpAddr::V4(address4(run[0].0)), connections)
        });
        let v6 = self.v6.chunk_by(|a, b| a.0[..4] == b.0[..4]).map(|run| {
            let connections = run.iter().map(|&(_, n)| u64::from(n)).sum();
            (IpAddr::V6(address6(run[0].0)), connections)
        });
        v4.chain(v6)
    }

    /// What was seen of one peer.
    fn peer(&self, count: Count) -> Peer {
        let Count { connections, network: Reverse(network), addresses } = count;
        let seen: Vec<(u16, u8, u64)> = match (network.first_address(), network.last_address()) {
            (IpAddr::V4(first), IpAddr::V4(last)) => self.seen4(first, last).collect(),
            (IpAddr::V6(first), IpAddr::V6(last)) => self.seen6(first, last).collect(),
            _ => Vec::new(),
        };
        Peer {
            network,
            addresses,
            connections,
            ports: by_count(seen.iter().map(|&(port, _, n)| (port, n))),
            states: by_count(seen.iter().map(|&(_, state, n)| (state, n)))
                .into_iter()
                .map(|(state, n)| (TcpState::from_number(state), n))
                .collect(),
            label: None,
            first_on_top: None,
        }
    }

    /// Port, state and number of what was seen between two addresses.
    fn seen4(&self, first: Ipv4Addr, last: Ipv4Addr) -> impl Iterator<Item = (u16, u8, u64)> {
        let (from, to) = (key4(first, 0, 0), key4(last, u16::MAX, u8::MAX));
        let start = self.v4.partition_point(|&(key, _)| key < from);
        let end = self.v4.partition_point(|&(key, _)| key <= to);
        self.v4[start..end].iter().map(|&(key, n)| {
            let (port, state) = port_and_state((key & 0xFFFF_FFFF) as u32);
            (port, state, u64::from(n))
        })
    }

    /// As above.
    fn seen6(&self, first: Ipv6Addr, last: Ipv6Addr) -> impl Iterator<Item = (u16, u8, u64)> {
        let (from, to) = (key6(first, 0, 0), key6(last, u16::MAX, u8::MAX));
        let start = self.v6.partition_point(|&(key, _)| key < from);
        let end = self.v6.partition_point(|&(key, _)| key <= to);
        self.v6[start..end].iter().map(|&([.., seen], n)| {
            let (port, state) = port_and_state(seen);
            (port, state, u64::from(n))
        })
    }
}

/// Adds up equal keys; the highest sum first, then the lower key.
fn by_count<K: Ord + Copy>(counts: impl Iterator<Item = (K, u64)>) -> Vec<(K, u64)> {
    let mut counts: Vec<_> = counts.collect();
    counts.sort_unstable_by_key(|&(key, _)| key);
    let mut sums: Vec<(K, u64)> = counts
        .chunk_by(|a, b| a.0 == b.0)
        .map(|run| (run[0].0, run.iter().map(|&(_, n)| n).sum()))
        .collect();
    sums.sort_by_key(|&(_, n)| Reverse(n));
    sums
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, net::SocketAddr};

    use proptest::prelude::*;

    use crate::{analysis::tally::Tally, model::connection::Connection};

    use super::*;

    fn tally(peers: &[(IpAddr, u16)]) -> Counted {
        let mut tally = Tally::default();
        for &(peer, port) in peers {
            tally.add(&Connection {
                local: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port),
                peer: SocketAddr::new(peer, 50000),
                tcp_state: Some(TcpState::Established),
                peer_cut: None,
            });
        }
        tally.finish()
    }

    /// The same by a map, without any order to rely on.
    fn naively(peers: &[(IpAddr, u16)], grain: Grain) -> BTreeMap<Network, (u64, u64)> {
        let mut addresses: BTreeMap<IpAddr, u64> = BTreeMap::new();
        for (peer, _) in peers {
            *addresses.entry(*peer).or_default() += 1;
        }
        let network = |address: IpAddr| match address {
            IpAddr::V4(_) => Network::of(address, grain.v4),
            IpAddr::V6(_) => Network::of(address, grain.v6),
        };
        let members = |of: Network| {
            addresses.keys().filter(|&&address| network(address) == of).count() as u64
        };
        let mut sums: BTreeMap<Network, (u64, u64)> = BTreeMap::new();
        for (&address, &n) in &addresses {
            let around = network(address);
            let whole = members(around) >= grain.members;
            let peer = if whole { around } else { Network::of(address, u8::MAX) };
            let sum = sums.entry(peer).or_default();
            *sum = (sum.0 + 1, sum.1 + n);
        }
        sums
    }

    fn peers() -> impl Strategy<Value = Vec<(IpAddr, u16)>> {
        let v4 = (0..4u8, 0..9u8).prop_map(|(c, d)| IpAddr::from([203, 0, c, d]));
        let v6 =
            (0..3u16, 0..9u16).prop_map(|(d, h)| IpAddr::from([0x2001, 0xdb8, 0, d, 0, 0, 0, h]));
        prop::collection::vec((prop_oneof![v4, v6], 80..83u16), 0..200)
    }

    proptest! {
        #[test]
        fn networks_are_what_their_addresses_are(
            peers in peers(),
            v4 in 1..=32u8,
            v6 in 1..=128u8,
            members in 1..7u64,
        ) {
            let grain = Grain { v4, v6, members };
            let counted = tally(&peers);
            let top = counted.top(usize::MAX, grain);
            let found: BTreeMap<_, _> =
                top.iter().map(|peer| (peer.network, (peer.addresses, peer.connections))).collect();
            prop_assert_eq!(found.len(), top.len());
            prop_assert_eq!(found, naively(&peers, grain));
            let order: Vec<_> =
                top.iter().map(|peer| (Reverse(peer.connections), peer.network)).collect();
            prop_assert!(order.is_sorted());
            prop_assert_eq!(counted.top(3, grain), top[..top.len().min(3)].to_vec());
            let counts: Vec<_> = top.iter().map(|peer| peer.connections).collect();
            prop_assert_eq!(counted.counts(grain), counts);
            for peer in top {
                // Evidence is of all that is in it, and of nothing else.
                let of_ports: u64 = peer.ports.iter().map(|&(_, n)| n).sum();
                prop_assert_eq!(of_ports, peer.connections);
                let of_states: u64 = peer.states.iter().map(|&(_, n)| n).sum();
                prop_assert_eq!(of_states, peer.connections);
            }
        }
    }
}
