//! The format of the state file.
use ron::ser::PrettyConfig;
use serde::{Deserialize, Serialize};

use crate::{
    analysis::{
        history::{
            MAX_RECENT_TOP, MAX_RECORDED_OVER, MAX_SENT_ALERTS, MailHistory, PeerOver,
            PreviousSample, RecentTop, SentAlert,
        },
        tally::{Aggregation, PrefixLengths, Streak},
    },
    model::{
        kernel_counters::KernelCounters,
        peer_id::{GroupBy, PeerId},
    },
};

#[cfg(test)]
use super::MAX_FILE_BYTES;
use super::{FORMAT_VERSION, State};
#[cfg(test)]
use crate::analysis::history::MAX_VIEWS;

/// Depth to which values are indented: a list of peers, but not the fields of a peer.
const MAX_INDENTED_DEPTH: usize = 4;
/// Maximum number of network namespaces whose counters are kept.
const MAX_NAMESPACES: usize = 400;

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
    kernel_counters: Vec<CountersEntry>,
}

/// The kernel's counters of a network namespace.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct CountersEntry {
    netns: u64,
    counters: KernelCounters,
}

/// An alert that was sent by mail.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct SentMailEntry {
    ip: PeerId,
    timestamp: u64,
}

/// A peer that was on top, with the times of the first and last such sample.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct RecentTopEntry {
    ip: PeerId,
    #[serde(default)]
    first: u64,
    #[serde(default)]
    last: u64,
}

/// A peer that was over the limit, and since when.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct OverEntry {
    ip: PeerId,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    group_by: Option<GroupBy>,
    top_address: Option<PeerId>,
    connections: u64,
    over: Vec<OverEntry>,
    recent_top: Vec<RecentTopEntry>,
}

impl Default for ViewEntry {
    fn default() -> Self {
        let PrefixLengths { v4, v6, .. } = PrefixLengths::PER_ADDRESS;
        Self {
            prefix4: v4,
            prefix6: v6,
            group_by: None,
            top_address: None,
            connections: 0,
            over: Vec::new(),
            recent_top: Vec::new(),
        }
    }
}

impl StateContents {
    /// Returns the content for a sample of `servers`.
    pub(super) fn new(state: &State, servers: Vec<String>) -> Self {
        let State { records, mail_history, kernel_counters } = state;
        let kernel_counters = kernel_counters.iter().take(MAX_NAMESPACES);
        Self {
            version: FORMAT_VERSION,
            program: concat!("topip ", env!("CARGO_PKG_VERSION")).to_owned(),
            timestamp: records.first().map_or(0, |record| record.timestamp),
            servers,
            views: records.iter().map(ViewEntry::from_previous).collect(),
            sent_mails: mail_history.0.iter().map(SentMailEntry::from_alert).collect(),
            kernel_counters: kernel_counters
                .map(|(&netns, &counters)| CountersEntry { netns, counters })
                .collect(),
        }
    }

    /// Returns the content as text, with each peer on a separate line.
    pub(super) fn to_ron(&self) -> String {
        let config = PrettyConfig::default().depth_limit(MAX_INDENTED_DEPTH);
        let text = ron::ser::to_string_pretty(self, config);
        text.expect("numbers, strings and addresses are serializable") + "\n"
    }

    /// Returns the values in the file.
    pub(super) fn into_state(self) -> State {
        let timestamp = self.timestamp;
        let sent_mails = self.sent_mails.into_iter().take(MAX_SENT_ALERTS);
        let kernel_counters = self.kernel_counters.into_iter().take(MAX_NAMESPACES);
        State {
            records: self.views.into_iter().map(|view| view.into_previous(timestamp)).collect(),
            mail_history: MailHistory(sent_mails.map(SentMailEntry::into_alert).collect()),
            kernel_counters: kernel_counters.map(|it| (it.netns, it.counters)).collect(),
        }
    }
}

impl SentMailEntry {
    fn from_alert(SentAlert { id, timestamp }: &SentAlert) -> Self {
        Self { ip: id.clone(), timestamp: *timestamp }
    }

    fn into_alert(self) -> SentAlert {
        SentAlert { id: self.ip, timestamp: self.timestamp }
    }
}

impl RecentTopEntry {
    fn from_recent_top(RecentTop { id, first, last }: &RecentTop) -> Self {
        Self { ip: id.clone(), first: *first, last: *last }
    }

    fn into_recent_top(self) -> RecentTop {
        RecentTop { id: self.ip, first: self.first, last: self.last }
    }
}

impl OverEntry {
    fn from_peer_over(PeerOver { id, connections, streak }: &PeerOver) -> Self {
        let Streak { consecutive, since } = *streak;
        Self { ip: id.clone(), connections: *connections, consecutive, since }
    }

    fn into_peer_over(self) -> PeerOver {
        let streak = Streak { consecutive: self.consecutive, since: self.since };
        PeerOver { id: self.ip, connections: self.connections, streak }
    }
}

impl ViewEntry {
    fn from_previous(previous: &PreviousSample) -> Self {
        let PrefixLengths { v4, v6, .. } = previous.aggregation.prefix_lengths();
        Self {
            prefix4: v4,
            prefix6: v6,
            group_by: previous.aggregation.group_by(),
            top_address: previous.top_address.clone(),
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
            aggregation: match self.group_by {
                Some(by) => Aggregation::Group(by),
                None => {
                    let (v4, v6) = (self.prefix4, self.prefix6);
                    Aggregation::Prefix(PrefixLengths { v4, v6, min_members: 1 })
                }
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

    /// A file longer than the maximum would count as damaged when it is read.
    #[test]
    fn longest_content_is_readable() {
        let id: PeerId = "2001:db8:ffff:ffff:ffff:ffff:ffff:fffe/127".parse().unwrap();
        let timestamp = u64::MAX;
        let top = RecentTop { id: id.clone(), first: timestamp, last: timestamp };
        let streak = Streak { consecutive: u32::MAX, since: timestamp };
        let over = PeerOver { id: id.clone(), connections: u64::MAX, streak };
        let record = PreviousSample {
            timestamp,
            aggregation: Aggregation::Prefix(PrefixLengths { v4: 31, v6: 127, min_members: 1 }),
            top_address: Some(id.clone()),
            connections: u64::MAX,
            over: vec![over; MAX_RECORDED_OVER],
            recent_top: vec![top; MAX_RECENT_TOP],
        };
        let sent_mails = MailHistory(vec![SentAlert { id, timestamp }; MAX_SENT_ALERTS]);
        let servers = vec!["x".repeat(253); 50];
        let (syn_cookies, listen_overflows, flow_drops) = (u64::MAX, u64::MAX, u64::MAX);
        let counters = KernelCounters { syn_cookies, listen_overflows, flow_drops };
        let namespaces = (1..=MAX_NAMESPACES as u64 + 1).map(|n| (u64::MAX - n, counters));
        let state = State {
            records: vec![record; MAX_VIEWS],
            mail_history: sent_mails,
            kernel_counters: namespaces.collect(),
        };
        let contents = StateContents::new(&state, servers);
        let length = contents.to_ron().len() as u64;
        assert!(length <= MAX_FILE_BYTES * 9 / 10, "{length}");
    }
}
