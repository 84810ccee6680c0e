//! Appends to a log, which others append to, rotate and read at the same time.
//!
//! The file is opened each time, so that a log that was moved away is noticed
//! without a signal. A line is one `write`; the lock keeps off other topips for
//! as long as it takes to see that the line before is whole.
#![expect(clippy::disallowed_types, reason = "this is where the log is opened")]
use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{Access, Mode, OFlags},
    io::Errno,
};

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
/// How long a log that is missing may take to be there again, where it is
/// another's to make: logrotate renames the old one first.
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
    let file = lock(path, deadline)?;
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
    match attempt(path, deadline, open_or_could_make)? {
        Some(file) => regular(file, path).map(drop),
        None => Ok(()),
    }
}

fn open_or_could_make(path: &Path) -> Result<Option<File>, Errno> {
    match rustix::fs::open(path, FLAGS, MODE) {
        Err(Errno::NOENT) => {}
        opened => return opened.map(|file| Some(File::from(file))),
    }
    let to_make = Access::WRITE_OK | Access::EXEC_OK;
    rustix::fs::access(folder(path), to_make).map(|()| None)
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
fn lock(path: &Path, deadline: Instant) -> Result<File, LogFileError> {
    let failed = |source| LogFileError::File { action: "lock", path: path.to_owned(), source };
    let mut pause = Duration::from_micros(100);
    let mut file = open(path, deadline)?;
    loop {
        match file.try_lock() {
            Ok(()) if is_at(&file, path) => return Ok(file),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
            _ if Instant::now() >= deadline => {
                return Err(LogFileError::Held { path: path.to_owned() });
            }
            // One that was rotated while it was waited for may be compressed by
            // now, and the line would be in no file.
            Ok(()) => file = open(path, deadline)?,
            Err(TryLockError::WouldBlock) => {
                thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(10));
            }
        }
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let (file, path) = (file.metadata(), fs::symlink_metadata(path));
    matches!((file, path), (Ok(file), Ok(path)) if identity(file.clone()) == identity(path.clone()))
}

/// Opens the log, and makes it where there is none.
fn open(path: &Path, deadline: Instant) -> Result<File, LogFileError> {
    regular(attempt(path, deadline, open_or_make)?, path)
}

/// Opens the log by `how`, again where it is being rotated.
fn attempt<T>(
    path: &Path,
    deadline: Instant,
    how: impl Fn(&Path) -> Result<T, Errno>,
) -> Result<T, LogFileError> {
    let failed = |source| LogFileError::File { action: "open", path: path.to_owned(), source };
    let not_a_file = |what| LogFileError::NotAFile { path: path.to_owned(), what };
    let until = deadline.min(Instant::now() + ROTATION);
    loop {
        match how(path) {
            Err(Errno::ACCESS) if is_missing(path) && Instant::now() < until => {
                thread::sleep(Duration::from_millis(1));
            }
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

fn regular(file: File, path: &Path) -> Result<File, LogFileError> {
    let failed = |source| LogFileError::File { action: "open", path: path.to_owned(), source };
    match file.metadata().map_err(failed)?.is_file() {
        true => Ok(file),
        false => Err(LogFileError::NotAFile { path: path.to_owned(), what: "no regular file" }),
    }
}

fn is_missing(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn open_or_make(path: &Path) -> Result<File, Errno> {
    match rustix::fs::open(path, FLAGS, MODE) {
        Err(Errno::NOENT) => {}
        opened => return opened.map(File::from),
    }
    match rustix::fs::open(path, FLAGS | OFlags::CREATE | OFlags::EXCL, MODE) {
        // Somebody else was first.
        Err(Errno::EXIST) => rustix::fs::open(path, FLAGS, MODE).map(File::from),
        Err(errno) => Err(errno),
        Ok(made) => {
            rustix::fs::fchmod(&made, MODE)?;
            Ok(File::from(made))
        }
    }
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}
