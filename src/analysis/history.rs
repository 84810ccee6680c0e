//! What one look at the sockets gave, and what is remembered of earlier ones.
use super::{
    summary::Summary,
    tally::{Counted, Grain, Peer},
};
use crate::model::network::Network;

mod mail_history;

pub use mail_history::{Due, Mailed, Mails, Standing};

/// One look at the sockets, counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Seconds since 1970-01-01 UTC.
    pub when: u64,
    /// What is one peer.
    pub grain: Grain,
    /// The peers worth naming, the busiest first; empty only where nothing was
    /// counted.
    pub top: Vec<Peer>,
    /// The counts of all peers, highest first.
    pub counts: Vec<u64>,
    /// The figures of the peers that are judged.
    pub summary: Summary,
    /// How many addresses have connections.
    pub addresses: u64,
    /// How many connections they have.
    pub connections: u64,
}

impl Sample {
    /// What `counted` comes to where peers are told apart by `grain`, the
    /// `judged` top ones of them are judged, and `listed` may be named.
    #[must_use]
    pub fn of(
        counted: &Counted,
        when: u64,
        grain: Grain,
        judged: Option<usize>,
        listed: usize,
    ) -> Self {
        let counts = counted.counts(grain);
        Self {
            when,
            grain,
            top: counted.top(listed, grain),
            summary: Summary::of(&counts, judged),
            addresses: counted.addresses(),
            connections: counts.iter().sum(),
            counts,
        }
    }

    /// Who has the most connections.
    #[must_use]
    pub fn on_top(&self) -> Option<Network> {
        self.top.first().map(|peer| peer.network)
    }
}

/// What is known of earlier samples of the same sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The sample before this one; `None` on the first run and after a damaged
    /// state file.
    pub previous: Option<Previous>,
}

/// What is remembered of a sample, and of those before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Previous {
    /// Seconds since 1970-01-01 UTC.
    pub when: u64,
    /// What was one peer.
    pub grain: Grain,
    /// Who had the most connections; `None` where there were none to count.
    pub on_top: Option<Network>,
    /// How many they had.
    pub connections: u64,
    /// In how many samples on end that peer had been on top.
    pub row: u32,
    /// Who has been on top of late, the last one first, at most [`REMEMBERED`].
    pub tops: Vec<OnTop>,
}

/// A peer that has been on top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnTop {
    /// Who.
    pub network: Network,
    /// In which sample first: seconds since 1970-01-01 UTC.
    pub first: u64,
    /// In which sample last.
    pub last: u64,
}

/// How many peers that have been on top are remembered: a crowd that takes
/// turns must not fill the disk.
pub const REMEMBERED: usize = 20;

impl Previous {
    /// What is to be remembered of `sample` after `history`, with which `row`
    /// samples on end have had the same peer on top.
    #[must_use]
    pub fn of(sample: &Sample, history: &History, row: u32) -> Self {
        Self {
            when: sample.when,
            grain: sample.grain,
            on_top: sample.on_top(),
            connections: sample.summary.max,
            row,
            tops: tops(sample, history),
        }
    }

    /// Whether it is about peers that are told apart by `grain`. How many members
    /// a network needs does not matter: who is on top is somebody else then.
    #[must_use]
    pub fn is_of(&self, grain: Grain) -> bool {
        (self.grain.v4, self.grain.v6) == (grain.v4, grain.v6)
    }
}

/// Who has been on top, with this sample.
fn tops(sample: &Sample, history: &History) -> Vec<OnTop> {
    let mut tops = history.tops().to_vec();
    let Some(network) = sample.on_top() else {
        return tops;
    };
    let first = history.first_on_top(network, sample.when).unwrap_or(sample.when);
    tops.retain(|top| top.network != network);
    tops.insert(0, OnTop { network, first, last: sample.when });
    tops.truncate(REMEMBERED);
    tops
}

impl History {
    /// When `network` was first seen on top, where that is remembered at `now`. A
    /// time that has not come yet is that of a clock that was wrong, and 0 that
    /// of a file somebody has edited.
    #[must_use]
    pub fn first_on_top(&self, network: Network, now: u64) -> Option<u64> {
        let first = self.tops().iter().find(|top| top.network == network)?.first;
        (1..=now).contains(&first).then_some(first)
    }

    fn tops(&self) -> &[OnTop] {
        self.previous.as_ref().map_or(&[], |previous| &previous.tops)
    }
}
