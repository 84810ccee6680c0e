//! Alerts, and their representation as lines of the log.
//!
//! Every format contains the time, the count, the address and the servers, and the parser
//! reads all of these from each format. Only JSON contains the ports and TCP states.
use std::borrow::Cow;

use chrono::{DateTime, FixedOffset};
use clap::ValueEnum;
use serde::Serialize;

use super::group_alert::GroupAlert;
use crate::{
    analysis::{peer_details::PeerDetails, tally::Peer},
    model::{network::Network, sanitize},
};

/// Maximum number of ports in a line. Thousands of ports add no information, and programs that
/// read the log limit the length of lines.
const MAX_PORTS: usize = 100;
/// Name of this host in the list of servers.
pub(super) const LOCALHOST: &str = "localhost";

/// Format of a line. The variants are the values of `--log-format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LineFormat {
    /// The format of topip.py: `Wed Nov 28 23:40:34 2007 - 152 connections from 203.0.113.7`.
    #[default]
    #[value(help = None)]
    Classic,
    /// As `Classic`, with the time in RFC 3339 format, which includes the UTC offset.
    #[value(help = None)]
    Rfc3339,
    /// One JSON object, with ports and TCP states.
    #[value(help = None)]
    Json,
}

/// The content of a line in every format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Time of the sample.
    pub timestamp: DateTime<FixedOffset>,
    /// The address or network that was over the limit.
    pub network: Network,
    /// Number of its connections.
    pub connections: u64,
    /// Names of the sampled servers; empty if only this host was sampled.
    pub servers: Vec<String>,
}

impl LogEntry {
    /// Creates the content of a line; `servers` are the names of the sampled servers.
    #[must_use]
    pub fn new(
        timestamp: DateTime<FixedOffset>,
        network: Network,
        connections: u64,
        servers: &[String],
    ) -> Self {
        Self { timestamp, network, connections, servers: sanitize_server_names(servers) }
    }
}

/// An alert, with the ports and TCP states of the peer.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// The content of a line in every format.
    pub entry: LogEntry,
    /// The limit that the peer exceeded, in connections.
    pub limit: f64,
    /// Number of consecutive samples with the peer over the limit.
    pub consecutive: u32,
    /// The peer, with the busiest of its ports.
    pub peer: Peer,
}

/// The last line about a sample that has more alerts than the maximum number of lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OmittedAlerts {
    /// Time of the sample.
    pub timestamp: DateTime<FixedOffset>,
    /// Number of alerts without a line.
    pub count: usize,
    /// Names of the sampled servers; empty if only this host was sampled.
    pub servers: Vec<String>,
}

/// Text of a line about omitted alerts, after their number.
pub(super) const OMITTED_ALERTS: &str = " more over the limit are not listed";

impl OmittedAlerts {
    /// Creates the line about `count` alerts; `servers` are the names of the sampled
    /// servers.
    #[must_use]
    pub fn new(timestamp: DateTime<FixedOffset>, count: usize, servers: &[String]) -> Self {
        Self { timestamp, count, servers: sanitize_server_names(servers) }
    }

    /// Returns the line, without a line end.
    #[must_use]
    pub fn line(&self, format: LineFormat) -> String {
        with_time(&self.timestamp, self.message(format), format)
    }

    /// Returns the line without the time, for a log that adds the time itself.
    #[must_use]
    pub fn message(&self, format: LineFormat) -> String {
        let Self { timestamp, count, servers } = self;
        if format == LineFormat::Json {
            let object =
                JsonOmittedAlerts { time: rfc3339_time(timestamp), omitted: *count, servers };
            return serde_json::to_string(&object).expect("numbers and strings can be serialized");
        }
        with_servers(format!("{count}{OMITTED_ALERTS}"), servers)
    }
}

/// Subject of a line.
#[derive(Clone, Copy, Debug)]
pub enum LogRecord<'a> {
    /// An alert about one peer.
    Alert(&'a Alert),
    /// An alert about a group of addresses.
    Group(&'a GroupAlert),
    /// The alerts without a line.
    Omitted(&'a OmittedAlerts),
}

impl LogRecord<'_> {
    /// Returns the line, without a line end.
    #[must_use]
    pub fn line(self, format: LineFormat) -> String {
        match self {
            Self::Alert(alert) => alert.line(format),
            Self::Group(alert) => alert.line(format),
            Self::Omitted(omitted) => omitted.line(format),
        }
    }

    /// Returns the line without the time, for a log that adds the time itself.
    #[must_use]
    pub fn message(self, format: LineFormat) -> String {
        match self {
            Self::Alert(alert) => alert.message(format),
            Self::Group(alert) => alert.message(format),
            Self::Omitted(omitted) => omitted.message(format),
        }
    }

    /// Returns the time of the sample.
    #[must_use]
    pub fn timestamp(self) -> DateTime<FixedOffset> {
        match self {
            Self::Alert(alert) => alert.entry.timestamp,
            Self::Group(alert) => alert.timestamp,
            Self::Omitted(omitted) => omitted.timestamp,
        }
    }
}

/// The JSON object of a line about omitted alerts.
#[derive(Serialize)]
struct JsonOmittedAlerts<'a> {
    time: String,
    omitted: usize,
    servers: &'a [String],
}

/// The JSON object of a line.
#[derive(Serialize)]
struct JsonAlert<'a> {
    time: String,
    #[serde(flatten)]
    peer: PeerDetails<'a>,
    limit: f64,
    samples: u32,
    servers: &'a [String],
}

impl Alert {
    /// Creates an alert about the address or network `peer`, which is also that of `entry`.
    #[must_use]
    pub fn new(entry: LogEntry, peer: &Peer, (limit, consecutive): (f64, u32)) -> Self {
        Self { entry, limit, consecutive, peer: with_busiest_ports(peer) }
    }

    /// Returns the line, without a line end.
    #[must_use]
    pub fn line(&self, format: LineFormat) -> String {
        with_time(&self.entry.timestamp, self.message(format), format)
    }

    /// Returns the line without the time, for a log that adds the time itself. JSON
    /// always contains the time.
    #[must_use]
    pub fn message(&self, format: LineFormat) -> String {
        if format == LineFormat::Json {
            return self.json();
        }
        let LogEntry { network, connections, servers, .. } = &self.entry;
        // Plural even for one connection, because other programs parse the line.
        with_servers(format!("{connections} connections from {network}"), servers)
    }

    fn json(&self) -> String {
        let LogEntry { timestamp, servers, .. } = &self.entry;
        let servers = json_servers(servers);
        let object = JsonAlert {
            time: rfc3339_time(timestamp),
            peer: PeerDetails::new(&self.peer),
            limit: self.limit,
            samples: self.consecutive,
            servers: &servers,
        };
        serde_json::to_string(&object).expect("numbers and strings can be serialized")
    }
}

/// Returns `peer` with its busiest ports and local addresses, at most [`MAX_PORTS`] of each.
pub(super) fn with_busiest_ports(peer: &Peer) -> Peer {
    let mut peer = peer.clone();
    peer.ports.truncate(MAX_PORTS);
    peer.local_addresses.truncate(MAX_PORTS);
    peer
}

/// Returns a message with the time before it. A message in JSON is returned unchanged, because
/// it contains the time.
pub(super) fn with_time(
    timestamp: &DateTime<FixedOffset>,
    message: String,
    format: LineFormat,
) -> String {
    match format {
        LineFormat::Classic => format!("{} - {message}", timestamp.format("%a %b %e %H:%M:%S %Y")),
        LineFormat::Rfc3339 => format!("{} - {message}", rfc3339_time(timestamp)),
        LineFormat::Json => message,
    }
}

pub(super) fn rfc3339_time(timestamp: &DateTime<FixedOffset>) -> String {
    timestamp.format("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// Returns the names for a line in JSON.
pub(super) fn json_servers(servers: &[String]) -> Cow<'_, [String]> {
    if servers.is_empty() { vec![LOCALHOST.to_owned()].into() } else { servers.into() }
}

pub(super) fn with_servers(message: String, servers: &[String]) -> String {
    if servers.is_empty() { message } else { format!("{message} on {}", servers.join(",")) }
}

/// Returns the sanitized names for a line; an empty list if the only server is this host.
pub(super) fn sanitize_server_names(servers: &[String]) -> Vec<String> {
    match servers {
        [only] if only == LOCALHOST => Vec::new(),
        _ => servers
            .iter()
            .map(|name| name.replace(|character| !is_server_name_char(character), "_"))
            .collect(),
    }
}

/// Returns whether a server name may contain `character`. Other characters could end
/// the line early, or be interpreted by a spreadsheet.
pub(super) fn is_server_name_char(character: char) -> bool {
    sanitize::is_visible_alphanumeric(character) || "-._:%[]".contains(character)
}

#[cfg(test)]
mod tests {
    use crate::{
        analysis::operator::Operator,
        model::{connection::TcpState, peer_id::PeerId},
    };

    use super::*;

    fn alert(servers: &[&str]) -> Alert {
        let network = "203.0.113.7".parse().expect("an address");
        let peer = Peer {
            id: PeerId::Network(network),
            truncated: None,
            addresses: 1,
            connections: 152,
            local_addresses: Vec::new(),
            ports: vec![(443, 150), (80, 2)],
            tcp_states: vec![(Some(TcpState::Established), 140), (None, 12)],
            label: Some("the \"office\"".to_owned()),
            operator: Operator::new(Some(64500), Some("Example Net"), Some("DE")),
            first_on_top: None,
            over: None,
        };
        let timestamp = DateTime::parse_from_rfc3339("2007-11-28T23:40:34-05:00").expect("a time");
        let servers: Vec<_> = servers.iter().map(ToString::to_string).collect();
        Alert::new(LogEntry::new(timestamp, network, 152, &servers), &peer, (131.36, 2))
    }

    #[test]
    fn classic_line_matches_topip_py() {
        assert_eq!(
            alert(&["localhost"]).line(LineFormat::Classic),
            "Wed Nov 28 23:40:34 2007 - 152 connections from 203.0.113.7"
        );
    }

    #[test]
    fn line_lists_sanitized_servers() {
        assert_eq!(
            alert(&["localhost", "web1"]).line(LineFormat::Rfc3339),
            "2007-11-28T23:40:34-05:00 - 152 connections from 203.0.113.7 on localhost,web1"
        );
        let hostile = alert(&["web1\nWed Nov 28 23:40:34 2007 - 9 connections from 192.0.2.1"]);
        assert!(!hostile.line(LineFormat::Classic).contains('\n'));
        assert_eq!(hostile.message(LineFormat::Classic).matches(' ').count(), 5);
    }

    #[test]
    fn omitted_alerts_have_a_line() {
        let timestamp = alert(&[]).entry.timestamp;
        let omitted = OmittedAlerts::new(timestamp, 2900, &["web1".to_owned()]);
        assert_eq!(
            omitted.line(LineFormat::Classic),
            "Wed Nov 28 23:40:34 2007 - 2900 more over the limit are not listed on web1"
        );
        assert_eq!(
            omitted.line(LineFormat::Json),
            "{\"time\":\"2007-11-28T23:40:34-05:00\",\"omitted\":2900,\"servers\":[\"web1\"]}"
        );
    }

    #[test]
    fn json_line_has_all_details() {
        assert_eq!(
            alert(&["localhost"]).line(LineFormat::Json),
            "{\"time\":\"2007-11-28T23:40:34-05:00\",\"address\":\"203.0.113.7\",\
             \"label\":\"the \\\"office\\\"\",\"asn\":64500,\"operator\":\"Example Net\",\
             \"country\":\"DE\",\"addresses\":1,\"connections\":152,\"ports\":[{\"port\":443,\"connections\":150},\
             {\"port\":80,\"connections\":2}],\"states\":[{\"state\":\"ESTABLISHED\",\
             \"connections\":140},{\"state\":null,\"connections\":12}],\"limit\":131.36,\
             \"samples\":2,\"servers\":[\"localhost\"]}"
        );
    }
}
