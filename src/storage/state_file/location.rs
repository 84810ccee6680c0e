//! Where the state file is.
#![expect(clippy::disallowed_types, reason = "this is where the state file is opened")]
use std::{
    ffi::OsString,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Access, AtFlags, Mode, OFlags, access, openat, renameat, unlinkat},
    io::Errno,
    process::geteuid,
};

use crate::sys::trusted_file::{Folder, FolderError, Missing};

use super::{
    StateFileError,
    state_file_error::{ANOTHERS, OPEN},
};

/// Where the state file is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Just there.
    File(PathBuf),
    /// In a folder of this user's own.
    Below {
        /// The root of all users' folders, where a package has made it, and this
        /// user's folder in it or leave to make one. Made by a run as root, it
        /// would shut out everybody else.
        shared: Option<PathBuf>,
        /// The root otherwise, which is made where it is missing.
        own: Option<PathBuf>,
        /// The file's name.
        name: String,
    },
}

/// A file's path, and its folder, which is open.
#[derive(Debug)]
pub(super) struct Spot {
    pub(super) path: PathBuf,
    folder: Folder,
    name: OsString,
}

/// Why there is no way to a file that was asked for.
fn no_way(path: &Path, error: FolderError) -> StateFileError {
    match error {
        FolderError::Open { source, .. } => {
            StateFileError::File { action: "lock", path: path.to_owned(), source }
        }
        planted => StateFileError::Way(planted),
    }
}

impl Place {
    /// Opens the file's folder; makes it, and those above it, where they are ours
    /// to make.
    pub(super) fn spot(&self) -> Result<Spot, StateFileError> {
        let (shared, own, name) = match self {
            Self::File(path) => {
                return Spot::at(path.clone(), Missing::Fail).map_err(|error| no_way(path, error));
            }
            Self::Below { shared, own, name } => (shared, own, name),
        };
        let user = geteuid().as_raw().to_string();
        let writable = |folder: &Path| access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok();
        let shared = shared.as_ref().filter(|root| writable(&root.join(&user)) || writable(root));
        let root = shared.or(own.as_ref()).ok_or(StateFileError::NoFolder)?;
        let folder = root.join(user);
        let failed = |error| match error {
            FolderError::Open { source, .. } => {
                StateFileError::Folder { path: folder.clone(), source }
            }
            planted => StateFileError::Way(planted),
        };
        let spot = Spot::at(folder.join(name), Missing::Make).map_err(failed)?;
        if spot.folder.is_anothers() {
            return Err(StateFileError::Untrusted { path: folder, problem: ANOTHERS });
        }
        if spot.folder.mode() & 0o022 != 0 {
            return Err(StateFileError::Untrusted { path: folder, problem: OPEN });
        }
        Ok(spot)
    }
}

impl Spot {
    fn at(path: PathBuf, missing: Missing) -> Result<Self, FolderError> {
        let (folder, name) = Folder::of(&path, missing)?;
        Ok(Self { path, folder, name })
    }

    /// The name of the file with this extension more, if it is any.
    fn name(&self, extension: &str) -> OsString {
        let mut name = self.name.clone();
        if !extension.is_empty() {
            name.push(".");
            name.push(extension);
        }
        name
    }

    /// Opens it without following a link, and without waiting for the other end
    /// of a pipe.
    pub(super) fn open(&self, extension: &str, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o640);
        let opened = openat(&self.folder, self.name(extension), flags, mode);
        opened.map(File::from).map_err(|errno| match errno {
            // The system's words for it are "too many levels".
            Errno::LOOP => io::Error::other("it is a symbolic link"),
            errno => errno.into(),
        })
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(renameat(&self.folder, self.name(from), &self.folder, self.name(to))?)
    }

    pub(super) fn remove(&self, extension: &str) -> io::Result<()> {
        Ok(unlinkat(&self.folder, self.name(extension), AtFlags::empty())?)
    }
}
