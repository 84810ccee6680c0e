//! Totals of logged alerts by address or network.
//!
//! Memory grows with the number of distinct addresses, not with the number of alerts.
use std::{cmp::Reverse, collections::BTreeMap};

use super::entry::{LOCALHOST, LogEntry};
use crate::{
    analysis::operator::Operator,
    model::{
        network::Network,
        peer_id::{GroupBy, PeerId},
    },
};

/// Maximum number of distinct servers. A log with more servers is damaged, or was not
/// written by topip.
const MAX_SERVERS: usize = 1000;
/// Name of all servers beyond [`MAX_SERVERS`].
pub(super) const OTHER_SERVERS: &str = "others";

/// Prefix lengths by which addresses are grouped; `None`: not grouped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grouping {
    /// Prefix length of IPv4 networks.
    pub v4_prefix: Option<u8>,
    /// Prefix length of IPv6 networks.
    pub v6_prefix: Option<u8>,
}

impl Grouping {
    /// Returns the network that `network` is grouped into; `network` itself if the grouping
    /// has no shorter prefix.
    pub(super) fn network_for(self, network: Network) -> Network {
        let address = network.first_address();
        let prefix = if address.is_ipv4() { self.v4_prefix } else { self.v6_prefix };
        match prefix {
            Some(prefix) if prefix < network.prefix_length() => Network::new(address, prefix),
            _ => network,
        }
    }
}

/// Totals of the alerts about each address or network.
#[derive(Debug, Default)]
pub struct Offenders {
    grouping: Grouping,
    // Not a hash table: untrusted peers choose the addresses, and could make them collide.
    totals: BTreeMap<Network, AlertTotals>,
    servers: BTreeMap<String, u16>,
    alerts: u64,
}

/// An address, a network, or the addresses of one operator or country, with the totals of
/// the alerts about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offender {
    /// The address or network; `None` for the addresses of an operator or country.
    pub network: Option<Network>,
    /// Number of distinct addresses and networks, 1 or more.
    pub addresses: u64,
    /// Number of alerts.
    pub alerts: u64,
    /// Maximum number of connections in one alert.
    pub peak: u64,
    /// Time of the first alert, in seconds since 1970-01-01 UTC.
    pub first: i64,
    /// Time of the last alert, in seconds since 1970-01-01 UTC.
    pub last: i64,
    /// Names of the servers in the alerts, sorted.
    pub servers: Vec<String>,
    /// Operator and country, as far as they are known.
    pub operator: Operator,
    /// Host name of the address, which resolves to the address; `None` if it is not known.
    pub name: Option<String>,
}

#[derive(Clone, Debug)]
struct AlertTotals {
    alerts: u64,
    peak: u64,
    first: i64,
    last: i64,
    /// Indexes of the servers, sorted.
    servers: Vec<u16>,
}

impl Offenders {
    /// Creates empty totals.
    #[must_use]
    pub fn new(grouping: Grouping) -> Self {
        Self { grouping, ..Self::default() }
    }

    /// Adds one alert to the totals.
    pub fn add(&mut self, entry: &LogEntry) {
        self.alerts += 1;
        let timestamp = entry.timestamp.timestamp();
        let server_indexes: Vec<_> = match &entry.servers[..] {
            [] => vec![self.server_index(LOCALHOST)],
            names => names.iter().map(|name| self.server_index(name)).collect(),
        };
        let network = self.grouping.network_for(entry.network);
        let new_totals = AlertTotals {
            alerts: 0,
            peak: 0,
            first: timestamp,
            last: timestamp,
            servers: Vec::new(),
        };
        let totals = self.totals.entry(network).or_insert(new_totals);
        totals.alerts += 1;
        totals.peak = totals.peak.max(entry.connections);
        totals.first = totals.first.min(timestamp);
        totals.last = totals.last.max(timestamp);
        for server_index in server_indexes {
            if let Err(position) = totals.servers.binary_search(&server_index) {
                totals.servers.insert(position, server_index);
            }
        }
    }

    /// Returns the index of a server, and adds the server if it is new.
    fn server_index(&mut self, name: &str) -> u16 {
        if let Some(&index) = self.servers.get(name) {
            return index;
        }
        let n_servers = self.servers.len();
        let name = if n_servers < MAX_SERVERS { name } else { OTHER_SERVERS };
        let next = u16::try_from(n_servers).expect("at most MAX_SERVERS + 1 servers");
        *self.servers.entry(name.to_owned()).or_insert(next)
    }

    /// Returns the number of alerts.
    #[must_use]
    pub fn alerts(&self) -> u64 {
        self.alerts
    }

    /// Returns the number of distinct addresses or networks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.totals.len()
    }

    /// Returns whether the totals have no alerts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.totals.is_empty()
    }

    /// Returns the `n` addresses or networks with the most alerts. Equal numbers of
    /// alerts are ordered by peak, highest first, then by address, so that the order is
    /// deterministic.
    #[must_use]
    pub fn top(&self, n: usize) -> Vec<Offender> {
        let mut sorted: Vec<_> = self.totals.iter().collect();
        sorted.sort_by_key(|(_, totals)| (Reverse(totals.alerts), Reverse(totals.peak)));
        sorted.truncate(n);
        let names = self.server_names();
        let offenders = sorted.into_iter().map(|(&network, totals)| Offender {
            network: Some(network),
            ..offender(totals, &names)
        });
        offenders.collect()
    }

    /// Returns the totals of operators or countries, most alerts first. Addresses whose group
    /// is not known are listed separately.
    pub fn by_operator(
        &self,
        by: GroupBy,
        mut operator_of: impl FnMut(Network) -> Operator,
    ) -> Vec<Offender> {
        let mut groups: BTreeMap<PeerId, GroupTotals> = BTreeMap::new();
        for (&network, totals) in &self.totals {
            let operator = operator_of(network);
            let (id, operator) = match operator.group(by) {
                Some((group, common)) => (PeerId::Group(group), common),
                None => (PeerId::Network(network), operator),
            };
            let new_group = || GroupTotals { totals: totals.clone(), addresses: 0, operator };
            let group = groups.entry(id).or_insert_with(new_group);
            if group.addresses > 0 {
                group.totals.merge(totals);
            }
            group.addresses += 1;
        }
        let mut sorted: Vec<_> = groups.into_iter().collect();
        sorted.sort_by_key(|(_, group)| (Reverse(group.totals.alerts), Reverse(group.totals.peak)));
        let names = self.server_names();
        sorted.into_iter().map(|(id, group)| group.into_offender(&id, &names)).collect()
    }

    /// Returns the names of the servers by index.
    fn server_names(&self) -> Vec<&str> {
        let mut names = vec![""; self.servers.len()];
        for (name, &index) in &self.servers {
            names[usize::from(index)] = name;
        }
        names
    }
}

impl AlertTotals {
    fn merge(&mut self, other: &Self) {
        self.alerts += other.alerts;
        self.peak = self.peak.max(other.peak);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.servers.extend(&other.servers);
        self.servers.sort_unstable();
        self.servers.dedup();
    }
}

/// Totals of the alerts about the addresses of a group.
#[derive(Debug)]
struct GroupTotals {
    totals: AlertTotals,
    addresses: u64,
    operator: Operator,
}

impl GroupTotals {
    /// Returns the group as an offender; `names` are the names of the servers by index.
    fn into_offender(self, id: &PeerId, names: &[&str]) -> Offender {
        let Self { totals, addresses, operator } = self;
        Offender { network: id.network(), addresses, operator, ..offender(&totals, names) }
    }
}

/// Returns the totals as an offender without address and operator; `names` are the names
/// of the servers by index.
fn offender(totals: &AlertTotals, names: &[&str]) -> Offender {
    let AlertTotals { alerts, peak, first, last, .. } = *totals;
    let mut servers: Vec<_> =
        totals.servers.iter().map(|&index| names[usize::from(index)].to_owned()).collect();
    servers.sort_unstable();
    let operator = Operator::default();
    Offender {
        addresses: 1,
        alerts,
        peak,
        first,
        last,
        servers,
        network: None,
        operator,
        name: None,
    }
}

#[cfg(test)]
mod tests {
    use chrono::{TimeZone, Utc};

    use super::*;

    fn entry(seconds: i64, address: &str, connections: u64, servers: &[&str]) -> LogEntry {
        LogEntry {
            timestamp: Utc.timestamp_opt(seconds, 0).single().expect("a time").fixed_offset(),
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
            .map(|Offender { network, alerts, peak, first, last, servers, .. }| {
                let network = network.expect("no groups");
                format!("{network} {alerts} {peak} {first}-{last} {}", servers.join(","))
            })
            .collect();
        assert_eq!(lines, expected);
        assert_eq!((offenders.alerts(), offenders.len()), (5, expected.len()));
    }

    #[test]
    fn offenders_are_ordered_by_alerts_peak_and_address() {
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
    fn addresses_are_grouped_by_network() {
        check(
            Grouping { v4_prefix: Some(24), v6_prefix: Some(32) },
            &["203.0.113.0/24 3 500 10-30 a,localhost,web1", "2001:db8::/32 2 500 40-50 localhost"],
        );
        check(
            Grouping { v4_prefix: None, v6_prefix: Some(64) },
            &[
                "203.0.113.7 2 152 10-30 localhost,web1",
                "203.0.113.8 1 500 20-20 a,web1",
                "2001:db8::/64 1 500 40-40 localhost",
                "2001:db8:1::/48 1 12 50-50 localhost",
            ],
        );
    }

    #[test]
    fn alerts_of_an_operator_are_summed() {
        let mut offenders = Offenders::default();
        for entry in [
            entry(30, "203.0.113.7", 152, &["web2"]),
            entry(10, "203.0.113.7", 90, &["web1"]),
            entry(20, "203.0.113.8", 500, &["web1", "a"]),
            entry(40, "2001:db8::7", 500, &[]),
            entry(50, "192.0.2.1", 12, &[]),
        ] {
            offenders.add(&entry);
        }
        let operator_of = |network: Network| match network.to_string().as_str() {
            "203.0.113.7" => Operator::new(Some(64500), Some("Example Net"), Some("DE")),
            "203.0.113.8" => Operator::new(Some(64500), Some("Example"), Some("FR")),
            "2001:db8::7" => Operator::new(None, None, Some("DE")),
            _ => Operator::default(),
        };
        let check = |grouping, expected: &[&str]| {
            let groups = offenders.by_operator(grouping, operator_of);
            let lines: Vec<_> = groups
                .iter()
                .map(|it| {
                    let network = it.network.map_or_else(|| "-".to_owned(), |it| it.to_string());
                    let Offender { addresses, alerts, peak, first, last, operator, .. } = it;
                    let servers = it.servers.join(",");
                    format!(
                        "{network} {addresses} {alerts} {peak} {first}-{last} {servers} {operator}"
                    )
                })
                .collect();
            assert_eq!(lines, expected);
        };
        check(
            GroupBy::Asn,
            &[
                "- 2 3 500 10-30 a,web1,web2 AS64500 Example Net",
                "2001:db8::7 1 1 500 40-40 localhost DE",
                "192.0.2.1 1 1 12 50-50 localhost ",
            ],
        );
        check(
            GroupBy::Country,
            &[
                "- 2 3 500 10-40 localhost,web1,web2 DE",
                "- 1 1 500 20-20 a,web1 FR",
                "192.0.2.1 1 1 12 50-50 localhost ",
            ],
        );
    }

    #[test]
    fn number_of_servers_is_bounded() {
        let mut offenders = Offenders::default();
        for n in 0..3000 {
            offenders.add(&entry(1, "192.0.2.1", 1, &[&format!("web{n}")]));
        }
        let servers = &offenders.top(1)[0].servers;
        assert_eq!((servers.len(), &*servers[0]), (MAX_SERVERS + 1, OTHER_SERVERS));
    }
}
