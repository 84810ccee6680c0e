//! Progress of a mail, shared by the thread that sends the mail and the thread that waits
//! for the result.
//!
//! On a busy machine, the sending thread may report its result too late. The stage that
//! it has reached by then decides whether the mail is sent again.
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

/// Stage of a mail, by the part of it that the server has received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MailStage {
    /// The server has not received the whole mail, so it cannot have accepted the mail.
    Incomplete,
    /// The server may have received the whole mail, and has not replied yet.
    Complete,
    /// The server has accepted the mail.
    Accepted(Delivery),
    /// The server has not received the whole mail, and the rest must not be sent.
    Canceled,
}

impl MailProgress {
    /// Creates the progress of a mail at this step.
    pub(super) fn new(step: &str) -> Self {
        Self(Arc::new(Mutex::new(State { step: step.to_owned(), stage: MailStage::Incomplete })))
    }

    /// Sets the current step, for messages.
    pub(super) fn set_step(&self, step: &str) {
        step.clone_into(&mut self.state().step);
    }

    /// Marks the mail as complete, before its end is sent. Returns false if the mail was
    /// canceled: then its end must not be sent.
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

    /// Cancels the mail unless it is complete, so that its end is not sent. Returns the
    /// step, and the stage before the call.
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
        let progress = MailProgress::new("after connecting");
        progress.set_step("after DATA");
        assert_eq!(progress.cancel(), ("after DATA".to_owned(), MailStage::Incomplete));
        assert!(!progress.complete());

        let progress = MailProgress::new("after DATA");
        assert!(progress.complete());
        assert_eq!(progress.cancel().1, MailStage::Complete);
        progress.accept(Delivery::default());
        assert_eq!(progress.cancel().1, MailStage::Accepted(Delivery::default()));
    }
}
