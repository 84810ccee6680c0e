//! The counts of one sample.
use super::{
    history::MAX_RECORDED_OVER,
    rule::{self, JudgeConfig},
    summary::Summary,
    tally::{Aggregation, Counts, Peer},
};
use crate::model::{network::Network, verdict::Limit};

/// The counts of one sample of the sockets, and the limit that they result in.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Time of the sample in seconds since 1970-01-01 UTC.
    pub timestamp: u64,
    /// Prefix lengths of the peers.
    pub aggregation: Aggregation,
    /// The peers that the output may list, and those over the limit as far as they are put
    /// on record, busiest first; empty only if nothing was counted.
    pub top: Vec<Peer>,
    /// Connections of each peer, highest first.
    pub peer_counts: Vec<u64>,
    /// Statistics of the judged peers.
    pub summary: Summary,
    /// Limit that each peer is compared with.
    pub limit: Limit,
    /// Limit of the rule that was not selected.
    pub other_limit: Limit,
    /// Number of peers over the limit.
    pub n_over: usize,
    /// Number of addresses that are connected.
    pub addresses: u64,
    /// Number of connections of all peers.
    pub connections: u64,
}

/// Numbers of the busiest peers that a sample is about.
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
        let n_over = peer_counts.partition_point(|&connections| limit.is_exceeded_by(connections));
        Self {
            timestamp,
            aggregation,
            top: counts.top(size.max_listed.max(n_over.min(MAX_RECORDED_OVER)), aggregation),
            summary,
            limit,
            other_limit,
            n_over,
            addresses: counts.addresses(),
            connections: peer_counts.iter().sum(),
            peer_counts,
        }
    }

    /// Returns the peer with the most connections; `None` if nothing was counted.
    #[must_use]
    pub fn top_address(&self) -> Option<Network> {
        self.top.first().map(|peer| peer.network)
    }

    /// Returns the peers over the limit that are in `top`.
    pub fn peers_over(&self) -> impl Iterator<Item = &Peer> {
        self.top.iter().filter(|peer| peer.over.is_some())
    }
}
