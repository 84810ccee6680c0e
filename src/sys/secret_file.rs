//! Files that contain a password or passphrase.
use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use super::trusted_file::{FilePolicy, TrustedFileError, open_named};
use crate::model::{problem::Hints, secret::Secret};

/// Maximum size of a secret file.
const MAX_FILE_BYTES: u64 = 4096;
/// Capacity of the buffer for a file, which must never grow.
const BUFFER_BYTES: usize = 2 * MAX_FILE_BYTES as usize;

/// Failure to read a secret from a file.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The file cannot be opened or read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Path of the secret file.
        path: PathBuf,
        /// Cause from the operating system.
        source: io::Error,
    },
    /// Other users may read the file.
    #[error("cannot use {}: others may read it", path.display())]
    NotPrivate {
        /// Path of the secret file.
        path: PathBuf,
    },
    /// The file is too long, or its first line is empty.
    #[error("cannot use {}: {problem}", path.display())]
    Malformed {
        /// Path of the secret file.
        path: PathBuf,
        /// Description of the malformed content, for the message.
        problem: &'static str,
    },
}

impl Hints for SecretFileError {
    fn hints(&self) -> Vec<String> {
        vec![self.hint()]
    }
}

impl SecretFileError {
    /// Returns a hint on how to fix the problem.
    fn hint(&self) -> String {
        match self {
            Self::Read { path, .. } => {
                format!("Try, as the user that runs the check: wc -c {}", path.display())
            }
            Self::NotPrivate { path } => format!("chmod 600 {}", path.display()),
            Self::Malformed { .. } => {
                "Write the password in the first line of the file.".to_owned()
            }
        }
    }
}

/// Reads the first line of a file that other users cannot read.
///
/// # Errors
///
/// Returns an error if the file cannot be read, if others can read it, if it is
/// longer than 4096 bytes, or if its first line is empty.
pub fn read(path: &Path) -> Result<Secret, SecretFileError> {
    let file = open_named(path, FilePolicy::secret()).map_err(|error| match error {
        TrustedFileError::Distrust(_) => SecretFileError::NotPrivate { path: path.to_owned() },
        error => read_error(path, error.into()),
    })?;
    // The capacity covers the whole file: a buffer that grows leaves copies of the secret
    // in freed memory.
    let mut text = Zeroizing::new(String::with_capacity(BUFFER_BYTES));
    file.take(MAX_FILE_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(|source| read_error(path, source))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(malformed(path, "it is longer than 4096 bytes"));
    }
    match text.lines().next() {
        None | Some("") => Err(malformed(path, "its first line is empty")),
        Some(line) => Ok(Secret::new(line.to_owned())),
    }
}

fn read_error(path: &Path, source: io::Error) -> SecretFileError {
    SecretFileError::Read { path: path.to_owned(), source }
}

fn malformed(path: &Path, problem: &'static str) -> SecretFileError {
    SecretFileError::Malformed { path: path.to_owned(), problem }
}
