//! Why the state file cannot be used, and what to do about it.
use std::{io, path::PathBuf};

use crate::sys::trusted_file::FolderError;

use super::{VERSION, parent};

/// Why the state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateFileError {
    /// There is no folder to put it in.
    #[error("there is no folder for the state file")]
    NoFolder,
    /// The folder cannot be made.
    #[error("cannot make the folder {}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file or folder is where somebody else can put what he likes.
    #[error("cannot trust {}: {problem}", path.display())]
    Untrusted {
        /// Which.
        path: PathBuf,
        /// Why not.
        problem: &'static str,
    },
    /// The way to its folder cannot be gone.
    #[error(transparent)]
    Way(FolderError),
    /// It cannot be opened, read, written or renamed.
    #[error("cannot {action} the state file {}", path.display())]
    File {
        /// Which of these.
        action: &'static str,
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another run has it, and does not let go.
    #[error("the state file {} is held by another run", path.display())]
    Held {
        /// Its path.
        path: PathBuf,
    },
    /// Another run is sending the mail, and does not come to an end.
    #[error("another run of the state file {} is still sending its mail", path.display())]
    Mailing {
        /// Its path.
        path: PathBuf,
    },
    /// A newer topip wrote it.
    #[error("the state file {} is of version {version}, and this topip knows {VERSION}", path.display())]
    Newer {
        /// Its path.
        path: PathBuf,
        /// The version that it says it has.
        version: u32,
    },
    /// Another check writes to the same file.
    #[error("the state file {} is that of a check of {servers}", path.display())]
    Foreign {
        /// Its path.
        path: PathBuf,
        /// What that check looks at.
        servers: String,
    },
}

impl StateFileError {
    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> String {
        match self {
            Self::NoFolder => "Make /var/lib/topip, writable for the user that runs the check, \
                               or set HOME, or use --state-file."
                .to_owned(),
            Self::Folder { path, .. } => format!(
                "Make {} or /var/lib/topip writable for the user that runs the check, or use \
                 --state-file.",
                parent(path).display()
            ),
            Self::Way(_) => "Keep it where nobody else may write, with --state-file.".to_owned(),
            Self::Untrusted { path, problem: NOT_A_FILE | LINKED } => {
                format!("Name another file with --state-file; see ls -ld {}", path.display())
            }
            Self::Untrusted { path, problem: OPEN } => {
                format!("chmod go-w {}", path.display())
            }
            Self::Untrusted { .. } => {
                "Run the check as one user, or give each its own --state-file.".to_owned()
            }
            Self::File { path, source, .. } => match source.kind() {
                io::ErrorKind::NotFound => format!("Make the folder {}", parent(path).display()),
                io::ErrorKind::PermissionDenied => {
                    format!("Was the check run as another user before? ls -l {}*", path.display())
                }
                io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::ReadOnlyFilesystem => {
                    format!("df {0}; df -i {0}", parent(path).display())
                }
                _ => {
                    format!("Remove it, or use another --state-file; see ls -l {}*", path.display())
                }
            },
            Self::Held { .. } => {
                "Is a check stopped or slow? Two checks on end should not overlap.".to_owned()
            }
            Self::Mailing { .. } => "Is the mail server slow, or a check stopped?".to_owned(),
            Self::Newer { path, .. } => {
                format!("Install the newer topip again, or remove {}", path.display())
            }
            Self::Foreign { .. } => "Give each check its own --state-file.".to_owned(),
        }
    }
}

pub(super) const ANOTHERS: &str = "it belongs to another user";
pub(super) const LINKED: &str = "it has another name (a hard link)";
pub(super) const NOT_A_FILE: &str = "it is not a regular file";
pub(super) const OPEN: &str = "others may write to it";
