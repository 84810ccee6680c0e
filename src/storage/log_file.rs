//! Appends to an alert log that other programs append to, rotate and read at the
//! same time.
//!
//! The file is opened for each line, so that a rotation is noticed without a
//! signal. Each line is one `write`. The log is not locked: any user who can read the log
//! could hold the lock (flock(2)) and block alerts.
#![expect(clippy::disallowed_types, reason = "the log is written here")]
use std::{
    fs::File,
    io::{self, Seek},
    os::unix::fs::FileExt,
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
/// Time for another program to complete a line, on a busy machine.
const MAX_LINE_TIME: Duration = Duration::from_millis(100);
/// Maximum number of times that a line is written because it continues an incomplete
/// line of another program.
const MAX_WRITES: usize = 3;
/// Maximum time to wait for a missing log: logrotate renames the old log before
/// it creates the new one. A log created in between makes the rotation fail.
const MAX_ROTATION_TIME: Duration = Duration::from_millis(200);

/// Failure to append a line.
#[derive(Debug, thiserror::Error)]
pub enum LogFileError {
    /// The log cannot be opened, created, read or written.
    #[error("cannot {action} the log {}", path.display())]
    File {
        /// The failed action, as a verb.
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
    /// The log is in a directory that other users can write to, and may be planted.
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
    /// Other programs repeatedly wrote incomplete lines.
    #[error("cannot write the log {}: other programs write to it without line ends", path.display())]
    Interleaved {
        /// Path of the log.
        path: PathBuf,
    },
    /// Only the beginning of the line was written.
    #[error("cannot write the log {}: only {written} of {length} bytes written", path.display())]
    ShortWrite {
        /// Path of the log.
        path: PathBuf,
        /// Number of bytes that were written.
        written: usize,
        /// Number of bytes to write.
        length: usize,
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
                Some(Errno::ISDIR) => Self::NotRegularFile { path, what: "a directory" },
                Some(Errno::NXIO) => Self::NotRegularFile { path, what: "not a regular file" },
                _ => Self::File { action: "open", path, source },
            },
            TrustedFileError::Distrust(Distrust::NotRegularFile) => {
                Self::NotRegularFile { path, what: "not a regular file" }
            }
            TrustedFileError::Distrust(reason) => Self::Untrusted { path, reason },
            error => Self::File { action: "open", path, source: error.into() },
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
                    format!("Create the directory {}", parent_directory(path).display())
                }
                io::ErrorKind::PermissionDenied => format!(
                    "As root, create a missing log for the user that runs topip (install -m 640 -o \
                     USER /dev/null {0}), or give that user an existing one (chown USER {0}); or \
                     name another file with `--log`.",
                    path.display()
                ),
                io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::ReadOnlyFilesystem => {
                    format!(
                        "Check the file system: df {0}; df -i {0}",
                        parent_directory(path).display()
                    )
                }
                _ => format!("Name another file with `--log`; see ls -ld {}", path.display()),
            },
            Self::UntrustedPath(_) | Self::Untrusted { .. } => {
                "Use a directory that no other user can write to, with `--log`.".to_owned()
            }
            Self::NotRegularFile { .. } => {
                "Name a regular file with `--log`, or syslog or journald.".to_owned()
            }
            Self::Interleaved { path } => {
                format!("Find these programs: fuser -v {}", path.display())
            }
            Self::ShortWrite { path, .. } => {
                format!("Check the file system: df {}", parent_directory(path).display())
            }
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
    let file = open_with_retry(&open_parent(path)?, deadline, open_or_create)
        .map_err(|error| LogFileError::from_file(path, error))?;
    for _ in 0..MAX_WRITES {
        let is_incomplete = is_incomplete(&file, deadline)
            .map_err(|source| LogFileError::from_io("read", path, source))?;
        let text = format!("{}{line}\n", if is_incomplete { TRUNCATION_MARK } else { "" });
        // One system call, and again only if a signal interrupted it before the first byte.
        let written = retry_on_intr(|| write(&file, text.as_bytes()))
            .map_err(|errno| LogFileError::from_io("write", path, errno.into()))?;
        let length = text.len();
        if written < length {
            return Err(LogFileError::ShortWrite { path: path.to_owned(), written, length });
        }
        let starts_line = is_incomplete
            || follows_line_end(&file, length)
                .map_err(|source| LogFileError::from_io("read", path, source))?;
        if starts_line {
            return Ok(());
        }
    }
    Err(LogFileError::Interleaved { path: path.to_owned() })
}

/// Returns `true` if the last line is incomplete, and no program completes it.
///
/// While a line is written, a reader may see only a part of it: up to the end of a page of
/// memory.
fn is_incomplete(file: &File, deadline: Instant) -> io::Result<bool> {
    let deadline = deadline.min(Instant::now() + MAX_LINE_TIME);
    while ends_mid_line(file)? {
        if Instant::now() >= deadline {
            return Ok(true);
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(false)
}

/// Returns `true` if the text that was just appended, with a length of `length` bytes,
/// follows a line end. Otherwise another program has written an incomplete line meanwhile,
/// for example because the disk was full.
fn follows_line_end(mut file: &File, length: usize) -> io::Result<bool> {
    // After a write to a file opened for appending, the position is the end of the text.
    let start = file.stream_position()?.saturating_sub(length as u64);
    let mut previous = [b'\n'];
    if start > 0 {
        // The log may have been truncated meanwhile (`copytruncate` of logrotate).
        file.read_at(&mut previous, start - 1)?;
    }
    Ok(previous == *b"\n")
}

/// Checks that a line could be appended, or that a missing log could be created, so that
/// a problem is reported before the first alert.
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
            LogFileError::NotRegularFile { path: path.to_owned(), what: "a directory" }
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
        // Another user must create the log, and may be about to do so.
        Err(Errno::ACCESS) if may_wait => Err(Errno::NOENT.into()),
        result => Ok(result?),
    }
}

/// Opens the log with `open_fn`, and retries while the log is being rotated. The
/// second argument of `open_fn` is `true` if there is time to wait for a missing log.
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
