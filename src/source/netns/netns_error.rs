//! Why a network namespace gives nothing, and what to do about it.
use std::{fmt, io, path::Path, path::PathBuf};

use rustix::{
    io::Errno,
    thread::{CapabilitySet, capabilities},
};

/// Why a network namespace gives nothing.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// There is nothing at its path.
    #[error("cannot find {}", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What there is at its path is something else.
    #[error("{} is no network namespace", path.display())]
    Another {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// It may not be looked at.
    #[error("cannot open {}", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// What it takes.
        grant: Grant,
        /// What the system said.
        source: io::Error,
    },
    /// It may not be entered.
    #[error("cannot enter it")]
    Enter {
        /// What it takes.
        grant: Grant,
        /// What the system said.
        source: io::Error,
    },
    /// It was there a moment ago.
    #[error("it went away")]
    Gone,
    /// Processes do not let others see where they are.
    #[error("cannot see the network {}", of_processes(*n))]
    Processes {
        /// How many.
        n: u64,
        /// What it takes.
        grant: Grant,
        /// What the system said of the first.
        source: io::Error,
    },
    /// `/proc` has this user's processes only.
    #[error("cannot see the processes of others: /proc hides them (hidepid)")]
    Hidden {
        /// What it takes.
        grant: Grant,
    },
    /// There is no thread to enter with.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

const NO_SYSTEM_CALL: i32 = Errno::NOSYS.raw_os_error();

fn of_processes(n: u64) -> String {
    match n {
        1 => "namespace of 1 process".to_owned(),
        _ => format!("namespaces of {n} processes"),
    }
}

impl NetnsError {
    /// What it means that `path` cannot be opened.
    pub(super) fn open(path: &Path, errno: Errno) -> Self {
        let path = path.to_owned();
        match errno {
            // A process that is over has neither a folder nor a namespace.
            Errno::NOENT | Errno::SRCH | Errno::NOTDIR => {
                Self::Missing { path, source: errno.into() }
            }
            _ => Self::Open { path, grant: Grant::to_see(), source: errno.into() },
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        match self {
            Self::Missing { path, .. } if path.starts_with("/proc") => {
                Some("Is that process still there? Those of containers: lsns -t net".to_owned())
            }
            Self::Missing { .. } | Self::Another { .. } => Some(
                "ip netns list shows the names that there are; a container without one is the \
                 pid:N of a process in it. See lsns -t net."
                    .to_owned(),
            ),
            Self::Open { path, .. } if !path.starts_with("/proc") => {
                Some(format!("May this user read it? ls -l {}", path.display()))
            }
            Self::Enter { source, .. } if source.raw_os_error() == Some(NO_SYSTEM_CALL) => {
                Some("The kernel or a seccomp filter has no setns(2).".to_owned())
            }
            Self::Open { grant, .. }
            | Self::Processes { grant, .. }
            | Self::Hidden { grant }
            | Self::Enter { grant, .. } => Some(grant.to_string()),
            Self::Gone => None,
            Self::Thread(_) => Some("Is there a limit of processes? ulimit -u".to_owned()),
        }
    }
}

/// What to grant for what was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// What it takes; capabilities(7) has the names.
    needed: &'static [&'static str],
    /// What of it this process does not have.
    lacking: Vec<&'static str>,
}

impl Grant {
    /// To enter a namespace (setns(2)).
    pub(super) fn to_enter() -> Self {
        Self::of(&["CAP_SYS_ADMIN"])
    }

    /// To see which one a process of somebody else is in, and to enter that.
    pub(super) fn to_see() -> Self {
        Self::of(&["CAP_SYS_ADMIN", "CAP_SYS_PTRACE"])
    }

    fn of(needed: &'static [&'static str]) -> Self {
        // Who cannot ask has none that could be counted on.
        let has = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
        let has_it = |name: &str| match name {
            "CAP_SYS_ADMIN" => has.contains(CapabilitySet::SYS_ADMIN),
            _ => has.contains(CapabilitySet::SYS_PTRACE),
        };
        let lacking = needed.iter().copied().filter(|name| !has_it(name)).collect();
        Self { needed, lacking }
    }
}

/// Advice: what to grant, and where it is told how.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.lacking[..] {
            [] => write!(
                f,
                "It has {}: a container, a seccomp filter or another user namespace forbids it all \
                 the same. Run it on the host itself.",
                self.needed.join(" and ")
            ),
            _ => write!(
                f,
                "Grant it {}: by sudo, or by AmbientCapabilities of a systemd unit. See \
                 Containers, routers, balancers in check_topip(1).",
                self.lacking.join(" and ")
            ),
        }
    }
}
