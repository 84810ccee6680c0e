//! The current step of a source, for messages about a timeout.
use std::sync::{Arc, Mutex, PoisonError};

/// Description of the current step of a source, shared with the thread that waits
/// for the source.
#[derive(Clone, Debug, Default)]
pub struct Activity(Arc<Mutex<String>>);

impl Activity {
    pub(super) fn set(&self, current: impl Into<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = current.into();
    }

    /// Returns the current step, such as `logging in` or `running ss`; empty before
    /// the first step.
    #[must_use]
    pub fn current(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
