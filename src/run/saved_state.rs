//! The saved state of earlier runs, if the state file is usable.
use std::{path::PathBuf, time::Instant};

use crate::{
    analysis::{history::PreviousSample, note::Note},
    model::{
        kernel_counters::NamespaceCounters,
        problem::{Hints, Problem},
    },
    storage::state_file::{
        DamagedFile, LoadedState, State, StateFile, StateFileError, StateLocation,
    },
};

/// Content of the state file, and problems with the file. The check continues without a
/// state file.
#[derive(Debug, Default)]
pub(super) struct SavedState {
    file: Option<StateFile>,
    /// Path of the state file; `None` unless it has been loaded.
    pub(super) path: Option<PathBuf>,
    /// Values of the previous sample; after saving, those of this sample.
    pub(super) state: State,
    pub(super) problems: Vec<Problem>,
    pub(super) notes: Vec<Note>,
}

impl SavedState {
    /// Locks the state file and loads its records.
    pub(super) fn load(location: &StateLocation, servers: &[String], deadline: Instant) -> Self {
        let mut saved_state = Self::default();
        let loaded = StateFile::open(location, servers.to_vec(), deadline)
            .and_then(|file| Ok((file.load()?, file)));
        match loaded {
            Ok((loaded, file)) => saved_state.set_loaded(loaded, file),
            Err(error) => saved_state.add_failure(&error),
        }
        saved_state
    }

    fn set_loaded(&mut self, loaded: LoadedState, file: StateFile) {
        let LoadedState { state, damaged_file } = loaded;
        self.state = state;
        self.path = Some(file.path().to_owned());
        match damaged_file.map(quarantine_note).transpose() {
            Ok(note) => {
                self.notes.extend(note);
                self.file = Some(file);
            }
            // A damaged file that cannot be renamed is not overwritten.
            Err(problem) => self.problems.push(problem),
        }
    }

    /// Returns `true` if the state was loaded and, if requested, saved.
    pub(super) fn is_writable(&self) -> bool {
        self.problems.is_empty()
    }

    /// Replaces the saved records and counters with those of this sample.
    pub(super) fn save(&mut self, records: Vec<PreviousSample>, counters: &[NamespaceCounters]) {
        self.state.records = records;
        self.state.kernel_counters = counters.iter().map(|it| (it.inode, it.counters)).collect();
        let saved = self.file.as_ref().map(|file| file.save(&self.state));
        if let Some(Err(error)) = saved {
            self.add_failure(&error);
        }
    }

    /// Releases the lock of the state file.
    pub(super) fn unlock(&mut self) {
        self.file = None;
    }

    fn add_failure(&mut self, error: &StateFileError) {
        self.problems.push(error.to_problem());
    }
}

/// Returns a note on a damaged state file that was quarantined.
///
/// # Errors
///
/// Returns a problem if the damaged file could not be renamed; the problem persists
/// until the file is removed.
fn quarantine_note(
    DamagedFile { path, problem, renamed_to }: DamagedFile,
) -> Result<Note, Problem> {
    match renamed_to {
        Ok(renamed_to) => Ok(Note::StateFileQuarantined { defect: problem, renamed_to }),
        Err(error) => Err(Problem::new(
            format!("cannot rename the damaged state file {} ({problem}): {error}", path.display()),
            format!("Remove {}.bad", path.display()),
        )),
    }
}
