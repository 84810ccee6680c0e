//! Opens the directory of a file on a path that other users may write to.
//!
//! In `/tmp` and similar directories any user can plant a link or a directory on
//! the path of another user's file. With `fs.protected_symlinks` set, the kernel
//! follows such a link only for its owner; it always follows directories. This
//! module follows neither in a world-writable directory, unless it belongs to root
//! or this user. Later operations use the descriptor of the directory, so that
//! the directory cannot be replaced in the meantime.
use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    os::unix::ffi::OsStringExt,
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, Stat, fstat, mkdirat, openat, readlinkat},
    io::Errno,
    process::geteuid,
};

/// Maximum number of symbolic links on a path, as in the kernel.
const MAX_LINKS: usize = 40;
/// Flags that open a path component without following or reading it.
const COMPONENT_FLAGS: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Open directory whose path led through no link or directory of an untrusted
/// user.
#[derive(Debug)]
pub struct TrustedDir {
    fd: OwnedFd,
    stat: Stat,
}

/// Failure to open the directory of a file, or the file in it.
#[derive(Debug, thiserror::Error)]
pub enum TrustedDirError {
    /// A path component does not exist, cannot be accessed, or is not a directory.
    #[error("cannot open {}", path.display())]
    Open {
        /// Path up to the component that failed.
        path: PathBuf,
        /// Cause from the operating system.
        source: io::Error,
    },
    /// A link or directory belongs to another user, in a directory where other
    /// users may write.
    #[error("cannot trust {}: it belongs to another user, and everybody may write to its folder", path.display())]
    Untrusted {
        /// Path of the link or directory.
        path: PathBuf,
    },
}

/// Treatment of directories that do not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMissing {
    /// Create the directory, accessible to this user only (mode 0700).
    Create,
    /// Return an error.
    Fail,
}

impl TrustedDir {
    /// Opens the directory of `file`. Returns the directory and the name of the
    /// file.
    ///
    /// # Errors
    ///
    /// Returns an error if the directory does not exist, or if the path leads
    /// through a link or directory that another user has put into a world-writable
    /// directory.
    pub fn open_parent_of(
        file: &Path,
        if_missing: IfMissing,
    ) -> Result<(Self, OsString), TrustedDirError> {
        let name = file.file_name().ok_or_else(|| TrustedDirError::Open {
            path: file.to_owned(),
            source: Errno::ISDIR.into(),
        })?;
        let dir = file.parent().unwrap_or(Path::new(""));
        Ok((PathWalk::new(if_missing)?.open_dir(dir)?, name.to_owned()))
    }

    /// Opens `file` in its directory and creates missing directories. A symbolic
    /// link is followed, unless another user owns it and its directory is writable
    /// by others.
    ///
    /// # Errors
    ///
    /// Returns an error if the directory or the file cannot be opened, or if the
    /// path leads through a link or directory of an untrusted user.
    pub fn open_following_links(
        file: &Path,
        flags: OFlags,
        mode: Mode,
    ) -> Result<(Self, OwnedFd), TrustedDirError> {
        let mut path = file.to_owned();
        for _ in 0..MAX_LINKS {
            let (dir, name) = Self::open_parent_of(&path, IfMissing::Create)?;
            let failed =
                |errno: Errno| TrustedDirError::Open { path: path.clone(), source: errno.into() };
            match openat(&dir, &name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, mode) {
                Err(Errno::LOOP) => {}
                result => return result.map_err(failed).map(|file| (dir, file)),
            }
            let (link, link_stat) = open_component(&dir, &name).map_err(failed)?;
            if dir.writable_by_others() && is_foreign_uid(link_stat.st_uid) {
                return Err(TrustedDirError::Untrusted { path });
            }
            let target = readlinkat(&link, "", Vec::new()).map_err(failed)?;
            path = path.with_file_name(OsString::from_vec(target.into_bytes()));
        }
        Err(TrustedDirError::Open { path, source: Errno::LOOP.into() })
    }

    /// Returns true if the owner of the directory is neither this user nor root.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        is_foreign_uid(self.stat.st_uid)
    }

    /// Returns true if another user can create files in the directory: the
    /// directory belongs to that user or is world-writable.
    #[must_use]
    pub fn writable_by_others(&self) -> bool {
        self.is_foreign() || is_world_writable(&self.stat)
    }

    /// Returns the permission bits, with set-uid, set-gid and sticky bit.
    #[must_use]
    pub fn mode(&self) -> u32 {
        self.stat.st_mode & 0o7777
    }
}

impl AsFd for TrustedDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Returns true if `uid` is neither this user nor root.
fn is_foreign_uid(uid: u32) -> bool {
    uid != 0 && uid != geteuid().as_raw()
}

fn is_world_writable(stat: &Stat) -> bool {
    stat.st_mode & 0o002 != 0
}

/// Walk along a path, component by component. `fd`, `stat` and `path` describe the
/// last component that was opened.
struct PathWalk {
    if_missing: IfMissing,
    fd: OwnedFd,
    stat: Stat,
    path: PathBuf,
    n_links: usize,
}

impl PathWalk {
    /// Starts in the current directory.
    fn new(if_missing: IfMissing) -> Result<Self, TrustedDirError> {
        let (fd, stat) = open_component(&CWD, OsStr::new(".")).map_err(|errno| {
            TrustedDirError::Open { path: PathBuf::from("."), source: errno.into() }
        })?;
        Ok(Self { if_missing, fd, stat, path: PathBuf::new(), n_links: 0 })
    }

    /// Walks all components of `dir` and returns the directory at its end.
    fn open_dir(mut self, dir: &Path) -> Result<TrustedDir, TrustedDirError> {
        let mut remaining: VecDeque<OsString> = components(dir);
        while let Some(name) = remaining.pop_front() {
            let path = self.path.join(&name);
            let failed =
                |errno: Errno| TrustedDirError::Open { path: path.clone(), source: errno.into() };
            let (fd, stat) = self.open_or_create(&name).map_err(failed)?;
            let is_link = FileType::from_raw_mode(stat.st_mode).is_symlink();
            // Users can create names, but neither `..` nor the root directory.
            let is_created_name = name != ".." && name != "/";
            if is_created_name && is_world_writable(&self.stat) && is_foreign_uid(stat.st_uid) {
                return Err(TrustedDirError::Untrusted { path });
            }
            if !is_link {
                (self.fd, self.stat, self.path) = (fd, stat, path);
                continue;
            }
            self.n_links += 1;
            if self.n_links > MAX_LINKS {
                return Err(failed(Errno::LOOP));
            }
            let target = readlinkat(&fd, "", Vec::new()).map_err(failed)?;
            let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
            for component in components(&target).into_iter().rev() {
                remaining.push_front(component);
            }
        }
        if !FileType::from_raw_mode(self.stat.st_mode).is_dir() {
            return Err(TrustedDirError::Open { path: self.path, source: Errno::NOTDIR.into() });
        }
        Ok(TrustedDir { fd: self.fd, stat: self.stat })
    }

    /// Opens the next component; creates it as a directory if it does not exist and
    /// `if_missing` asks for that.
    fn open_or_create(&self, name: &OsStr) -> Result<(OwnedFd, Stat), Errno> {
        match open_component(&self.fd, name) {
            Err(Errno::NOENT) if self.if_missing == IfMissing::Create => {
                match mkdirat(&self.fd, name, Mode::from_raw_mode(0o700)) {
                    // If another process was first, the caller checks the owner of
                    // its directory like that of any other.
                    Err(Errno::EXIST) | Ok(()) => open_component(&self.fd, name),
                    Err(errno) => Err(errno),
                }
            }
            result => result,
        }
    }
}

fn open_component(dir: &impl AsFd, name: &OsStr) -> Result<(OwnedFd, Stat), Errno> {
    let fd = openat(dir, name, COMPONENT_FLAGS, Mode::empty())?;
    let stat = fstat(&fd)?;
    Ok((fd, stat))
}

/// Returns the components of `path` without `.`; the first one of an absolute path
/// is `/`.
fn components(path: &Path) -> VecDeque<OsString> {
    let components = path.components().filter(|it| *it != Component::CurDir);
    components.map(|it| it.as_os_str().to_owned()).collect()
}
