//! A set of networks in which addresses are looked up.
use std::net::IpAddr;

use crate::model::network::Network;

/// Networks in order, without networks that are inside others. One binary search finds the
/// only network that can contain an address.
#[derive(Clone, Debug, Default)]
pub(super) struct NetworkSet {
    networks: Vec<Network>,
    /// First and last address of each IPv4 network, in order.
    ranges_v4: Vec<(u32, u32)>,
    /// First and last address of each IPv6 network, in order.
    ranges_v6: Vec<(u128, u128)>,
}

impl NetworkSet {
    /// Creates the set from networks in any order.
    pub(super) fn new(mut networks: Vec<Network>) -> Self {
        // A network sorts before the networks inside it.
        networks.sort();
        networks.dedup_by(|inner, outer| outer.contains(inner.first_address()));
        let (mut ranges_v4, mut ranges_v6) = (Vec::new(), Vec::new());
        for network in &networks {
            match (network.first_address(), network.last_address()) {
                (IpAddr::V4(first), IpAddr::V4(last)) => {
                    ranges_v4.push((first.to_bits(), last.to_bits()));
                }
                (IpAddr::V6(first), IpAddr::V6(last)) => {
                    ranges_v6.push((first.to_bits(), last.to_bits()));
                }
                _ => unreachable!("a network is of one family"),
            }
        }
        Self { networks, ranges_v4, ranges_v6 }
    }

    /// Returns the networks, in order.
    pub(super) fn networks(&self) -> &[Network] {
        &self.networks
    }

    /// Returns the index in `networks` of the network that contains the address. IPv4 networks
    /// sort before IPv6 networks.
    pub(super) fn index_of(&self, address: IpAddr) -> Option<usize> {
        match address {
            IpAddr::V4(address) => range_index(&self.ranges_v4, address.to_bits()),
            IpAddr::V6(address) => range_index(&self.ranges_v6, address.to_bits())
                .map(|index| self.ranges_v4.len() + index),
        }
    }

    /// Returns whether a network contains an address that begins with the `n_known_bits`
    /// leading bits of `address`. An empty set contains all addresses.
    pub(super) fn may_contain(&self, address: IpAddr, n_known_bits: u8) -> bool {
        if self.networks.is_empty() || self.index_of(address).is_some() {
            return true;
        }
        let candidates = Network::new(address, n_known_bits);
        // The missing digits may be those of an embedded IPv4 address.
        let may_be_ipv4 = !candidates.is_single_address() && candidates.may_embed_ipv4();
        may_be_ipv4 || self.first_overlap(candidates).is_some()
    }

    /// Returns the first network that has an address in common with `other`.
    pub(super) fn first_overlap(&self, other: Network) -> Option<Network> {
        let index =
            self.networks.partition_point(|network| network.last_address() < other.first_address());
        let network = *self.networks.get(index)?;
        if network.first_address() <= other.last_address() { Some(network) } else { None }
    }
}

/// Returns the index of the range that contains `address`; the ranges are in order
/// and do not overlap.
fn range_index<A: Ord + Copy>(ranges: &[(A, A)], address: A) -> Option<usize> {
    let index = ranges.partition_point(|&(first, _)| first <= address).checked_sub(1)?;
    if address <= ranges[index].1 { Some(index) } else { None }
}
