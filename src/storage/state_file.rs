//! The state file: one file per check, which keeps values from one run to the
//! next.
//!
//! The file is locked from before it is read until after it is written, so that
//! overlapping runs wait for each other. A new file is written, synced and renamed
//! over the old one, so that the file is always complete. Links are not followed.
//! The lock is a separate file, because the rename replaces the state file.
#![expect(clippy::disallowed_types, reason = "the state file is opened here")]
use std::{
    fs::{self, File, Metadata, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use ron::extensions::Extensions;
use rustix::{
    fs::{Mode, OFlags},
    process::geteuid,
};
use serde::Deserialize;

use crate::analysis::history::{MailHistory, PreviousSample};

mod state_file_error;
mod location;
mod format;

use format::StateContents;
pub use location::StateLocation;
use location::StatePaths;
pub use state_file_error::StateFileError;
use state_file_error::{FOREIGN_OWNER, HARD_LINKED, NOT_REGULAR_FILE, WRITABLE_BY_OTHERS};

/// The format version that this topip writes. Files with a newer version are
/// rejected; files with an older version are read.
const FORMAT_VERSION: u32 = 1;
/// Maximum size of a state file; usually it has a few thousand bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Interval between attempts to take a lock that another run holds.
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// A state file that is locked by this run.
#[derive(Debug)]
pub struct StateFile {
    paths: StatePaths,
    servers: Vec<String>,
    _lock: File,
}

/// The lock for sending a mail; it is released when this value is dropped.
///
/// It is separate from the lock of the state file: a mail server may be slow, and
/// other runs have to save their samples meanwhile. The kernel releases the lock
/// of a killed run. If that run has not recorded its mail, the mail is still due:
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
    pub fn acquire(location: &StateLocation, deadline: Instant) -> Result<Self, StateFileError> {
        let paths = location.open()?;
        let lock = acquire_lock(&paths, "mail.lock", deadline)?;
        let lock = lock.ok_or(StateFileError::MailLocked { path: paths.path })?;
        Ok(Self { _lock: lock })
    }
}

/// The content of a state file.
#[derive(Debug, Default)]
pub struct LoadedState {
    /// The previous sample, one record per view; empty if there is none.
    pub records: Vec<PreviousSample>,
    /// The alerts that were sent by mail.
    pub mail_history: MailHistory,
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
        let paths = location.open()?;
        let lock = acquire_lock(&paths, "lock", deadline)?;
        let lock = lock.ok_or_else(|| StateFileError::Locked { path: paths.path.clone() })?;
        Ok(Self { paths, servers, _lock: lock })
    }

    /// Returns the path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.paths.path
    }

    /// Reads the file. A file that cannot be parsed is renamed, and no records are
    /// returned.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read, or must not be overwritten.
    pub fn load(&self) -> Result<LoadedState, StateFileError> {
        let to_error =
            |source| StateFileError::File { action: "read", path: self.path().to_owned(), source };
        let file = match self.paths.open("", OFlags::RDONLY) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(LoadedState::default());
            }
            file => file.map_err(to_error)?,
        };
        check_trusted(&file, self.path())?;
        // Most state files are shorter.
        let mut bytes = Vec::with_capacity(4096);
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(to_error)?;
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
                [] => "nothing that it names".to_owned(),
                _ => contents.servers.join(","),
            };
            return Err(StateFileError::OtherCheck { path: self.path().to_owned(), servers });
        }
        let mail_history = contents.mail_history();
        Ok(LoadedState { records: contents.into_records(), mail_history, damaged_file: None })
    }

    /// Parses the content of the file. The inner error says what is wrong with a
    /// damaged file.
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
            return Ok(Err("it is longer than 1 MiB".to_owned()));
        }
        // Administrators may edit the file, and write 2 where RON requires Some(2).
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
        self.paths.rename("", "bad")?;
        Ok(self.path().with_added_extension("bad"))
    }

    /// Replaces the content with `records`, one per view, and the mail history.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be written; the old file then remains.
    pub fn save(
        &self,
        records: &[PreviousSample],
        mail_history: &MailHistory,
    ) -> Result<(), StateFileError> {
        let contents = StateContents::new(records, mail_history, self.servers.clone());
        let text = ron::ser::to_string_pretty(&contents, ron::ser::PrettyConfig::default())
            .expect("numbers, strings and addresses are serializable");
        self.replace(&format!("{text}\n")).map_err(|source| StateFileError::File {
            action: "write",
            path: self.path().to_owned(),
            source,
        })
    }

    /// Writes `text` to a new file, and renames it over the old one.
    fn replace(&self, text: &str) -> io::Result<()> {
        // The name is fixed, not random, so that the next run removes a file left
        // behind by a killed run. The lock ensures that no other run uses it.
        match self.paths.remove("new") {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let result = write_new_file(&self.paths, text).and_then(|()| self.paths.rename("new", ""));
        if result.is_err() {
            // The error of the write is returned; an error here adds nothing.
            let _ = self.paths.remove("new");
        }
        // The directory is not synced: after a power failure the old file may be
        // back, which is complete as well. A second sync would take longer than the
        // rest of a run on a host with few connections.
        result
    }
}

/// Locks the file with this extension in addition to the state file's name.
/// Returns `None` if another run holds the lock until `deadline`.
///
/// A lock file that was removed during the wait is not valid: the next run
/// creates another one.
fn acquire_lock(
    paths: &StatePaths,
    extension: &str,
    deadline: Instant,
) -> Result<Option<File>, StateFileError> {
    let to_error =
        |source| StateFileError::File { action: "lock", path: paths.path.clone(), source };
    let lock_path = paths.path.with_added_extension(extension);
    let create = || {
        let lock = paths.open(extension, OFlags::RDWR | OFlags::CREATE).map_err(to_error)?;
        // Check the owner before changing the mode: the file may be another user's.
        check_owner(&lock, &lock_path)?;
        set_lock_mode(&lock).map_err(to_error)?;
        check_mode(&lock, &lock_path)?;
        Ok(lock)
    };
    let mut lock = create()?;
    loop {
        match lock.try_lock() {
            Ok(()) if is_at_path(&lock, &lock_path) => return Ok(Some(lock)),
            Err(TryLockError::Error(source)) => return Err(to_error(source)),
            _ if Instant::now() >= deadline => return Ok(None),
            Ok(()) => lock = create()?,
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_RETRY_INTERVAL),
        }
    }
}

fn is_at_path(file: &File, path: &Path) -> bool {
    let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
    let (file, path) = (file.metadata().map(identity), fs::symlink_metadata(path).map(identity));
    matches!((file, path), (Ok(file), Ok(path)) if file == path)
}

/// Creates and syncs a file with mode 0640, independent of the umask.
fn write_new_file(paths: &StatePaths, text: &str) -> io::Result<()> {
    let mut file = paths.open("new", OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o640))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn parent_directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Sets the mode of a lock file of this user to 0640, independent of the umask, so
/// that the next run can open it.
fn set_lock_mode(lock: &File) -> io::Result<()> {
    let metadata = lock.metadata()?;
    if metadata.uid() == geteuid().as_raw() && metadata.mode() & 0o777 != 0o640 {
        rustix::fs::fchmod(lock, Mode::from_raw_mode(0o640))?;
    }
    Ok(())
}

/// Rejects special files, and files that another user could have written.
fn check_trusted(file: &File, path: &Path) -> Result<(), StateFileError> {
    check_owner(file, path)?;
    check_mode(file, path)
}

/// Rejects special files, files of other users, and files with hard links, which
/// may be files of another program.
fn check_owner(file: &File, path: &Path) -> Result<(), StateFileError> {
    let untrusted = |problem| StateFileError::Untrusted { path: path.to_owned(), problem };
    let metadata = read_metadata(file, path)?;
    if !metadata.is_file() {
        return Err(untrusted(NOT_REGULAR_FILE));
    }
    if metadata.uid() != geteuid().as_raw() && metadata.uid() != 0 {
        return Err(untrusted(FOREIGN_OWNER));
    }
    if metadata.nlink() > 1 {
        return Err(untrusted(HARD_LINKED));
    }
    Ok(())
}

fn check_mode(file: &File, path: &Path) -> Result<(), StateFileError> {
    match read_metadata(file, path)?.mode() & 0o022 {
        0 => Ok(()),
        _ => Err(StateFileError::Untrusted { path: path.to_owned(), problem: WRITABLE_BY_OTHERS }),
    }
}

fn read_metadata(file: &File, path: &Path) -> Result<Metadata, StateFileError> {
    file.metadata().map_err(|source| StateFileError::File {
        action: "look at",
        path: path.to_owned(),
        source,
    })
}
