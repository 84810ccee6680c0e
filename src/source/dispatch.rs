//! Sources of connections.
use std::{fmt, io, ops::RangeInclusive, path::PathBuf};

use crate::{
    model::{connection::TcpStates, protocol::Protocol},
    parse::{TableKind, capture::Capture},
};

use super::{
    activity::Activity,
    bpf_walk::{self, BpfWalk},
    conntrack, file, kernel_counters, netlink,
    netns::{self, ResolvedNamespace},
    procfs,
    rsh::RshServer,
    source_error::SourceError,
    ssh::SshServer,
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
    /// Sockets of this host, read from topip's BPF program.
    BpfWalk(BpfWalk),
    /// Sockets of this host, read from `/proc`.
    Proc,
    /// Flows that this host tracks, read over ctnetlink.
    Conntrack {
        /// Protocols of the flows.
        protocol: Protocol,
        /// Destination ports to select; all if empty.
        ports: Vec<RangeInclusive<u16>>,
    },
    /// Flows that this host tracks, read from `/proc`.
    ConntrackProc,
    /// A saved listing in a file.
    File(PathBuf),
    /// A saved listing on standard input.
    Stdin,
    /// Another host, over SSH by the built-in client.
    Ssh(Box<SshServer>),
    /// Another host, over SSH by an external client.
    Rsh(Box<RshServer>),
    /// Another network namespace of this host.
    InNamespace {
        /// The namespace to enter.
        namespace: Box<ResolvedNamespace>,
        /// The source to read in the namespace.
        source: Box<Self>,
    },
}

impl Source {
    /// Returns the kind of table that the source must give; `None` if any kind is
    /// accepted.
    #[must_use]
    pub fn table_kind(&self) -> Option<TableKind> {
        match self {
            Self::Conntrack { .. } | Self::ConntrackProc => Some(TableKind::Flows),
            Self::Netlink { .. } | Self::BpfWalk(_) | Self::Proc => Some(TableKind::Sockets),
            Self::Ssh(server) => server.request.required_kind(),
            Self::Rsh(server) => server.request.required_kind(),
            Self::File(_) | Self::Stdin => None,
            Self::InNamespace { source, .. } => source.table_kind(),
        }
    }

    /// Returns whether the source is another host.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        matches!(self, Self::Ssh(_) | Self::Rsh(_))
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
            Self::Netlink { tcp_states, ports } => {
                netlink::open(*tcp_states, ports).map(with_kernel_counters)
            }
            Self::BpfWalk(walk) => walk.open().map(with_kernel_counters),
            Self::Proc => procfs::open().map(with_kernel_counters),
            Self::Conntrack { protocol, ports } => {
                conntrack::open(*protocol, ports).map(with_kernel_counters)
            }
            Self::ConntrackProc => conntrack::procfs::open().map(with_kernel_counters),
            Self::File(path) => Ok(vec![file::open(path)?]),
            Self::Stdin => Ok(vec![file::stdin()]),
            Self::Ssh(server) => server.open(activity),
            Self::Rsh(server) => server.open(activity),
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
            Self::BpfWalk(_) => write!(f, "{} (BPF)", bpf_walk::ITERATOR_PATH),
            Self::Proc => write!(f, "{} and tcp6", procfs::TCP_PATH),
            Self::Conntrack { .. } => f.write_str("netlink (ctnetlink)"),
            Self::ConntrackProc => f.write_str(conntrack::procfs::NF_CONNTRACK_PATH),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Stdin => f.write_str("standard input"),
            Self::Ssh(server) => f.write_str(&server.name()),
            Self::Rsh(server) => f.write_str(&server.name()),
            Self::InNamespace { source, .. } => source.fmt(f),
        }
    }
}

/// Adds the kernel's counters for this thread's network namespace to the first capture.
pub(super) fn with_kernel_counters(mut captures: Vec<Capture>) -> Vec<Capture> {
    if let Some(first) = captures.first_mut() {
        first.kernel_counters = kernel_counters::read();
    }
    captures
}

/// Implements [`Read::read`](io::Read::read) on top of [`BufRead`](io::BufRead).
pub(super) fn read_buffered(reader: &mut impl io::BufRead, buffer: &mut [u8]) -> io::Result<usize> {
    let available = reader.fill_buf()?;
    let length = available.len().min(buffer.len());
    buffer[..length].copy_from_slice(&available[..length]);
    reader.consume(length);
    Ok(length)
}
