//! Errors of opening a source, with hints.
use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use crate::{model::problem::Hints, parse::netlink::Interface};

use super::{bpf_walk, conntrack, netns::NetnsError, rsh::RshError, ssh::SshError};

/// Error of an SSH server, with a hint for the administrator.
#[derive(Debug)]
pub struct SshFailure {
    pub(super) error: SshError,
    pub(super) hint: String,
}

impl fmt::Display for SshFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for SshFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

/// Error of opening a source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The netlink interface is not available, because of a missing kernel module, a
    /// sandbox or a security policy.
    #[error("cannot {step} netlink")]
    Netlink {
        /// Netlink interface that was used.
        interface: Interface,
        /// Operation that failed: `open`, `query` or `read from`.
        step: &'static str,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The kernel accepted the request and answered with an error.
    #[error("the kernel refused a dump by {interface}")]
    Refused {
        /// Netlink interface that was used.
        interface: Interface,
        /// Error number from the kernel.
        source: io::Error,
    },
    /// A dump takes less time than a walk of the hash table.
    #[error("the BPF program is not faster for {n_sockets} sockets")]
    FewSockets {
        /// Number of sockets in the namespace.
        n_sockets: u64,
    },
    /// Connection tracking has no flow at all, not even one of this host's own
    /// connections.
    #[error("the kernel tracks no connection here")]
    NothingTracked,
    /// The local addresses of this host cannot be listed.
    #[error("cannot list the addresses of this host")]
    LocalAddresses(#[source] io::Error),
    /// A file cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// Path as given.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The connections of an SSH server cannot be listed.
    #[error(transparent)]
    Ssh(#[from] SshFailure),
    /// An external SSH client gave no listing.
    #[error(transparent)]
    Rsh(#[from] RshError),
    /// A network namespace cannot be resolved or entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// The path of a saved listing is a directory.
    #[error("cannot read {}: it is a directory", path.display())]
    Directory {
        /// Path as given.
        path: PathBuf,
    },
}

impl Hints for SourceError {
    fn hints(&self) -> Vec<String> {
        self.hint().into_iter().collect()
    }
}

impl SourceError {
    /// Returns whether the next source is to be used without a report: the source was never
    /// set up, or is not worth it.
    #[must_use]
    pub fn is_optional_source(&self) -> bool {
        match self {
            Self::FewSockets { .. } => true,
            Self::Open { path, source } => {
                path == Path::new(bpf_walk::ITERATOR_PATH)
                    && source.kind() == io::ErrorKind::NotFound
            }
            _ => false,
        }
    }

    /// Returns a hint on how to fix the problem.
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Netlink { interface: Interface::Ctnetlink, source, .. }
            | Self::Refused { interface: Interface::Ctnetlink, source } => {
                conntrack::hint(source).to_owned()
            }
            Self::Open { path, source }
                if path == Path::new(conntrack::procfs::NF_CONNTRACK_PATH) =>
            {
                conntrack::hint(source).to_owned()
            }
            Self::Open { path, .. } if path == Path::new(bpf_walk::ITERATOR_PATH) => {
                "Load the BPF program (systemctl start topip-bpf), and make sure that this user can read the file."
                    .to_owned()
            }
            Self::FewSockets { .. } => "Use `--source` netlink.".to_owned(),
            Self::NothingTracked => conntrack::NOTHING_TRACKED_HINT.to_owned(),
            Self::LocalAddresses(_) => {
                "Check that this user may use netlink: ip address".to_owned()
            }
            Self::Netlink { .. } | Self::Refused { .. } => {
                "Load the kernel module tcp_diag, or use `--source` proc.".to_owned()
            }
            Self::Open { path, .. } if path.starts_with("/proc") => {
                "Check that /proc is mounted and that this user can read it.".to_owned()
            }
            Self::Open { path, .. } => {
                format!(
                    "Check that it exists and that this user can read it: ls -l {}",
                    path.display()
                )
            }
            Self::Ssh(failure) => failure.hint.clone(),
            Self::Rsh(error) => error.hint(),
            Self::Netns(error) => return error.hint(),
            Self::Directory { .. } => "Name a file, or - for standard input.".to_owned(),
        };
        Some(hint)
    }
}
