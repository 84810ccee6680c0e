//! Opens the directory of a file on a path that other users may write to.
//!
//! In `/tmp` and similar directories any user can plant a link or a directory on
//! the path of another user's file. With `fs.protected_symlinks` set, the kernel
//! follows such a link only for its owner; it always follows directories. This
//! module follows neither in a world-writable directory, unless the link or directory
//! belongs to root or this user. Later operations use the descriptor of the directory, so
//! that the directory cannot be replaced in the meantime.
use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    os::unix::ffi::OsStringExt,
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, Stat, fstat, mkdirat, openat, readlinkat},
    io::Errno,
};

use super::policy::{Distrust, WRITE_BY_OTHERS, is_foreign_uid};

/// Maximum number of symbolic links on a path, as in the kernel.
pub(super) const MAX_LINKS: usize = 40;
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
    #[error(transparent)]
    Open(#[from] Errno),
    /// A link or directory belongs to another user, in a directory where other
    /// users may write.
    #[error("cannot trust {}: it belongs to another user, and every user may write to its directory", path.display())]
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
    /// Opens the directory at `path`.
    pub(super) fn open(path: &Path, if_missing: IfMissing) -> Result<Self, TrustedDirError> {
        PathWalk::new(path, if_missing)?.open_dir(path)
    }

    /// Returns true if the owner of the directory is neither this user nor root.
    pub fn is_foreign(&self) -> bool {
        is_foreign_uid(self.stat.st_uid)
    }

    /// Returns true if another user can create files in the directory: the
    /// directory belongs to that user or is world-writable.
    pub fn writable_by_others(&self) -> bool {
        self.is_foreign() || is_world_writable(&self.stat)
    }

    /// Returns the reason why the directory is not for this user and root only;
    /// `None` if no other user can write to it.
    pub fn distrust(&self) -> Option<Distrust> {
        if self.is_foreign() {
            return Some(Distrust::ForeignOwner);
        }
        if self.stat.st_mode & WRITE_BY_OTHERS != 0 {
            return Some(Distrust::WritableByOthers);
        }
        None
    }
}

impl AsFd for TrustedDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
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
    /// Starts in the root directory, or for a relative path in the current directory. This
    /// user may be denied access to the latter, as by `sudo -u nagios` in root's home.
    fn new(dir: &Path, if_missing: IfMissing) -> Result<Self, TrustedDirError> {
        let start = if dir.is_absolute() { "/" } else { "." };
        let (fd, stat) = open_component(&CWD, OsStr::new(start))?;
        Ok(Self { if_missing, fd, stat, path: PathBuf::new(), n_links: 0 })
    }

    /// Walks all components of `dir` and returns the directory at its end.
    fn open_dir(mut self, dir: &Path) -> Result<TrustedDir, TrustedDirError> {
        let mut remaining: VecDeque<OsString> = components(dir);
        while let Some(name) = remaining.pop_front() {
            let path = self.path.join(&name);
            let (fd, stat) = self.open_or_create(&name)?;
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
                return Err(Errno::LOOP.into());
            }
            let target = read_link(&fd)?;
            for component in components(&target).into_iter().rev() {
                remaining.push_front(component);
            }
        }
        if !FileType::from_raw_mode(self.stat.st_mode).is_dir() {
            return Err(Errno::NOTDIR.into());
        }
        Ok(TrustedDir { fd: self.fd, stat: self.stat })
    }

    /// Opens the next component; creates it as a directory if it does not exist and
    /// `if_missing` is `Create`.
    fn open_or_create(&self, name: &OsStr) -> Result<(OwnedFd, Stat), Errno> {
        match open_component(&self.fd, name) {
            Err(Errno::NOENT) if self.if_missing == IfMissing::Create => {
                match mkdirat(&self.fd, name, Mode::from_raw_mode(0o700)) {
                    // If another process has created the directory first, the caller
                    // checks its owner as for any other directory.
                    Err(Errno::EXIST) | Ok(()) => open_component(&self.fd, name),
                    Err(errno) => Err(errno),
                }
            }
            result => result,
        }
    }
}

pub(super) fn open_component(dir: &impl AsFd, name: &OsStr) -> Result<(OwnedFd, Stat), Errno> {
    let fd = openat(dir, name, COMPONENT_FLAGS, Mode::empty())?;
    let stat = fstat(&fd)?;
    Ok((fd, stat))
}

pub(super) fn read_link(link: &OwnedFd) -> Result<PathBuf, Errno> {
    let target = readlinkat(link, "", Vec::new())?;
    Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
}

/// Returns the components of `path` without `.`; the first one of an absolute path
/// is `/`.
fn components(path: &Path) -> VecDeque<OsString> {
    let components = path.components().filter(|it| *it != Component::CurDir);
    components.map(|it| it.as_os_str().to_owned()).collect()
}
