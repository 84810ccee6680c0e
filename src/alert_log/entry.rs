//! An alert as a line of the log, and such a line as what it tells.
//!
//! Every format has the moment, the count, the address and the servers, and
//! these are read back from each; the evidence is in JSON alone.
use chrono::{DateTime, FixedOffset};
use serde::Serialize;

use crate::{
    analysis::{peer_details::Evidence, tally::Peer},
    model::{network::Network, sanitize},
};

/// How many ports of an address a line names: who has thousands has no more
/// to tell, and a line has to stay one that every reader takes.
const PORTS: usize = 100;
/// What this host is called among servers that are looked at.
pub(super) const HERE: &str = "localhost";

/// How a line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// As topip.py did: `Wed Nov 28 23:40:34 2007 - 152 connections from 203.0.113.7`.
    #[default]
    Classic,
    /// The same with the time of RFC 3339, which knows its offset.
    Rfc3339,
    /// One object, with the evidence.
    Json,
}

/// What a line tells in every format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When the sample was taken.
    pub when: DateTime<FixedOffset>,
    /// Who was on top.
    pub network: Network,
    /// With how many connections.
    pub connections: u64,
    /// The servers that were looked at; none where it was this host alone.
    pub servers: Vec<String>,
}

/// An alert, with its evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// What every line tells.
    pub entry: Entry,
    /// The limit that the peer was over, in connections.
    pub limit: f64,
    /// In how many samples on end it has been on top.
    pub samples: u32,
    /// Who it was, with the busiest of its ports.
    pub peer: Peer,
}

/// The object of a line in JSON.
#[derive(Serialize)]
struct Json<'a> {
    time: String,
    #[serde(flatten)]
    evidence: Evidence<'a>,
    limit: f64,
    samples: u32,
    servers: &'a [String],
}

impl Alert {
    /// An alert about `peer`, on `servers` as they are called.
    #[must_use]
    pub fn new(
        when: DateTime<FixedOffset>,
        peer: &Peer,
        servers: &[String],
        (limit, samples): (f64, u32),
    ) -> Self {
        let Peer { network, connections, .. } = *peer;
        let entry = Entry { when, network, connections, servers: names(servers) };
        let mut peer = peer.clone();
        peer.ports.truncate(PORTS);
        Self { entry, limit, samples, peer }
    }

    /// The line, without its end.
    #[must_use]
    pub fn line(&self, format: Format) -> String {
        let when = &self.entry.when;
        match format {
            Format::Classic => {
                format!("{} - {}", when.format("%a %b %e %H:%M:%S %Y"), self.message(format))
            }
            Format::Rfc3339 => {
                format!("{} - {}", when.format("%Y-%m-%dT%H:%M:%S%:z"), self.message(format))
            }
            Format::Json => self.message(format),
        }
    }

    /// The line for a log that writes the time itself.
    #[must_use]
    pub fn message(&self, format: Format) -> String {
        if format == Format::Json {
            return self.json();
        }
        let Entry { network, connections, servers, .. } = &self.entry;
        // The word is the same for one: other programs read it.
        let message = format!("{connections} connections from {network}");
        if servers.is_empty() { message } else { format!("{message} on {}", servers.join(",")) }
    }

    fn json(&self) -> String {
        let here = [HERE.to_owned()];
        let Entry { when, servers, .. } = &self.entry;
        let object = Json {
            time: when.format("%Y-%m-%dT%H:%M:%S%:z").to_string(),
            evidence: Evidence::of(&self.peer),
            limit: self.limit,
            samples: self.samples,
            servers: if servers.is_empty() { &here } else { servers },
        };
        serde_json::to_string(&object).expect("numbers and texts can be written")
    }
}

/// The names of `servers` as a line has them: none where it is this host alone.
fn names(servers: &[String]) -> Vec<String> {
    match servers {
        [only] if only == HERE => Vec::new(),
        _ => servers.iter().map(|name| name.replace(|it| !is_in_name(it), "_")).collect(),
    }
}

/// Whether a server's name may have it: whatever else a name had would have a
/// say in where the line ends, or in what a spreadsheet makes of it.
pub(super) fn is_in_name(character: char) -> bool {
    sanitize::is_letter(character) || "-._:%[]".contains(character)
}

#[cfg(test)]
mod tests {
    use crate::model::connection::TcpState;

    use super::*;

    fn alert(servers: &[&str]) -> Alert {
        let peer = Peer {
            network: "203.0.113.7".parse().expect("an address"),
            addresses: 1,
            connections: 152,
            ports: vec![(443, 150), (80, 2)],
            states: vec![(Some(TcpState::Established), 140), (None, 12)],
            label: Some("the \"office\"".to_owned()),
            first_on_top: None,
        };
        let when = DateTime::parse_from_rfc3339("2007-11-28T23:40:34-05:00").expect("a time");
        let servers: Vec<_> = servers.iter().map(ToString::to_string).collect();
        Alert::new(when, &peer, &servers, (131.36, 2))
    }

    #[test]
    fn the_line_of_the_old_script() {
        assert_eq!(
            alert(&["localhost"]).line(Format::Classic),
            "Wed Nov 28 23:40:34 2007 - 152 connections from 203.0.113.7"
        );
    }

    #[test]
    fn servers_are_named() {
        assert_eq!(
            alert(&["localhost", "web1"]).line(Format::Rfc3339),
            "2007-11-28T23:40:34-05:00 - 152 connections from 203.0.113.7 on localhost,web1"
        );
        let hostile = alert(&["web1\nWed Nov 28 23:40:34 2007 - 9 connections from 192.0.2.1"]);
        assert!(!hostile.line(Format::Classic).contains('\n'));
        assert_eq!(hostile.message(Format::Classic).matches(' ').count(), 5);
    }

    #[test]
    fn json_has_the_evidence() {
        assert_eq!(
            alert(&["localhost"]).line(Format::Json),
            "{\"time\":\"2007-11-28T23:40:34-05:00\",\"address\":\"203.0.113.7\",\
             \"label\":\"the \\\"office\\\"\",\"addresses\":1,\"connections\":152,\"ports\":[{\"port\":443,\"connections\":150},\
             {\"port\":80,\"connections\":2}],\"states\":[{\"state\":\"ESTABLISHED\",\
             \"connections\":140},{\"state\":null,\"connections\":12}],\"limit\":131.36,\
             \"samples\":2,\"servers\":[\"localhost\"]}"
        );
    }
}
