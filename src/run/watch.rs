//! Samples repeatedly and keeps the history in memory only.
use std::time::{Duration, Instant};

use crate::{
    analysis::view::judge_samples,
    analysis::{
        history::PreviousSample,
        tally::{Counts, Peer},
    },
    output::Report,
};

use super::{
    check::CheckConfig,
    observation::{CountedObservation, observe},
    operators::Operators,
    progress::Progress,
    run_error::Error,
};

/// State of repeated sampling.
#[derive(Debug)]
pub struct WatchSession {
    config: CheckConfig,
    timeout: Duration,
    records: Vec<PreviousSample>,
    previous_counts: Option<Counts>,
    /// The network databases; `None` before the first sample.
    operators: Option<Operators>,
}

/// Result of one sample.
#[derive(Debug)]
pub struct WatchUpdate {
    /// Report on the sample.
    pub report: Report,
    /// Change of the number of connections of each peer that is listed in the worst
    /// view, compared with the previous sample; `None` for the first sample.
    pub changes: Option<Vec<i64>>,
}

impl WatchSession {
    /// Creates a session that samples by `config` and takes at most `timeout` per sample.
    #[must_use]
    pub fn new(config: CheckConfig, timeout: Duration) -> Self {
        Self { config, timeout, records: Vec::new(), previous_counts: None, operators: None }
    }

    /// Takes a sample; `now` is in seconds since 1970-01-01 UTC.
    ///
    /// # Errors
    ///
    /// Returns an error if no sample could be taken. The next call may succeed.
    pub fn sample(&mut self, now: u64) -> Result<WatchUpdate, Error> {
        let deadline = Instant::now() + self.timeout;
        let network_dbs = &self.config.network_dbs;
        let operators = self.operators.get_or_insert_with(|| Operators::open(network_dbs));
        let mut observed = observe(&self.config, operators, deadline, &Progress::default())?;
        operators.set_groups(&mut observed.counts, &self.config.aggregations, &observed.labels);
        let mut samples = observed.samples(&self.config);
        for sample in &mut samples {
            sample.timestamp = now;
        }
        let is_comparable = observed.is_comparable();
        let CountedObservation { observation, counts, labels, .. } = observed;
        let (mut views, records) =
            judge_samples(samples, &counts, &self.records, &labels, &self.config.judge_config);
        if is_comparable {
            self.records = records;
        }
        operators.set_operators(&mut views);
        let mut report = self.config.report(views, observation);
        report.problems.extend(operators.problems.iter().cloned());
        let peers = &report.worst_view().sample.top;
        let previous_counts = self.previous_counts.as_ref();
        let changes = previous_counts.map(|previous_counts| changes(peers, previous_counts));
        self.previous_counts = Some(counts);
        Ok(WatchUpdate { report, changes })
    }
}

fn changes(peers: &[Peer], previous_counts: &Counts) -> Vec<i64> {
    peers
        .iter()
        .map(|peer| {
            let previous = previous_counts.connections_of(peer);
            let change = i128::from(peer.connections) - i128::from(previous);
            i64::try_from(change).expect("a host has fewer than 2^63 connections")
        })
        .collect()
}
