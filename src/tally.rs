//! Counts connections by the address at their other end.
//!
//! Nothing is hashed. Whoever holds one IPv6 /64 chooses among 2^64 addresses,
//! and could choose those that collide. Keys are collected, sorted, and merged
//! into runs instead; memory grows with the distinct (address, local port,
//! state) that were seen, not with the connections, and what was seen of each
//! address comes out exact.
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::connection::{Connection, TcpState};

mod counted;

pub use counted::{Counted, Grain, Peer};

/// How many connections each peer has, and by which ports and in which states.
#[derive(Debug, Default)]
pub struct Tally {
    v4: Runs<u64>,
    v6: Runs<[u8; KEY6]>,
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
const KEY6: usize = 16 + 2 + 1;

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
        self.v4.merge();
        self.v6.merge();
        self.v4.counted.retain(|&(key, _)| {
            let [.., high, low, _, _] = key.to_be_bytes();
            ports.contains(&u16::from_be_bytes([high, low]))
        });
        self.v6
            .counted
            .retain(|&([.., high, low, _], _)| ports.contains(&u16::from_be_bytes([high, low])));
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
        self.v4.fits()?;
        self.v6.fits()?;
        // The counts alone are looked at after this, and a list of them grows by
        // doubling.
        let n = self.v4.counted.len() + self.v6.counted.len();
        Vec::<[u64; 2]>::new().try_reserve_exact(n).map_err(|_| Full(n))
    }

    /// Ends the counting.
    #[must_use]
    pub fn finish(mut self) -> Counted {
        self.v4.merge();
        self.v6.merge();
        Counted::new(self.v4.counted, self.v6.counted)
    }
}

/// Address, port, state and a zero byte, so that keys sort by address first.
fn key4(address: Ipv4Addr, port: u16, state: u8) -> u64 {
    u64::from(address.to_bits()) << 32 | u64::from(port) << 16 | u64::from(state) << 8
}

fn address4(key: u64) -> Ipv4Addr {
    let [a, b, c, d, ..] = key.to_be_bytes();
    Ipv4Addr::new(a, b, c, d)
}

fn key6(address: Ipv6Addr, port: u16, state: u8) -> [u8; KEY6] {
    let mut key = [0; KEY6];
    key[..16].copy_from_slice(&address.octets());
    key[16..18].copy_from_slice(&port.to_be_bytes());
    key[18] = state;
    key
}

fn address6([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..]: [u8; KEY6]) -> Ipv6Addr {
    Ipv6Addr::from([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
}

/// Keys and how often each was added.
#[derive(Debug)]
struct Runs<K> {
    /// In order, each key once.
    counted: Vec<(K, u32)>,
    /// As they came.
    pending: Vec<K>,
    /// How many there were when there was no memory for more.
    full: Option<usize>,
}

// Derived, it would ask for K: Default.
impl<K> Default for Runs<K> {
    fn default() -> Self {
        Self { counted: Vec::new(), pending: Vec::new(), full: None }
    }
}

/// How many keys are sorted at a time: few enough to stay in a processor's
/// cache, enough to make the merging cheap.
const PENDING: usize = 32 * 1024;

impl<K: Ord + Copy> Runs<K> {
    fn add(&mut self, key: K) {
        if self.pending.len() == self.pending.capacity() && !self.grow() {
            return;
        }
        self.pending.push(key);
        // As many as are there: merging costs a walk over all of it, so that the
        // walks together stay linear in what was added.
        if self.pending.len() >= PENDING.max(self.counted.len()) {
            self.merge();
        }
    }

    /// Makes room for what is pending; gives whether there is.
    fn grow(&mut self) -> bool {
        // Twice as much each time, as a list that grows by itself.
        let more = self.pending.capacity().max(64);
        if self.full.is_none() && self.pending.try_reserve(more).is_err() {
            self.give_up();
        }
        self.full.is_none()
    }

    /// Counts no more, and gives the memory back: there is an answer to be given.
    fn give_up(&mut self) {
        let n = self.counted.len();
        *self = Self { full: Some(self.full.unwrap_or(n)), ..Self::default() };
    }

    fn fits(&mut self) -> Result<(), Full> {
        self.merge();
        self.pending = Vec::new();
        self.full.map_or(Ok(()), |n| Err(Full(n)))
    }

    fn add_all(&mut self, mut other: Self) {
        other.merge();
        self.merge();
        if self.counted.is_empty() || other.full.is_some() {
            // There is one target, mostly: its counts need not be there twice.
            let full = self.full.or(other.full);
            *self = Self { full, ..other };
            return;
        }
        let n = other.counted.len();
        // Sorting takes half of it again.
        let half = Vec::<(K, u32)>::new().try_reserve_exact((self.counted.len() + n) / 2);
        if half.is_err() || self.counted.try_reserve(n).is_err() {
            return self.give_up();
        }
        self.counted.append(&mut other.counted);
        // Two sorted runs are merged in one walk.
        self.counted.sort_by_key(|&(key, _)| key);
        self.counted.dedup_by(|next, first| {
            let same = next.0 == first.0;
            if same {
                first.1 = first.1.saturating_add(next.1);
            }
            same
        });
    }

    fn sum(&self) -> u64 {
        let counted: u64 = self.counted.iter().map(|&(_, n)| u64::from(n)).sum();
        counted + self.pending.len() as u64
    }

    /// Sorts what is pending and adds it to what is counted.
    fn merge(&mut self) {
        self.pending.sort_unstable();
        let Some(&filler) = self.pending.first() else {
            return;
        };
        let n_runs = self.pending.chunk_by(|a, b| a == b).count();
        let (mut from, mut to) = (self.counted.len(), self.counted.len() + n_runs);
        if self.counted.try_reserve(n_runs).is_err() {
            return self.give_up();
        }
        self.counted.resize(to, (filler, 0));
        // From the back, so that the old entries move up in the same memory.
        for run in self.pending.chunk_by(|a, b| a == b).rev() {
            let key = run[0];
            while from > 0 && self.counted[from - 1].0 > key {
                (from, to) = (from - 1, to - 1);
                self.counted[to] = self.counted[from];
            }
            let mut n = u32::try_from(run.len()).unwrap_or(u32::MAX);
            if from > 0 && self.counted[from - 1].0 == key {
                from -= 1;
                n = n.saturating_add(self.counted[from].1);
            }
            to -= 1;
            self.counted[to] = (key, n);
        }
        // Keys that were there already left a gap.
        self.counted.drain(from..to);
        self.pending.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, net::SocketAddr};

    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn two_tallies_add_up(
            one in prop::collection::vec(0..50u32, 0..200),
            two in prop::collection::vec(0..50u32, 0..200),
        ) {
            let of = |keys: &[u32]| {
                let mut runs = Runs::default();
                keys.iter().for_each(|&key| runs.add(key));
                runs
            };
            let mut sum = of(&one);
            sum.add_all(of(&two));
            let mut both = of(&[&one[..], &two].concat());
            prop_assert_eq!(sum.sum(), both.sum());
            both.merge();
            prop_assert_eq!(sum.counted, both.counted);
        }

        #[test]
        fn it_counts_as_a_map_does(addresses in prop::collection::vec(0..50u32, 0..2000)) {
            let mut runs = Runs::default();
            let mut map = BTreeMap::new();
            for chunk in addresses.chunks(97) {
                for &address in chunk {
                    runs.add(address);
                    *map.entry(address).or_insert(0) += 1;
                }
                runs.merge();
            }
            prop_assert_eq!(runs.counted, map.into_iter().collect::<Vec<_>>());
        }
    }
}
