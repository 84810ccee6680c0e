//! Progress of a mail, shared by the thread that sends it and the one that waits.
//!
//! On a busy machine, the sending thread may report its result too late. What it has
//! done by then decides whether the mail is sent again.
use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::Delivery;

/// Progress of one mail.
#[derive(Clone, Debug)]
pub(super) struct MailProgress(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    step: String,
    stage: MailStage,
}

/// How much of a mail the server has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MailStage {
    /// Not all of it, so the server cannot have taken it.
    Incomplete,
    /// All of it, and the server has not answered yet.
    Complete,
    /// The server has taken it.
    Accepted(Delivery),
    /// Not all of it, and the rest must not be sent any more.
    Canceled,
}

impl MailProgress {
    /// Creates the progress of a mail that is in this step.
    pub(super) fn new(step: &str) -> Self {
        Self(Arc::new(Mutex::new(State { step: step.to_owned(), stage: MailStage::Incomplete })))
    }

    /// Sets the current step, for messages.
    pub(super) fn set_step(&self, step: &str) {
        step.clone_into(&mut self.state().step);
    }

    /// Returns true if the end of the mail may be sent. The mail then counts as complete.
    pub(super) fn complete(&self) -> bool {
        let mut state = self.state();
        if state.stage == MailStage::Canceled {
            return false;
        }
        state.stage = MailStage::Complete;
        true
    }

    pub(super) fn accept(&self, delivery: Delivery) {
        self.state().stage = MailStage::Accepted(delivery);
    }

    /// Forbids to send the end of a mail that is not complete. Returns the step, and how
    /// much the server has got.
    pub(super) fn cancel(&self) -> (String, MailStage) {
        let mut state = self.state();
        let stage = match state.stage {
            MailStage::Incomplete => mem::replace(&mut state.stage, MailStage::Canceled),
            _ => state.stage.clone(),
        };
        (state.step.clone(), stage)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incomplete_mail_is_canceled_and_complete_one_is_not() {
        let progress = MailProgress::new("on being connected");
        progress.set_step("told DATA");
        assert_eq!(progress.cancel(), ("told DATA".to_owned(), MailStage::Incomplete));
        assert!(!progress.complete());

        let progress = MailProgress::new("told DATA");
        assert!(progress.complete());
        assert_eq!(progress.cancel().1, MailStage::Complete);
        progress.accept(Delivery::default());
        assert_eq!(progress.cancel().1, MailStage::Accepted(Delivery::default()));
    }
}
