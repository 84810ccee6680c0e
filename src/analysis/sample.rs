//! The counts of one sample.
use std::collections::BTreeSet;

use super::{
    history::{History, MAX_RECORDED_OVER},
    rule::{self, JudgeConfig},
    summary::Summary,
    tally::{Aggregation, Counts, Peer},
};
use crate::model::{metric::Metric, peer_id::PeerId, verdict::Limit};

/// The counts of one sample of the sockets, and the limit that follows from them.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Time of the sample in seconds since 1970-01-01 UTC.
    pub timestamp: u64,
    /// Aggregation of addresses into peers.
    pub aggregation: Aggregation,
    /// The peers that the output may list, and the peers over the limit that are put on
    /// record, busiest first; empty only if nothing was counted.
    pub top: Vec<Peer>,
    /// Connections of each peer, highest first.
    pub peer_counts: Vec<u64>,
    /// Statistics of the judged peers.
    pub summary: Summary,
    /// Limit that each peer is compared with.
    pub limit: Limit,
    /// Limit of the rule that was not selected.
    pub other_limit: Limit,
    /// Number of attributable peers over the limit.
    pub n_over: usize,
    /// True if connections were counted that should have been excluded, so that no peer is
    /// attributable.
    pub is_unreliable: bool,
    /// Number of addresses that are connected.
    pub addresses: u64,
    /// Number of connections of all peers.
    pub connections: u64,
}

/// Numbers of the busiest peers that a sample judges and lists.
#[derive(Clone, Copy, Debug)]
pub struct SampleSize {
    /// Maximum number of peers in the statistics; `None` for all.
    pub max_judged: Option<usize>,
    /// Maximum number of peers that the output may list.
    pub max_listed: usize,
}

impl Sample {
    /// Aggregates `counts` into peers.
    #[must_use]
    pub fn new(
        counts: &Counts,
        timestamp: u64,
        aggregation: Aggregation,
        size: SampleSize,
        config: &JudgeConfig,
    ) -> Self {
        let peer_counts = counts.peer_counts(aggregation);
        let summary = Summary::new(&peer_counts, size.max_judged);
        let (limit, other_limit) = rule::limits(&peer_counts, &summary, config);
        let unattributable_counts = counts.unattributable_counts(aggregation);
        let n_over = limit.n_over(&peer_counts) - limit.n_over(&unattributable_counts);
        Self {
            timestamp,
            aggregation,
            top: counts.top(size.max_listed, n_over.clamp(1, MAX_RECORDED_OVER), aggregation),
            summary,
            limit,
            other_limit,
            n_over,
            is_unreliable: false,
            addresses: counts.addresses(),
            connections: peer_counts.iter().sum(),
            peer_counts,
        }
    }

    /// Adds the peers that are on record as over the limit to `top`, if `top` does not have all
    /// peers over the limit. Newcomers with more connections must not hide them.
    pub fn add_recorded_peers(&mut self, counts: &Counts, history: &History) {
        let Some(previous) = &history.previous else {
            return;
        };
        if self.n_over <= MAX_RECORDED_OVER {
            return;
        }
        let mut recorded: BTreeSet<_> = previous.over.iter().map(|peer| &peer.id).collect();
        for peer in &self.top {
            recorded.remove(&peer.id);
        }
        let mut peers = counts.peers_among(&recorded, self.aggregation);
        peers.retain(|peer| self.limit.is_exceeded_by(peer.connections));
        self.top.append(&mut peers);
    }

    /// Returns the peer with the most connections; `None` if nothing was counted, or if its
    /// address is truncated.
    #[must_use]
    pub fn top_address(&self) -> Option<&PeerId> {
        self.top.first().filter(|peer| peer.truncated.is_none()).map(|peer| &peer.id)
    }

    /// Records that connections were counted that should have been excluded. No peer of the
    /// sample is over the limit then.
    pub fn set_unreliable(&mut self) {
        self.is_unreliable = true;
        self.n_over = 0;
    }

    /// Returns whether `peer` may be blamed for its connections: they certainly belong to the
    /// peer, and the peer is a group if the sample is about groups. An address without a group
    /// is compared with the limit for addresses, not with the limit for groups.
    #[must_use]
    pub fn is_attributable(&self, peer: &Peer) -> bool {
        let is_judged = self.aggregation.group_by().is_none() || peer.id.network().is_none();
        !self.is_unreliable && peer.truncated.is_none() && is_judged
    }

    /// Returns the highest count of an attributable peer; 0 if no peer is attributable.
    #[must_use]
    pub fn max_attributable(&self) -> u64 {
        let peer = self.top.iter().find(|peer| self.is_attributable(peer));
        peer.map_or(0, |peer| peer.connections)
    }

    /// Returns the value of a metric. The maximum is that of the attributable peers.
    #[must_use]
    pub fn metric(&self, metric: Metric) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "no host has 2^53 connections")]
        let float = |n: u64| n as f64;
        match metric {
            Metric::Max => float(self.max_attributable()),
            Metric::Avg => self.summary.avg,
            Metric::Stddev => self.summary.stddev,
            Metric::Med => float(self.summary.median),
            Metric::Min => float(self.summary.min),
            Metric::Addresses => float(self.addresses),
            Metric::Connections => float(self.connections),
            Metric::Over => float(self.n_over as u64),
        }
    }

    /// Returns the peers over the limit that are in `top`.
    pub fn peers_over(&self) -> impl Iterator<Item = &Peer> {
        self.top.iter().filter(|peer| peer.over.is_some())
    }
}
