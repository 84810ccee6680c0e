//! Opens the folder that a file is in, where others may write on the way to it.
//!
//! In `/tmp` and the like anybody can put a link or a folder where somebody
//! else's path leads through. The kernel follows such a link for nobody but its
//! owner, where `fs.protected_symlinks` is set, and folders always. Here neither
//! is, wherever everybody may write; and what is done within the folder goes by
//! its descriptor, so that nobody can put another in its place meanwhile.
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

/// How many links a path may lead through, as in the kernel.
const MOST_LINKS: usize = 40;
const PASSING: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// An open folder, and the name of a file in it.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
    stat: Stat,
}

/// Why the way to a file cannot be gone.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It is not there, or shut, or no folder.
    #[error("cannot open {}", path.display())]
    Open {
        /// The folder, as far as it was come.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else has put it there.
    #[error("cannot trust {}: it belongs to another user, and everybody may write to its folder", path.display())]
    Planted {
        /// The link or folder.
        path: PathBuf,
    },
}

/// What is done about folders that are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// They are made, for this user alone.
    Make,
    /// It is an error.
    Fail,
}

impl Folder {
    /// Opens the folder of `file`; gives the name of the file, too.
    ///
    /// # Errors
    ///
    /// Where it is missing, or the way leads through what somebody else has put
    /// where everybody may write.
    pub fn of(file: &Path, missing: Missing) -> Result<(Self, OsString), FolderError> {
        let name = file.file_name().ok_or_else(|| FolderError::Open {
            path: file.to_owned(),
            source: Errno::ISDIR.into(),
        })?;
        let folder = file.parent().unwrap_or(Path::new(""));
        Ok((Walk::start(missing)?.to(folder)?, name.to_owned()))
    }

    /// Opens `file` in its folder, and in that only; where it is a link, what that
    /// leads to, unless somebody else has put it where everybody may write.
    ///
    /// # Errors
    ///
    /// As above, and where it cannot be opened.
    pub fn open_linked(
        file: &Path,
        flags: OFlags,
        mode: Mode,
    ) -> Result<(Self, OwnedFd), FolderError> {
        let mut path = file.to_owned();
        for _ in 0..MOST_LINKS {
            let (folder, name) = Self::of(&path, Missing::Make)?;
            let failed =
                |errno: Errno| FolderError::Open { path: path.clone(), source: errno.into() };
            match openat(&folder, &name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, mode) {
                Err(Errno::LOOP) => {}
                opened => return opened.map_err(failed).map(|opened| (folder, opened)),
            }
            let link = passed(&folder, &name).map_err(failed)?;
            if folder.is_shared() && is_other(link.1.st_uid) {
                return Err(FolderError::Planted { path });
            }
            let target = readlinkat(&link.0, "", Vec::new()).map_err(failed)?;
            path = path.with_file_name(OsString::from_vec(target.into_bytes()));
        }
        Err(FolderError::Open { path, source: Errno::LOOP.into() })
    }

    /// Whether it is somebody else's than this user's and root's.
    #[must_use]
    pub fn is_anothers(&self) -> bool {
        is_other(self.stat.st_uid)
    }

    /// Whether somebody can put into it what he likes: it is his, or everybody's.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.is_anothers() || is_open(&self.stat)
    }

    /// Its permissions.
    #[must_use]
    pub fn mode(&self) -> u32 {
        self.stat.st_mode & 0o7777
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether `owner` is somebody else than this user and root.
fn is_other(owner: u32) -> bool {
    owner != 0 && owner != geteuid().as_raw()
}

/// Whether everybody may write to it.
fn is_open(stat: &Stat) -> bool {
    stat.st_mode & 0o002 != 0
}

/// A path, as far as it was gone.
struct Walk {
    missing: Missing,
    fd: OwnedFd,
    stat: Stat,
    path: PathBuf,
    n_links: usize,
}

impl Walk {
    fn start(missing: Missing) -> Result<Self, FolderError> {
        let (fd, stat) = passed(&CWD, OsStr::new(".")).map_err(|errno| FolderError::Open {
            path: PathBuf::from("."),
            source: errno.into(),
        })?;
        Ok(Self { missing, fd, stat, path: PathBuf::new(), n_links: 0 })
    }

    /// Goes all of `folder`.
    fn to(mut self, folder: &Path) -> Result<Folder, FolderError> {
        let mut rest: VecDeque<OsString> = steps(folder);
        while let Some(name) = rest.pop_front() {
            let path = self.path.join(&name);
            let failed =
                |errno: Errno| FolderError::Open { path: path.clone(), source: errno.into() };
            let (fd, stat) = self.step(&name).map_err(failed)?;
            let is_link = FileType::from_raw_mode(stat.st_mode).is_symlink();
            let is_named_there = name != ".." && name != "/";
            if is_named_there && is_open(&self.stat) && is_other(stat.st_uid) {
                return Err(FolderError::Planted { path });
            }
            if !is_link {
                (self.fd, self.stat, self.path) = (fd, stat, path);
                continue;
            }
            self.n_links += 1;
            if self.n_links > MOST_LINKS {
                return Err(failed(Errno::LOOP));
            }
            let target = readlinkat(&fd, "", Vec::new()).map_err(failed)?;
            let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
            for step in steps(&target).into_iter().rev() {
                rest.push_front(step);
            }
        }
        if !FileType::from_raw_mode(self.stat.st_mode).is_dir() {
            return Err(FolderError::Open { path: self.path, source: Errno::NOTDIR.into() });
        }
        Ok(Folder { fd: self.fd, stat: self.stat })
    }

    /// Opens what is next, and makes it where it is to be made.
    fn step(&self, name: &OsStr) -> Result<(OwnedFd, Stat), Errno> {
        match passed(&self.fd, name) {
            Err(Errno::NOENT) if self.missing == Missing::Make => {
                match mkdirat(&self.fd, name, Mode::from_raw_mode(0o700)) {
                    // Somebody else was first: it is looked at whoever that was.
                    Err(Errno::EXIST) | Ok(()) => passed(&self.fd, name),
                    Err(errno) => Err(errno),
                }
            }
            passed => passed,
        }
    }
}

fn passed(folder: &impl AsFd, name: &OsStr) -> Result<(OwnedFd, Stat), Errno> {
    let fd = openat(folder, name, PASSING, Mode::empty())?;
    let stat = fstat(&fd)?;
    Ok((fd, stat))
}

/// The names on the way to `path`; `/` is the first of an absolute one.
fn steps(path: &Path) -> VecDeque<OsString> {
    let steps = path.components().filter(|it| *it != Component::CurDir);
    steps.map(|it| it.as_os_str().to_owned()).collect()
}
