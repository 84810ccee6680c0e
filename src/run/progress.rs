//! How far a run has come.
use std::sync::atomic::{AtomicU8, Ordering};

/// How far a run has come, for whoever waits for it.
#[derive(Debug, Default)]
pub struct Progress(AtomicU8);

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Reading lists of networks.
    Excludes,
    /// Finding the addresses of hosts in them.
    Resolving,
    /// Reading a socket table.
    Sampling,
    /// Waiting for a state file that another run has.
    Locking,
    /// Reading or writing the state file.
    Remembering,
    /// Telling of an alert those who asked for it.
    Alerting,
    /// All is done but the telling.
    Reporting,
}

impl Progress {
    pub(super) fn enter(&self, stage: Stage) {
        self.0.store(stage as u8, Ordering::Relaxed);
    }

    /// What the run is doing now.
    #[must_use]
    pub fn stage(&self) -> Stage {
        const STAGES: [Stage; 7] = [
            Stage::Excludes,
            Stage::Resolving,
            Stage::Sampling,
            Stage::Locking,
            Stage::Remembering,
            Stage::Alerting,
            Stage::Reporting,
        ];
        STAGES[usize::from(self.0.load(Ordering::Relaxed))]
    }
}

impl Stage {
    /// `while …`
    #[must_use]
    pub fn doing(self) -> &'static str {
        match self {
            Self::Excludes => "reading the list of networks",
            Self::Resolving => "finding the addresses of the hosts to exclude",
            Self::Sampling => "reading the socket table",
            Self::Locking => "waiting for the state file",
            Self::Remembering => "using the state file",
            Self::Alerting => "telling of an alert",
            Self::Reporting => "writing the answer",
        }
    }
}
