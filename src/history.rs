//! What one look at the sockets gave, and what is remembered of the last one.
use std::net::IpAddr;

use crate::{summary::Summary, tally::Peer};

/// One look at the sockets, counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// Seconds since 1970-01-01 UTC.
    pub when: u64,
    /// The peers worth naming, the busiest first; empty only where nothing was
    /// counted.
    pub top: Vec<Peer>,
    /// The counts of all addresses, highest first.
    pub counts: Vec<u64>,
    /// The figures of the addresses that are judged.
    pub summary: Summary,
    /// How many addresses have connections.
    pub addresses: u64,
    /// How many connections they have.
    pub connections: u64,
}

impl Sample {
    /// Who has the most connections.
    #[must_use]
    pub fn top_address(&self) -> Option<IpAddr> {
        self.top.first().map(|peer| peer.address)
    }
}

/// What is known of earlier samples of the same sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The sample before this one; `None` on the first run and after a damaged
    /// state file.
    pub previous: Option<Previous>,
}

/// What is remembered of a sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Previous {
    /// Seconds since 1970-01-01 UTC.
    pub when: u64,
    /// Who had the most connections; `None` where there were none to count.
    pub top_address: Option<IpAddr>,
    /// How many they had.
    pub connections: u64,
    /// In how many samples on end that address had been on top.
    pub row: u32,
}

impl Previous {
    /// What is to be remembered of `sample`, with which `row` samples on end
    /// have had the same address on top.
    #[must_use]
    pub fn of(sample: &Sample, row: u32) -> Self {
        Self {
            when: sample.when,
            top_address: sample.top_address(),
            connections: sample.summary.max,
            row,
        }
    }
}
