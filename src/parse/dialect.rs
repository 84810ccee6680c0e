//! Formats of listings and kernel dumps.

/// Kind of the rows of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TableKind {
    /// A host's own sockets.
    #[default]
    Sockets,
    /// Flows of a host's connection tracking: connections to the host and forwarded
    /// connections.
    Flows,
    /// Counts of connections by address, without ports and states.
    Counts,
    /// Several of these kinds.
    Mixed,
}

/// Format of a listing or of a kernel dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Kernel dump by sock_diag.
    InetDiag,
    /// Walk of the hash table by topip's BPF program.
    BpfWalk,
    /// Kernel dump by ctnetlink: tracked flows.
    Ctnetlink,
    /// `conntrack -L` and `/proc/net/nf_conntrack`: tracked flows.
    Conntrack,
    /// Counts by address, as `sort | uniq -c` prints them.
    Counts,
    /// `/proc/net/tcp` and `/proc/net/tcp6` of Linux.
    ProcNet,
    /// `netstat` of net-tools or BusyBox, in any language.
    Netstat,
    /// `ss` of iproute2.
    Ss,
    /// `netstat` of FreeBSD, macOS, OpenBSD, NetBSD or AIX.
    Bsd,
    /// `netstat` of Solaris or illumos.
    Solaris,
    /// `netstat` of Windows.
    Windows,
}

impl Dialect {
    /// Returns the kind of the rows in this format.
    #[must_use]
    pub fn table_kind(self) -> TableKind {
        match self {
            Self::Ctnetlink | Self::Conntrack => TableKind::Flows,
            Self::Counts => TableKind::Counts,
            _ => TableKind::Sockets,
        }
    }

    /// Returns the name for messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InetDiag => "sock_diag",
            Self::BpfWalk => "BPF walk",
            Self::Ctnetlink => "ctnetlink",
            Self::Conntrack => "conntrack",
            Self::Counts => "counts by address",
            Self::ProcNet => "/proc/net/tcp",
            Self::Netstat => "netstat",
            Self::Ss => "ss",
            Self::Bsd => "BSD netstat",
            Self::Solaris => "Solaris netstat",
            Self::Windows => "Windows netstat",
        }
    }
}
