//! Appends to a log, which others append to, rotate and read at the same time.
//!
//! The file is opened each time, so that a log that was moved away is noticed
//! without a signal. A line is one `write`; the lock keeps off other topips for
//! as long as it takes to see that the line before is whole.
#![expect(clippy::disallowed_types, reason = "this is where the log is opened")]
use std::{
    ffi::OsString,
    fs::{File, TryLockError},
    io::{self, Write},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{Access, AtFlags, Mode, OFlags, accessat, fchmod, fstat, openat, statat},
    io::Errno,
    process::geteuid,
};

use crate::sys::trusted_file::{Folder, FolderError, Missing};

/// What a log is made with, whatever the umask is.
const MODE: Mode = Mode::from_raw_mode(0o640);
/// How it is opened: without waiting for the other end of a pipe.
const FLAGS: OFlags = OFlags::RDWR
    .union(OFlags::APPEND)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);
/// What a line that lacks its end is given for one. A bare line end would make
/// a whole line of it, with half an address for somebody to be shut out by.
const CUT: &str = " [cut off]\n";
/// How long a log that is missing may take to be there again: logrotate renames
/// the old one first. One that is made in its place fails that rotation.
const ROTATION: Duration = Duration::from_millis(200);

/// Why a line cannot be appended.
#[derive(Debug, thiserror::Error)]
pub enum LogFileError {
    /// It cannot be opened, made, locked or written.
    #[error("cannot {action} the log {}", path.display())]
    File {
        /// Which of these.
        action: &'static str,
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The way to its folder leads through what somebody else has put there.
    #[error(transparent)]
    Way(FolderError),
    /// It is where others may write, and so may be anything.
    #[error("cannot trust the log {}: {problem}", path.display())]
    Untrusted {
        /// Its path.
        path: PathBuf,
        /// Why not.
        problem: &'static str,
    },
    /// It is a link, a folder, a pipe or the like.
    #[error("cannot write the log {}: it is {what}", path.display())]
    NotAFile {
        /// Its path.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The disk took the beginning of the line.
    #[error("cannot write the log {}: it took {written} of {length} bytes", path.display())]
    Short {
        /// Its path.
        path: PathBuf,
        /// How many bytes it took.
        written: usize,
        /// How many there were.
        length: usize,
    },
    /// Another program has it, and does not let go.
    #[error("the log {} is held by another program", path.display())]
    Held {
        /// Its path.
        path: PathBuf,
    },
}

impl LogFileError {
    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> String {
        match self {
            Self::File { path, source, .. } => match source.kind() {
                io::ErrorKind::NotFound => format!("Make the folder {}", folder(path).display()),
                io::ErrorKind::PermissionDenied => format!(
                    "Make it as root, for the user that runs this: install -m 640 -o USER \
                     /dev/null {}; or name another with --log.",
                    path.display()
                ),
                io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::ReadOnlyFilesystem => {
                    format!("df {0}; df -i {0}", folder(path).display())
                }
                _ => format!("Name another with --log; see ls -ld {}", path.display()),
            },
            Self::Way(_) | Self::Untrusted { .. } => {
                "Name one with --log in a folder where nobody else may write.".to_owned()
            }
            Self::NotAFile { .. } => {
                "Name a regular file with --log, or syslog or journald.".to_owned()
            }
            Self::Short { path, .. } => format!("df {}", folder(path).display()),
            Self::Held { path } => format!("Who holds it? fuser -v {}", path.display()),
        }
    }
}

/// Appends `line` and a line end.
///
/// # Errors
///
/// Where the whole of it did not get there until `deadline`. What a full disk
/// left of it is a line of its own: the next one begins anew.
pub fn append(path: &Path, line: &str, deadline: Instant) -> Result<(), LogFileError> {
    let failed =
        |action| move |source| LogFileError::File { action, path: path.to_owned(), source };
    let file = lock(&Spot::at(path)?, deadline)?;
    let is_cut = is_cut(&file).map_err(failed("read"))?;
    let text = format!("{}{line}\n", if is_cut { CUT } else { "" });
    let written = write(&file, &text).map_err(failed("write"))?;
    match written == text.len() {
        true => Ok(()),
        false => Err(LogFileError::Short { path: path.to_owned(), written, length: text.len() }),
    }
}

/// Whether a line could be appended, and the log be made where there is none.
///
/// # Errors
///
/// Where it could not: better known before there is an alert to log.
pub fn probe(path: &Path, deadline: Instant) -> Result<(), LogFileError> {
    let spot = Spot::at(path)?;
    match attempt(&spot, deadline, open_or_could_make)? {
        Some(file) => regular(file, &spot).map(drop),
        None => Ok(()),
    }
}

/// Where a log is: its path, and its folder, which is open.
#[derive(Debug)]
struct Spot {
    path: PathBuf,
    folder: Folder,
    name: OsString,
}

impl Spot {
    fn at(path: &Path) -> Result<Self, LogFileError> {
        let (folder, name) = Folder::of(path, Missing::Fail).map_err(|error| match error {
            FolderError::Open { source, .. } if source.kind() == io::ErrorKind::IsADirectory => {
                LogFileError::NotAFile { path: path.to_owned(), what: "a folder" }
            }
            FolderError::Open { source, .. } => {
                LogFileError::File { action: "open", path: path.to_owned(), source }
            }
            planted => LogFileError::Way(planted),
        })?;
        Ok(Self { path: path.to_owned(), folder, name })
    }

    fn open(&self, flags: OFlags) -> Result<File, Errno> {
        openat(&self.folder, &self.name, flags, MODE).map(File::from)
    }
}

fn open_or_could_make(spot: &Spot, may_wait: bool) -> Result<Option<File>, Errno> {
    match spot.open(FLAGS) {
        Err(Errno::NOENT) => {}
        opened => return opened.map(Some),
    }
    let to_make = Access::WRITE_OK | Access::EXEC_OK;
    match accessat(&spot.folder, ".", to_make, AtFlags::empty()) {
        // It is another's to make, who may be about to.
        Err(Errno::ACCESS) if may_wait => Err(Errno::NOENT),
        answer => answer.map(|()| None),
    }
}

/// One `write`, again only where a signal came before it began.
fn write(mut file: &File, text: &str) -> io::Result<usize> {
    loop {
        match file.write(text.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            written => return written,
        }
    }
}

/// Whether the last line has no end: a disk was full, or a machine went down.
fn is_cut(file: &File) -> io::Result<bool> {
    let mut last = [b'\n'];
    let length = file.metadata()?.len();
    if length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
    }
    Ok(last != *b"\n")
}

/// Opens the log and keeps other topips off it.
fn lock(spot: &Spot, deadline: Instant) -> Result<File, LogFileError> {
    let failed = |source| LogFileError::File { action: "lock", path: spot.path.clone(), source };
    let mut pause = Duration::from_micros(100);
    let mut file = open(spot, deadline)?;
    loop {
        match file.try_lock() {
            Ok(()) if is_at(&file, spot) => return Ok(file),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
            _ if Instant::now() >= deadline => {
                return Err(LogFileError::Held { path: spot.path.clone() });
            }
            // One that was rotated while it was waited for may be compressed by
            // now, and the line would be in no file.
            Ok(()) => file = open(spot, deadline)?,
            Err(TryLockError::WouldBlock) => {
                thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(10));
            }
        }
    }
}

fn is_at(file: &File, spot: &Spot) -> bool {
    let there = statat(&spot.folder, &spot.name, AtFlags::SYMLINK_NOFOLLOW);
    match (fstat(file), there) {
        (Ok(file), Ok(there)) => (file.st_dev, file.st_ino) == (there.st_dev, there.st_ino),
        _ => false,
    }
}

/// Opens the log, and makes it where there is none.
fn open(spot: &Spot, deadline: Instant) -> Result<File, LogFileError> {
    regular(attempt(spot, deadline, open_or_make)?, spot)
}

/// Opens the log by `how`, which is told whether it is waited for one that is
/// missing: again where it is being rotated.
fn attempt<T>(
    spot: &Spot,
    deadline: Instant,
    how: impl Fn(&Spot, bool) -> Result<T, Errno>,
) -> Result<T, LogFileError> {
    let path = &spot.path;
    let failed = |source| LogFileError::File { action: "open", path: path.to_owned(), source };
    let not_a_file = |what| LogFileError::NotAFile { path: path.to_owned(), what };
    let until = deadline.min(Instant::now() + ROTATION);
    loop {
        let may_wait = Instant::now() < until;
        match how(spot, may_wait) {
            Err(Errno::NOENT) if may_wait => thread::sleep(Duration::from_millis(1)),
            // The system's words for these are "too many levels" and "no such
            // device".
            Err(Errno::LOOP) => return Err(not_a_file("a symbolic link")),
            Err(Errno::ISDIR) => return Err(not_a_file("a folder")),
            Err(Errno::NXIO) => return Err(not_a_file("no regular file")),
            Err(errno) => return Err(failed(errno.into())),
            Ok(opened) => return Ok(opened),
        }
    }
}

/// Refuses what is no file; and in a folder where others put what they like,
/// what one of them has put there.
fn regular(file: File, spot: &Spot) -> Result<File, LogFileError> {
    let path = &spot.path;
    let failed = |source| LogFileError::File { action: "open", path: path.clone(), source };
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(LogFileError::NotAFile { path: path.clone(), what: "no regular file" });
    }
    let is_anothers = metadata.uid() != 0 && metadata.uid() != geteuid().as_raw();
    let problem = match spot.folder.is_shared() {
        // Whose folder it is, his is the log.
        true if is_anothers && !spot.folder.is_anothers() => "it belongs to another user",
        true if metadata.nlink() > 1 => "it has another name (a hard link)",
        _ => return Ok(file),
    };
    Err(LogFileError::Untrusted { path: path.clone(), problem })
}

fn open_or_make(spot: &Spot, may_wait: bool) -> Result<File, Errno> {
    match spot.open(FLAGS) {
        Err(Errno::NOENT) if !may_wait => {}
        opened => return opened,
    }
    match spot.open(FLAGS | OFlags::CREATE | OFlags::EXCL) {
        // Somebody else was first.
        Err(Errno::EXIST) => spot.open(FLAGS),
        Err(errno) => Err(errno),
        Ok(made) => {
            fchmod(&made, MODE)?;
            Ok(made)
        }
    }
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}
