//! Where the state file is.
use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Access, OFlags, access},
    process::geteuid,
};

use super::{StateFileError, open, trust_owner};

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

impl Place {
    /// The file's path; makes the folders above it where they are ours to make.
    pub(super) fn path(&self) -> Result<PathBuf, StateFileError> {
        let (shared, own, name) = match self {
            Self::File(path) => return Ok(path.clone()),
            Self::Below { shared, own, name } => (shared, own, name),
        };
        let user = geteuid().as_raw().to_string();
        let writable = |folder: &Path| access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok();
        let shared = shared.as_ref().filter(|root| writable(&root.join(&user)) || writable(root));
        let root = shared.or(own.as_ref()).ok_or(StateFileError::NoFolder)?;
        let folder = root.join(user);
        let failed = |source| StateFileError::Folder { path: folder.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed)?;
        let opened = open(&folder, OFlags::RDONLY | OFlags::DIRECTORY).map_err(failed)?;
        trust_owner(&opened, &folder)?;
        Ok(folder.join(name))
    }
}
