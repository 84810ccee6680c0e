//! The time that one server may take.
use std::time::{Duration, Instant};

use ssh2::Session;

/// How much of the time is left, and what the rest went into.
pub(super) struct Clock {
    started: Instant,
    patience: Duration,
    lap: Instant,
    notes: Vec<String>,
}

impl Clock {
    pub(super) fn start(patience: Duration) -> Self {
        let now = Instant::now();
        Self { started: now, patience, lap: now, notes: Vec::new() }
    }

    pub(super) fn note(&mut self, stage: &str) {
        self.notes.push(format!("{stage} {} ms", self.lap.elapsed().as_millis()));
        self.lap = Instant::now();
    }

    /// What each stage took.
    pub(super) fn notes(&self) -> String {
        self.notes.join(", ")
    }

    /// What is left, at least a moment: 0 would mean for ever to libssh2.
    pub(super) fn left(&self) -> Duration {
        self.patience.saturating_sub(self.started.elapsed()).max(Duration::from_millis(1))
    }

    /// Tells libssh2 how long its next call may take.
    pub(super) fn bound(&self, session: &Session) {
        session.set_timeout(u32::try_from(self.left().as_millis()).unwrap_or(u32::MAX));
    }
}
