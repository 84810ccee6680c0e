//! Files with a password or passphrase in them.
#![expect(clippy::disallowed_types, reason = "this is where such a file is opened")]
use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::process::geteuid;
use zeroize::Zeroizing;

use crate::model::secret::Secret;

/// How long a password may be.
const LONGEST: u64 = 4096;
/// What is read into.
const ROOM: usize = 2 * LONGEST as usize;

/// Why a file gives no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no secret.
    #[error("cannot use {}: others may read it", path.display())]
    Open {
        /// Which.
        path: PathBuf,
    },
    /// It is no line of text.
    #[error("cannot use {}: {problem}", path.display())]
    Form {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl SecretFileError {
    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> String {
        match self {
            Self::Read { path, .. } => {
                format!("As the user that runs the check: wc -c {}", path.display())
            }
            Self::Open { path } => format!("chmod 600 {}", path.display()),
            Self::Form { .. } => "Write the password in the first line of the file.".to_owned(),
        }
    }
}

/// Reads the first line of a file that nobody else can read.
///
/// # Errors
///
/// Where it cannot be read, or others can read it, or there is nothing in it.
pub fn read(path: &Path) -> Result<Secret, SecretFileError> {
    let failed = |source| SecretFileError::Read { path: path.to_owned(), source };
    let form = |problem| SecretFileError::Form { path: path.to_owned(), problem };
    let file = File::open(path).map_err(failed)?;
    if !is_private(&file).map_err(failed)? {
        return Err(SecretFileError::Open { path: path.to_owned() });
    }
    // With room for all of it: one that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(ROOM));
    file.take(LONGEST + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > LONGEST {
        return Err(form("it is longer than 4096 bytes"));
    }
    match text.lines().next() {
        None | Some("") => Err(form("its first line is empty")),
        Some(line) => Ok(Secret::new(line.to_owned())),
    }
}

/// Whether nobody but its owner, and this user, can read `file`.
///
/// A package may give root's file to a group that this user is in; of one's own
/// file the group need not know.
///
/// # Errors
///
/// Where its mode cannot be read.
pub fn is_private(file: &File) -> io::Result<bool> {
    let metadata = file.metadata()?;
    let is_own = metadata.uid() == geteuid().as_raw();
    let others = if is_own { 0o077 } else { 0o007 };
    Ok(!metadata.is_file() || metadata.mode() & others == 0)
}
