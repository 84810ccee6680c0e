//! Time limit of one SSH server.
use std::time::{Duration, Instant};

/// Remaining time for one server, and the time that each stage took.
pub(super) struct Stopwatch {
    started: Instant,
    timeout: Duration,
    lap_started: Instant,
    /// Stage and duration of each lap: `connect 3 ms`.
    laps: Vec<String>,
}

impl Stopwatch {
    /// Starts the time limit and the first lap.
    pub(super) fn new(timeout: Duration) -> Self {
        let now = Instant::now();
        Self { started: now, timeout, lap_started: now, laps: Vec::new() }
    }

    /// Ends the current lap under the name of its stage and starts the next one.
    pub(super) fn record_lap(&mut self, stage: &str) {
        self.laps.push(format!("{stage} {} ms", self.lap_started.elapsed().as_millis()));
        self.lap_started = Instant::now();
    }

    /// Returns the stages and their durations, separated by commas.
    pub(super) fn lap_summary(&self) -> String {
        self.laps.join(", ")
    }

    /// Returns the end of the time limit.
    pub(super) fn deadline(&self) -> Instant {
        self.started + self.timeout
    }

    /// Returns the remaining time, at least 1 ms: [`TcpStream::connect_timeout`]
    /// rejects 0.
    ///
    /// [`TcpStream::connect_timeout`]: std::net::TcpStream::connect_timeout
    pub(super) fn remaining(&self) -> Duration {
        self.timeout.saturating_sub(self.started.elapsed()).max(Duration::from_millis(1))
    }
}
