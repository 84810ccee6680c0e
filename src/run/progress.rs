//! How far a run has come.
use std::{
    sync::atomic::{AtomicU8, Ordering},
    thread,
};

/// How far a run has come, for whoever waits for it, and whether he still does.
#[derive(Debug, Default)]
pub struct Progress(AtomicU8);

/// Set where nobody waits any more.
const LEFT: u8 = 0x80;

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
    /// Goes on to `stage`; or no further, where the run was given up: who has
    /// been told that there is no answer must not find a sample of it, or a mail.
    pub(super) fn enter(&self, stage: Stage) {
        let next = |now| (now & LEFT == 0).then_some(stage as u8);
        let entered = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        while entered.is_err() {
            // It ends with the process.
            thread::park();
        }
    }

    /// Gives the run up, unless it is about to leave something behind, or has;
    /// gives whether it did.
    #[must_use]
    pub fn leave(&self) -> bool {
        let next = |now| (now < Stage::Remembering as u8).then_some(now | LEFT);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }

    /// Gives the run up, whatever it is about to do.
    pub fn stop(&self) {
        self.0.fetch_or(LEFT, Ordering::Relaxed);
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
        STAGES[usize::from(self.0.load(Ordering::Relaxed) & !LEFT)]
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
