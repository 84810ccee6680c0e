//! Progress of a run, shared with the watchdog.
use std::{
    sync::atomic::{AtomicU8, Ordering},
    thread,
};

/// Current stage of a run, and whether the watchdog has abandoned the run.
#[derive(Debug, Default)]
pub struct Progress(AtomicU8);

/// Bit that is set once the run is abandoned.
const ABANDONED: u8 = 0x80;

/// Stage of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Reading passwords and passphrases.
    Secrets,
    /// Reading network databases.
    NetworkDbs,
    /// Reading lists of networks.
    NetworkLists,
    /// Resolving the host names in these lists.
    Resolving,
    /// Reading socket tables.
    Sampling,
    /// Waiting for the lock of the state file.
    Locking,
    /// Reading or writing the state file.
    State,
    /// Sending notifications about an alert.
    Notifying,
    /// Writing the output.
    Reporting,
}

impl Progress {
    /// Enters `stage`. If the run is abandoned, blocks until the process exits: after
    /// a timeout has been reported, the run must neither save a sample nor send a
    /// mail.
    pub(super) fn enter(&self, stage: Stage) {
        let entered = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
            if now & ABANDONED == 0 { Some(stage as u8) } else { None }
        });
        while entered.is_err() {
            // The thread ends with the process.
            thread::park();
        }
    }

    /// Abandons the run unless it has reached [`Stage::State`]: from this stage on, the run
    /// has side effects. Returns whether the run was abandoned.
    #[must_use]
    pub fn try_abandon(&self) -> bool {
        let abandoned = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
            if now < Stage::State as u8 { Some(now | ABANDONED) } else { None }
        });
        abandoned.is_ok()
    }

    /// Abandons the run in any stage.
    pub fn abandon(&self) {
        self.0.fetch_or(ABANDONED, Ordering::Relaxed);
    }

    /// Returns the current stage.
    #[must_use]
    pub fn stage(&self) -> Stage {
        const STAGES: [Stage; 9] = [
            Stage::Secrets,
            Stage::NetworkDbs,
            Stage::NetworkLists,
            Stage::Resolving,
            Stage::Sampling,
            Stage::Locking,
            Stage::State,
            Stage::Notifying,
            Stage::Reporting,
        ];
        STAGES[usize::from(self.0.load(Ordering::Relaxed) & !ABANDONED)]
    }
}

impl Stage {
    /// Returns the activity of the stage, to follow "while" in a message.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::Secrets => "reading a password",
            Self::NetworkDbs => "reading the network database",
            Self::NetworkLists => "reading the list of networks",
            Self::Resolving => "resolving the names of excluded hosts",
            Self::Sampling => "reading the socket table",
            Self::Locking => "waiting for the state file",
            Self::State => "reading or writing the state file",
            Self::Notifying => "sending notifications",
            Self::Reporting => "writing the output",
        }
    }
}
