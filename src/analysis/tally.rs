//! Counts connections by peer address.
//!
//! The module does not use a hash table: the holder of one IPv6 /64 chooses among 2^64
//! addresses, and could choose addresses that collide. Keys are instead collected, sorted,
//! and merged into `sorted_counts`. Memory grows with the number of distinct (address,
//! local address, local port, state), not with the number of connections, and the counts
//! of each address are exact.
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::model::{
    connection::{Connection, TcpState, TruncatedAddress},
    network::canonical_address,
};

mod address_groups;
mod counts;
mod local_addresses;
mod sorted_counts;

pub use address_groups::AddressGroups;
pub use counts::{Aggregation, Counts, Peer, PrefixLengths, Streak};
use local_addresses::LocalAddresses;
use sorted_counts::SortedCounts;

/// Number of connections by peer address, local address, local port and TCP state.
#[derive(Debug, Default)]
pub struct Tally {
    local_addresses: LocalAddresses,
    v4: SortedCounts<u64>,
    v6: SortedCounts<V6Key>,
    truncated: SortedCounts<TruncatedKey>,
    /// Addresses that may be truncated. They are kept apart until their listing ends.
    unsettled: SortedCounts<TruncatedKey>,
}

/// Memory is exhausted; holds the number of keys (address, local address, local port,
/// state) that were counted.
///
/// Untrusted peers choose the number of addresses, so running out of memory here is
/// not a defect of topip, and is reported. A failed allocation elsewhere aborts the
/// process without any output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("out of memory after counting {0} combinations of address, port and TCP state")]
pub struct OutOfMemory(pub usize);

/// Address and packed [`Details`] of an IPv6 peer in one comparable key.
type V6Key = [u32; 5];
/// Visible part of an address, and the key that the address has if it is complete.
type TruncatedKey = (TruncatedAddress, V6Key);

impl Tally {
    /// Counts one connection.
    pub fn add(&mut self, connection: &Connection) {
        if let Some(count) = connection.count {
            return self.add_count(connection.peer_address(), count.get());
        }
        let local_address = if connection.is_local_truncated {
            LocalAddresses::OTHER
        } else {
            self.local_addresses.number(connection.local.ip().to_canonical())
        };
        let details = Details {
            local_address,
            port: connection.local.port(),
            tcp_state: connection.tcp_state.map_or(0, TcpState::number),
        };
        let details = details.pack();
        if let (Some(truncated), IpAddr::V6(address)) =
            (&connection.peer_truncated, connection.peer.ip())
        {
            self.unsettled.add((*truncated, v6_key(address, details)));
            return;
        }
        // A dual-stack listener shows an IPv4 peer as ::ffff:192.0.2.1, and a NAT64 gateway
        // passes it on as 64:ff9b::c000:201. All are the same machine, and counting it as
        // several peers would hide a part of an attack.
        match connection.peer_address() {
            IpAddr::V4(address) => self.v4.add(v4_key(address, details)),
            IpAddr::V6(address) => self.v6.add(v6_key(address, details)),
        }
    }

    /// Counts `n` connections of an address whose ports and states are unknown.
    fn add_count(&mut self, address: IpAddr, n: u32) {
        let details = Details::UNKNOWN.pack();
        match address {
            IpAddr::V4(address) => self.v4.add_many(v4_key(address, details), n),
            IpAddr::V6(address) => self.v6.add_many(v6_key(address, details), n),
        }
    }

    /// Decides about the addresses that may be truncated, at the end of their listing. If
    /// `is_truncated` is true, they stay apart; otherwise they are counted as complete.
    pub fn settle_truncated(&mut self, is_truncated: bool) {
        let mut unsettled = std::mem::take(&mut self.unsettled);
        // Exhausted memory must be reported, so the record of it is kept as well.
        if is_truncated || unsettled.check_memory().is_err() {
            self.truncated.merge(unsettled);
            return;
        }
        for ((_, key), n) in unsettled.into_sorted() {
            match canonical_address(IpAddr::V6(v6_address(key))) {
                IpAddr::V4(address) => self.v4.add_many(v4_key(address, key[4]), n),
                IpAddr::V6(_) => self.v6.add_many(key, n),
            }
        }
    }

    /// Adds the counts of another tally.
    pub fn merge(&mut self, mut other: Self) {
        let other_addresses = std::mem::take(&mut other.local_addresses);
        if let Some(numbers) = self.local_addresses.merge(other_addresses) {
            other.renumber_local_addresses(&numbers);
        }
        self.v4.merge(other.v4);
        self.v6.merge(other.v6);
        self.truncated.merge(other.truncated);
        self.unsettled.merge(other.unsettled);
    }

    /// Replaces the number of each local address.
    fn renumber_local_addresses(&mut self, numbers: &[u16]) {
        let renumber = |details: u32| {
            let details = Details::unpack(details);
            let local_address = numbers[usize::from(details.local_address)];
            Details { local_address, ..details }.pack()
        };
        let renumber_v6 = |[a, b, c, d, details]: V6Key| [a, b, c, d, renumber(details)];
        self.v4.map_keys(|key| v4_key(v4_address(key), renumber(v4_details(key))));
        self.v6.map_keys(renumber_v6);
        self.truncated.map_keys(|(text, key)| (text, renumber_v6(key)));
        self.unsettled.map_keys(|(text, key)| (text, renumber_v6(key)));
    }

    /// Removes connections to ports other than `ports`, and returns their number.
    pub fn retain_ports(&mut self, ports: &BTreeSet<u16>) -> u64 {
        let before = self.connections();
        let is_wanted = |details| ports.contains(&Details::unpack(details).port);
        self.v4.retain(|key| is_wanted(v4_details(key)));
        self.v6.retain(|[.., details]| is_wanted(details));
        self.truncated.retain(|(_, [.., details])| is_wanted(details));
        before - self.connections()
    }

    /// Returns the number of connections that were counted.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.v4.total() + self.v6.total() + self.truncated.total() + self.unsettled.total()
    }

    /// Checks that all added connections could be counted, and that there is enough
    /// memory to judge them.
    ///
    /// # Errors
    ///
    /// Returns an error if memory is exhausted.
    pub fn check_memory(&mut self) -> Result<(), OutOfMemory> {
        self.v4.check_memory().map_err(OutOfMemory)?;
        self.v6.check_memory().map_err(OutOfMemory)?;
        self.settle_truncated(true);
        self.truncated.check_memory().map_err(OutOfMemory)?;
        // Later stages need memory only for a list of the counts, which grows by doubling.
        let n = self.v4.len() + self.v6.len() + self.truncated.len();
        Vec::<[u64; 2]>::new().try_reserve_exact(n).map_err(|_| OutOfMemory(n))
    }

    /// Returns the counts.
    #[must_use]
    pub fn finish(mut self) -> Counts {
        self.settle_truncated(true);
        let Self { local_addresses, v4, v6, truncated, .. } = self;
        let local_addresses = local_addresses.into_addresses();
        Counts::new(v4.into_sorted(), v6.into_sorted(), truncated.into_sorted(), local_addresses)
    }
}

/// Parts of a key in addition to the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Details {
    /// Number in [`LocalAddresses`], 11 bits.
    local_address: u16,
    port: u16,
    /// Number of the state, 5 bits; 0 if the table does not have it.
    tcp_state: u8,
}

impl Details {
    const STATE_BITS: u32 = 5;
    const MAX_STATE: u8 = (1 << Self::STATE_BITS) - 1;

    /// Details of connections whose ports and states are unknown.
    const UNKNOWN: Self = Self { local_address: 0, port: 0, tcp_state: Self::MAX_STATE };

    fn pack(self) -> u32 {
        let port_and_state = u32::from(self.port) << Self::STATE_BITS | u32::from(self.tcp_state);
        u32::from(self.local_address) << (Self::STATE_BITS + u16::BITS) | port_and_state
    }

    fn unpack(details: u32) -> Self {
        let port = details >> Self::STATE_BITS & u32::from(u16::MAX);
        Self {
            local_address: (details >> (Self::STATE_BITS + u16::BITS)) as u16,
            port: port as u16,
            tcp_state: details as u8 & Self::MAX_STATE,
        }
    }

    fn are_unknown(self) -> bool {
        self.tcp_state == Self::UNKNOWN.tcp_state
    }
}

/// Returns a key. Keys sort by address first.
fn v4_key(address: Ipv4Addr, details: u32) -> u64 {
    u64::from(address.to_bits()) << 32 | u64::from(details)
}

fn v4_details(key: u64) -> u32 {
    (key & 0xFFFF_FFFF) as u32
}

fn v4_address(key: u64) -> Ipv4Addr {
    let [a, b, c, d, ..] = key.to_be_bytes();
    Ipv4Addr::new(a, b, c, d)
}

fn v6_key(address: Ipv6Addr, details: u32) -> V6Key {
    let bits = address.to_bits();
    let [a, b, c, d] = [96, 64, 32, 0].map(|shift| (bits >> shift & 0xFFFF_FFFF) as u32);
    [a, b, c, d, details]
}

fn v6_address([a, b, c, d, _]: V6Key) -> Ipv6Addr {
    Ipv6Addr::from_bits(
        [a, b, c, d].into_iter().fold(0, |bits, word| bits << 32 | u128::from(word)),
    )
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
            peer_truncated: None,
            count: None,
            is_local_truncated: false,
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
            .top(n, 0, Aggregation::PER_ADDRESS)
            .iter()
            .map(|peer| format!("{} {}", peer.id, peer.connections))
            .collect();
        assert_eq!(found.join(", "), expected);
    }

    #[test]
    fn busiest_peer_comes_first() {
        check(&[], 3, "");
        check(&["192.0.2.1"], 0, "");
        check(&["192.0.2.1", "192.0.2.2", "192.0.2.2"], 3, "192.0.2.2 2, 192.0.2.1 1");
        check(&["192.0.2.1", "192.0.2.2", "192.0.2.2"], 1, "192.0.2.2 2");
    }

    #[test]
    fn equal_counts_are_ordered_by_address() {
        check(
            &["2001:db8::1", "198.51.100.9", "198.51.100.10", "2001:db8::"],
            4,
            "198.51.100.9 1, 198.51.100.10 1, 2001:db8:: 1, 2001:db8::1 1",
        );
    }

    #[test]
    fn mapped_address_counts_as_ipv4() {
        check(&["::ffff:192.0.2.1", "192.0.2.1", "::ffff:c000:201"], 9, "192.0.2.1 3");
    }

    #[test]
    fn nat64_client_counts_as_ipv4() {
        check(
            &["64:ff9b::c000:201", "192.0.2.1", "64:ff9b::10.0.0.1", "64:ff9b:1::192.0.2.1"],
            9,
            "192.0.2.1 2, 64:ff9b::a00:1 1, 64:ff9b:1::c000:201 1",
        );
    }

    #[test]
    fn other_ports_are_removed() {
        let mut tally = Tally::default();
        for (peer, port) in
            [("192.0.2.1", 80), ("192.0.2.1", 50000), ("2001:db8::1", 443), ("2001:db8::1", 50001)]
        {
            tally.add(&connection(peer, port, None));
        }
        assert_eq!(tally.retain_ports(&BTreeSet::from([80, 443, 25])), 2);
        let ports: Vec<_> = tally
            .finish()
            .top(9, 0, Aggregation::PER_ADDRESS)
            .into_iter()
            .flat_map(|peer| peer.ports)
            .collect();
        assert_eq!(ports, [(80, 1), (443, 1)]);
    }

    #[test]
    fn details_are_packed_without_loss() {
        for tcp_state in TcpState::ALL.into_iter().chain(TcpState::UDP) {
            let tcp_state = tcp_state.number();
            assert!(tcp_state < Details::MAX_STATE);
            for (local_address, port) in [(0, 65535), (LocalAddresses::MAX_NUMBER, 0), (1, 443)] {
                let details = Details { local_address, port, tcp_state };
                let unpacked = Details::unpack(details.pack());
                assert_eq!(format!("{details:?}"), format!("{unpacked:?}"));
                assert!(!unpacked.are_unknown());
            }
        }
        assert!(Details::unpack(Details::UNKNOWN.pack()).are_unknown());
    }

    #[test]
    fn connections_are_counted_by_local_address() {
        let tally = |locals: &[&str]| {
            let mut tally = Tally::default();
            for local in locals {
                for peer in ["192.0.2.1", "2001:db8::1"] {
                    let mut connection = connection(peer, 443, None);
                    connection.local.set_ip(local.parse().expect("an address"));
                    tally.add(&connection);
                }
            }
            tally
        };
        let mut merged = tally(&["10.0.0.1", "::ffff:10.0.0.2", "10.0.0.2"]);
        merged.merge(tally(&["10.0.0.3", "10.0.0.2", "2001:db8::a"]));
        let mut truncated = connection("192.0.2.1", 443, None);
        truncated.is_local_truncated = true;
        merged.add(&truncated);
        let peers = merged.finish().top(9, 0, Aggregation::PER_ADDRESS);
        let address = |text: &str| Some(text.parse().expect("an address"));
        assert_eq!(
            peers[0].local_addresses,
            [
                (address("10.0.0.2"), 3),
                (address("10.0.0.1"), 1),
                (address("10.0.0.3"), 1),
                (address("2001:db8::a"), 1),
                (None, 1),
            ]
        );
        assert_eq!((peers[0].connections, &peers[0].ports[..]), (7, &[(443, 7)][..]));
        // One local address of IPv6 only.
        assert_eq!(peers[1].local_addresses, []);
        assert_eq!(peers[1].connections, 6);
    }

    #[test]
    fn connections_are_counted_by_port_and_state() {
        let mut tally = Tally::default();
        for peer in ["192.0.2.1", "2001:db8::1"] {
            for (port, tcp_state) in [
                (80, Some(TcpState::Established)),
                (443, Some(TcpState::Established)),
                (443, Some(TcpState::TimeWait)),
                (443, Some(TcpState::TimeWait)),
                (65535, None),
            ] {
                tally.add(&connection(peer, port, tcp_state));
            }
        }
        for peer in tally.finish().top(9, 0, Aggregation::PER_ADDRESS) {
            assert_eq!(peer.connections, 5);
            assert_eq!(peer.ports, [(443, 3), (80, 1), (65535, 1)]);
            assert_eq!(
                peer.tcp_states,
                [(Some(TcpState::Established), 2), (Some(TcpState::TimeWait), 2), (None, 1)]
            );
        }
    }
}
