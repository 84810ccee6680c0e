//! Errors of network namespaces, with hints.
use std::{fmt, io, path::Path, path::PathBuf};

use rustix::{
    io::Errno,
    thread::{CapabilitySet, capabilities},
};

/// Failure to find, open or enter a network namespace.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// The path does not exist.
    #[error("cannot find {}", path.display())]
    Missing {
        /// Path of the namespace file.
        path: PathBuf,
        /// Cause from the operating system.
        source: io::Error,
    },
    /// The file at the path is not a network namespace.
    #[error("{} is not a network namespace", path.display())]
    NotANamespace {
        /// Path of the file.
        path: PathBuf,
    },
    /// The namespace file cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// Path of the namespace file.
        path: PathBuf,
        /// Capabilities that the access needs.
        capability: MissingCapability,
        /// Cause from the operating system.
        source: io::Error,
    },
    /// The namespace cannot be entered.
    #[error("cannot enter the network namespace")]
    Enter {
        /// Capabilities that the access needs.
        capability: MissingCapability,
        /// Cause from the operating system.
        source: io::Error,
    },
    /// The namespace was resolved but no longer exists.
    #[error("the network namespace no longer exists")]
    Gone,
    /// The namespace has processes, but each ended before its namespace was opened.
    #[error("the processes of the network namespace end before it can be entered")]
    ShortLivedProcesses,
    /// The namespace belongs to a user whose namespaces are not selected.
    #[error("the network namespace belongs to the user with UID {uid}")]
    NotSelected {
        /// User ID of the owner.
        uid: u32,
    },
    /// The kernel does not report the owner of the namespace.
    #[error("cannot find the owner of the network namespace")]
    Owner(#[source] io::Error),
    /// No namespace belongs to the selected users.
    #[error("no network namespace belongs to the users of `--netns`")]
    NoneOfUsers,
    /// The namespaces of some processes cannot be read.
    #[error("cannot read the network {}", namespaces_of_processes(*n_processes))]
    UnreadableProcesses {
        /// Number of these processes.
        n_processes: u64,
        /// Capabilities that the access needs.
        capability: MissingCapability,
        /// Cause from the operating system, for the first of them.
        source: io::Error,
    },
    /// `/proc` shows only the processes of this user.
    #[error("cannot list the processes of other users: /proc hides them (hidepid)")]
    HiddenProcesses {
        /// Capabilities that the access needs.
        capability: MissingCapability,
    },
    /// The thread that enters the namespace cannot be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

const ENOSYS: i32 = Errno::NOSYS.raw_os_error();

fn namespaces_of_processes(n_processes: u64) -> String {
    match n_processes {
        1 => "namespace of 1 process".to_owned(),
        _ => format!("namespaces of {n_processes} processes"),
    }
}

impl NetnsError {
    /// Returns the error for a failure to open `path`.
    pub(super) fn from_open(path: &Path, errno: Errno) -> Self {
        let path = path.to_owned();
        match errno {
            // The directory and the namespace of a process vanish when it ends.
            Errno::NOENT | Errno::SRCH | Errno::NOTDIR => {
                Self::Missing { path, source: errno.into() }
            }
            _ => Self::Open {
                path,
                capability: MissingCapability::for_inspecting(),
                source: errno.into(),
            },
        }
    }

    /// Returns a hint on how to fix the problem; `None` if there is nothing to fix.
    #[must_use]
    pub(in crate::source) fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { path, .. } if path.starts_with("/proc") => Some(
                "Check that the process is running. To list containers: lsns -t net".to_owned(),
            ),
            Self::Missing { .. } | Self::NotANamespace { .. } => Some(
                "To list the names: ip netns list. For a container without a name, use pid:N of a \
                 process in it, which lsns -t net lists."
                    .to_owned(),
            ),
            Self::Open { path, .. } if !path.starts_with("/proc") => {
                Some(format!("Check that this user can read it: ls -l {}", path.display()))
            }
            Self::Enter { source, .. } if source.raw_os_error() == Some(ENOSYS) => {
                Some("The kernel does not have setns(2), or a seccomp filter blocks it.".to_owned())
            }
            Self::Open { capability, .. }
            | Self::UnreadableProcesses { capability, .. }
            | Self::HiddenProcesses { capability }
            | Self::Enter { capability, .. } => Some(capability.to_string()),
            Self::Gone | Self::ShortLivedProcesses | Self::NotSelected { .. } => None,
            Self::Owner(_) => Some(
                "The kernel is older than Linux 4.11, or a seccomp filter forbids the ioctl."
                    .to_owned(),
            ),
            Self::NoneOfUsers => Some("To list the network namespaces: lsns -t net".to_owned()),
            Self::Thread(_) => Some("Check the limit on processes: ulimit -u".to_owned()),
        }
    }
}

/// Capabilities that an operation needs, and those of them that this process lacks.
/// `Display` gives the hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingCapability {
    /// Names of the needed capabilities, as in capabilities(7).
    needed: &'static [&'static str],
    /// Names of the needed capabilities that this process does not have. Empty if
    /// the operation was refused despite the capabilities.
    missing: Vec<&'static str>,
}

impl MissingCapability {
    /// Checks the capability to enter a namespace (setns(2)).
    pub(super) fn for_entering() -> Self {
        Self::new(&["CAP_SYS_ADMIN"])
    }

    /// Checks the capabilities to see the namespace of another user's process, and
    /// to enter it.
    pub(super) fn for_inspecting() -> Self {
        Self::new(&["CAP_SYS_ADMIN", "CAP_SYS_PTRACE"])
    }

    fn new(needed: &'static [&'static str]) -> Self {
        // If the capabilities cannot be read, treat all of them as missing.
        let effective = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
        let missing =
            needed.iter().copied().filter(|name| !has_capability(effective, name)).collect();
        Self { needed, missing }
    }
}

fn has_capability(effective: CapabilitySet, name: &str) -> bool {
    match name {
        "CAP_SYS_ADMIN" => effective.contains(CapabilitySet::SYS_ADMIN),
        _ => effective.contains(CapabilitySet::SYS_PTRACE),
    }
}

impl fmt::Display for MissingCapability {
    /// Writes the hint: which capabilities to grant, and how.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.missing[..] {
            [] => write!(
                f,
                "The check has {}, but a container, a seccomp filter or another user namespace \
                 forbids the access. Run the check on the host itself.",
                self.needed.join(" and ")
            ),
            _ => write!(
                f,
                "Grant {} to the check: with sudo, or with AmbientCapabilities= of a systemd unit. \
                 See Containers, routers, balancers in check_topip(1).",
                self.missing.join(" and ")
            ),
        }
    }
}
