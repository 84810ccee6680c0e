//! Alerts about groups of addresses, as lines of the log.
//!
//! These lines do not have the format of alerts about an address, so that other programs do
//! not ban the addresses of a group.
use chrono::{DateTime, FixedOffset};
use serde::Serialize;

use crate::{
    analysis::{
        peer_details::PeerDetails,
        tally::{Peer, Streak},
    },
    model::peer_id::{Group, GroupBy},
};

use super::entry::{
    LineFormat, json_servers, rfc3339_time, sanitize_server_names, with_busiest_ports,
    with_servers, with_time,
};

/// Maximum number of members that a line names.
const MAX_NAMED_MEMBERS: usize = 20;
/// Text of a line between the number of connections and the group.
pub(super) const OF_GROUP: &str = " connections of ";

/// An alert about a group.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupAlert {
    /// Time of the sample.
    pub timestamp: DateTime<FixedOffset>,
    /// The property that the addresses have in common.
    by: GroupBy,
    /// The group, with the busiest of its ports.
    pub peer: Peer,
    /// The limit that the group exceeded, in connections.
    pub limit: f64,
    /// Number of consecutive samples with the group over the limit.
    pub consecutive: u32,
    /// The members about which an alert was logged, busiest first.
    members_over: Vec<MemberOver>,
    /// Number of the group's addresses that do not belong to `members_over`.
    other_addresses: u64,
    /// Names of the sampled servers; empty if only this host was sampled.
    pub servers: Vec<String>,
}

/// A member of the group that is over the limit for an address or network.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct MemberOver {
    address: String,
    connections: u64,
}

/// The JSON representation of a group and its members. Its `address` is null, so that other
/// programs do not ban it.
#[derive(Debug, Serialize)]
pub struct GroupDetails<'a> {
    group_by: &'static str,
    #[serde(flatten)]
    peer: PeerDetails<'a>,
    members_over: &'a [MemberOver],
    other_addresses: u64,
}

/// The JSON object of a line.
#[derive(Serialize)]
struct JsonGroupAlert<'a> {
    time: String,
    #[serde(flatten)]
    group: GroupDetails<'a>,
    limit: f64,
    samples: u32,
    servers: &'a [String],
}

impl GroupAlert {
    /// Creates an alert about `group`, which is `peer` of a view with `limit`. The line names
    /// the members of the group that are in `logged`. `servers` are the names of the sampled
    /// servers.
    #[must_use]
    pub fn new<'a>(
        timestamp: DateTime<FixedOffset>,
        (group, peer, limit): (&Group, &Peer, f64),
        logged: impl Iterator<Item = &'a Peer>,
        servers: &[String],
    ) -> Self {
        let is_member =
            |member: &&Peer| member.group(group.by).is_some_and(|(other, _)| other == *group);
        let members: Vec<_> = logged.filter(is_member).collect();
        let n_addresses: u64 = members.iter().map(|member| member.addresses).sum();
        let members_over = members
            .into_iter()
            .map(|member| MemberOver { address: member.name(), connections: member.connections });
        Self {
            timestamp,
            by: group.by,
            peer: with_busiest_ports(peer),
            limit,
            consecutive: peer.over.map_or(1, |Streak { consecutive, .. }| consecutive),
            members_over: members_over.collect(),
            other_addresses: peer.addresses.saturating_sub(n_addresses),
            servers: sanitize_server_names(servers),
        }
    }

    /// Returns the line, without a line end.
    #[must_use]
    pub fn line(&self, format: LineFormat) -> String {
        with_time(&self.timestamp, self.message(format), format)
    }

    /// Returns the line without the time, for a log that adds the time itself. JSON
    /// always contains the time.
    #[must_use]
    pub fn message(&self, format: LineFormat) -> String {
        if format == LineFormat::Json {
            return self.json();
        }
        let Self { peer, members_over, other_addresses, servers, .. } = self;
        let mut members: Vec<_> = members_over
            .iter()
            .take(MAX_NAMED_MEMBERS)
            .map(|member| format!("{} ({})", member.address, member.connections))
            .collect();
        let n_unnamed = members_over.len() - members.len();
        if n_unnamed > 0 {
            members.push(format!("{n_unnamed} more over the limit"));
        }
        let other = if members_over.is_empty() { "" } else { "other " };
        let noun = if *other_addresses == 1 { "address" } else { "addresses" };
        members.push(format!("{other_addresses} {other}{noun}"));
        let text = format!("{}{OF_GROUP}{}: {}", peer.connections, peer.name(), members.join(", "));
        with_servers(text, servers)
    }

    /// Returns the group and its members for JSON.
    #[must_use]
    pub fn details(&self) -> GroupDetails<'_> {
        GroupDetails {
            group_by: self.by.name(),
            peer: PeerDetails::new(&self.peer),
            members_over: &self.members_over[..self.members_over.len().min(MAX_NAMED_MEMBERS)],
            other_addresses: self.other_addresses,
        }
    }

    fn json(&self) -> String {
        let servers = json_servers(&self.servers);
        let object = JsonGroupAlert {
            time: rfc3339_time(&self.timestamp),
            group: self.details(),
            limit: self.limit,
            samples: self.consecutive,
            servers: &servers,
        };
        serde_json::to_string(&object).expect("numbers and strings can be serialized")
    }
}
