//! The counts of one sample.
use super::{
    summary::Summary,
    tally::{Aggregation, Counts, Peer},
};
use crate::model::network::Network;

/// The counts of one sample of the sockets.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Time of the sample in seconds since 1970-01-01 UTC.
    pub timestamp: u64,
    /// Prefix lengths of the peers.
    pub aggregation: Aggregation,
    /// The peers that the output may list, busiest first; empty only if nothing was
    /// counted.
    pub top: Vec<Peer>,
    /// Connections of each peer, highest first.
    pub peer_counts: Vec<u64>,
    /// Statistics of the judged peers.
    pub summary: Summary,
    /// Number of addresses that are connected.
    pub addresses: u64,
    /// Number of connections of all peers.
    pub connections: u64,
}

impl Sample {
    /// Aggregates `counts` into peers. The statistics include the `max_judged` busiest
    /// peers (`None`: all), and the output may list the `max_listed` busiest.
    #[must_use]
    pub fn new(
        counts: &Counts,
        timestamp: u64,
        aggregation: Aggregation,
        max_judged: Option<usize>,
        max_listed: usize,
    ) -> Self {
        let peer_counts = counts.peer_counts(aggregation);
        Self {
            timestamp,
            aggregation,
            top: counts.top(max_listed, aggregation),
            summary: Summary::new(&peer_counts, max_judged),
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
}
