//! The format of the state file.
use ron::ser::PrettyConfig;
use serde::{Deserialize, Serialize};

use crate::{
    analysis::{
        history::{
            MAX_RECENT_TOP, MAX_RECORDED_OVER, MAX_SENT_ALERTS, MailHistory, PeerOver,
            PreviousSample, RecentTop, SentAlert,
        },
        tally::{Aggregation, Streak},
    },
    model::network::Network,
};

use super::FORMAT_VERSION;
#[cfg(test)]
use super::MAX_FILE_BYTES;

/// Depth to which values are indented: a list of peers, but not the fields of a peer.
const MAX_INDENTED_DEPTH: usize = 4;

/// The content of the state file; see topip-state(5).
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename = "State")]
pub(super) struct StateContents {
    version: u32,
    program: String,
    timestamp: u64,
    pub(super) servers: Vec<String>,
    views: Vec<ViewEntry>,
    sent_mails: Vec<SentMailEntry>,
}

/// An alert that was sent by mail.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct SentMailEntry {
    ip: Network,
    timestamp: u64,
}

/// A peer that was on top, with the times of the first and last such sample.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct RecentTopEntry {
    ip: Network,
    #[serde(default)]
    first: u64,
    #[serde(default)]
    last: u64,
}

/// A peer that was over the limit, and since when.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct OverEntry {
    ip: Network,
    #[serde(default)]
    connections: u64,
    #[serde(default)]
    consecutive: u32,
    #[serde(default)]
    since: u64,
}

/// The record of a sample in one view.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct ViewEntry {
    prefix4: u8,
    prefix6: u8,
    top_address: Option<Network>,
    connections: u64,
    over: Vec<OverEntry>,
    recent_top: Vec<RecentTopEntry>,
}

impl Default for ViewEntry {
    fn default() -> Self {
        Self {
            prefix4: Aggregation::PER_ADDRESS.v4_prefix,
            prefix6: Aggregation::PER_ADDRESS.v6_prefix,
            top_address: None,
            connections: 0,
            over: Vec::new(),
            recent_top: Vec::new(),
        }
    }
}

impl StateContents {
    /// Returns the content for a sample of `servers`.
    pub(super) fn new(
        records: &[PreviousSample],
        mail_history: &MailHistory,
        servers: Vec<String>,
    ) -> Self {
        Self {
            version: FORMAT_VERSION,
            program: concat!("topip ", env!("CARGO_PKG_VERSION")).to_owned(),
            timestamp: records.first().map_or(0, |record| record.timestamp),
            servers,
            views: records.iter().map(ViewEntry::from_previous).collect(),
            sent_mails: mail_history.0.iter().map(SentMailEntry::from_alert).collect(),
        }
    }

    /// Returns the content as text, with each peer on a line of its own.
    pub(super) fn to_ron(&self) -> String {
        let config = PrettyConfig::default().depth_limit(MAX_INDENTED_DEPTH);
        let text = ron::ser::to_string_pretty(self, config);
        text.expect("numbers, strings and addresses are serializable") + "\n"
    }

    /// Returns the alerts that were sent by mail.
    pub(super) fn mail_history(&self) -> MailHistory {
        let sent_mails = self.sent_mails.iter().take(MAX_SENT_ALERTS);
        MailHistory(sent_mails.map(SentMailEntry::to_alert).collect())
    }

    /// Returns the previous sample, one record per view; empty if there is none.
    pub(super) fn into_records(self) -> Vec<PreviousSample> {
        let timestamp = self.timestamp;
        self.views.into_iter().map(|view| view.into_previous(timestamp)).collect()
    }
}

impl SentMailEntry {
    fn from_alert(&SentAlert { network, timestamp }: &SentAlert) -> Self {
        Self { ip: network, timestamp }
    }

    fn to_alert(&self) -> SentAlert {
        SentAlert { network: self.ip, timestamp: self.timestamp }
    }
}

impl RecentTopEntry {
    fn from_recent_top(&RecentTop { network, first, last }: &RecentTop) -> Self {
        Self { ip: network, first, last }
    }

    fn into_recent_top(self) -> RecentTop {
        RecentTop { network: self.ip, first: self.first, last: self.last }
    }
}

impl OverEntry {
    fn from_peer_over(&PeerOver { network, connections, streak }: &PeerOver) -> Self {
        let Streak { consecutive, since } = streak;
        Self { ip: network, connections, consecutive, since }
    }

    fn into_peer_over(self) -> PeerOver {
        let streak = Streak { consecutive: self.consecutive, since: self.since };
        PeerOver { network: self.ip, connections: self.connections, streak }
    }
}

impl ViewEntry {
    fn from_previous(previous: &PreviousSample) -> Self {
        Self {
            prefix4: previous.aggregation.v4_prefix,
            prefix6: previous.aggregation.v6_prefix,
            top_address: previous.top_address,
            connections: previous.connections,
            over: previous.over.iter().map(OverEntry::from_peer_over).collect(),
            recent_top: previous.recent_top.iter().map(RecentTopEntry::from_recent_top).collect(),
        }
    }

    fn into_previous(self, timestamp: u64) -> PreviousSample {
        let over = self.over.into_iter().take(MAX_RECORDED_OVER);
        let recent_top = self.recent_top.into_iter().take(MAX_RECENT_TOP);
        PreviousSample {
            timestamp,
            aggregation: Aggregation {
                v4_prefix: self.prefix4,
                v6_prefix: self.prefix6,
                min_members: 1,
            },
            top_address: self.top_address,
            connections: self.connections,
            over: over.map(OverEntry::into_peer_over).collect(),
            recent_top: recent_top.map(RecentTopEntry::into_recent_top).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A longer file would not be read back.
    #[test]
    fn longest_content_is_readable() {
        let network: Network = "2001:db8:ffff:ffff:ffff:ffff:ffff:fffe/127".parse().unwrap();
        let timestamp = u64::MAX;
        let top = RecentTop { network, first: timestamp, last: timestamp };
        let streak = Streak { consecutive: u32::MAX, since: timestamp };
        let over = PeerOver { network, connections: u64::MAX, streak };
        let record = PreviousSample {
            timestamp,
            aggregation: Aggregation { v4_prefix: 31, v6_prefix: 127, min_members: 1 },
            top_address: Some(network),
            connections: u64::MAX,
            over: vec![over; MAX_RECORDED_OVER],
            recent_top: vec![top; MAX_RECENT_TOP],
        };
        let sent_mails = MailHistory(vec![SentAlert { network, timestamp }; MAX_SENT_ALERTS]);
        let servers = vec!["x".repeat(253); 50];
        let contents = StateContents::new(&vec![record; 4], &sent_mails, servers);
        let length = contents.to_ron().len() as u64;
        assert!(length <= MAX_FILE_BYTES * 9 / 10, "{length}");
    }
}
