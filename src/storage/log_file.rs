//! Appends to an alert log that other programs append to, rotate and read at the
//! same time.
//!
//! The file is opened for each line, so that a rotation is noticed without a
//! signal. Each line is one `write`. The lock keeps other topip programs from
//! writing between the check for an incomplete last line and the `write`.
#![expect(clippy::disallowed_types, reason = "the log is opened here")]
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

use crate::sys::trusted_file::{IfMissing, TrustedDir, TrustedDirError};

use crate::model::problem::Hints;

/// Permissions of a new log, independent of the umask.
const FILE_MODE: Mode = Mode::from_raw_mode(0o640);
/// Flags for opening the log. `NONBLOCK` avoids waiting for the other end of a
/// pipe.
const OPEN_FLAGS: OFlags = OFlags::RDWR
    .union(OFlags::APPEND)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);
/// Text that ends an incomplete line. A line end alone would turn it into a valid
/// line with a truncated address, and fail2ban could ban the wrong address.
const TRUNCATION_MARK: &str = " [cut off]\n";
/// Maximum time to wait for a missing log: logrotate renames the old log before
/// it creates the new one. A log created in between makes the rotation fail.
const MAX_ROTATION_TIME: Duration = Duration::from_millis(200);

/// An error that occurred while appending a line.
#[derive(Debug, thiserror::Error)]
pub enum LogFileError {
    /// The log cannot be opened, created, locked, read or written.
    #[error("cannot {action} the log {}", path.display())]
    File {
        /// The to_error action, as a verb.
        action: &'static str,
        /// Path of the log.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The path to its directory leads through a link or directory of another
    /// user.
    #[error(transparent)]
    UntrustedPath(TrustedDirError),
    /// The log is in a directory where others can write, and may be planted.
    #[error("cannot trust the log {}: {problem}", path.display())]
    Untrusted {
        /// Path of the log.
        path: PathBuf,
        /// The reason.
        problem: &'static str,
    },
    /// The log is a link, a directory, a pipe or another special file.
    #[error("cannot write the log {}: it is {what}", path.display())]
    NotRegularFile {
        /// Path of the log.
        path: PathBuf,
        /// The type of the file.
        what: &'static str,
    },
    /// Only the beginning of the line was written.
    #[error("cannot write the log {}: it took {written} of {length} bytes", path.display())]
    ShortWrite {
        /// Path of the log.
        path: PathBuf,
        /// Number of bytes that were written.
        written: usize,
        /// Number of bytes to write.
        length: usize,
    },
    /// Another program holds the lock.
    #[error("the log {} is held by another program", path.display())]
    Locked {
        /// Path of the log.
        path: PathBuf,
    },
}

impl Hints for LogFileError {
    fn hints(&self) -> Vec<String> {
        vec![self.hint()]
    }
}

impl LogFileError {
    /// Returns the suggested remedy.
    fn hint(&self) -> String {
        match self {
            Self::File { path, source, .. } => match source.kind() {
                io::ErrorKind::NotFound => {
                    format!("Make the folder {}", parent_directory(path).display())
                }
                io::ErrorKind::PermissionDenied => format!(
                    "Make it as root, for the user that runs this: install -m 640 -o USER \
                     /dev/null {}; or name another with `--log`.",
                    path.display()
                ),
                io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::ReadOnlyFilesystem => {
                    format!("df {0}; df -i {0}", parent_directory(path).display())
                }
                _ => format!("Name another with `--log`; see ls -ld {}", path.display()),
            },
            Self::UntrustedPath(_) | Self::Untrusted { .. } => {
                "Name one with `--log` in a folder where nobody else may write.".to_owned()
            }
            Self::NotRegularFile { .. } => {
                "Name a regular file with `--log`, or syslog or journald.".to_owned()
            }
            Self::ShortWrite { path, .. } => format!("df {}", parent_directory(path).display()),
            Self::Locked { path } => format!("Who holds it? fuser -v {}", path.display()),
        }
    }
}

/// Appends `line` and a line end.
///
/// # Errors
///
/// Returns an error if the line could not be written completely before
/// `deadline`. After a partial write, the next line starts on a new line.
pub fn append(path: &Path, line: &str, deadline: Instant) -> Result<(), LogFileError> {
    let to_error =
        |action| move |source| LogFileError::File { action, path: path.to_owned(), source };
    let file = open_locked(&LogLocation::from_path(path)?, deadline)?;
    let is_incomplete = ends_mid_line(&file).map_err(to_error("read"))?;
    let text = format!("{}{line}\n", if is_incomplete { TRUNCATION_MARK } else { "" });
    let written = write(&file, &text).map_err(to_error("write"))?;
    match written == text.len() {
        true => Ok(()),
        false => {
            Err(LogFileError::ShortWrite { path: path.to_owned(), written, length: text.len() })
        }
    }
}

/// Checks that a line could be appended, or that a missing log could be created.
/// An alert is then not the first write to fail.
///
/// # Errors
///
/// Returns an error if the log cannot be opened, or could not be created.
pub fn probe(path: &Path, deadline: Instant) -> Result<(), LogFileError> {
    let location = LogLocation::from_path(path)?;
    match open_with_retry(&location, deadline, open_or_check_creatable)? {
        Some(file) => check_regular_file(file, &location).map(drop),
        None => Ok(()),
    }
}

/// The path of a log with its open directory.
#[derive(Debug)]
struct LogLocation {
    path: PathBuf,
    directory: TrustedDir,
    name: OsString,
}

impl LogLocation {
    fn from_path(path: &Path) -> Result<Self, LogFileError> {
        let (directory, name) =
            TrustedDir::open_parent_of(path, IfMissing::Fail).map_err(|error| match error {
                TrustedDirError::Open { source, .. }
                    if source.kind() == io::ErrorKind::IsADirectory =>
                {
                    LogFileError::NotRegularFile { path: path.to_owned(), what: "a folder" }
                }
                TrustedDirError::Open { source, .. } => {
                    LogFileError::File { action: "open", path: path.to_owned(), source }
                }
                untrusted => LogFileError::UntrustedPath(untrusted),
            })?;
        Ok(Self { path: path.to_owned(), directory, name })
    }

    fn open(&self, flags: OFlags) -> Result<File, Errno> {
        openat(&self.directory, &self.name, flags, FILE_MODE).map(File::from)
    }
}

fn open_or_check_creatable(location: &LogLocation, may_wait: bool) -> Result<Option<File>, Errno> {
    match location.open(OPEN_FLAGS) {
        Err(Errno::NOENT) => {}
        result => return result.map(Some),
    }
    let write_access = Access::WRITE_OK | Access::EXEC_OK;
    match accessat(&location.directory, ".", write_access, AtFlags::empty()) {
        // Another user has to create the log, and may be about to do so.
        Err(Errno::ACCESS) if may_wait => Err(Errno::NOENT),
        result => result.map(|()| None),
    }
}

/// Calls `write` once, and again only if a signal interrupted it before the first
/// byte was written.
fn write(mut file: &File, text: &str) -> io::Result<usize> {
    loop {
        match file.write(text.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Returns true if the last line is incomplete, such as after a full disk or a
/// crash.
fn ends_mid_line(file: &File) -> io::Result<bool> {
    let mut last = [b'\n'];
    let length = file.metadata()?.len();
    if length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
    }
    Ok(last != *b"\n")
}

/// Opens and locks the log.
fn open_locked(location: &LogLocation, deadline: Instant) -> Result<File, LogFileError> {
    let to_error =
        |source| LogFileError::File { action: "lock", path: location.path.clone(), source };
    let mut pause = Duration::from_micros(100);
    let mut file = open(location, deadline)?;
    loop {
        match file.try_lock() {
            Ok(()) if is_at_location(&file, location) => return Ok(file),
            Err(TryLockError::Error(source)) => return Err(to_error(source)),
            _ if Instant::now() >= deadline => {
                return Err(LogFileError::Locked { path: location.path.clone() });
            }
            // A log that was rotated during the wait may already be compressed, and
            // the line would be lost.
            Ok(()) => file = open(location, deadline)?,
            Err(TryLockError::WouldBlock) => {
                thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(10));
            }
        }
    }
}

fn is_at_location(file: &File, location: &LogLocation) -> bool {
    let current = statat(&location.directory, &location.name, AtFlags::SYMLINK_NOFOLLOW);
    match (fstat(file), current) {
        (Ok(file), Ok(current)) => (file.st_dev, file.st_ino) == (current.st_dev, current.st_ino),
        _ => false,
    }
}

/// Opens the log, and creates it if it is missing.
fn open(location: &LogLocation, deadline: Instant) -> Result<File, LogFileError> {
    check_regular_file(open_with_retry(location, deadline, open_or_create)?, location)
}

/// Opens the log with `open_fn`, and retries while the log is being rotated. The
/// second argument of `open_fn` is true if a missing log will be waited for.
fn open_with_retry<T>(
    location: &LogLocation,
    deadline: Instant,
    open_fn: impl Fn(&LogLocation, bool) -> Result<T, Errno>,
) -> Result<T, LogFileError> {
    let path = &location.path;
    let to_error = |source| LogFileError::File { action: "open", path: path.to_owned(), source };
    let not_regular_file = |what| LogFileError::NotRegularFile { path: path.to_owned(), what };
    let rotation_deadline = deadline.min(Instant::now() + MAX_ROTATION_TIME);
    loop {
        let may_wait = Instant::now() < rotation_deadline;
        match open_fn(location, may_wait) {
            Err(Errno::NOENT) if may_wait => thread::sleep(Duration::from_millis(1)),
            // The messages of the operating system for these would be "too many
            // levels" and "no such device".
            Err(Errno::LOOP) => return Err(not_regular_file("a symbolic link")),
            Err(Errno::ISDIR) => return Err(not_regular_file("a folder")),
            Err(Errno::NXIO) => return Err(not_regular_file("no regular file")),
            Err(errno) => return Err(to_error(errno.into())),
            Ok(file) => return Ok(file),
        }
    }
}

/// Rejects special files. In a directory that is writable by others, also rejects
/// files that another user may have planted there.
fn check_regular_file(file: File, location: &LogLocation) -> Result<File, LogFileError> {
    let path = &location.path;
    let to_error = |source| LogFileError::File { action: "open", path: path.clone(), source };
    let metadata = file.metadata().map_err(to_error)?;
    if !metadata.is_file() {
        return Err(LogFileError::NotRegularFile { path: path.clone(), what: "no regular file" });
    }
    let is_foreign = metadata.uid() != 0 && metadata.uid() != geteuid().as_raw();
    let problem = match location.directory.writable_by_others() {
        // The directory's owner may own the log.
        true if is_foreign && !location.directory.is_foreign() => "it belongs to another user",
        true if metadata.nlink() > 1 => "it has another name (a hard link)",
        _ => return Ok(file),
    };
    Err(LogFileError::Untrusted { path: path.clone(), problem })
}

fn open_or_create(location: &LogLocation, may_wait: bool) -> Result<File, Errno> {
    match location.open(OPEN_FLAGS) {
        Err(Errno::NOENT) if !may_wait => {}
        result => return result,
    }
    match location.open(OPEN_FLAGS | OFlags::CREATE | OFlags::EXCL) {
        // Another process has created the log meanwhile.
        Err(Errno::EXIST) => location.open(OPEN_FLAGS),
        Err(errno) => Err(errno),
        Ok(file) => {
            fchmod(&file, FILE_MODE)?;
            Ok(file)
        }
    }
}

fn parent_directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}
