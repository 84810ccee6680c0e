//! The saved state of earlier runs, as far as the state file is usable.
use std::{path::PathBuf, time::Instant};

use crate::{
    analysis::history::{MailHistory, PreviousSample},
    output::Trouble,
    storage::state_file::{DamagedFile, LoadedState, StateFile, StateFileError, StateLocation},
};

use super::error::problem_with_hint;

/// Content of the state file, and problems with it. Without a state file the check
/// goes on.
#[derive(Debug)]
pub(super) struct SavedState {
    /// Configured location of the state file.
    pub(super) location: StateLocation,
    /// Names of the targets.
    pub(super) servers: Vec<String>,
    file: Option<StateFile>,
    /// Path of the state file; `None` until it has been loaded.
    pub(super) path: Option<PathBuf>,
    /// Records of the previous sample, one for each aggregation.
    pub(super) records: Vec<PreviousSample>,
    /// Alerts that were mailed.
    pub(super) mail_history: MailHistory,
    /// The state can be saved; `false` after a failure.
    pub(super) is_writable: bool,
    pub(super) problems: Vec<Trouble>,
    pub(super) notes: Vec<String>,
}

impl SavedState {
    /// Opens and locks the state file.
    pub(super) fn open(location: StateLocation, servers: Vec<String>, deadline: Instant) -> Self {
        let mut saved_state = Self {
            location,
            servers,
            file: None,
            path: None,
            records: Vec::new(),
            mail_history: MailHistory::default(),
            is_writable: true,
            problems: Vec::new(),
            notes: Vec::new(),
        };
        match StateFile::open(&saved_state.location, saved_state.servers.clone(), deadline) {
            Ok(file) => saved_state.file = Some(file),
            Err(error) => saved_state.add_failure(&error),
        }
        saved_state
    }

    /// Loads the records and the mail history.
    pub(super) fn load(&mut self) {
        let Some(file) = self.file.take() else {
            return;
        };
        match file.load() {
            Ok(LoadedState { records, mail_history, damaged_file }) => {
                (self.records, self.mail_history) = (records, mail_history);
                self.path = Some(file.path().to_owned());
                match damaged_file.as_ref().map(damage_note) {
                    // A damaged file that cannot be renamed is not overwritten.
                    Some(Err(problem)) => {
                        self.is_writable = false;
                        self.problems.push(problem);
                    }
                    note => {
                        self.notes.extend(note.and_then(Result::ok));
                        self.file = Some(file);
                    }
                }
            }
            Err(error) => self.add_failure(&error),
        }
    }

    /// Replaces the saved records by `records`.
    pub(super) fn save(&mut self, records: Vec<PreviousSample>) {
        self.records = records;
        let saved = self.file.as_ref().map(|file| file.save(&self.records, &self.mail_history));
        if let Some(Err(error)) = saved {
            self.add_failure(&error);
        }
    }

    /// Releases the lock of the state file.
    pub(super) fn unlock(&mut self) {
        self.file = None;
    }

    fn add_failure(&mut self, error: &StateFileError) {
        self.is_writable = false;
        self.problems.push(problem_with_hint(error, error.hint()));
    }
}

/// Returns a note on a damaged state file that was quarantined.
///
/// # Errors
///
/// Returns a problem if the damaged file could not be renamed; the problem persists
/// until the file is removed.
fn damage_note(DamagedFile { path, problem, renamed_to }: &DamagedFile) -> Result<String, Trouble> {
    match renamed_to {
        Ok(quarantined) => Ok(format!(
            "The state file was damaged ({problem}) and is kept as {}; this is a first sample.",
            quarantined.display()
        )),
        Err(error) => Err(Trouble {
            message: format!(
                "the state file {} is damaged ({problem}) and cannot be put aside: {error}",
                path.display()
            ),
            hint: Some(format!("Remove {}.bad", path.display())),
        }),
    }
}
