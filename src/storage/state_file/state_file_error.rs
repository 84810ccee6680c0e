//! Errors of the state file, with suggested remedies.
use std::{
    io,
    path::{Path, PathBuf},
};

use rustix::io::Errno;

use super::FORMAT_VERSION;
use crate::{
    model::problem::Hints,
    sys::trusted_file::{Distrust, TrustedDirError, TrustedFileError, parent_directory},
};

/// An error that prevents the use of the state file.
#[derive(Debug, thiserror::Error)]
pub enum StateFileError {
    /// No directory for the file is available.
    #[error("cannot find a directory for the state file")]
    NoDirectory,
    /// The directory cannot be created.
    #[error("cannot create the directory {}", path.display())]
    CreateDirectory {
        /// Path of the file or directory.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Another user may have planted or changed the file or directory.
    #[error("cannot trust {}: {reason}", path.display())]
    Untrusted {
        /// Path of the file or directory.
        path: PathBuf,
        /// The reason.
        reason: Distrust,
    },
    /// The path to its directory leads through a link or directory of another
    /// user.
    #[error(transparent)]
    UntrustedPath(TrustedDirError),
    /// The file cannot be opened, read, written or renamed.
    #[error("cannot {action} the state file {}", path.display())]
    File {
        /// The failed action, as a verb.
        action: &'static str,
        /// Path of the state file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Another run holds the lock.
    #[error("cannot lock the state file {}: another run holds the lock", path.display())]
    Locked {
        /// Path of the state file.
        path: PathBuf,
    },
    /// Another run holds the lock for sending a mail.
    #[error("another run with the state file {} is still sending its mail", path.display())]
    MailLocked {
        /// Path of the state file.
        path: PathBuf,
    },
    /// A newer topip wrote the file.
    #[error("the state file {} has version {version}, and this topip supports {FORMAT_VERSION}", path.display())]
    NewerVersion {
        /// Path of the state file.
        path: PathBuf,
        /// Format version of the file.
        version: u32,
    },
    /// The file belongs to another check.
    #[error("the state file {} belongs to a check of {servers}", path.display())]
    OtherCheck {
        /// Path of the state file.
        path: PathBuf,
        /// Servers of that check.
        servers: String,
    },
}

impl Hints for StateFileError {
    fn hints(&self) -> Vec<String> {
        vec![self.hint()]
    }
}

impl StateFileError {
    /// Converts an error of opening or locking `file`, which is the state file or one of its
    /// locks. `action` is the failed action on the state file at `path`.
    pub(super) fn from_file(
        action: &'static str,
        path: &Path,
        file: &Path,
        error: TrustedFileError,
    ) -> Self {
        let (path, file) = (path.to_owned(), file.to_owned());
        match error {
            TrustedFileError::Distrust(reason) => Self::Untrusted { path: file, reason },
            TrustedFileError::Inspect(source) => {
                Self::File { action: "inspect", path: file, source }
            }
            TrustedFileError::Locked => Self::Locked { path },
            // The message of the operating system would be "too many levels".
            TrustedFileError::Open(error) if Errno::from_io_error(&error) == Some(Errno::LOOP) => {
                let source = io::Error::other("it is a symbolic link");
                Self::File { action, path, source }
            }
            TrustedFileError::Open(source) | TrustedFileError::Lock(source) => {
                Self::File { action, path, source }
            }
        }
    }

    /// Returns the suggested remedy.
    fn hint(&self) -> String {
        match self {
            Self::NoDirectory => "Create /var/lib/topip, writable for the user that runs the \
                               check, or set HOME, or use `--state-file`."
                .to_owned(),
            Self::CreateDirectory { path, .. } => format!(
                "Make {} or /var/lib/topip writable for the user that runs the check, or use \
                 `--state-file`.",
                parent_directory(path).display()
            ),
            Self::UntrustedPath(_) => {
                "Use a directory that no other user can write to, with `--state-file`.".to_owned()
            }
            Self::Untrusted { path, reason: Distrust::NotRegularFile | Distrust::HardLinked } => {
                format!("Name another file with `--state-file`; see ls -ld {}", path.display())
            }
            Self::Untrusted { path, reason: Distrust::WritableByOthers } => {
                format!("chmod go-w {}", path.display())
            }
            Self::Untrusted { .. } => {
                "Run the check as one user, or give each its own `--state-file`.".to_owned()
            }
            Self::File { path, source, .. } => match source.kind() {
                io::ErrorKind::NotFound => {
                    format!("Create the directory {}", parent_directory(path).display())
                }
                io::ErrorKind::PermissionDenied => {
                    format!(
                        "Check that this user can write to the directory, and that no other user \
                         ran the check before: ls -ld {} {}*",
                        parent_directory(path).display(),
                        path.display()
                    )
                }
                io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::ReadOnlyFilesystem => {
                    format!(
                        "Check the file system: df {0}; df -i {0}",
                        parent_directory(path).display()
                    )
                }
                _ => {
                    format!(
                        "Remove it, or use another `--state-file`; see ls -l {}*",
                        path.display()
                    )
                }
            },
            Self::Locked { .. } => {
                "Check whether a run is stopped or slow. Consecutive runs should not overlap."
                    .to_owned()
            }
            Self::MailLocked { .. } => {
                "Check whether the mail server is slow, or a run is stopped.".to_owned()
            }
            Self::NewerVersion { path, .. } => {
                format!("Install the newer topip again, or remove {}", path.display())
            }
            Self::OtherCheck { .. } => "Give each check its own `--state-file`.".to_owned(),
        }
    }
}
