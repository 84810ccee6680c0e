//! Facts about a run that do not change its status, as values; `output` renders them.
use std::{fmt, path::PathBuf};

use super::protection::ProtectedPeer;
use crate::parse::{Dialect, TableKind, capture::CaptureNote};

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
        /// Number of namespaces found to hold sockets.
        count: usize,
    },
    /// These peers are over the limit and were not logged.
    NotLogged(Vec<ProtectedPeer>),
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
    /// A remark of the source itself.
    Capture(CaptureNote),
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
        write!(f, "Not by {}: {}", self.source, self.error)
    }
}
