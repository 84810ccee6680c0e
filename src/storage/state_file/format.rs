//! The format of the state file.
use serde::{Deserialize, Serialize};

use crate::{
    analysis::{
        history::{MAX_RECENT_TOP, MailHistory, PreviousSample, RecentTop, SentAlert},
        tally::Aggregation,
    },
    model::network::Network,
};

use super::FORMAT_VERSION;

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

/// The record of a sample in one view.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct ViewEntry {
    prefix4: u8,
    prefix6: u8,
    top_address: Option<Network>,
    connections: u64,
    consecutive: u32,
    recent_top: Vec<RecentTopEntry>,
}

impl Default for ViewEntry {
    fn default() -> Self {
        Self {
            prefix4: Aggregation::PER_ADDRESS.v4_prefix,
            prefix6: Aggregation::PER_ADDRESS.v6_prefix,
            top_address: None,
            connections: 0,
            consecutive: 0,
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

    /// Returns the alerts that were sent by mail.
    pub(super) fn mail_history(&self) -> MailHistory {
        MailHistory(self.sent_mails.iter().map(SentMailEntry::to_alert).collect())
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

impl ViewEntry {
    fn from_previous(previous: &PreviousSample) -> Self {
        Self {
            prefix4: previous.aggregation.v4_prefix,
            prefix6: previous.aggregation.v6_prefix,
            top_address: previous.top_address,
            connections: previous.connections,
            consecutive: previous.consecutive,
            recent_top: previous.recent_top.iter().map(RecentTopEntry::from_recent_top).collect(),
        }
    }

    fn into_previous(self, timestamp: u64) -> PreviousSample {
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
            consecutive: self.consecutive,
            recent_top: recent_top.map(RecentTopEntry::into_recent_top).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bound is that of the manual.
    #[test]
    fn longest_content_has_at_most_20_kib() {
        let network: Network = "2001:db8:ffff:ffff:ffff:ffff:ffff:fffe/127".parse().unwrap();
        let timestamp = 1_795_375_200;
        let top = RecentTop { network, first: timestamp, last: timestamp };
        let record = PreviousSample {
            timestamp,
            aggregation: Aggregation { v4_prefix: 31, v6_prefix: 127, min_members: 1 },
            top_address: Some(network),
            connections: 1_000_000,
            consecutive: 1_000_000,
            recent_top: vec![top; MAX_RECENT_TOP],
        };
        let sent_mails = MailHistory(vec![SentAlert { network, timestamp }; 20]);
        let contents = StateContents::new(&vec![record; 4], &sent_mails, vec!["x".repeat(253)]);
        let text =
            ron::ser::to_string_pretty(&contents, ron::ser::PrettyConfig::default()).unwrap();
        assert!(text.len() <= 20 * 1024, "{}", text.len());
    }
}
