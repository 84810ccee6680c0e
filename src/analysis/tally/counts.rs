//! The counts of a sample, by address, network or group.
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::{
    analysis::operator::Operator,
    model::{
        connection::{TcpState, TruncatedAddress},
        network::Network,
        peer_id::{Group, GroupBy, PeerId},
    },
};

use super::{
    AddressGroups, Details, LocalAddresses, TruncatedKey, V6Key, v4_address, v4_details, v4_key,
    v6_address, v6_key,
};

/// The counts of a complete tally.
#[derive(Debug, Default)]
pub struct Counts {
    v4: Vec<(u64, u32)>,
    v6: Vec<(V6Key, u32)>,
    truncated: Vec<(TruncatedKey, u32)>,
    /// Local addresses by their numbers in the keys, which start at 1.
    local_addresses: Vec<IpAddr>,
    /// True if the connections are to several local addresses: of IPv4, and of IPv6.
    has_several_local: [bool; 2],
    addresses: u64,
    groups: BTreeMap<GroupBy, AddressGroups>,
}

/// An address, network or group, and its connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The address, which is never IPv4-mapped; the network or group of the addresses; or the
    /// certain part of a truncated address.
    pub id: PeerId,
    /// The visible part of the address, if the listing has truncated it.
    pub truncated: Option<TruncatedAddress>,
    /// Number of the peer's addresses that are connected.
    pub addresses: u64,
    /// Number of connections.
    pub connections: u64,
    /// Connections by local address, busiest first. `None` stands for truncated addresses, and
    /// for those beyond the maximum of a tally. Empty if all connections of the address family
    /// are to one local address.
    pub local_addresses: Vec<(Option<IpAddr>, u64)>,
    /// Connections by local port, busiest first; without those whose ports are unknown.
    pub ports: Vec<(u16, u64)>,
    /// Connections by TCP state, most frequent first; `None` if the table has no states.
    pub tcp_states: Vec<(Option<TcpState>, u64)>,
    /// Sanitized name given by the administrator; not set by the tally.
    pub label: Option<String>,
    /// Operator and country of the address, or of all addresses of the network or group. The
    /// tally sets it for groups only.
    pub operator: Operator,
    /// Time of the first sample that had this peer on top, in seconds since 1970-01-01
    /// UTC; `None` if unknown. Not set by the tally.
    pub first_on_top: Option<u64>,
    /// The consecutive samples with this peer over the limit, including this one; `None`
    /// if the peer is not over the limit. Not set by the tally.
    pub over: Option<Streak>,
}

impl Peer {
    /// Returns the address, the network in CIDR notation, or the group with the name of its
    /// operator; of a truncated address the visible part, followed by three dots.
    #[must_use]
    pub fn name(&self) -> String {
        match (&self.id, self.truncated) {
            (_, Some(visible)) => visible.to_string(),
            (PeerId::Group(_), _) if self.operator.asn.is_some() => self.operator.to_string(),
            (id, _) => id.to_string(),
        }
    }

    /// Returns the group that the peer's operator or label puts it into, and the operator data
    /// that the addresses of the group have in common; `None` if the property is not known.
    #[must_use]
    pub fn group(&self, by: GroupBy) -> Option<(Group, Operator)> {
        match by {
            GroupBy::Asn | GroupBy::Country => self.operator.group(by),
            GroupBy::Label => {
                let name = self.label.clone()?;
                Some((Group { by, name }, Operator::default()))
            }
        }
    }

    /// Returns whether the peer is one address, as opposed to a network or group.
    #[must_use]
    pub fn is_single_address(&self) -> bool {
        self.id.network().is_some_and(|network| network.is_single_address())
    }
}

/// Consecutive samples with a peer over the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streak {
    /// Number of samples, 1 or more.
    pub consecutive: u32,
    /// Time of the first of them in seconds since 1970-01-01 UTC.
    pub since: u64,
}

/// Rule by which addresses are combined into peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregation {
    /// By prefix length.
    Prefix(PrefixLengths),
    /// By operator, country or label. An address without a group is a peer.
    Group(GroupBy),
}

/// The prefix lengths by which addresses are aggregated into peers.
///
/// A client owns one IPv4 address, and at least a /64 of IPv6 (RFC 4291,
/// section 2.5.1: an interface chooses the other 64 bits itself). The addresses of rented
/// servers are often neighbors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixLengths {
    /// Prefix length of IPv4 peers, 0 to 32.
    pub v4: u8,
    /// Prefix length of IPv6 peers, 0 to 128.
    pub v6: u8,
    /// Minimum number of connected addresses in a network that is aggregated into
    /// one peer; if there are fewer, each address is a peer.
    pub min_members: u64,
}

impl Aggregation {
    /// No aggregation: each address is a peer.
    pub const PER_ADDRESS: Self = Self::Prefix(PrefixLengths::PER_ADDRESS);

    /// Returns the prefix lengths of the peers that are not groups.
    #[must_use]
    pub fn prefix_lengths(self) -> PrefixLengths {
        match self {
            Self::Prefix(lengths) => lengths,
            Self::Group(_) => PrefixLengths::PER_ADDRESS,
        }
    }

    /// Returns the property of the groups; `None` if the peers are not groups.
    #[must_use]
    pub fn group_by(self) -> Option<GroupBy> {
        match self {
            Self::Prefix(_) => None,
            Self::Group(by) => Some(by),
        }
    }
}

impl PrefixLengths {
    /// Each address is a peer.
    pub const PER_ADDRESS: Self = Self { v4: 32, v6: 128, min_members: 1 };

    /// Returns the network of an address, by prefix length alone.
    fn network(self, address: IpAddr) -> Network {
        Network::new(address, if address.is_ipv4() { self.v4 } else { self.v6 })
    }
}

/// The identity of a peer within one tally.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum PeerKey {
    Network(Network),
    /// The visible part of an address, and the network that it certainly belongs to.
    Truncated(Network, TruncatedAddress),
    /// Number of a group.
    Group(GroupBy, u32),
}

/// A peer without its ports and TCP states. The busiest peer is the greatest; among equal
/// counts, the peer with the lower address is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct PeerCount {
    connections: u64,
    key: Reverse<PeerKey>,
    addresses: u64,
}

/// Details that connections have in common, and the number of these connections.
type DetailsCount = (Details, u64);

impl PeerCount {
    /// Returns a single address.
    fn of_address(address: IpAddr, connections: u64) -> Self {
        let key = Reverse(PeerKey::Network(Network::new(address, u8::MAX)));
        Self { connections, key, addresses: 1 }
    }

    fn is_truncated(&self) -> bool {
        matches!(self.key.0, PeerKey::Truncated(..))
    }

    fn is_group(&self) -> bool {
        matches!(self.key.0, PeerKey::Group(..))
    }
}

impl Counts {
    /// Creates the counts from the counts of the keys, which are sorted by key.
    pub(super) fn new(
        v4: Vec<(u64, u32)>,
        v6: Vec<(V6Key, u32)>,
        truncated: Vec<(TruncatedKey, u32)>,
        local_addresses: Vec<IpAddr>,
    ) -> Self {
        let mut counts = Self { v4, v6, truncated, local_addresses, ..Self::default() };
        counts.has_several_local = [true, false].map(|is_ipv4| {
            let of_family = |&number: &usize| counts.local_addresses[number].is_ipv4() == is_ipv4;
            counts.used_local_addresses().filter(of_family).count() > 1
        });
        let n_complete = counts.connections_by_address().count();
        counts.addresses = (n_complete + counts.truncated_addresses().count()) as u64;
        counts
    }

    /// Returns the number of addresses that are connected.
    #[must_use]
    pub fn addresses(&self) -> u64 {
        self.addresses
    }

    /// Returns the addresses that are not truncated, in the order in which `set_groups`
    /// takes their groups.
    pub fn complete_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.connections_by_address().map(|(address, _)| address)
    }

    /// Sets the groups of the addresses for the aggregation `by`.
    pub fn set_groups(&mut self, by: GroupBy, groups: AddressGroups) {
        self.groups.insert(by, groups);
    }

    /// Returns whether the peers of this aggregation are known.
    #[must_use]
    pub fn has_peers_of(&self, aggregation: Aggregation) -> bool {
        aggregation.group_by().is_none_or(|by| self.groups.contains_key(&by))
    }

    /// Returns the counts of all peers, highest first.
    #[must_use]
    pub fn peer_counts(&self, aggregation: Aggregation) -> Vec<u64> {
        let mut counts = Vec::new();
        self.for_each_peer(aggregation, |peer| counts.push(peer.connections));
        counts.sort_unstable_by_key(|&connections| Reverse(connections));
        counts
    }

    /// Returns the counts of the peers that cannot be over the limit, highest first: truncated
    /// addresses, and among groups the addresses without a group.
    #[must_use]
    pub fn unattributable_counts(&self, aggregation: Aggregation) -> Vec<u64> {
        let mut counts: Vec<_> = self.truncated_addresses().map(|peer| peer.connections).collect();
        if let Aggregation::Group(by) = aggregation {
            let addresses = self.addresses_with_groups(by).filter(|(_, _, group)| group.is_none());
            counts.extend(addresses.map(|(_, connections, _)| connections));
        }
        counts.sort_unstable_by_key(|&connections| Reverse(connections));
        counts
    }

    /// Returns the `n_listed` peers with the most connections, and the `n_complete` peers with
    /// the most connections among those whose address is not truncated, busiest first. In an
    /// aggregation by group, the latter are groups.
    ///
    /// Equal counts are ordered by address, IPv4 before IPv6, so that two runs with
    /// the same counts have the same output.
    #[must_use]
    pub fn top(&self, n_listed: usize, n_complete: usize, aggregation: Aggregation) -> Vec<Peer> {
        let mut top = self.busiest(n_listed, aggregation, |_| true);
        let has_groups = aggregation.group_by().is_some();
        if n_complete > n_listed || !self.truncated.is_empty() || has_groups {
            let is_wanted = if has_groups {
                PeerCount::is_group
            } else {
                |peer: &_| !PeerCount::is_truncated(peer)
            };
            top.extend(self.busiest(n_complete, aggregation, is_wanted));
            top.sort_unstable_by_key(|&peer| Reverse(peer));
            top.dedup();
        }
        self.to_peers(top)
    }

    /// Returns the peers that are among `ids`, busiest first.
    #[must_use]
    pub fn peers_among(&self, ids: &BTreeSet<&PeerId>, aggregation: Aggregation) -> Vec<Peer> {
        let mut found = Vec::new();
        self.for_each_peer(aggregation, |peer| {
            if self.peer_id(peer.key.0).is_some_and(|(id, _)| ids.contains(&id)) {
                found.push(peer);
            }
        });
        found.sort_unstable_by_key(|&peer| Reverse(peer));
        self.to_peers(found)
    }

    /// Returns the `n` peers with the most connections for which `is_wanted` returns true,
    /// busiest first.
    fn busiest(
        &self,
        n: usize,
        aggregation: Aggregation,
        is_wanted: fn(&PeerCount) -> bool,
    ) -> Vec<PeerCount> {
        // The first element of the heap is the smallest of the top peers, and is replaced next.
        let mut top = BinaryHeap::new();
        self.for_each_peer(aggregation, |peer| {
            // Most peers are below the smallest top peer, and need one comparison only.
            let is_full = top.len() >= n;
            let is_small = is_full && top.peek().is_none_or(|Reverse(smallest)| peer <= *smallest);
            if is_small || !is_wanted(&peer) {
                return;
            }
            if is_full {
                top.pop();
            }
            top.push(Reverse(peer));
        });
        top.into_sorted_vec().into_iter().map(|Reverse(peer)| peer).collect()
    }

    /// Returns the number of connections in each TCP state, most frequent first; `None` is
    /// the state of connections whose table has no states.
    #[must_use]
    pub fn tcp_states(&self) -> Vec<(Option<TcpState>, u64)> {
        let mut counts = [0_u64; Details::MAX_STATE as usize + 1];
        for (details, n) in self.details() {
            counts[usize::from(details.tcp_state)] += u64::from(n);
        }
        let states = (0..Details::UNKNOWN.tcp_state).zip(counts).filter(|&(_, n)| n > 0);
        let states = states.map(|(number, n)| (TcpState::from_number(number), n));
        sum_by_key(states)
    }

    /// Returns the details and the number of connections of each key.
    fn details(&self) -> impl Iterator<Item = (Details, u32)> {
        let v4_keys = self.v4.iter().map(|&(key, n)| (v4_details(key), n));
        let v6_keys = self.v6.iter().map(|&([.., details], n)| (details, n));
        let truncated_keys = self.truncated.iter().map(|&((_, [.., details]), n)| (details, n));
        let keys = v4_keys.chain(v6_keys).chain(truncated_keys);
        keys.map(|(details, n)| (Details::unpack(details), n))
    }

    /// Returns the indices of the local addresses that counted connections are to. The list
    /// of local addresses also has those of connections that were removed from the tally.
    fn used_local_addresses(&self) -> impl Iterator<Item = usize> {
        let mut is_used = vec![false; usize::from(LocalAddresses::MAX_NUMBER) + 1];
        for (details, _) in self.details() {
            is_used[usize::from(details.local_address)] = true;
        }
        (0..self.local_addresses.len()).filter(move |index| is_used[index + 1])
    }

    /// Returns the number of connections of a peer of another tally.
    #[must_use]
    pub fn connections_of(&self, peer: &Peer) -> u64 {
        match (&peer.id, peer.truncated) {
            (_, Some(truncated)) => self.truncated_keys(truncated).map(|(_, n)| n).sum(),
            (PeerId::Network(network), None) => self.connections_from(*network),
            (PeerId::Group(group), None) => {
                let number = self.groups.get(&group.by).and_then(|groups| groups.find(group));
                number.map_or(0, |number| self.connections_by_group(group.by)[number as usize].0)
            }
        }
    }

    fn connections_from(&self, network: Network) -> u64 {
        self.details_of(network).into_iter().map(|(_, n)| n).sum()
    }

    /// Calls `visit` with each peer: networks in the order of their addresses, then groups
    /// and truncated addresses.
    fn for_each_peer(&self, aggregation: Aggregation, mut visit: impl FnMut(PeerCount)) {
        match aggregation {
            Aggregation::Prefix(lengths) => self.for_each_network(lengths, &mut visit),
            Aggregation::Group(by) => self.for_each_group(by, &mut visit),
        }
        // The network of a truncated address is not known.
        self.truncated_addresses().for_each(visit);
    }

    fn for_each_network(&self, lengths: PrefixLengths, mut visit: impl FnMut(PeerCount)) {
        let mut addresses = self.connections_by_address().peekable();
        let mut members = Vec::new();
        while let Some((address, connections)) = addresses.next() {
            let network = lengths.network(address);
            let key = Reverse(PeerKey::Network(network));
            let mut peer = PeerCount { connections, key, addresses: 1 };
            if network.is_single_address() {
                visit(peer);
                continue;
            }
            members.clear();
            members.push((address, connections));
            while let Some((address, connections)) =
                addresses.next_if(|&(address, _)| network.contains(address))
            {
                peer.connections += connections;
                peer.addresses += 1;
                // From `min_members` addresses on, the network is the peer.
                if peer.addresses < lengths.min_members {
                    members.push((address, connections));
                }
            }
            if peer.addresses >= lengths.min_members {
                visit(peer);
                continue;
            }
            for &(address, connections) in &members {
                visit(PeerCount::of_address(address, connections));
            }
        }
    }

    fn for_each_group(&self, by: GroupBy, mut visit: impl FnMut(PeerCount)) {
        for (address, connections, group) in self.addresses_with_groups(by) {
            if group.is_none() {
                visit(PeerCount::of_address(address, connections));
            }
        }
        for (number, (connections, addresses)) in (0..).zip(self.connections_by_group(by)) {
            let key = Reverse(PeerKey::Group(by, number));
            visit(PeerCount { connections, key, addresses });
        }
    }

    /// Returns the connections and the addresses of each group, in the order of their
    /// numbers.
    fn connections_by_group(&self, by: GroupBy) -> Vec<(u64, u64)> {
        let n_groups = self.groups.get(&by).map_or(0, AddressGroups::len);
        let mut sums = vec![(0, 0); n_groups];
        for (_, connections, group) in self.addresses_with_groups(by) {
            if let Some(number) = group {
                let (sum, addresses) = &mut sums[number as usize];
                *sum += connections;
                *addresses += 1;
            }
        }
        sums
    }

    /// Returns every address with its connections and the number of its group.
    fn addresses_with_groups(
        &self,
        by: GroupBy,
    ) -> impl Iterator<Item = (IpAddr, u64, Option<u32>)> {
        let of_addresses = self.groups.get(&by).map_or(&[][..], AddressGroups::of_addresses);
        let groups = of_addresses.iter().copied().chain(std::iter::repeat(None));
        let addresses = self.connections_by_address().zip(groups);
        addresses.map(|((address, connections), group)| (address, connections, group))
    }

    /// Returns every truncated address as a peer, in the order of their texts.
    fn truncated_addresses(&self) -> impl Iterator<Item = PeerCount> {
        self.truncated.chunk_by(|a, b| a.0.0 == b.0.0).map(|keys| {
            let (truncated, key) = keys[0].0;
            let address = IpAddr::V6(v6_address(key));
            let network = Network::new(address, truncated.n_known_bits);
            PeerCount {
                connections: keys.iter().map(|&(_, n)| u64::from(n)).sum(),
                key: Reverse(PeerKey::Truncated(network, truncated)),
                addresses: 1,
            }
        })
    }

    /// Returns details and number of connections of a truncated address.
    fn truncated_keys(&self, truncated: TruncatedAddress) -> impl Iterator<Item = DetailsCount> {
        let start = self.truncated.partition_point(|&((text, _), _)| text < truncated);
        let keys = self.truncated[start..].iter();
        keys.take_while(move |&&((text, _), _)| text == truncated)
            .map(|&((_, [.., details]), n)| (Details::unpack(details), u64::from(n)))
    }

    /// Returns every address with its number of connections, in order.
    fn connections_by_address(&self) -> impl Iterator<Item = (IpAddr, u64)> {
        let v4 = self.v4.chunk_by(|a, b| a.0 >> 32 == b.0 >> 32).map(|keys| {
            let connections = keys.iter().map(|&(_, n)| u64::from(n)).sum();
            (IpAddr::V4(v4_address(keys[0].0)), connections)
        });
        let v6 = self.v6.chunk_by(|a, b| a.0[..4] == b.0[..4]).map(|keys| {
            let connections = keys.iter().map(|&(_, n)| u64::from(n)).sum();
            (IpAddr::V6(v6_address(keys[0].0)), connections)
        });
        v4.chain(v6)
    }

    /// Returns the identity of a peer, and the known operator data of a group; `None` for a
    /// truncated address.
    fn peer_id(&self, key: PeerKey) -> Option<(PeerId, Operator)> {
        match key {
            PeerKey::Network(network) => Some((PeerId::Network(network), Operator::default())),
            PeerKey::Truncated(..) => None,
            PeerKey::Group(by, number) => {
                let (group, operator) = self.groups.get(&by)?.group(number);
                Some((PeerId::Group(group), operator))
            }
        }
    }

    /// Returns the peers with their ports and TCP states.
    fn to_peers(&self, peers: Vec<PeerCount>) -> Vec<Peer> {
        let mut of_groups = self.details_of_groups(&peers);
        let to_peer = |PeerCount { connections, key: Reverse(key), addresses }| {
            let (mut details, truncated) = match key {
                PeerKey::Network(network) => (self.details_of(network), None),
                PeerKey::Truncated(_, truncated) => {
                    (self.truncated_keys(truncated).collect(), Some(truncated))
                }
                PeerKey::Group(..) => (of_groups.remove(&key).unwrap_or_default(), None),
            };
            details.retain(|(details, _)| !details.are_unknown());
            let (id, operator) = match key {
                PeerKey::Truncated(network, _) => (PeerId::Network(network), Operator::default()),
                _ => self.peer_id(key).expect("the key is from this tally"),
            };
            let local_addresses = self.local_addresses(&id, &details);
            Peer {
                id,
                truncated,
                addresses,
                connections,
                local_addresses,
                ports: sum_by_key(details.iter().map(|&(details, n)| (details.port, n))),
                tcp_states: sum_by_key(details.iter().map(|&(details, n)| (details.tcp_state, n)))
                    .into_iter()
                    .map(|(tcp_state, n)| (TcpState::from_number(tcp_state), n))
                    .collect(),
                label: None,
                operator,
                first_on_top: None,
                over: None,
            }
        };
        peers.into_iter().map(to_peer).collect()
    }

    /// Returns details and number of connections of the groups among `peers`. Takes one pass
    /// over all addresses.
    fn details_of_groups(&self, peers: &[PeerCount]) -> BTreeMap<PeerKey, Vec<DetailsCount>> {
        let mut of_groups = BTreeMap::new();
        for &PeerCount { key: Reverse(key), .. } in peers {
            if let PeerKey::Group(by, _) = key {
                of_groups.insert(key, (by, BTreeMap::new()));
            }
        }
        let properties: BTreeSet<_> = of_groups.values().map(|&(by, _)| by).collect();
        for by in properties {
            for (address, _, group) in self.addresses_with_groups(by) {
                let sums = group.and_then(|number| of_groups.get_mut(&PeerKey::Group(by, number)));
                let Some((_, sums)) = sums else { continue };
                for (details, n) in self.details_of(Network::new(address, u8::MAX)) {
                    *sums.entry(details).or_default() += n;
                }
            }
        }
        of_groups.into_iter().map(|(key, (_, sums))| (key, sums.into_iter().collect())).collect()
    }

    /// Returns details and number of connections of the addresses of a network.
    fn details_of(&self, network: Network) -> Vec<DetailsCount> {
        match (network.first_address(), network.last_address()) {
            (IpAddr::V4(first), IpAddr::V4(last)) => self.details_v4(first, last).collect(),
            (IpAddr::V6(first), IpAddr::V6(last)) => self.details_v6(first, last).collect(),
            _ => Vec::new(),
        }
    }

    /// Returns the connections of a peer by local address; an empty list if all connections of
    /// its address family are to one local address.
    fn local_addresses(
        &self,
        peer: &PeerId,
        details: &[DetailsCount],
    ) -> Vec<(Option<IpAddr>, u64)> {
        let [v4, v6] = self.has_several_local;
        let has_several = match peer.network() {
            Some(network) if network.first_address().is_ipv4() => v4,
            Some(_) => v6,
            // A group has addresses of both families.
            None => v4 || v6,
        };
        if !has_several {
            return Vec::new();
        }
        let sums = sum_by_key(details.iter().map(|&(details, n)| (details.local_address, n)));
        let address = |number: u16| self.local_addresses.get(usize::from(number).checked_sub(1)?);
        let mut sums: Vec<_> =
            sums.into_iter().map(|(number, n)| (address(number).copied(), n)).collect();
        // The numbers depend on the order of the table.
        sums.sort_by_key(|&(address, n)| (Reverse(n), address.is_none(), address));
        sums
    }

    /// Returns details and number of connections of the IPv4 addresses from `first` to
    /// `last`.
    fn details_v4(&self, first: Ipv4Addr, last: Ipv4Addr) -> impl Iterator<Item = DetailsCount> {
        let (from, to) = (v4_key(first, 0), v4_key(last, u32::MAX));
        let start = self.v4.partition_point(|&(key, _)| key < from);
        let end = self.v4.partition_point(|&(key, _)| key <= to);
        let keys = self.v4[start..end].iter();
        keys.map(|&(key, n)| (Details::unpack(v4_details(key)), u64::from(n)))
    }

    /// Returns details and number of connections of the IPv6 addresses from `first` to
    /// `last`.
    fn details_v6(&self, first: Ipv6Addr, last: Ipv6Addr) -> impl Iterator<Item = DetailsCount> {
        let (from, to) = (v6_key(first, 0), v6_key(last, u32::MAX));
        let start = self.v6.partition_point(|&(key, _)| key < from);
        let end = self.v6.partition_point(|&(key, _)| key <= to);
        let keys = self.v6[start..end].iter();
        keys.map(|&([.., details], n)| (Details::unpack(details), u64::from(n)))
    }
}

/// Returns the sum for each key; the highest sum first, then the lower key.
fn sum_by_key<K: Ord + Copy>(counts: impl Iterator<Item = (K, u64)>) -> Vec<(K, u64)> {
    let mut counts: Vec<_> = counts.collect();
    counts.sort_unstable_by_key(|&(key, _)| key);
    let mut sums: Vec<(K, u64)> = counts
        .chunk_by(|a, b| a.0 == b.0)
        .map(|keys| (keys[0].0, keys.iter().map(|&(_, n)| n).sum()))
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

    fn network_of(peer: &Peer) -> Network {
        peer.id.network().expect("no groups")
    }

    fn counts(peers: &[(IpAddr, u16)]) -> Counts {
        let mut tally = Tally::default();
        for &(peer, port) in peers {
            tally.add(&Connection {
                local: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port),
                peer: SocketAddr::new(peer, 50000),
                tcp_state: Some(TcpState::Established),
                peer_truncated: None,
                count: None,
                is_local_truncated: false,
            });
        }
        tally.finish()
    }

    /// Returns addresses and connections by peer, computed with a map and without
    /// sorted input.
    fn naive_counts(
        peers: &[(IpAddr, u16)],
        lengths: PrefixLengths,
    ) -> BTreeMap<Network, (u64, u64)> {
        let mut addresses: BTreeMap<IpAddr, u64> = BTreeMap::new();
        for (peer, _) in peers {
            *addresses.entry(*peer).or_default() += 1;
        }
        let network = |address: IpAddr| match address {
            IpAddr::V4(_) => Network::new(address, lengths.v4),
            IpAddr::V6(_) => Network::new(address, lengths.v6),
        };
        let n_members = |of: Network| {
            addresses.keys().filter(|&&address| network(address) == of).count() as u64
        };
        let mut sums: BTreeMap<Network, (u64, u64)> = BTreeMap::new();
        for (&address, &n) in &addresses {
            let network = network(address);
            let is_aggregated = n_members(network) >= lengths.min_members;
            let peer = if is_aggregated { network } else { Network::new(address, u8::MAX) };
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
        fn network_counts_are_sums_of_address_counts(
            peers in peers(),
            v4 in 1..=32u8,
            v6 in 1..=128u8,
            min_members in 1..7u64,
        ) {
            let lengths = PrefixLengths { v4, v6, min_members };
            let aggregation = Aggregation::Prefix(lengths);
            let counts = counts(&peers);
            let top = counts.top(usize::MAX, 0, aggregation);
            let found: BTreeMap<_, _> =
                top.iter().map(|peer| (network_of(peer), (peer.addresses, peer.connections))).collect();
            prop_assert_eq!(found.len(), top.len());
            prop_assert_eq!(found, naive_counts(&peers, lengths));
            let order: Vec<_> =
                top.iter().map(|peer| (Reverse(peer.connections), network_of(peer))).collect();
            prop_assert!(order.is_sorted());
            prop_assert_eq!(counts.top(3, 0, aggregation), top[..top.len().min(3)].to_vec());
            let peer_counts: Vec<_> = top.iter().map(|peer| peer.connections).collect();
            prop_assert_eq!(counts.peer_counts(aggregation), peer_counts);
            for peer in top {
                // Ports and states cover all connections of the peer, and no others.
                let port_sum: u64 = peer.ports.iter().map(|&(_, n)| n).sum();
                prop_assert_eq!(port_sum, peer.connections);
                let state_sum: u64 = peer.tcp_states.iter().map(|&(_, n)| n).sum();
                prop_assert_eq!(state_sum, peer.connections);
            }
        }
    }
}
