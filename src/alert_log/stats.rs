//! Alerts to those they are about.
//!
//! Memory grows with the distinct addresses, and not with the alerts.
use std::{cmp::Reverse, collections::BTreeMap};

use super::entry::Entry;
use crate::model::network::Network;

/// How many servers are told apart. A log of more than these is damaged, or
/// somebody else wrote it.
const SERVERS: usize = 1000;
/// What this host is called, and what the servers beyond [`SERVERS`] are.
const HERE: &str = "localhost";
const OTHERS: &str = "others";

/// In which networks addresses are put together; `None`: each by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grouping {
    /// The bits of an IPv4 network.
    pub bits4: Option<u8>,
    /// The bits of an IPv6 network.
    pub bits6: Option<u8>,
}

impl Grouping {
    /// What `network` is put into: itself, where that is no larger.
    fn group(self, network: Network) -> Network {
        let address = network.first_address();
        let bits = if address.is_ipv4() { self.bits4 } else { self.bits6 };
        let wider = bits.filter(|&bits| bits < network.length());
        wider.map_or(network, |bits| Network::of(address, bits))
    }
}

/// Whom there were alerts about.
#[derive(Debug, Default)]
pub struct Offenders {
    grouping: Grouping,
    // A hash would be one of addresses that strangers choose.
    seen: BTreeMap<Network, Seen>,
    servers: BTreeMap<String, u16>,
    alerts: u64,
}

/// An address or network, and the alerts about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offender {
    /// Which.
    pub network: Network,
    /// How many alerts.
    pub alerts: u64,
    /// The most connections that it had in one of them.
    pub peak: u64,
    /// When the first was, in seconds since 1970-01-01 UTC.
    pub first: i64,
    /// When the last was.
    pub last: i64,
    /// On which servers, in the order of their names.
    pub servers: Vec<String>,
}

#[derive(Debug)]
struct Seen {
    alerts: u64,
    peak: u64,
    first: i64,
    last: i64,
    /// The numbers of the servers, in their order.
    servers: Vec<u16>,
}

impl Offenders {
    /// None so far.
    #[must_use]
    pub fn new(grouping: Grouping) -> Self {
        Self { grouping, ..Self::default() }
    }

    /// Adds an alert.
    pub fn add(&mut self, entry: &Entry) {
        self.alerts += 1;
        let when = entry.when.timestamp();
        let numbers: Vec<_> = match &entry.servers[..] {
            [] => vec![self.number(HERE)],
            names => names.iter().map(|name| self.number(name)).collect(),
        };
        let network = self.grouping.group(entry.network);
        let new = || Seen { alerts: 0, peak: 0, first: when, last: when, servers: Vec::new() };
        let seen = self.seen.entry(network).or_insert_with(new);
        seen.alerts += 1;
        seen.peak = seen.peak.max(entry.connections);
        seen.first = seen.first.min(when);
        seen.last = seen.last.max(when);
        for number in numbers {
            if let Err(at) = seen.servers.binary_search(&number) {
                seen.servers.insert(at, number);
            }
        }
    }

    /// The number of a server.
    fn number(&mut self, name: &str) -> u16 {
        if let Some(&number) = self.servers.get(name) {
            return number;
        }
        let n = self.servers.len();
        let name = if n < SERVERS { name } else { OTHERS };
        let next = u16::try_from(n).expect("there are not that many");
        *self.servers.entry(name.to_owned()).or_insert(next)
    }

    /// How many alerts there were.
    #[must_use]
    pub fn alerts(&self) -> u64 {
        self.alerts
    }

    /// How many addresses or networks they are about.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether there were none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// The `n` with the most alerts; among equals, with the highest peak. What is
    /// still equal is in the order of addresses, so that it is always the same.
    #[must_use]
    pub fn top(&self, n: usize) -> Vec<Offender> {
        let mut seen: Vec<_> = self.seen.iter().collect();
        seen.sort_by_key(|(_, seen)| (Reverse(seen.alerts), Reverse(seen.peak)));
        seen.truncate(n);
        let mut names = vec![""; self.servers.len()];
        for (name, &number) in &self.servers {
            names[usize::from(number)] = name;
        }
        let offender = |(&network, seen): (&Network, &Seen)| {
            let Seen { alerts, peak, first, last, .. } = *seen;
            let mut servers: Vec<_> =
                seen.servers.iter().map(|&number| names[usize::from(number)].to_owned()).collect();
            servers.sort_unstable();
            Offender { network, alerts, peak, first, last, servers }
        };
        seen.into_iter().map(offender).collect()
    }
}

#[cfg(test)]
mod tests {
    use chrono::{TimeZone, Utc};

    use super::*;

    fn entry(seconds: i64, address: &str, connections: u64, servers: &[&str]) -> Entry {
        Entry {
            when: Utc.timestamp_opt(seconds, 0).single().expect("a time").fixed_offset(),
            network: address.parse().expect("an address"),
            connections,
            servers: servers.iter().map(ToString::to_string).collect(),
        }
    }

    #[track_caller]
    fn check(grouping: Grouping, expected: &[&str]) {
        let mut offenders = Offenders::new(grouping);
        for entry in [
            entry(30, "203.0.113.7", 152, &[]),
            entry(10, "203.0.113.7", 90, &["web1"]),
            entry(20, "203.0.113.8", 500, &["web1", "a"]),
            entry(40, "2001:db8::7", 500, &[]),
            entry(50, "2001:db8:1::/48", 12, &[]),
        ] {
            offenders.add(&entry);
        }
        let lines: Vec<_> = offenders
            .top(9)
            .iter()
            .map(|Offender { network, alerts, peak, first, last, servers }| {
                format!("{network} {alerts} {peak} {first}-{last} {}", servers.join(","))
            })
            .collect();
        assert_eq!(lines, expected);
        assert_eq!((offenders.alerts(), offenders.len()), (5, expected.len()));
    }

    #[test]
    fn by_alerts_then_by_peak_then_by_address() {
        check(
            Grouping::default(),
            &[
                "203.0.113.7 2 152 10-30 localhost,web1",
                "203.0.113.8 1 500 20-20 a,web1",
                "2001:db8::7 1 500 40-40 localhost",
                "2001:db8:1::/48 1 12 50-50 localhost",
            ],
        );
    }

    #[test]
    fn by_network() {
        check(
            Grouping { bits4: Some(24), bits6: Some(32) },
            &["203.0.113.0/24 3 500 10-30 a,localhost,web1", "2001:db8::/32 2 500 40-50 localhost"],
        );
        check(
            Grouping { bits4: None, bits6: Some(64) },
            &[
                "203.0.113.7 2 152 10-30 localhost,web1",
                "203.0.113.8 1 500 20-20 a,web1",
                "2001:db8::/64 1 500 40-40 localhost",
                "2001:db8:1::/48 1 12 50-50 localhost",
            ],
        );
    }

    #[test]
    fn a_flood_of_servers_is_no_flood_of_memory() {
        let mut offenders = Offenders::default();
        for n in 0..3000 {
            offenders.add(&entry(1, "192.0.2.1", 1, &[&format!("web{n}")]));
        }
        let servers = &offenders.top(1)[0].servers;
        assert_eq!((servers.len(), &*servers[0]), (SERVERS + 1, OTHERS));
    }
}
