//! Looks again and again, and remembers in memory alone.
use std::time::{Duration, Instant};

use crate::{
    analysis::{
        history::Previous,
        tally::{Counted, Peer},
    },
    output::Report,
};

use super::{
    check::{Check, judged},
    error::Error,
    observation::see,
    progress::Progress,
};

/// One who looks again and again.
#[derive(Debug)]
pub struct Watcher {
    check: Check,
    patience: Duration,
    records: Vec<Previous>,
    before: Option<Counted>,
}

/// What one look gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Glance {
    /// What was seen.
    pub report: Report,
    /// How many connections each peer that is named in the worst view has more
    /// than at the look before; `None` at the first.
    pub changes: Option<Vec<i64>>,
}

impl Watcher {
    /// Will look as `check` says, and take no longer than `patience` each time.
    #[must_use]
    pub fn new(check: Check, patience: Duration) -> Self {
        Self { check, patience, records: Vec::new(), before: None }
    }

    /// Looks; it is `now`, in seconds since 1970-01-01 UTC.
    ///
    /// # Errors
    ///
    /// Where there is nothing to judge. The next look may give more.
    pub fn look(&mut self, now: u64) -> Result<Glance, Error> {
        self.check.deadline = Instant::now() + self.patience;
        let mut seen = see(&self.check, &Progress::default())?;
        let samples = seen.samples(&self.check);
        let (views, records) = judged(samples, now, &self.records, &seen, &self.check.rule);
        if !seen.is_blind && !seen.is_doubtful {
            self.records = records;
        }
        let counted = std::mem::take(&mut seen.counted);
        let report = seen.report(views, &self.check);
        let peers = &report.worst().sample.top;
        let changes = self.before.as_ref().map(|before| changes(peers, before));
        self.before = Some(counted);
        Ok(Glance { report, changes })
    }
}

fn changes(peers: &[Peer], before: &Counted) -> Vec<i64> {
    let change = |peer: &Peer| {
        peer.connections.cast_signed() - before.connections_of(peer.network).cast_signed()
    };
    peers.iter().map(change).collect()
}
