//! Opens an alert log and its rotated files, and reads them in order.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "logs and standard input are opened here"
)]
use std::{
    cell::Cell,
    collections::{HashMap, HashSet},
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    rc::Rc,
};

use flate2::bufread::MultiGzDecoder;

use crate::{
    parse::line::{Line, LineReader},
    sys::trusted_file::{file_identity, parent_directory},
};

use crate::model::problem::Hints;

/// Size of the read buffer.
const BUFFER_BYTES: usize = 256 * 1024;
/// The first bytes of a gzip file (RFC 1952).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Failure to read a log.
#[derive(Debug, thiserror::Error)]
pub enum LogReaderError {
    /// The file cannot be opened.
    #[error("cannot read the log {name}")]
    Open {
        /// Name of the file.
        name: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The directory with the rotated files cannot be listed.
    #[error("cannot list the directory of the log {name}")]
    Directory {
        /// Name of the file.
        name: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file is compressed in a format other than gzip.
    #[error("cannot read the log {name}: only gzip compression is supported")]
    Compressed {
        /// Name of the file.
        name: String,
    },
    /// The rest of the file cannot be decompressed.
    #[error("cannot read the log {name} after line {line}: damaged or incomplete gzip")]
    Gzip {
        /// Name of the file.
        name: String,
        /// Number of the last line that could be read.
        line: u64,
    },
    /// Reading failed in the middle of the file.
    #[error("cannot read the log {name} after line {line}")]
    Read {
        /// Name of the file.
        name: String,
        /// Number of the last line that could be read.
        line: u64,
        /// The error of the operating system.
        source: io::Error,
    },
}

impl Hints for LogReaderError {
    fn hints(&self) -> Vec<String> {
        vec![self.hint()]
    }
}

impl LogReaderError {
    /// Returns the suggested remedy.
    fn hint(&self) -> String {
        match self {
            Self::Open { name, source } if source.kind() == io::ErrorKind::NotFound => {
                format!(
                    "The first alert creates this log. To read another log than {name}, use `--log`."
                )
            }
            Self::Open { source, .. } if source.kind() == io::ErrorKind::IsADirectory => {
                "Name a file in this directory with `--log`.".to_owned()
            }
            Self::Open { name, .. } | Self::Directory { name, .. } => {
                format!("Check that this user can read it: ls -l {name}")
            }
            Self::Compressed { name } => {
                format!("Decompress {name} to standard output, and read that with `--log` -")
            }
            Self::Gzip { name, .. } | Self::Read { name, .. } => {
                format!("The lines before were counted. Inspect {name}")
            }
        }
    }
}

impl LogReaderError {
    fn open(name: &str, source: io::Error) -> Self {
        Self::Open { name: name.to_owned(), source }
    }

    fn is_missing(&self) -> bool {
        matches!(self, Self::Open { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// A file of a log.
pub struct LogFile {
    /// Path of the file, or `standard input`.
    pub name: String,
    /// Size on disk in bytes; `None` for a pipe.
    pub size: Option<u64>,
    bytes_read: Rc<Cell<u64>>,
    is_gzip: bool,
    lines: LineReader<Box<dyn BufRead>>,
}

/// A reader that counts the bytes read from the disk.
struct CountingReader<R> {
    inner: R,
    bytes_read: Rc<Cell<u64>>,
}

impl<R: Read> Read for CountingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n_bytes = self.inner.read(buffer)?;
        self.bytes_read.set(self.bytes_read.get() + n_bytes as u64);
        Ok(n_bytes)
    }
}

impl LogFile {
    fn new(
        name: String,
        size: Option<u64>,
        reader: impl Read + 'static,
    ) -> Result<Self, LogReaderError> {
        let bytes_read = Rc::new(Cell::new(0));
        let reader = CountingReader { inner: reader, bytes_read: Rc::clone(&bytes_read) };
        let mut reader = BufReader::with_capacity(BUFFER_BYTES, reader);
        let first_bytes =
            reader.fill_buf().map_err(|source| LogReaderError::open(&name, source))?;
        let is_gzip = first_bytes.starts_with(&GZIP_MAGIC);
        let reader: Box<dyn BufRead> = if is_gzip {
            Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(reader)))
        } else {
            Box::new(reader)
        };
        Ok(Self { name, size, bytes_read, is_gzip, lines: LineReader::new(reader) })
    }

    /// Returns the number of bytes read from the disk so far.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.get()
    }

    /// Returns the number of the latest line, counted from 1.
    #[must_use]
    pub fn line_number(&self) -> u64 {
        self.lines.n_lines
    }

    /// Returns the next line; `None` at the end of the file.
    ///
    /// # Errors
    ///
    /// Returns an error if the rest of the file cannot be read or decompressed.
    pub fn next_line(&mut self) -> Result<Option<Line<'_>>, LogReaderError> {
        let line = self.line_number();
        self.lines.next_line().map_err(|source| {
            let name = self.name.clone();
            // The messages of flate2 mention neither gzip nor the cause.
            if self.is_gzip && is_damaged_data(source.kind()) {
                LogReaderError::Gzip { name, line }
            } else {
                LogReaderError::Read { name, line, source }
            }
        })
    }
}

/// Returns `true` for the errors that flate2 reports for damaged data.
fn is_damaged_data(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
    )
}

/// Opens standard input as a log.
///
/// # Errors
///
/// Returns an error if the first bytes cannot be read.
pub fn open_stdin() -> Result<LogFile, LogReaderError> {
    LogFile::new("standard input".to_owned(), None, io::stdin())
}

/// Maximum number of files that are opened in advance: the newest files, because they may
/// be rotated before they are read. Older files are opened when they are read.
const MAX_OPEN_FILES: usize = 64;

/// A file of a log that has not been read yet.
pub struct PendingLogFile {
    name: String,
    /// Size on disk in bytes; `None` for a pipe.
    pub size: Option<u64>,
    file: Option<File>,
    identity: FileIdentity,
}

/// Device and inode numbers.
type FileIdentity = (u64, u64);

impl PendingLogFile {
    /// Opens the file, unless it is already open.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read, or was replaced meanwhile.
    pub fn open(self) -> Result<LogFile, LogReaderError> {
        let Self { name, size, file, identity } = self;
        let file = file.map_or_else(|| reopen(&name, identity), Ok);
        let file = file.map_err(|source| LogReaderError::open(&name, source))?;
        LogFile::new(name, size, file)
    }
}

fn reopen(name: &str, identity: FileIdentity) -> io::Result<File> {
    let file = File::open(name)?;
    if file_identity(&file.metadata()?) != identity {
        return Err(io::Error::other("it was rotated meanwhile"));
    }
    Ok(file)
}

/// Finds the files of logs, and returns each file only once.
#[derive(Default)]
pub struct LogFinder {
    known_files: HashSet<FileIdentity>,
}

impl LogFinder {
    /// Returns the log at `path` and its rotated files, oldest first. A file that
    /// cannot be opened is returned as an error.
    pub fn find(&mut self, path: &Path) -> Vec<Result<PendingLogFile, LogReaderError>> {
        let mut files = Vec::new();
        // Newest first: a file that is rotated meanwhile is found again under its
        // next name, and is recognized by its identity.
        let rotated = rotated_files(path).unwrap_or_else(|source| {
            files.push(Err(LogReaderError::Directory { name: path.display().to_string(), source }));
            Vec::new()
        });
        let mut exists = false;
        for (nth, path) in std::iter::once(path.to_owned()).chain(rotated).enumerate() {
            let file = self.pending_file(&path, nth);
            exists |= file.is_ok();
            files.extend(file.transpose());
        }
        files.reverse();
        // After a rotation, the log is missing until the next alert.
        if exists {
            files.retain(|file| !file.as_ref().is_err_and(LogReaderError::is_missing));
        }
        files
    }

    /// Returns the `nth` newest file of a log; `None` if it is already known, or if
    /// it is a rotated file but not a regular file: opening a pipe would block.
    fn pending_file(
        &mut self,
        path: &Path,
        nth: usize,
    ) -> Result<Option<PendingLogFile>, LogReaderError> {
        let name = path.display().to_string();
        let metadata = fs::metadata(path).map_err(|source| LogReaderError::open(&name, source))?;
        if metadata.is_dir() && nth == 0 {
            return Err(LogReaderError::open(&name, io::ErrorKind::IsADirectory.into()));
        }
        let identity = file_identity(&metadata);
        let is_readable = metadata.is_file() || nth == 0;
        if !is_readable || !self.known_files.insert(identity) {
            return Ok(None);
        }
        if has_unsupported_compression(path) {
            return Err(LogReaderError::Compressed { name });
        }
        let file = if nth < MAX_OPEN_FILES {
            Some(File::open(path).map_err(|source| LogReaderError::open(&name, source))?)
        } else {
            None
        };
        let size = if metadata.is_file() { Some(metadata.len()) } else { None };
        Ok(Some(PendingLogFile { name, size, file, identity }))
    }
}

fn has_unsupported_compression(path: &Path) -> bool {
    path.extension().is_some_and(|it| ["xz", "zst", "bz2", "lz4", "lzma"].iter().any(|x| it == *x))
}

/// Returns the files in the directory of `path` that are named like files
/// rotated by logrotate, newest first.
fn rotated_files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut by_name = HashMap::new();
    for entry in fs::read_dir(parent_directory(path))? {
        let file_name = entry?.file_name();
        let text = file_name.to_string_lossy();
        let Some(order) = rotation_order(&name, &text) else {
            continue;
        };
        // During compression a file exists twice. The uncompressed file, which has
        // the shorter name, is complete.
        let kept = by_name
            .entry(without_compression(&text).to_owned())
            .or_insert((order, file_name.clone()));
        if file_name.len() < kept.1.len() {
            *kept = (order, file_name);
        }
    }
    let mut newest_first: Vec<_> = by_name.into_values().collect();
    newest_first.sort();
    Ok(newest_first.into_iter().map(|(_, name)| path.with_file_name(name)).collect())
}

/// Returns a file name without its compression suffix.
fn without_compression(name: &str) -> &str {
    let compressions = [".gz", ".xz", ".zst", ".bz2", ".lz4", ".lzma"];
    compressions.iter().find_map(|it| name.strip_suffix(it)).unwrap_or(name)
}

/// Returns `true` if `text` starts with a sortable date, unlike a port or an
/// address.
fn starts_with_date(text: &str) -> bool {
    let mut parts = text.split(|it: char| !it.is_ascii_digit());
    let (first, second) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let is_year = first.len() == 4 && (first.starts_with("19") || first.starts_with("20"));
    first.len() >= 6 || (is_year && second.len() == 2)
}

/// Returns the sort key of a rotated file of the log `name`, newest first; `None` if
/// `other` is not a rotated file. Recognizes `.1`, `.2.gz`, `-20071128`, `-20071128.gz`,
/// and `topip-20071128.log`, for which logrotate must know the extension.
fn rotation_order(name: &str, other: &str) -> Option<(i8, i64)> {
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let uncompressed = without_compression(other);
    let base = uncompressed.strip_suffix(".backup").unwrap_or(uncompressed);
    let suffix = format!(".{extension}");
    let middle = match base.strip_prefix(name) {
        Some(middle) => middle,
        None if extension.is_empty() => return None,
        None => base.strip_prefix(stem)?.strip_suffix(&suffix)?,
    };
    let digits: String = middle.chars().skip(1).filter(char::is_ascii_digit).collect();
    let is_rotated = (middle.starts_with('.')
        || starts_with_date(middle.strip_prefix(['-', '_'])?))
        && middle.chars().skip(1).all(|it| it.is_ascii_digit() || "-_:T".contains(it));
    if !is_rotated {
        return None;
    }
    let number: i64 = digits.parse().ok()?;
    // A later date is newer; a lower number is newer.
    Some(if digits.len() >= 6 { (0, -number) } else { (1, number) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_files_are_sorted_by_name() {
        let mut names = [
            "topip.log.2.gz",
            "topip.log.1",
            "topip.log.10.gz",
            "topip.log-20071128",
            "topip.log-20071129-1196290800.gz",
            "topip-20071130.log.gz",
            "topip.3.log",
            "topip.log-2007112821.backup",
        ]
        .map(|name| (rotation_order("topip.log", name).unwrap_or_else(|| panic!("{name}")), name));
        names.sort();
        assert_eq!(
            names.map(|(_, name)| name),
            [
                "topip.log-20071129-1196290800.gz",
                "topip.log-2007112821.backup",
                "topip-20071130.log.gz",
                "topip.log-20071128",
                "topip.log.1",
                "topip.log.2.gz",
                "topip.3.log",
                "topip.log.10.gz",
            ]
        );
        for name in [
            "topip.log",
            "topip.log.gz",
            "topip.log.old",
            "topip.log1",
            "other.log.1",
            "topip.log.",
            "topip-8443.log",
            "topip-192-168-1-10.log",
            "topip.log-8443-10",
        ] {
            assert_eq!(rotation_order("topip.log", name), None, "{name}");
        }
        assert!(rotation_order("topip.log", "topip-2007-11-28.log").is_some());
        assert!(rotation_order("alerts", "alerts.1").is_some());
        assert_eq!(rotation_order("alerts", "alerts."), None);
    }
}
