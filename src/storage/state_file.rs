//! What is remembered from one run to the next: one file for each check.
//!
//! It is locked from the reading to the writing, so that runs that overlap
//! follow one another; written anew beside itself, synced and renamed, so that
//! it is always the old one or the new one; and links are not followed. The
//! lock is a file of its own, because a renamed file is another one.
#![expect(clippy::disallowed_types, reason = "this is where the state file is opened")]
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

use crate::analysis::history::{Mails, Previous};

mod state_file_error;
mod location;
mod format;

use format::State;
pub use location::Place;
use location::Spot;
pub use state_file_error::StateFileError;
use state_file_error::{ANOTHERS, LINKED, NOT_A_FILE, OPEN};

/// The version of the file's format that is written here. A newer one is
/// refused; an older one would be read.
const VERSION: u32 = 1;
/// A state file has a few thousand bytes.
const LONGEST: u64 = 1024 * 1024;
/// How often a lock that somebody else has is tried.
const LOCK_INTERVAL: Duration = Duration::from_millis(10);

/// A state file that this run has to itself.
#[derive(Debug)]
pub struct StateFile {
    spot: Spot,
    servers: Vec<String>,
    _lock: File,
}

/// The turn of this run to send a mail; it ends when this is dropped.
///
/// It is a lock of its own beside that of the state file: a mail server may take
/// its time, and other runs have samples to remember meanwhile. The kernel
/// takes it back from a run that is killed, and what that has not put on record
/// as mailed is still due: a mail may then come twice, and none is lost. A note
/// in the state file that somebody is at it would have to be waited out.
#[derive(Debug)]
pub struct MailTurn {
    _lock: File,
}

impl MailTurn {
    /// Waits for it until `deadline`.
    ///
    /// # Errors
    ///
    /// Where another run has it until then, or it cannot be had at all.
    pub fn wait(place: &Place, deadline: Instant) -> Result<Self, StateFileError> {
        let spot = place.spot()?;
        let lock = lock(&spot, "mail.lock", deadline)?;
        let lock = lock.ok_or(StateFileError::Mailing { path: spot.path })?;
        Ok(Self { _lock: lock })
    }
}

/// What was read from a state file.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The sample on record, if any: as it was for each way to tell peers apart.
    pub records: Vec<Previous>,
    /// The alerts that were mailed.
    pub mails: Mails,
    /// Where the file was damaged: what is wrong with it, and where it is kept.
    pub damage: Option<Damage>,
}

/// A state file that could not be understood.
#[derive(Debug)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: String,
    /// Where it is now, or why it is still there.
    pub kept_as: Result<PathBuf, io::Error>,
}

impl StateFile {
    /// Finds and locks the state file of a check that looks at `servers`, and
    /// waits for that until `deadline`.
    ///
    /// # Errors
    ///
    /// Where it cannot be had; the check then goes on without.
    pub fn open(
        place: &Place,
        servers: Vec<String>,
        deadline: Instant,
    ) -> Result<Self, StateFileError> {
        let spot = place.spot()?;
        let lock = lock(&spot, "lock", deadline)?;
        let lock = lock.ok_or_else(|| StateFileError::Held { path: spot.path.clone() })?;
        Ok(Self { spot, servers, _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.spot.path
    }

    /// Reads what is on record.
    ///
    /// A file that cannot be understood is put aside and is no record.
    ///
    /// # Errors
    ///
    /// Where it cannot be read, or must not be written over.
    pub fn load(&self) -> Result<Loaded, StateFileError> {
        let failed =
            |source| StateFileError::File { action: "read", path: self.path().to_owned(), source };
        let file = match self.spot.open("", OFlags::RDONLY) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Loaded::default()),
            file => file.map_err(failed)?,
        };
        trust(&file, self.path())?;
        // Most are shorter.
        let mut bytes = Vec::with_capacity(4096);
        file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
        let state = match self.understand(&bytes)? {
            Ok(state) => state,
            Err(problem) => {
                let damage =
                    Damage { path: self.path().to_owned(), problem, kept_as: self.put_aside() };
                return Ok(Loaded { damage: Some(damage), ..Loaded::default() });
            }
        };
        if state.servers != self.servers {
            let servers = match state.servers[..] {
                [] => "nothing that it names".to_owned(),
                _ => state.servers.join(","),
            };
            return Err(StateFileError::Foreign { path: self.path().to_owned(), servers });
        }
        let mails = state.mails();
        Ok(Loaded { records: state.records(), mails, damage: None })
    }

    /// The state in `bytes`, or what is wrong with them.
    fn understand(&self, bytes: &[u8]) -> Result<Result<State, String>, StateFileError> {
        // It is named in messages of the library.
        #[derive(Deserialize)]
        #[serde(rename = "State")]
        struct Peek {
            version: u32,
        }
        if bytes.is_empty() {
            return Ok(Err("it is empty".to_owned()));
        }
        if bytes.len() as u64 > LONGEST {
            return Ok(Err("it is longer than 1 MiB".to_owned()));
        }
        // People edit such files, and write 2 where RON asks for Some(2).
        let options = ron::Options::default().with_default_extension(Extensions::IMPLICIT_SOME);
        // A later version may have fields of other forms: look at it first.
        match options.from_bytes::<Peek>(bytes) {
            Ok(Peek { version }) if version > VERSION => {
                Err(StateFileError::Newer { path: self.path().to_owned(), version })
            }
            Ok(_) => Ok(options.from_bytes(bytes).map_err(|error| error.to_string())),
            Err(error) => Ok(Err(error.to_string())),
        }
    }

    fn put_aside(&self) -> Result<PathBuf, io::Error> {
        self.spot.rename("", "bad")?;
        Ok(self.path().with_added_extension("bad"))
    }

    /// Puts `records`, one for each grain, and `mails` in place of what was there.
    ///
    /// # Errors
    ///
    /// Where it cannot be written; then the old record stands.
    pub fn save(&self, records: &[Previous], mails: &Mails) -> Result<(), StateFileError> {
        let state = State::of(records, mails, self.servers.clone());
        let text = ron::ser::to_string_pretty(&state, ron::ser::PrettyConfig::default())
            .expect("numbers, words and addresses can be written");
        self.replace(&format!("{text}\n")).map_err(|source| StateFileError::File {
            action: "write",
            path: self.path().to_owned(),
            source,
        })
    }

    /// Writes `text` to a new file, and puts that in the old one's place.
    fn replace(&self, text: &str) -> io::Result<()> {
        // One name, not a random one: what a killed run left behind is what the
        // next one clears away. The lock sees to it that nobody is at it now.
        match self.spot.remove("new") {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let written = write_whole(&self.spot, text).and_then(|()| self.spot.rename("new", ""));
        if written.is_err() {
            // Nothing can be done about it, and the error that counts is known.
            let _ = self.spot.remove("new");
        }
        // The folder is not synced: after a loss of power, the old one may be
        // there again, which is as whole. To wait for the disk a second time would
        // take longer than all the rest of a run on a host with few connections.
        written
    }
}

/// Locks the file beside the one at `spot` that has this extension more; none
/// where another run has it until `deadline`.
///
/// One that was removed while it was waited for keeps nobody off: the next run
/// makes another.
fn lock(spot: &Spot, extension: &str, deadline: Instant) -> Result<Option<File>, StateFileError> {
    let failed = |source| StateFileError::File { action: "lock", path: spot.path.clone(), source };
    let lock_path = spot.path.with_added_extension(extension);
    let make = || {
        let lock = spot.open(extension, OFlags::RDWR | OFlags::CREATE).map_err(failed)?;
        // It is not touched before it is known to be none of another's.
        trust_owner(&lock, &lock_path)?;
        private(&lock).map_err(failed)?;
        trust_mode(&lock, &lock_path)?;
        Ok(lock)
    };
    let mut lock = make()?;
    loop {
        match lock.try_lock() {
            Ok(()) if is_at(&lock, &lock_path) => return Ok(Some(lock)),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
            _ if Instant::now() >= deadline => return Ok(None),
            Ok(()) => lock = make()?,
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_INTERVAL),
        }
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
    let (file, path) = (file.metadata().map(identity), fs::symlink_metadata(path).map(identity));
    matches!((file, path), (Ok(file), Ok(path)) if file == path)
}

/// Makes a file of mode 0640, whatever the umask is, and sees it to the disk.
fn write_whole(spot: &Spot, text: &str) -> io::Result<()> {
    let mut file = spot.open("new", OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o640))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Gives a lock that this run has just made the mode that it should have,
/// whatever the umask is: the next run has to open it.
fn private(lock: &File) -> io::Result<()> {
    let metadata = lock.metadata()?;
    if metadata.uid() == geteuid().as_raw() && metadata.mode() & 0o777 != 0o640 {
        rustix::fs::fchmod(lock, Mode::from_raw_mode(0o640))?;
    }
    Ok(())
}

/// Refuses what is no file, or what somebody else could have written.
fn trust(file: &File, path: &Path) -> Result<(), StateFileError> {
    trust_owner(file, path)?;
    trust_mode(file, path)
}

/// Refuses what is no file, what is another's, and what has another name, by
/// which it may be anything.
fn trust_owner(file: &File, path: &Path) -> Result<(), StateFileError> {
    let untrusted = |problem| StateFileError::Untrusted { path: path.to_owned(), problem };
    let metadata = metadata(file, path)?;
    if !metadata.is_file() {
        return Err(untrusted(NOT_A_FILE));
    }
    if metadata.uid() != geteuid().as_raw() && metadata.uid() != 0 {
        return Err(untrusted(ANOTHERS));
    }
    if metadata.nlink() > 1 {
        return Err(untrusted(LINKED));
    }
    Ok(())
}

fn trust_mode(file: &File, path: &Path) -> Result<(), StateFileError> {
    match metadata(file, path)?.mode() & 0o022 {
        0 => Ok(()),
        _ => Err(StateFileError::Untrusted { path: path.to_owned(), problem: OPEN }),
    }
}

fn metadata(file: &File, path: &Path) -> Result<Metadata, StateFileError> {
    file.metadata().map_err(|source| StateFileError::File {
        action: "look at",
        path: path.to_owned(),
        source,
    })
}
