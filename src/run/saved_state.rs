//! What is remembered from run to run, as far as it can be.
use std::{path::PathBuf, time::Instant};

use crate::{
    analysis::history::{Mails, Previous},
    output::Trouble,
    storage::state_file::{Damage, Loaded, Place, StateFile, StateFileError},
};

use super::error::trouble;

/// What is on record, and what went wrong with it: without a state file the
/// check goes on.
#[derive(Debug)]
pub(super) struct Memory {
    /// Where the state file is to be.
    pub(super) place: Place,
    /// What is looked at.
    pub(super) servers: Vec<String>,
    file: Option<StateFile>,
    /// Where it is.
    pub(super) path: Option<PathBuf>,
    /// The sample that is on record: one for each way to tell peers apart.
    pub(super) records: Vec<Previous>,
    /// The alerts that were mailed.
    pub(super) mails: Mails,
    /// Whether what is to be kept can be.
    pub(super) is_kept: bool,
    pub(super) troubles: Vec<Trouble>,
    pub(super) notes: Vec<String>,
}

impl Memory {
    /// Locks the state file.
    pub(super) fn open(place: Place, servers: Vec<String>, deadline: Instant) -> Self {
        let mut memory = Self {
            place,
            servers,
            file: None,
            path: None,
            records: Vec::new(),
            mails: Mails::default(),
            is_kept: true,
            troubles: Vec::new(),
            notes: Vec::new(),
        };
        match StateFile::open(&memory.place, memory.servers.clone(), deadline) {
            Ok(file) => memory.file = Some(file),
            Err(error) => memory.fail(&error),
        }
        memory
    }

    /// Reads what is on record.
    pub(super) fn recall(&mut self) {
        let Some(file) = self.file.take() else {
            return;
        };
        match file.load() {
            Ok(Loaded { records, mails, damage }) => {
                (self.records, self.mails) = (records, mails);
                self.path = Some(file.path().to_owned());
                match damage.as_ref().map(damaged) {
                    // What cannot be put aside is not written over.
                    Some(Err(trouble)) => {
                        self.is_kept = false;
                        self.troubles.push(trouble);
                    }
                    note => {
                        self.notes.extend(note.and_then(Result::ok));
                        self.file = Some(file);
                    }
                }
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Puts `records` in place of what was there.
    pub(super) fn keep(&mut self, records: Vec<Previous>) {
        self.records = records;
        let saved = self.file.as_ref().map(|file| file.save(&self.records, &self.mails));
        if let Some(Err(error)) = saved {
            self.fail(&error);
        }
    }

    /// Lets the next run have the state file.
    pub(super) fn unlock(&mut self) {
        self.file = None;
    }

    fn fail(&mut self, error: &StateFileError) {
        self.is_kept = false;
        self.troubles.push(trouble(error, error.advice()));
    }
}

/// A state file that was put aside is over and done with. One that is still
/// there is a trouble, as long as it is.
fn damaged(Damage { path, problem, kept_as }: &Damage) -> Result<String, Trouble> {
    match kept_as {
        Ok(aside) => Ok(format!(
            "The state file was damaged ({problem}) and is kept as {}; this is a first sample.",
            aside.display()
        )),
        Err(error) => Err(Trouble {
            problem: format!(
                "the state file {} is damaged ({problem}) and cannot be put aside: {error}",
                path.display()
            ),
            advice: Some(format!("Remove {}.bad", path.display())),
        }),
    }
}
