//! Appends to an alert log that other programs append to, rotate and read at the
//! same time.
//!
//! The file is opened for each line, so that a rotation is noticed without a
//! signal. Each line is one `write`. The lock keeps other topip programs from
//! writing between the check for an incomplete last line and the `write`.
#![expect(clippy::disallowed_types, reason = "the log is written here")]
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{Access, AtFlags, OFlags, accessat},
    io::{Errno, retry_on_intr, write},
};

use crate::{
    model::problem::Hints,
    sys::trusted_file::{
        Distrust, FilePolicy, IfMissing, TrustedDirError, TrustedFileError, TrustedPath,
        ends_mid_line, parent_directory,
    },
};

/// Flags for opening the log.
const OPEN_FLAGS: OFlags = OFlags::RDWR.union(OFlags::APPEND);
/// Text that ends an incomplete line. A line end alone would turn it into a valid
/// line with a truncated address, and fail2ban could ban the wrong address.
const TRUNCATION_MARK: &str = " [cut off]\n";
/// Pause after the first attempt to lock the log: another program holds it only for
/// one line.
const FIRST_LOCK_PAUSE: Duration = Duration::from_micros(100);
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
    #[error("cannot trust the log {}: {reason}", path.display())]
    Untrusted {
        /// Path of the log.
        path: PathBuf,
        /// The reason.
        reason: Distrust,
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
    fn from_file(path: &Path, error: TrustedFileError) -> Self {
        let path = path.to_owned();
        match error {
            TrustedFileError::Open(source) => match Errno::from_io_error(&source) {
                // The messages of the operating system for these would be "too many
                // levels" and "no such device".
                Some(Errno::LOOP) => Self::NotRegularFile { path, what: "a symbolic link" },
                Some(Errno::ISDIR) => Self::NotRegularFile { path, what: "a folder" },
                Some(Errno::NXIO) => Self::NotRegularFile { path, what: "no regular file" },
                _ => Self::File { action: "open", path, source },
            },
            TrustedFileError::Inspect(source) => Self::File { action: "open", path, source },
            TrustedFileError::Distrust(Distrust::NotRegularFile) => {
                Self::NotRegularFile { path, what: "no regular file" }
            }
            TrustedFileError::Distrust(reason) => Self::Untrusted { path, reason },
            TrustedFileError::Lock(source) => Self::File { action: "lock", path, source },
            TrustedFileError::Locked => Self::Locked { path },
        }
    }

    fn from_io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::File { action, path: path.to_owned(), source }
    }

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
    let location = open_parent(path)?;
    let file = location
        .lock(deadline, FIRST_LOCK_PAUSE, || open_with_retry(&location, deadline, open_or_create))
        .map_err(|error| LogFileError::from_file(path, error))?;
    let is_incomplete =
        ends_mid_line(&file).map_err(|source| LogFileError::from_io("read", path, source))?;
    let text = format!("{}{line}\n", if is_incomplete { TRUNCATION_MARK } else { "" });
    // One system call, and again only if a signal interrupted it before the first byte.
    let written = retry_on_intr(|| write(&file, text.as_bytes()))
        .map_err(|errno| LogFileError::from_io("write", path, errno.into()))?;
    let (path, length) = (path.to_owned(), text.len());
    if written < length {
        return Err(LogFileError::ShortWrite { path, written, length });
    }
    Ok(())
}

/// Checks that a line could be appended, or that a missing log could be created.
/// An alert is then not the first write to fail.
///
/// # Errors
///
/// Returns an error if the log cannot be opened, or could not be created.
pub fn probe(path: &Path, deadline: Instant) -> Result<(), LogFileError> {
    open_with_retry(&open_parent(path)?, deadline, open_or_check_creatable)
        .map_err(|error| LogFileError::from_file(path, error))
}

fn open_parent(path: &Path) -> Result<TrustedPath, LogFileError> {
    TrustedPath::open_parent(path, IfMissing::Fail).map_err(|error| match error {
        TrustedDirError::Open(Errno::ISDIR) => {
            LogFileError::NotRegularFile { path: path.to_owned(), what: "a folder" }
        }
        TrustedDirError::Open(errno) => LogFileError::from_io("open", path, errno.into()),
        untrusted => LogFileError::UntrustedPath(untrusted),
    })
}

fn open_or_check_creatable(location: &TrustedPath, may_wait: bool) -> Result<(), TrustedFileError> {
    match open(location) {
        Err(error) if error.is_missing() => {}
        result => return result.map(drop),
    }
    let write_access = Access::WRITE_OK | Access::EXEC_OK;
    match accessat(&location.directory, ".", write_access, AtFlags::empty()) {
        // Another user has to create the log, and may be about to do so.
        Err(Errno::ACCESS) if may_wait => Err(Errno::NOENT.into()),
        result => Ok(result?),
    }
}

/// Opens the log with `open_fn`, and retries while the log is being rotated. The
/// second argument of `open_fn` is true if a missing log will be waited for.
fn open_with_retry<T>(
    location: &TrustedPath,
    deadline: Instant,
    open_fn: impl Fn(&TrustedPath, bool) -> Result<T, TrustedFileError>,
) -> Result<T, TrustedFileError> {
    let rotation_deadline = deadline.min(Instant::now() + MAX_ROTATION_TIME);
    loop {
        let may_wait = Instant::now() < rotation_deadline;
        match open_fn(location, may_wait) {
            Err(error) if may_wait && error.is_missing() => thread::sleep(Duration::from_millis(1)),
            result => return result,
        }
    }
}

fn open(location: &TrustedPath) -> Result<File, TrustedFileError> {
    location.open(OPEN_FLAGS, FilePolicy::log(&location.directory))
}

fn open_or_create(location: &TrustedPath, may_wait: bool) -> Result<File, TrustedFileError> {
    match open(location) {
        Err(error) if error.is_missing() && !may_wait => {}
        result => return result,
    }
    match location.create_new(OPEN_FLAGS, FilePolicy::log(&location.directory)) {
        // Another process has created the log meanwhile.
        Err(TrustedFileError::Open(source)) if source.kind() == io::ErrorKind::AlreadyExists => {
            open(location)
        }
        result => result,
    }
}
