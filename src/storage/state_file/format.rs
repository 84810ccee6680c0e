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
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename = "State")]
pub(super) struct StateContents {
    version: u32,
    program: String,
    timestamp: u64,
    pub(super) servers: Vec<String>,
    prefix4: u8,
    prefix6: u8,
    top_address: Option<Network>,
    connections: u64,
    consecutive: u32,
    recent_top: Vec<RecentTopEntry>,
    /// The records of the other prefix lengths, if several are judged.
    other_prefixes: Vec<PrefixRecord>,
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

/// The record of a sample with one pair of prefix lengths.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct PrefixRecord {
    prefix4: u8,
    prefix6: u8,
    top_address: Option<Network>,
    connections: u64,
    consecutive: u32,
    recent_top: Vec<RecentTopEntry>,
}

impl Default for StateContents {
    fn default() -> Self {
        Self::new(&[], &MailHistory::default(), Vec::new())
    }
}

impl Default for PrefixRecord {
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
        let mut prefix_records = records.iter().map(PrefixRecord::from_previous);
        let PrefixRecord { prefix4, prefix6, top_address, connections, consecutive, recent_top } =
            prefix_records.next().unwrap_or_default();
        Self {
            version: FORMAT_VERSION,
            program: concat!("topip ", env!("CARGO_PKG_VERSION")).to_owned(),
            timestamp: records.first().map_or(0, |record| record.timestamp),
            servers,
            prefix4,
            prefix6,
            top_address,
            connections,
            consecutive,
            recent_top,
            other_prefixes: prefix_records.collect(),
            sent_mails: mail_history.0.iter().map(SentMailEntry::from_alert).collect(),
        }
    }

    /// Returns the alerts that were sent by mail.
    pub(super) fn mail_history(&self) -> MailHistory {
        MailHistory(self.sent_mails.iter().map(SentMailEntry::to_alert).collect())
    }

    /// Returns the previous sample, one record per aggregation.
    pub(super) fn into_records(self) -> Vec<PreviousSample> {
        let timestamp = self.timestamp;
        let longest_prefix = PrefixRecord {
            prefix4: self.prefix4,
            prefix6: self.prefix6,
            top_address: self.top_address,
            connections: self.connections,
            consecutive: self.consecutive,
            recent_top: self.recent_top,
        };
        std::iter::once(longest_prefix)
            .chain(self.other_prefixes)
            .map(|record| record.into_previous(timestamp))
            .collect()
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

impl PrefixRecord {
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
