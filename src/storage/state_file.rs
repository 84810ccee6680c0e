//! The state file: one file per check, which keeps values from one run to the
//! next run.
//!
//! The file is locked from before it is read until after it is written, so that
//! overlapping runs wait for each other. A new file is written, synced and renamed
//! over the old one, so that the file is always complete. Links are not followed.
//! The lock is a separate file, because the rename replaces the state file.
#![expect(clippy::disallowed_types, reason = "the locks of the state file are held here")]
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use ron::extensions::Extensions;
use rustix::fs::OFlags;
use serde::Deserialize;

use crate::{
    analysis::history::{MailHistory, PendingMail, PreviousSample},
    model::kernel_counters::KernelCounters,
    sys::trusted_file::{FilePolicy, TrustedPath},
};

mod state_file_error;
mod location;
mod format;

use format::StateContents;
pub use location::StateLocation;
pub use state_file_error::StateFileError;

/// The format version that this topip writes. Files with a newer version are
/// rejected; files with an older version are read.
const FORMAT_VERSION: u32 = 1;
/// Maximum size of a state file; usually it has a few thousand bytes. A test ensures that
/// no larger file is written.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// A state file that is locked by this run.
#[derive(Debug)]
pub struct StateFile {
    path: TrustedPath,
    servers: Vec<String>,
    _lock: File,
}

/// The lock for sending a mail; it is released when this value is dropped.
///
/// It is separate from the lock of the state file: a mail server may be slow, and
/// other runs have to save their samples meanwhile. The kernel releases the lock
/// of a killed run. If that run has not recorded its mail, the mail is still pending:
/// it may be sent twice, but it is not lost. A note in the state file that a mail
/// is being sent would need a timeout instead.
#[derive(Debug)]
pub struct MailLock {
    _lock: File,
}

impl MailLock {
    /// Waits for the lock until `deadline`.
    ///
    /// # Errors
    ///
    /// Returns an error if another run holds the lock until then, or if the lock
    /// cannot be opened.
    fn acquire(location: &StateLocation, deadline: Instant) -> Result<Self, StateFileError> {
        match acquire_lock(&location.open()?, "mail.lock", deadline) {
            Ok(lock) => Ok(Self { _lock: lock }),
            Err(StateFileError::Locked { path }) => Err(StateFileError::MailLocked { path }),
            Err(error) => Err(error),
        }
    }
}

/// Location of a state file, and the names of the targets to which it must belong.
#[derive(Clone, Copy, Debug)]
pub struct StateFileId<'a> {
    /// Location of the file.
    pub location: &'a StateLocation,
    /// Names of the targets, sorted.
    pub servers: &'a [String],
}

impl StateFileId<'_> {
    /// Waits until no other run is sending mail, then loads the mails that other runs
    /// have recorded.
    ///
    /// # Errors
    ///
    /// Returns an error if the lock or the state file is not available before the
    /// deadline.
    pub fn lock_mail(&self, deadline: Instant) -> Result<(MailLock, MailHistory), StateFileError> {
        let lock = MailLock::acquire(self.location, deadline)?;
        let file = StateFile::open(self.location, self.servers.to_vec(), deadline)?;
        Ok((lock, file.load()?.state.mail_history))
    }

    /// Saves that a mail was sent at `timestamp`. Keeps the samples that other runs have
    /// saved meanwhile; without any, saves `own_records`.
    ///
    /// # Errors
    ///
    /// Returns an error if the state file cannot be opened, read or written.
    pub fn record_mail(
        &self,
        (mail, timestamp): (&PendingMail, u64),
        own_records: &[PreviousSample],
        deadline: Instant,
    ) -> Result<(), StateFileError> {
        let file = StateFile::open(self.location, self.servers.to_vec(), deadline)?;
        let LoadedState { mut state, .. } = file.load()?;
        state.mail_history.record(mail, timestamp);
        if state.records.is_empty() {
            state.records = own_records.to_vec();
        }
        file.save(&state)
    }
}

/// Values that one run keeps for the next one.
#[derive(Debug, Default, PartialEq)]
pub struct State {
    /// The previous sample, one record per view; empty without a previous sample.
    pub records: Vec<PreviousSample>,
    /// The alerts that were sent by mail.
    pub mail_history: MailHistory,
    /// The kernel's counters at the previous sample, by the inode number of the network
    /// namespace.
    pub kernel_counters: BTreeMap<u64, KernelCounters>,
}

/// The content of a state file.
#[derive(Debug, Default)]
pub struct LoadedState {
    /// The values; the defaults if the file is missing or damaged.
    pub state: State,
    /// The damaged file, if the file could not be parsed.
    pub damaged_file: Option<DamagedFile>,
}

/// A state file that could not be parsed.
#[derive(Debug)]
pub struct DamagedFile {
    /// Path of the state file.
    pub path: PathBuf,
    /// The error in the file.
    pub problem: String,
    /// The new path of the file, or the error if it could not be renamed.
    pub renamed_to: Result<PathBuf, io::Error>,
}

impl StateFile {
    /// Locks the state file of a check of `servers`, and waits for the lock until
    /// `deadline`.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be locked; the check then continues
    /// without a state file.
    pub fn open(
        location: &StateLocation,
        servers: Vec<String>,
        deadline: Instant,
    ) -> Result<Self, StateFileError> {
        let path = location.open()?;
        let lock = acquire_lock(&path, "lock", deadline)?;
        Ok(Self { path, servers, _lock: lock })
    }

    /// Returns the path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path.path
    }

    /// Reads the file. A file that cannot be parsed is renamed, and no records are
    /// returned.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read, or must not be overwritten.
    pub fn load(&self) -> Result<LoadedState, StateFileError> {
        let file = match self.path.open(OFlags::RDONLY, FilePolicy::state()) {
            Err(error) if error.is_missing() => return Ok(LoadedState::default()),
            result => result.map_err(|error| {
                StateFileError::from_file("read", self.path(), self.path(), error)
            })?,
        };
        // Most state files fit.
        let mut bytes = Vec::with_capacity(4096);
        file.take(MAX_FILE_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(|source| self.file_error("read", source))?;
        let contents = match self.parse(&bytes)? {
            Ok(contents) => contents,
            Err(problem) => {
                let damaged_file = DamagedFile {
                    path: self.path().to_owned(),
                    problem,
                    renamed_to: self.quarantine(),
                };
                return Ok(LoadedState {
                    damaged_file: Some(damaged_file),
                    ..LoadedState::default()
                });
            }
        };
        if contents.servers != self.servers {
            let servers = match contents.servers[..] {
                [] => "unknown servers".to_owned(),
                _ => contents.servers.join(","),
            };
            return Err(StateFileError::OtherCheck { path: self.path().to_owned(), servers });
        }
        Ok(LoadedState { state: contents.into_state(), damaged_file: None })
    }

    /// Parses the content of the file. The inner error describes the damage of a damaged
    /// file.
    fn parse(&self, bytes: &[u8]) -> Result<Result<StateContents, String>, StateFileError> {
        // The RON library uses this name in its messages.
        #[derive(Deserialize)]
        #[serde(rename = "State")]
        struct VersionHeader {
            version: u32,
        }
        if bytes.is_empty() {
            return Ok(Err("it is empty".to_owned()));
        }
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Ok(Err("it is longer than 4 MiB".to_owned()));
        }
        // Administrators may edit the file, and write 2 instead of the Some(2) of RON.
        let options = ron::Options::default().with_default_extension(Extensions::IMPLICIT_SOME);
        // Check the version first: a newer one may have fields of other types.
        match options.from_bytes::<VersionHeader>(bytes) {
            Ok(VersionHeader { version }) if version > FORMAT_VERSION => {
                Err(StateFileError::NewerVersion { path: self.path().to_owned(), version })
            }
            Ok(_) => Ok(options.from_bytes(bytes).map_err(|error| error.to_string())),
            Err(error) => Ok(Err(error.to_string())),
        }
    }

    fn quarantine(&self) -> Result<PathBuf, io::Error> {
        let bad = self.path.with_added_extension("bad");
        self.path.rename_to(&bad)?;
        Ok(bad.path)
    }

    /// Replaces the content.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be written; the old file then remains.
    pub fn save(&self, state: &State) -> Result<(), StateFileError> {
        let contents = StateContents::new(state, self.servers.clone());
        self.replace(&contents.to_ron()).map_err(|source| self.file_error("write", source))
    }

    fn file_error(&self, action: &'static str, source: io::Error) -> StateFileError {
        StateFileError::File { action, path: self.path().to_owned(), source }
    }

    /// Writes `text` to a new file, and renames it over the old one.
    fn replace(&self, text: &str) -> io::Result<()> {
        // The name is fixed, not random, so that the next run removes a file left
        // behind by a killed run. The lock ensures that no other run uses it.
        let new_path = self.path.with_added_extension("new");
        match new_path.remove() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let result = write_new_file(&new_path, text).and_then(|()| new_path.rename_to(&self.path));
        if result.is_err() {
            // The error of the write is returned; an error here adds nothing.
            let _ = new_path.remove();
        }
        // The directory is not synced: after a power failure the old file may be
        // back, which is complete as well. A second sync would take longer than the
        // rest of a run on a host with few connections.
        result
    }
}

/// Locks the file with this extension in addition to the state file's name.
fn acquire_lock(
    path: &TrustedPath,
    extension: &str,
    deadline: Instant,
) -> Result<File, StateFileError> {
    let lock_path = path.with_added_extension(extension);
    lock_path
        .lock(deadline, || lock_path.open_lock())
        .map_err(|error| StateFileError::from_file("lock", &path.path, &lock_path.path, error))
}

/// Creates and syncs a file.
fn write_new_file(path: &TrustedPath, text: &str) -> io::Result<()> {
    let mut file = path.create_new(OFlags::WRONLY, FilePolicy::state())?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
