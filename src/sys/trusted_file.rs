//! Files that other users could have planted, changed or read: the state file and
//! its locks, the alert log, known_hosts, files of secrets, and lists.
//!
//! This module decides whether such a file is used. `directory` walks its path, `policy`
//! has the requirements for its type, owner, links and mode, and this file opens it, locks
//! it, and checks that its name still leads to it.
#![expect(clippy::disallowed_types, reason = "files that could be planted are opened here")]
use std::{
    ffi::OsString,
    fs::{File, Metadata},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{
        AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, fchmod, flock, openat, renameat,
        statat, unlinkat,
    },
    io::Errno,
    process::geteuid,
};

mod directory;
mod policy;

pub use directory::{IfMissing, TrustedDir, TrustedDirError};
use directory::{MAX_LINKS, open_component, read_link};
use policy::is_foreign_uid;
pub use policy::{Distrust, FilePolicy};

/// Permissions of a new file, independent of the umask.
const FILE_MODE: Mode = Mode::from_raw_mode(0o640);
/// Permissions of a lock: every user that may read a file can lock it (flock(2)).
const LOCK_MODE: Mode = Mode::from_raw_mode(0o600);
/// Pause between two attempts to lock a file.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Failure to open or lock a file. Each stage has its own message for it.
#[derive(Debug)]
pub enum TrustedFileError {
    /// The file cannot be opened or created, or its mode cannot be set.
    Open(io::Error),
    /// The metadata of the file cannot be read.
    Inspect(io::Error),
    /// The file does not meet its policy.
    Distrust(Distrust),
    /// The file cannot be locked.
    Lock(io::Error),
    /// Another process holds the lock.
    Locked,
}

impl TrustedFileError {
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Open(source) if source.kind() == io::ErrorKind::NotFound)
    }
}

impl From<Errno> for TrustedFileError {
    fn from(errno: Errno) -> Self {
        Self::Open(errno.into())
    }
}

impl From<TrustedFileError> for io::Error {
    fn from(error: TrustedFileError) -> Self {
        match error {
            TrustedFileError::Open(source)
            | TrustedFileError::Inspect(source)
            | TrustedFileError::Lock(source) => source,
            TrustedFileError::Distrust(reason) => Self::other(reason),
            TrustedFileError::Locked => io::ErrorKind::WouldBlock.into(),
        }
    }
}

/// The path of a file with its open directory.
#[derive(Debug)]
pub struct TrustedPath {
    pub path: PathBuf,
    name: OsString,
    pub directory: Rc<TrustedDir>,
}

impl TrustedPath {
    /// Opens the directory of the file at `path`, unless the path leads through a link
    /// or directory that another user has put into a world-writable directory.
    pub fn open_parent(path: &Path, if_missing: IfMissing) -> Result<Self, TrustedDirError> {
        let name = path.file_name().ok_or(Errno::ISDIR)?;
        let directory = Rc::new(TrustedDir::open(parent_directory(path), if_missing)?);
        Ok(Self { path: path.to_owned(), name: name.to_owned(), directory })
    }

    /// Returns the path of a file in the same directory, with `.` and `extension`
    /// appended to the name.
    pub fn with_added_extension(&self, extension: &str) -> Self {
        let mut name = self.name.clone();
        name.push(".");
        name.push(extension);
        Self { path: self.path.with_file_name(&name), name, directory: Rc::clone(&self.directory) }
    }

    /// Opens the file without following a link, and without waiting for the other
    /// end of a pipe.
    pub fn open(&self, flags: OFlags, policy: FilePolicy) -> Result<File, TrustedFileError> {
        let file = self.open_unchecked(flags, Mode::empty())?;
        policy.check(&file)?;
        Ok(file)
    }

    /// Creates the file with mode 0640; its name must not exist.
    pub fn create_new(&self, flags: OFlags, policy: FilePolicy) -> Result<File, TrustedFileError> {
        let file = self.open_unchecked(flags | OFlags::CREATE | OFlags::EXCL, FILE_MODE)?;
        fchmod(&file, FILE_MODE)?;
        policy.check(&file)?;
        Ok(file)
    }

    fn open_unchecked(&self, flags: OFlags, mode: Mode) -> Result<File, Errno> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(openat(&self.directory, &self.name, flags, mode)?.into())
    }

    /// Locks the file that `open` opens here, and waits for the lock until
    /// `deadline`.
    ///
    /// A file that was renamed or removed during the wait is opened again: the next
    /// process that locks this name would find another file.
    pub fn lock(
        &self,
        deadline: Instant,
        open: impl Fn() -> Result<File, TrustedFileError>,
    ) -> Result<File, TrustedFileError> {
        let mut file = open()?;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if self.leads_to(&file) => return Ok(file),
                Err(errno) if !matches!(errno, Errno::WOULDBLOCK | Errno::INTR) => {
                    return Err(TrustedFileError::Lock(errno.into()));
                }
                _ if Instant::now() >= deadline => return Err(TrustedFileError::Locked),
                Ok(()) => file = open()?,
                Err(_) => thread::sleep(LOCK_PAUSE),
            }
        }
    }

    /// Opens or creates a lock of the state file. Its mode becomes 0600, so that the
    /// next run can open it, and no other user can lock it.
    pub fn open_lock(&self) -> Result<File, TrustedFileError> {
        // Check the owner before changing the mode: the file may be another user's.
        let mut any_mode = FilePolicy::state();
        any_mode.forbidden_mode = 0;
        let lock = self.open_unchecked(OFlags::RDWR | OFlags::CREATE, LOCK_MODE)?;
        any_mode.check(&lock)?;
        let metadata = lock.metadata().map_err(TrustedFileError::Open)?;
        let is_own = metadata.uid() == geteuid().as_raw();
        if is_own && metadata.mode() & 0o777 != LOCK_MODE.as_raw_mode() {
            fchmod(&lock, LOCK_MODE)?;
        }
        FilePolicy::state().check(&lock)?;
        Ok(lock)
    }

    /// Returns the path that the link at this path leads to.
    fn link_target(&self) -> Result<PathBuf, TrustedDirError> {
        let (link, stat) = open_component(&self.directory, &self.name)?;
        if self.directory.writable_by_others() && is_foreign_uid(stat.st_uid) {
            return Err(TrustedDirError::Untrusted { path: self.path.clone() });
        }
        Ok(self.path.with_file_name(read_link(&link)?))
    }

    /// Returns true if the name still leads to `file`.
    fn leads_to(&self, file: &File) -> bool {
        let current = statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW);
        match (file.metadata(), current) {
            (Ok(file), Ok(current)) => file_identity(&file) == (current.st_dev, current.st_ino),
            _ => false,
        }
    }

    /// Renames the file to the name of `other`, in the same directory.
    pub fn rename_to(&self, other: &Self) -> io::Result<()> {
        Ok(renameat(&self.directory, &self.name, &other.directory, &other.name)?)
    }

    /// Returns whether the name is that of a regular file. A symbolic link is not followed.
    pub fn is_regular_file(&self) -> io::Result<bool> {
        let stat = statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
    }

    pub fn remove(&self) -> io::Result<()> {
        Ok(unlinkat(&self.directory, &self.name, AtFlags::empty())?)
    }
}

/// Opens a file that the administrator has named, to read it. Links are followed, and
/// opening a pipe waits for its other end.
pub fn open_named(path: &Path, policy: FilePolicy) -> Result<File, TrustedFileError> {
    let file = File::open(path).map_err(TrustedFileError::Open)?;
    policy.check(&file)?;
    Ok(file)
}

/// Opens a settings file that the administrator has named, to read it, and returns
/// whether it is private. Links are followed. Only a regular file is opened: a pipe could
/// be read once, and topip-remote reads the file again.
pub fn open_settings(path: &Path) -> Result<(File, bool), TrustedFileError> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file: File = openat(CWD, path, flags, Mode::empty())?.into();
    FilePolicy::settings().check(&file)?;
    let is_private = FilePolicy::secret().check(&file).is_ok();
    Ok((file, is_private))
}

/// Opens a file in its directory and creates missing directories. A symbolic link is
/// followed, unless another user owns it and its directory is writable by others.
/// The caller checks the file.
pub fn open_following_links(
    path: &Path,
    flags: OFlags,
    mode: Mode,
) -> Result<(TrustedPath, File), TrustedDirError> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let location = TrustedPath::open_parent(&path, IfMissing::Create)?;
        match location.open_unchecked(flags, mode) {
            Ok(file) => return Ok((location, file)),
            Err(Errno::LOOP) => {}
            Err(errno) => return Err(errno.into()),
        }
        path = location.link_target()?;
    }
    Err(Errno::LOOP.into())
}

/// Returns the device and inode numbers.
pub fn file_identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Returns true if the last line is incomplete, as after a full disk or a crash.
pub fn ends_mid_line(file: &File) -> io::Result<bool> {
    let mut last = [b'\n'];
    let length = file.metadata()?.len();
    if length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
    }
    Ok(last != *b"\n")
}

/// Returns the directory of `path`, `.` for a name alone.
pub fn parent_directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}
