//! Sources of socket tables and their errors.
use std::{
    fmt, io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    model::connection::TcpStates,
    model::problem::Hints,
    parse::{TableKind, capture::Capture, netlink::Interface},
};

use super::{
    conntrack, file, netlink,
    netns::{self, NetnsError, ResolvedNamespace},
    procfs,
    ssh::{SshError, SshServer},
};

/// A source of connections.
#[derive(Clone, Debug)]
pub enum Source {
    /// Sockets of this host, read over sock_diag. The kernel filters them, and a
    /// socket that the kernel skips costs almost nothing.
    Netlink {
        /// TCP states to select.
        tcp_states: TcpStates,
        /// Local ports to select; all if empty.
        ports: Vec<RangeInclusive<u16>>,
    },
    /// Sockets of this host, read from `/proc`.
    Proc,
    /// Flows that this host tracks, read over ctnetlink.
    Conntrack {
        /// Destination ports to select; all if empty.
        ports: Vec<RangeInclusive<u16>>,
    },
    /// Flows that this host tracks, read from `/proc`.
    ConntrackProc,
    /// A saved listing in a file.
    File(PathBuf),
    /// A saved listing on standard input.
    Stdin,
    /// Another host, over SSH.
    Ssh(Box<SshServer>),
    /// Another network namespace of this host.
    InNamespace {
        /// The namespace to enter.
        namespace: Box<ResolvedNamespace>,
        /// The source to read in the namespace.
        source: Box<Self>,
    },
}

/// Description of the current step of a source, shared with the thread that waits
/// for the source.
#[derive(Clone, Debug, Default)]
pub struct Activity(Arc<Mutex<String>>);

impl Activity {
    pub(super) fn set(&self, current: impl Into<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = current.into();
    }

    /// Returns the current step, such as `logging in` or `running ss`; empty before
    /// the first step.
    #[must_use]
    pub fn current(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Source {
    /// Returns the kind of table that the source must give; `None` if any kind is
    /// accepted.
    #[must_use]
    pub fn table_kind(&self) -> Option<TableKind> {
        match self {
            Self::Conntrack { .. } | Self::ConntrackProc => Some(TableKind::Flows),
            Self::Netlink { .. } | Self::Proc => Some(TableKind::Sockets),
            Self::Ssh(server) if server.table_kind == TableKind::Flows => Some(TableKind::Flows),
            Self::Ssh(_) | Self::File(_) | Self::Stdin => None,
            Self::InNamespace { source, .. } => source.table_kind(),
        }
    }

    /// Opens the source. The connections of all returned captures together are the
    /// connections of the source.
    ///
    /// # Errors
    ///
    /// Returns an error if the source cannot be opened. If the source fails later,
    /// reading the capture returns an error.
    pub fn open(&self, activity: &Activity) -> Result<Vec<Capture>, SourceError> {
        match self {
            Self::Netlink { tcp_states, ports } => netlink::open(*tcp_states, ports),
            Self::Proc => procfs::open(),
            Self::Conntrack { ports } => conntrack::open(ports),
            Self::ConntrackProc => conntrack::procfs::open(),
            Self::File(path) => Ok(vec![file::open(path)?]),
            Self::Stdin => Ok(vec![file::stdin()]),
            Self::Ssh(server) => server.open(activity),
            Self::InNamespace { namespace, source } => {
                netns::open_in_namespace(namespace, source, activity)
            }
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Netlink { .. } => f.write_str("netlink (sock_diag)"),
            Self::Proc => write!(f, "{} and tcp6", procfs::TCP_PATH),
            Self::Conntrack { .. } => f.write_str("netlink (ctnetlink)"),
            Self::ConntrackProc => f.write_str(conntrack::procfs::NF_CONNTRACK_PATH),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Stdin => f.write_str("standard input"),
            Self::Ssh(server) => f.write_str(&server.name()),
            Self::InNamespace { source, .. } => source.fmt(f),
        }
    }
}

/// Implements [`Read::read`](io::Read::read) on top of [`BufRead`](io::BufRead).
pub(super) fn read_buffered(reader: &mut impl io::BufRead, buffer: &mut [u8]) -> io::Result<usize> {
    let available = reader.fill_buf()?;
    let length = available.len().min(buffer.len());
    buffer[..length].copy_from_slice(&available[..length]);
    reader.consume(length);
    Ok(length)
}

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
        /// Operation that failed: `open`, `ask` or `read from`.
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
    /// A network namespace cannot be resolved or entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// The path of a saved listing is a directory.
    #[error("cannot read {}: it is a folder", path.display())]
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
            Self::NothingTracked => conntrack::NOTHING_TRACKED_HINT.to_owned(),
            Self::LocalAddresses(_) => "May this user ask netlink? Try: ip address".to_owned(),
            Self::Netlink { .. } | Self::Refused { .. } => {
                "Load the kernel module tcp_diag, or use `--source` proc.".to_owned()
            }
            Self::Open { path, .. } if path.starts_with("/proc") => {
                "Is /proc mounted, and may this user read it?".to_owned()
            }
            Self::Open { path, .. } => {
                format!("Is it there, and may this user read it? ls -l {}", path.display())
            }
            Self::Ssh(failure) => failure.hint.clone(),
            Self::Netns(error) => return error.hint(),
            Self::Directory { .. } => "Name a file, or - for standard input.".to_owned(),
        };
        Some(hint)
    }
}
