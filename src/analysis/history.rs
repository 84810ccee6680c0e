//! The record of earlier samples.
use std::{cmp::Reverse, time::Duration};

use super::{
    sample::Sample,
    tally::{Aggregation, Peer, Streak},
};
use crate::model::{peer_id::PeerId, verdict::FirstSampleReason};

mod mail_history;

pub use mail_history::{AlertState, MAX_SENT_ALERTS, MailHistory, PendingMail, SentAlert};

/// The record of earlier samples of the same sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The previous sample; `None` on the first run and after a damaged
    /// state file.
    pub previous: Option<PreviousSample>,
}

/// The record of a sample and of those before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviousSample {
    /// Time of the sample in seconds since 1970-01-01 UTC.
    pub timestamp: u64,
    /// Aggregation of addresses into peers.
    pub aggregation: Aggregation,
    /// The peer with the most connections; `None` if nothing was counted.
    pub top_address: Option<PeerId>,
    /// Number of connections of that peer.
    pub connections: u64,
    /// The peers over the limit, at most [`MAX_RECORDED_OVER`].
    pub over: Vec<PeerOver>,
    /// The peers most recently on top, latest first, at most [`MAX_RECENT_TOP`].
    pub recent_top: Vec<RecentTop>,
}

/// A peer that was over the limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerOver {
    /// The peer.
    pub id: PeerId,
    /// Number of its connections.
    pub connections: u64,
    /// The consecutive samples with the peer over the limit, up to this one.
    pub streak: Streak,
}

/// A peer that had the most connections in an earlier sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecentTop {
    /// The peer.
    pub id: PeerId,
    /// Time of the first sample with the peer on top, in seconds since 1970-01-01 UTC.
    pub first: u64,
    /// Time of the last sample with the peer on top.
    pub last: u64,
}

/// Maximum number of [`RecentTop`] records. Without a maximum, peers that take turns on top
/// could fill the disk.
pub const MAX_RECENT_TOP: usize = 20;

/// Maximum number of [`PeerOver`] records. Without a maximum, an attack from a million
/// addresses could fill the disk.
pub const MAX_RECORDED_OVER: usize = 1000;

/// Maximum number of views of a sample by prefix length. Each view adds a field to the
/// performance data.
pub const MAX_PREFIX_VIEWS: usize = 4;

/// Maximum number of views of a sample: those by prefix length, and one for each property of
/// groups.
pub const MAX_VIEWS: usize = MAX_PREFIX_VIEWS + 3;

impl PreviousSample {
    /// Creates the record of `sample`, which comes after `history`. Its peers over the
    /// limit are marked.
    #[must_use]
    pub fn new(sample: &Sample, history: &History) -> Self {
        Self {
            timestamp: sample.timestamp,
            aggregation: sample.aggregation,
            top_address: sample.top_address().cloned(),
            connections: sample.summary.max,
            over: recorded_peers(sample),
            recent_top: update_recent_top(sample, history),
        }
    }

    /// Returns whether the record has the prefix lengths or groups of `aggregation`. Its
    /// `min_members` may differ: a different minimum results in a different top
    /// address.
    #[must_use]
    pub fn has_same_peers(&self, aggregation: Aggregation) -> bool {
        let (own, other) = (self.aggregation.prefix_lengths(), aggregation.prefix_lengths());
        self.aggregation.group_by() == aggregation.group_by()
            && (own.v4, own.v6) == (other.v4, other.v6)
    }
}

impl PeerOver {
    /// Returns the record of a peer; `None` if it is not over the limit.
    fn new(peer: &Peer) -> Option<Self> {
        Some(Self { id: peer.id.clone(), connections: peer.connections, streak: peer.over? })
    }
}

/// Returns the record of the peers over the limit. If there are more than
/// [`MAX_RECORDED_OVER`], half of the record are the peers with the most connections, and half
/// are the other peers that were over the limit the longest, so that neither half displaces
/// the other.
fn recorded_peers(sample: &Sample) -> Vec<PeerOver> {
    let mut peers: Vec<_> = sample.peers_over().filter_map(PeerOver::new).collect();
    if peers.len() > MAX_RECORDED_OVER {
        peers[MAX_RECORDED_OVER / 2..].sort_by_key(|peer| Reverse(peer.streak.consecutive));
        peers.truncate(MAX_RECORDED_OVER);
    }
    peers
}

/// Returns the peers most recently on top, including that of `sample`.
fn update_recent_top(sample: &Sample, history: &History) -> Vec<RecentTop> {
    let mut recent_top = history.recent_top().to_vec();
    let Some(id) = sample.top_address() else {
        return recent_top;
    };
    let first = history.first_on_top(id, sample.timestamp).unwrap_or(sample.timestamp);
    recent_top.retain(|top| top.id != *id);
    recent_top.insert(0, RecentTop { id: id.clone(), first, last: sample.timestamp });
    recent_top.truncate(MAX_RECENT_TOP);
    recent_top
}

impl History {
    /// Returns the time of the first sample with `id` on top, if it is on record
    /// and plausible. A time after `now` comes from a wrong clock, and 0 from an
    /// edited file.
    #[must_use]
    pub fn first_on_top(&self, id: &PeerId, now: u64) -> Option<u64> {
        let first = self.recent_top().iter().find(|top| top.id == *id)?.first;
        if (1..=now).contains(&first) { Some(first) } else { None }
    }

    /// Returns the previous sample if a sample at `now` continues it.
    ///
    /// # Errors
    ///
    /// Returns the reason if the sample counts as the first one. `max_age` is the maximum
    /// age of the previous sample; `None`: no limit.
    pub fn continued(
        &self,
        now: u64,
        max_age: Option<Duration>,
    ) -> Result<&PreviousSample, FirstSampleReason> {
        let previous = self.previous.as_ref().ok_or(FirstSampleReason::NoHistory)?;
        let Some(age) = now.checked_sub(previous.timestamp) else {
            return Err(FirstSampleReason::InFuture { ahead_secs: previous.timestamp - now });
        };
        if max_age.is_some_and(|max_age| age > max_age.as_secs()) {
            return Err(FirstSampleReason::TooOld { age_secs: age });
        }
        Ok(previous)
    }

    fn recent_top(&self) -> &[RecentTop] {
        self.previous.as_ref().map_or(&[], |previous| &previous.recent_top)
    }
}
