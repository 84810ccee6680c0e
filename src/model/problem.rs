//! Failures that are shown to users: a message, and hints on what to do.
use std::{error::Error, io};

use rustix::io::Errno;

/// A failure, for every output format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The failed action, its object and the cause, on one line. Options are marked
    /// (`` `--timeout` ``), so that each output can name them in its own way.
    pub message: String,
    /// Sentences on what to do, and further facts about the failure.
    pub hints: Vec<String>,
}

/// An error that has hints on what to do about it.
pub trait Hints: Error + Sized + 'static {
    /// Returns sentences on what to do; an empty list without hints.
    fn hints(&self) -> Vec<String>;

    /// Returns the error, its causes and its hints as a problem.
    ///
    /// Any stage can fail because of the limit on open files. The hint about this limit
    /// replaces the others.
    fn to_problem(&self) -> Problem {
        let hints = open_files_hint(self).map_or_else(|| self.hints(), |hint| vec![hint]);
        Problem { message: error_chain(self), hints }
    }
}

impl Problem {
    /// Creates a problem with one hint.
    #[must_use]
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hints: vec![hint.into()] }
    }

    /// Creates a problem with any number of hints.
    #[must_use]
    pub fn with_hints(message: impl Into<String>, hints: Vec<String>) -> Self {
        Self { message: message.into(), hints }
    }

    /// Creates a problem without hints.
    #[must_use]
    pub fn without_hints(message: impl Into<String>) -> Self {
        Self { message: message.into(), hints: Vec::new() }
    }

    /// Returns the message and the hints, one line each.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        [vec![self.message.clone()], self.hints.clone()].concat()
    }
}

/// Joins the messages of an error and its causes to one line.
#[must_use]
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Returns a hint if the limit on open files of this process (`EMFILE`) or of the
/// system (`ENFILE`) is the cause (errno(3)).
fn open_files_hint(error: &(dyn Error + 'static)) -> Option<String> {
    let mut cause = error;
    while !cause.is::<io::Error>() {
        cause = cause.source()?;
    }
    let number = cause.downcast_ref::<io::Error>()?.raw_os_error()?;
    let hint = match Errno::from_raw_os_error(number) {
        Errno::MFILE => {
            "Raise the limit on open files (ulimit -n, or LimitNOFILE= of the unit), or check \
             fewer servers at once."
        }
        Errno::NFILE => {
            "The limit on open files of this host is reached: see sysctl fs.file-nr and \
             fs.file-max."
        }
        _ => return None,
    };
    Some(hint.to_owned())
}
