//! The location of the state file.
#![expect(clippy::disallowed_types, reason = "the state file is opened here")]
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

use crate::sys::trusted_file::{IfMissing, TrustedDir, TrustedDirError};

use super::{
    StateFileError,
    state_file_error::{FOREIGN_OWNER, WRITABLE_BY_OTHERS},
};

/// The configured location of the state file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateLocation {
    /// The path of the file.
    File(PathBuf),
    /// A file in a directory of this user.
    InUserDirectory {
        /// Parent of all users' directories. It is used only if it exists and is
        /// writable, or contains a writable directory of this user. It is never
        /// created: a run as root would lock out all other users.
        shared_dir: Option<PathBuf>,
        /// Parent directory used otherwise; created if it is missing.
        user_dir: Option<PathBuf>,
        /// Name of the file.
        name: String,
    },
}

/// The path of a state file with its open directory.
#[derive(Debug)]
pub(super) struct StatePaths {
    pub(super) path: PathBuf,
    directory: TrustedDir,
    name: OsString,
}

/// Converts an error for a path that was set explicitly.
fn path_error(path: &Path, error: TrustedDirError) -> StateFileError {
    match error {
        TrustedDirError::Open { source, .. } => {
            StateFileError::File { action: "lock", path: path.to_owned(), source }
        }
        untrusted => StateFileError::UntrustedPath(untrusted),
    }
}

impl StateLocation {
    /// Opens the directory of the file. The user's own directory and its parents
    /// are created if they are missing.
    pub(super) fn open(&self) -> Result<StatePaths, StateFileError> {
        let (shared_dir, user_dir, name) = match self {
            Self::File(path) => {
                return StatePaths::open_directory(path.clone(), IfMissing::Fail)
                    .map_err(|error| path_error(path, error));
            }
            Self::InUserDirectory { shared_dir, user_dir, name } => (shared_dir, user_dir, name),
        };
        let user = geteuid().as_raw().to_string();
        let is_writable = |path: &Path| access(path, Access::WRITE_OK | Access::EXEC_OK).is_ok();
        let shared_dir =
            shared_dir.as_ref().filter(|root| is_writable(&root.join(&user)) || is_writable(root));
        let root = shared_dir.or(user_dir.as_ref()).ok_or(StateFileError::NoDirectory)?;
        let directory = root.join(user);
        let to_error = |error| match error {
            TrustedDirError::Open { source, .. } => {
                StateFileError::CreateDirectory { path: directory.clone(), source }
            }
            untrusted => StateFileError::UntrustedPath(untrusted),
        };
        let paths = StatePaths::open_directory(directory.join(name), IfMissing::Create)
            .map_err(to_error)?;
        if paths.directory.is_foreign() {
            return Err(StateFileError::Untrusted { path: directory, problem: FOREIGN_OWNER });
        }
        if paths.directory.mode() & 0o022 != 0 {
            return Err(StateFileError::Untrusted { path: directory, problem: WRITABLE_BY_OTHERS });
        }
        Ok(paths)
    }
}

impl StatePaths {
    fn open_directory(path: PathBuf, if_missing: IfMissing) -> Result<Self, TrustedDirError> {
        let (directory, name) = TrustedDir::open_parent_of(&path, if_missing)?;
        Ok(Self { path, directory, name })
    }

    /// Returns the name of the file, with `extension` appended unless it is empty.
    fn name(&self, extension: &str) -> OsString {
        let mut name = self.name.clone();
        if !extension.is_empty() {
            name.push(".");
            name.push(extension);
        }
        name
    }

    /// Opens the file without following a link, and without waiting for the other
    /// end of a pipe.
    pub(super) fn open(&self, extension: &str, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o640);
        let opened = openat(&self.directory, self.name(extension), flags, mode);
        opened.map(File::from).map_err(|errno| match errno {
            // The message of the operating system would be "too many levels".
            Errno::LOOP => io::Error::other("it is a symbolic link"),
            errno => errno.into(),
        })
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(renameat(&self.directory, self.name(from), &self.directory, self.name(to))?)
    }

    pub(super) fn remove(&self, extension: &str) -> io::Result<()> {
        Ok(unlinkat(&self.directory, self.name(extension), AtFlags::empty())?)
    }
}
