//! A file that is replaced by the output of a run.
use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process,
};

use rustix::fs::{Mode, OFlags, fchmod};

use crate::{
    model::problem::Hints,
    sys::trusted_file::{FilePolicy, IfMissing, TrustedDirError, TrustedFileError, TrustedPath},
};

/// Mode of the file: the collector that reads it runs as another user.
const FILE_MODE: Mode = Mode::from_raw_mode(0o644);

/// Failure to replace the output file.
#[derive(Debug, thiserror::Error)]
pub enum OutputFileError {
    /// The file, or its new version in the same directory, cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The path leads through a link or directory of another user.
    #[error(transparent)]
    UntrustedPath(TrustedDirError),
}

impl Hints for OutputFileError {
    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Write { path, .. } => {
                let directory = path.parent().unwrap_or(path).display();
                format!(
                    "Name a file in a directory that this user can write to: ls -ld {directory}"
                )
            }
            Self::UntrustedPath(_) => "Name a file in another directory.".to_owned(),
        };
        vec![hint]
    }
}

/// Replaces the file at `path` with a file that contains `text` and has mode 0644. The new file
/// is written in the same directory and then renamed, so that a reader sees the old or the new
/// text.
///
/// # Errors
///
/// Returns an error if the file cannot be written, or if the path is that of a directory, a
/// device or another special file.
pub fn replace(path: &Path, text: &str) -> Result<(), OutputFileError> {
    let failed = |source| OutputFileError::Write { path: path.to_owned(), source };
    let location =
        TrustedPath::open_parent(path, IfMissing::Fail).map_err(|error| match error {
            TrustedDirError::Untrusted { .. } => OutputFileError::UntrustedPath(error),
            TrustedDirError::Open(errno) => failed(errno.into()),
        })?;
    require_regular_file(&location).map_err(failed)?;
    // The process ID keeps overlapping runs apart.
    let new = location.with_added_extension(&format!("{}.new", process::id()));
    let result = write_new(&new, text).and_then(|()| new.rename_to(&location));
    if result.is_err() {
        // The error of the write is returned; an error here adds nothing.
        let _ = new.remove();
    }
    result.map_err(failed)
}

/// Checks that the output can replace an existing file.
///
/// # Errors
///
/// Returns an error if a file with this name exists and is not a regular file.
fn require_regular_file(location: &TrustedPath) -> io::Result<()> {
    match location.is_regular_file() {
        Ok(false) => Err(io::Error::other("it is not a regular file")),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn write_new(path: &TrustedPath, text: &str) -> io::Result<()> {
    let file = path.create_new(OFlags::WRONLY, FilePolicy::default());
    let mut file = file.map_err(|error: TrustedFileError| io::Error::from(error))?;
    fchmod(&file, FILE_MODE)?;
    file.write_all(text.as_bytes())
}
