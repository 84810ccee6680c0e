//! The location of the state file.
use std::path::{Path, PathBuf};

use rustix::{
    fs::{Access, access},
    process::geteuid,
};

use super::StateFileError;
use crate::sys::trusted_file::{IfMissing, TrustedDirError, TrustedPath};

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

/// Converts an error for a path that was set explicitly.
fn path_error(path: &Path, error: TrustedDirError) -> StateFileError {
    match error {
        TrustedDirError::Open(errno) => {
            StateFileError::File { action: "lock", path: path.to_owned(), source: errno.into() }
        }
        untrusted => StateFileError::UntrustedPath(untrusted),
    }
}

fn is_writable(dir: &Path) -> bool {
    access(dir, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

impl StateLocation {
    /// Opens the directory of the file. The user's own directory and its parents
    /// are created if they are missing.
    pub(super) fn open(&self) -> Result<TrustedPath, StateFileError> {
        let (shared_dir, user_dir, name) = match self {
            Self::File(path) => {
                return TrustedPath::open_parent(path, IfMissing::Fail)
                    .map_err(|error| path_error(path, error));
            }
            Self::InUserDirectory { shared_dir, user_dir, name } => (shared_dir, user_dir, name),
        };
        let user = geteuid().as_raw().to_string();
        let shared_dir =
            shared_dir.as_ref().filter(|root| is_writable(&root.join(&user)) || is_writable(root));
        let root = shared_dir.or(user_dir.as_ref()).ok_or(StateFileError::NoDirectory)?;
        let directory = root.join(user);
        let path = match TrustedPath::open_parent(&directory.join(name), IfMissing::Create) {
            Ok(path) => path,
            Err(TrustedDirError::Open(errno)) => {
                let source = errno.into();
                return Err(StateFileError::CreateDirectory { path: directory, source });
            }
            Err(untrusted) => return Err(StateFileError::UntrustedPath(untrusted)),
        };
        match path.directory.distrust() {
            Some(reason) => Err(StateFileError::Untrusted { path: directory, reason }),
            None => Ok(path),
        }
    }
}
