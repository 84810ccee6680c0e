//! Peers that are never logged. Programs such as fail2ban ban the addresses in the log, so
//! alerts about these peers are not written to it.
use std::net::IpAddr;

use super::network_set::NetworkSet;
use crate::model::network::{Network, canonical_address};

/// The addresses that must not be banned by an alert.
#[derive(Clone, Debug, Default)]
pub struct Protection {
    never_log: NetworkSet,
    excludes: NetworkSet,
    local_addresses: LocalAddresses,
}

/// The addresses of this host.
#[derive(Clone, Debug)]
enum LocalAddresses {
    Known(NetworkSet),
    Unknown,
}

impl Default for LocalAddresses {
    fn default() -> Self {
        Self::Known(NetworkSet::default())
    }
}

/// A peer that is over the limit and was not logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtectedPeer {
    /// The address or network of the peer.
    pub network: Network,
    /// Reason why it was not logged.
    pub reason: ProtectionReason,
}

/// Reason why a peer is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtectionReason {
    /// The peer is in this network of `--never-log`, or contains it.
    NeverLog(Network),
    /// The peer contains this excluded network, whose connections were not counted.
    Excluded(Network),
    /// The peer contains this address of the host itself.
    LocalAddress(Network),
    /// The peer may contain an address of the host itself: the host's addresses are unknown.
    UnknownLocalAddresses,
}

impl Protection {
    /// Creates a protection for the networks of `--never-log`, and for networks that contain
    /// an excluded network.
    #[must_use]
    pub fn new(never_log: &[Network], excludes: &[Network]) -> Self {
        Self {
            never_log: NetworkSet::new(never_log.to_vec()),
            excludes: NetworkSet::new(excludes.to_vec()),
            local_addresses: LocalAddresses::default(),
        }
    }

    /// Protects networks that contain one of these addresses of the host itself. With `None`
    /// the addresses are unknown, and every network is protected.
    pub fn set_local_addresses(&mut self, addresses: Option<Vec<IpAddr>>) {
        self.local_addresses = match addresses {
            Some(addresses) => {
                let networks = addresses
                    .into_iter()
                    .map(|address| Network::new(canonical_address(address), u8::MAX));
                LocalAddresses::Known(NetworkSet::new(networks.collect()))
            }
            None => LocalAddresses::Unknown,
        };
    }

    /// Returns the reason not to log an alert about `peer`; `None` if the alert is logged.
    #[must_use]
    pub fn reason(&self, peer: Network) -> Option<ProtectionReason> {
        if let Some(network) = self.never_log.first_overlap(peer) {
            return Some(ProtectionReason::NeverLog(network));
        }
        if peer.is_single_address() {
            return None;
        }
        if let Some(network) = self.excludes.first_overlap(peer) {
            return Some(ProtectionReason::Excluded(network));
        }
        match &self.local_addresses {
            LocalAddresses::Known(addresses) => {
                addresses.first_overlap(peer).map(ProtectionReason::LocalAddress)
            }
            LocalAddresses::Unknown => Some(ProtectionReason::UnknownLocalAddresses),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn network(text: &str) -> Network {
        text.parse().expect("a network")
    }

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| network(text)).collect()
    }

    #[track_caller]
    fn check(protection: &Protection, peer: &str, expected: &str) {
        let found = match protection.reason(network(peer)) {
            None => "logged".to_owned(),
            Some(ProtectionReason::NeverLog(network)) => format!("never log {network}"),
            Some(ProtectionReason::Excluded(network)) => format!("excluded {network}"),
            Some(ProtectionReason::LocalAddress(network)) => format!("own {network}"),
            Some(ProtectionReason::UnknownLocalAddresses) => "unknown".to_owned(),
        };
        assert_eq!(found, expected, "{peer}");
    }

    #[test]
    fn networks_with_protected_addresses_are_found() {
        let never_log = networks(&["198.51.100.0/25", "2001:db8:5::/48", "203.0.113.9"]);
        let excludes = networks(&["192.168.0.0/16", "192.0.2.77", "192.0.2.80/30"]);
        let mut protection = Protection::new(&never_log, &excludes);
        let own = ["203.0.114.10", "::ffff:203.0.115.10", "2001:db8::10"];
        protection.set_local_addresses(Some(own.map(|text| text.parse().unwrap()).to_vec()));
        for (peer, expected) in [
            ("198.51.100.7", "never log 198.51.100.0/25"),
            ("198.51.100.128", "logged"),
            ("198.51.100.128/25", "logged"),
            ("198.51.100.0/24", "never log 198.51.100.0/25"),
            ("198.51.100.64/26", "never log 198.51.100.0/25"),
            ("203.0.113.9", "never log 203.0.113.9"),
            ("203.0.113.8", "logged"),
            ("203.0.113.8/31", "never log 203.0.113.9"),
            ("203.0.113.10/31", "logged"),
            ("2001:db8:5:1::7", "never log 2001:db8:5::/48"),
            ("2001:db8:5:1::/64", "never log 2001:db8:5::/48"),
            ("192.0.2.0/24", "excluded 192.0.2.77"),
            ("192.0.2.80/29", "excluded 192.0.2.80/30"),
            ("192.0.2.84/30", "logged"),
            ("192.0.0.0/8", "excluded 192.0.2.77"),
            ("203.0.114.0/24", "own 203.0.114.10"),
            ("203.0.114.10", "logged"),
            ("203.0.115.0/24", "own 203.0.115.10"),
            ("2001:db8::/64", "own 2001:db8::10"),
            ("2001:db8:0:1::/64", "logged"),
            ("0.0.0.0/0", "never log 198.51.100.0/25"),
        ] {
            check(&protection, peer, expected);
        }
    }

    #[test]
    fn unknown_local_addresses_protect_every_network() {
        let mut protection = Protection::new(&[], &[]);
        check(&protection, "203.0.113.0/24", "logged");
        protection.set_local_addresses(None);
        check(&protection, "203.0.113.0/24", "unknown");
        check(&protection, "203.0.113.7", "logged");
    }

    proptest! {
        #[test]
        fn overlap_agrees_with_a_search_of_all_networks(
            given in prop::collection::vec((any::<u8>(), 22..=32u8), 0..8),
            (host, length) in (any::<u8>(), 22..=32u8),
        ) {
            let network = |(host, length)| Network::new(IpAddr::from([192, 0, 2, host]), length);
            let given: Vec<_> = given.into_iter().map(network).collect();
            let peer = network((host, length));
            let overlaps = |other: &Network| {
                other.contains(peer.first_address()) || peer.contains(other.first_address())
            };
            let found = NetworkSet::new(given.clone()).first_overlap(peer);
            prop_assert_eq!(found.is_some(), given.iter().any(overlaps));
            prop_assert!(found.is_none_or(|found| overlaps(&found)));
        }
    }
}
