//! Facts about a run that do not change its status, as values; `output` renders them.
use std::{fmt, path::PathBuf};

use super::protection::ProtectedPeer;
use crate::{
    model::{
        kernel_counters::{FlowTableSize, KernelCounters, NamespaceCounters},
        network::Network,
    },
    parse::{Dialect, TableKind, capture::CaptureNote},
};

/// A fact that the default output shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The host keys of these servers were not verified.
    UnverifiedServers(Vec<String>),
    /// These network namespaces vanished before they were sampled.
    VanishedNamespaces(Vec<String>),
    /// Network namespaces of users that are not selected, which are not counted.
    ForeignNamespaces {
        /// Number of these namespaces.
        count: usize,
        /// User IDs of their owners, in ascending order.
        owners: Vec<u32>,
    },
    /// These names in /run/netns have no namespace.
    StaleNamespaceNames(Vec<String>),
    /// The state file was damaged and has been renamed.
    StateFileQuarantined {
        /// Defect of the file.
        defect: String,
        /// New path of the file.
        renamed_to: PathBuf,
    },
    /// Other network namespaces of this host hold sockets.
    HiddenNamespaces {
        /// Number of namespaces that hold sockets.
        count: usize,
    },
    /// Most connections are excluded only by default.
    MostExcludedByDefault {
        /// Number of these connections.
        excluded: u64,
        /// Number of all connections that could have been counted.
        total: u64,
        /// The networks that excluded them.
        networks: Vec<Network>,
    },
    /// These peers are over the limit, but alerts about them were not logged.
    NotLogged(Vec<ProtectedPeer>),
    /// The kernel handled connections that its tables do not show.
    UnlistedConnections(UnlistedConnections),
    /// The table of connection tracking is full.
    FlowTableFull {
        /// Size of the table.
        size: FlowTableSize,
        /// Display name of the network namespace; `None` if only one was sampled.
        namespace: Option<String>,
    },
}

/// Connections of one kind that no table shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnlistedConnections {
    /// Reason why they are not in a table.
    pub reason: UnlistedReason,
    /// Number since the previous sample.
    pub count: u64,
    /// Display names of the network namespaces; empty if only one was sampled.
    pub namespaces: Vec<String>,
}

/// Reason why connections are not in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnlistedReason {
    /// The kernel answered requests with SYN cookies.
    SynCookies,
    /// The accept queue of a listening socket was full.
    ListenOverflow,
    /// Connection tracking dropped packets.
    FlowDrop,
}

/// Returns notes on connections that the kernel's counters show and its tables do not.
#[must_use]
pub fn kernel_notes(kernel_counters: &[NamespaceCounters]) -> Vec<Note> {
    let mut notes = Vec::new();
    for (reason, counter) in [
        (UnlistedReason::SynCookies, (|it| it.syn_cookies) as fn(KernelCounters) -> u64),
        (UnlistedReason::ListenOverflow, |it| it.listen_overflows),
        (UnlistedReason::FlowDrop, |it| it.flow_drops),
    ] {
        let mut unlisted = UnlistedConnections { reason, count: 0, namespaces: Vec::new() };
        for NamespaceCounters { name, increase, .. } in kernel_counters {
            let count = increase.map_or(0, counter);
            if count > 0 {
                unlisted.count = unlisted.count.saturating_add(count);
                unlisted.namespaces.extend(name.clone());
            }
        }
        if unlisted.count > 0 {
            notes.push(Note::UnlistedConnections(unlisted));
        }
    }
    for NamespaceCounters { name, flow_table, .. } in kernel_counters {
        if let Some(size) = flow_table.filter(|size| size.is_full()) {
            notes.push(Note::FlowTableFull { size, namespace: name.clone() });
        }
    }
    notes
}

/// A fact about the source of the connections, for verbose output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceDetail {
    /// A source was read.
    Read {
        /// Name of the source.
        source: String,
        /// Dialects that its rows had.
        dialects: Vec<Dialect>,
        /// Number of rows of other protocols.
        n_other: u64,
        /// Kind of the entries.
        table_kind: TableKind,
    },
    /// A source was tried before another one.
    Failed(FailedSource),
    /// A fact about how the bytes of the source were obtained.
    Capture(CaptureNote),
    /// A network database was read.
    NetworkDb {
        /// Path of the file.
        path: PathBuf,
        /// Name of the database's kind in its metadata, such as `GeoLite2-ASN`; sanitized.
        database_type: String,
        /// Time at which the database was built, in seconds since 1970-01-01 UTC.
        build_time: u64,
    },
    /// A flow table does not show the addresses of its host.
    UnknownLocalAddresses {
        /// Name of the source.
        source: String,
    },
}

/// A source that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedSource {
    /// Name of the source.
    pub source: String,
    /// Error with its causes.
    pub error: String,
}

impl fmt::Display for FailedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Failed source: {}: {}", self.source, self.error)
    }
}
