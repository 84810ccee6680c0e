//! Opens a log, with what was rotated away from it, to be read in order.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "this is where logs and standard input are opened"
)]
use std::{
    cell::Cell,
    collections::{HashMap, HashSet},
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    rc::Rc,
};

use flate2::bufread::MultiGzDecoder;

use crate::parse::line::{Line, LineReader};

/// How much is read at a time.
const BUFFER: usize = 256 * 1024;
/// What a file of gzip begins with (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogReaderError {
    /// It cannot be opened.
    #[error("cannot read the log {name}")]
    Open {
        /// Which.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// What was rotated away from it cannot be found.
    #[error("cannot list the folder of the log {name}")]
    Folder {
        /// Which.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// It is compressed by something else.
    #[error("cannot read the log {name}: of compressed files, gzip alone is read")]
    Compressed {
        /// Which.
        name: String,
    },
    /// The rest cannot be unpacked.
    #[error("cannot read the log {name} after line {line}: damaged or incomplete gzip")]
    Gzip {
        /// Which.
        name: String,
        /// The last line that could be read.
        line: u64,
    },
    /// It broke off.
    #[error("cannot read the log {name} after line {line}")]
    Read {
        /// Which.
        name: String,
        /// The last line that could be read.
        line: u64,
        /// What the system said, or what is wrong with the compression.
        source: io::Error,
    },
}

impl LogReaderError {
    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> String {
        match self {
            Self::Open { name, source } if source.kind() == io::ErrorKind::NotFound => {
                format!("The first alert makes it; or name another than {name} with --log.")
            }
            Self::Open { source, .. } if source.kind() == io::ErrorKind::IsADirectory => {
                "Name a file in it with --log.".to_owned()
            }
            Self::Open { name, .. } | Self::Folder { name, .. } => {
                format!("May this user read it? ls -l {name}")
            }
            Self::Compressed { name } => {
                format!("Unpack {name} to standard output, and read that with --log -")
            }
            Self::Gzip { name, .. } | Self::Read { name, .. } => {
                format!("What it had until there counts. Look at {name}")
            }
        }
    }
}

impl LogReaderError {
    fn is_missing(&self) -> bool {
        matches!(self, Self::Open { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// A file of a log.
pub struct LogFile {
    /// What it is called.
    pub name: String,
    /// How many bytes it has on disk; `None` for a pipe.
    pub size: Option<u64>,
    read: Rc<Cell<u64>>,
    is_gzip: bool,
    lines: LineReader<Box<dyn BufRead>>,
}

/// Counts the bytes that come from the disk.
struct Counted<R> {
    bytes: R,
    read: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.bytes.read(buffer)?;
        self.read.set(self.read.get() + n as u64);
        Ok(n)
    }
}

impl LogFile {
    fn new(
        name: String,
        size: Option<u64>,
        bytes: impl Read + 'static,
    ) -> Result<Self, LogReaderError> {
        let read = Rc::new(Cell::new(0));
        let bytes = Counted { bytes, read: Rc::clone(&read) };
        let mut bytes = BufReader::with_capacity(BUFFER, bytes);
        let failed = |source| LogReaderError::Open { name: name.clone(), source };
        let beginning = bytes.fill_buf().map_err(failed)?;
        let is_gzip = beginning.starts_with(&GZIP);
        let bytes: Box<dyn BufRead> = match is_gzip {
            true => Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(bytes))),
            false => Box::new(bytes),
        };
        Ok(Self { name, size, read, is_gzip, lines: LineReader::new(bytes) })
    }

    /// How many bytes of it have come from the disk.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.read.get()
    }

    /// The number of the line that was read last, counted from 1.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.lines.number
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    ///
    /// Where the rest of the file cannot be had.
    pub fn next_line(&mut self) -> Result<Option<Line<'_>>, LogReaderError> {
        let line = self.lines.number;
        let name = &self.name;
        let is_gzip = self.is_gzip;
        let failed = |source: io::Error| match source.kind() {
            // What flate2 says of it tells nobody what is the matter.
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::InvalidData
                if is_gzip =>
            {
                LogReaderError::Gzip { name: name.clone(), line }
            }
            _ => LogReaderError::Read { name: name.clone(), line, source },
        };
        self.lines.next_line().map_err(failed)
    }
}

/// Standard input, as a log.
///
/// # Errors
///
/// Where its beginning cannot be read.
pub fn standard_input() -> Result<LogFile, LogReaderError> {
    LogFile::new("standard input".to_owned(), None, io::stdin())
}

/// How many files are kept open until their turn comes: the newest, which are
/// rotated on meanwhile. The others are opened in turn.
const HELD: usize = 64;

/// A file of a log, before its turn.
pub struct Pending {
    name: String,
    /// How many bytes it has on disk; `None` for a pipe.
    pub size: Option<u64>,
    file: Option<File>,
    identity: Identity,
}

/// Device and inode.
type Identity = (u64, u64);

impl Pending {
    /// Opens it, where it is not open.
    ///
    /// # Errors
    ///
    /// Where it cannot be read, or is another by now.
    pub fn open(self) -> Result<LogFile, LogReaderError> {
        let Self { name, size, file, identity } = self;
        let opened = file.map_or_else(|| reopened(&name, identity), Ok);
        let failed = |source| LogReaderError::Open { name: name.clone(), source };
        let file = opened.map_err(failed)?;
        LogFile::new(name, size, file)
    }
}

fn reopened(name: &str, identity: Identity) -> io::Result<File> {
    let file = File::open(name)?;
    match identity_of(&file.metadata()?) == identity {
        true => Ok(file),
        false => Err(io::Error::other("it was rotated meanwhile")),
    }
}

fn identity_of(metadata: &fs::Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

/// Finds logs, each file of them once, however often it is named.
#[derive(Default)]
pub struct Finder {
    known: HashSet<Identity>,
}

impl Finder {
    /// A log and what was rotated away from it, the oldest first.
    ///
    /// A file that cannot be opened is one of them, as an error.
    pub fn find(&mut self, path: &Path) -> Vec<Result<Pending, LogReaderError>> {
        let mut files = Vec::new();
        // The newest first: what is rotated meanwhile turns up again under its
        // next name, and is known by then.
        let rotated = rotated(path).unwrap_or_else(|source| {
            files.push(Err(LogReaderError::Folder { name: path.display().to_string(), source }));
            Vec::new()
        });
        let mut is_there = false;
        for (nth, path) in std::iter::once(path.to_owned()).chain(rotated).enumerate() {
            let found = self.pending(&path, nth);
            is_there |= found.is_ok();
            files.extend(found.transpose());
        }
        files.reverse();
        // A log that was just rotated is not there until the next alert.
        if is_there {
            files.retain(|file| !file.as_ref().is_err_and(LogReaderError::is_missing));
        }
        files
    }

    /// The `nth` newest of a log; nothing, where it is known, or beside a log
    /// and no regular file: a pipe would be waited for.
    fn pending(&mut self, path: &Path, nth: usize) -> Result<Option<Pending>, LogReaderError> {
        let name = path.display().to_string();
        let failed = |source| LogReaderError::Open { name: name.clone(), source };
        let metadata = fs::metadata(path).map_err(failed)?;
        if metadata.is_dir() && nth == 0 {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let is_ours = metadata.is_file() || nth == 0;
        if !is_ours || !self.known.insert(identity_of(&metadata)) {
            return Ok(None);
        }
        if is_compressed_otherwise(path) {
            return Err(LogReaderError::Compressed { name });
        }
        let file = (nth < HELD).then(|| File::open(path)).transpose().map_err(failed)?;
        let size = metadata.is_file().then_some(metadata.len());
        Ok(Some(Pending { name, size, file, identity: identity_of(&metadata) }))
    }
}

fn is_compressed_otherwise(path: &Path) -> bool {
    path.extension().is_some_and(|it| ["xz", "zst", "bz2", "lz4", "lzma"].iter().any(|x| it == *x))
}

/// The files beside `path` that are named as logrotate names old ones, the
/// newest first.
fn rotated(path: &Path) -> io::Result<Vec<PathBuf>> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut found = HashMap::new();
    for entry in fs::read_dir(folder)? {
        let other = entry?.file_name();
        let text = other.to_string_lossy();
        let Some(age) = age(&name, &text) else {
            continue;
        };
        // A file that is being compressed is there twice, and the plain one is
        // whole: its name is the shorter.
        let kept = found.entry(plain(&text).to_owned()).or_insert((age, other.clone()));
        if other.len() < kept.1.len() {
            *kept = (age, other);
        }
    }
    let mut found: Vec<_> = found.into_values().collect();
    found.sort();
    Ok(found.into_iter().map(|(_, name)| path.with_file_name(name)).collect())
}

/// A name without what a compression adds to it.
fn plain(name: &str) -> &str {
    let compressions = [".gz", ".xz", ".zst", ".bz2", ".lz4", ".lzma"];
    compressions.iter().find_map(|it| name.strip_suffix(it)).unwrap_or(name)
}

/// Whether a text begins as dates do that sort: not a port, nor an address.
fn is_date(text: &str) -> bool {
    let mut parts = text.split(|it: char| !it.is_ascii_digit());
    let (first, second) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let is_year = first.len() == 4 && (first.starts_with("19") || first.starts_with("20"));
    first.len() >= 6 || (is_year && second.len() == 2)
}

/// What a rotated file of the log `name` is sorted by; `None` if `other` is
/// none: `.1`, `.2.gz`, `-20071128`, `-20071128.gz`, and `topip-20071128.log`
/// where logrotate knows the extension.
fn age(name: &str, other: &str) -> Option<(i8, i64)> {
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let plain = plain(other);
    let plain = plain.strip_suffix(".backup").unwrap_or(plain);
    let end = format!(".{extension}");
    let middle = plain.strip_prefix(name).or_else(|| {
        plain.strip_prefix(stem)?.strip_suffix(&end).filter(|_| !extension.is_empty())
    })?;
    let digits: String = middle.chars().skip(1).filter(char::is_ascii_digit).collect();
    let is_ours = (middle.starts_with('.') || is_date(middle.strip_prefix(['-', '_'])?))
        && middle.chars().skip(1).all(|it| it.is_ascii_digit() || "-_:T".contains(it));
    let number: i64 = digits.parse().ok().filter(|_| is_ours)?;
    // Dates: the later is the newer. Numbers: the lower is.
    Some(if digits.len() >= 6 { (0, -number) } else { (1, number) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rotated_files() {
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
        .map(|name| (age("topip.log", name).unwrap_or_else(|| panic!("{name}")), name));
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
            assert_eq!(age("topip.log", name), None, "{name}");
        }
        assert!(age("topip.log", "topip-2007-11-28.log").is_some());
        assert!(age("alerts", "alerts.1").is_some());
        assert_eq!(age("alerts", "alerts."), None);
    }
}
