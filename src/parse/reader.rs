//! Parsing of captures into connections.
//!
//! A parser receives bytes and does not depend on the source of the bytes. It
//! passes on each connection as soon as the row is parsed, so that memory use does
//! not grow with the size of the table.
use std::io;

use super::capture::{ByteOrder, Capture, CaptureFormat};
use crate::model::connection::Connection;
use crate::model::problem::Hints;

use super::{
    conntrack, inet_diag, listing,
    netlink::{Interface, MessageError},
};

/// Counts and anomalies of one or more parsed captures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParseStats {
    /// Distinct listing formats, in order of first appearance.
    pub dialects: Vec<Dialect>,
    /// Byte order assumed for addresses of counted connections; `None` if it was
    /// given, was detected in the listing, or does not matter.
    pub assumed_byte_order: Option<ByteOrder>,
    /// Number of rows that are TCP sockets or flows, including listening sockets; not
    /// counted for [`Dialect::InetDiag`].
    pub n_rows: u64,
    /// Number of recognized rows that are not TCP, such as UDP or Unix sockets.
    pub n_other: u64,
    /// Number of rows that should be connections and could not be parsed.
    pub n_unreadable: u64,
    /// First row that could not be parsed.
    pub first_unreadable: Option<UnreadableRow>,
    /// Number of counted connections whose address the tool may have truncated.
    pub n_truncated: u64,
    /// Line number, from 1, of the first connection in `n_truncated`.
    pub first_truncated_line: Option<u64>,
}

impl ParseStats {
    /// Returns the kind of the parsed rows; `Sockets` if no row was parsed.
    #[must_use]
    pub fn table_kind(&self) -> TableKind {
        let mut kinds = self.dialects.iter().map(|dialect| dialect.table_kind());
        let first = kinds.next().unwrap_or_default();
        if kinds.all(|kind| kind == first) { first } else { TableKind::Mixed }
    }

    /// Adds the counts of another capture of the same source.
    pub fn merge(&mut self, other: Self) {
        let new_dialects: Vec<_> =
            other.dialects.into_iter().filter(|it| !self.dialects.contains(it)).collect();
        self.dialects.extend(new_dialects);
        self.assumed_byte_order = self.assumed_byte_order.or(other.assumed_byte_order);
        self.n_rows += other.n_rows;
        self.n_other += other.n_other;
        self.n_unreadable += other.n_unreadable;
        self.first_unreadable = self.first_unreadable.take().or(other.first_unreadable);
        self.n_truncated += other.n_truncated;
        self.first_truncated_line = self.first_truncated_line.or(other.first_truncated_line);
    }
}

/// Kind of the rows of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TableKind {
    /// A host's own sockets.
    #[default]
    Sockets,
    /// Flows of a host's connection tracking: connections to the host and forwarded
    /// connections.
    Flows,
    /// Both sockets and flows.
    Mixed,
}

/// Format of a listing or of a kernel dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Kernel dump by sock_diag.
    InetDiag,
    /// Kernel dump by ctnetlink: tracked flows.
    Ctnetlink,
    /// `conntrack -L` and `/proc/net/nf_conntrack`: tracked flows.
    Conntrack,
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
            _ => TableKind::Sockets,
        }
    }

    /// Returns the name for messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InetDiag => "sock_diag",
            Self::Ctnetlink => "ctnetlink",
            Self::Conntrack => "conntrack",
            Self::ProcNet => "/proc/net/tcp",
            Self::Netstat => "netstat",
            Self::Ss => "ss",
            Self::Bsd => "BSD netstat",
            Self::Solaris => "Solaris netstat",
            Self::Windows => "Windows netstat",
        }
    }
}

/// Row that should be a connection and could not be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}{}: {kind}: {text}", render_origin(origin))]
pub struct UnreadableRow {
    /// File of the row; `None` if it is the file that the user named.
    pub origin: Option<String>,
    /// Line number, from 1.
    pub line: u64,
    /// Invalid part of the row, of which at most
    /// [`MAX_QUOTED_BYTES`](Self::MAX_QUOTED_BYTES) are quoted.
    pub text: String,
    /// Reason why the row could not be parsed.
    pub kind: RowErrorKind,
}

fn render_origin(origin: &Option<String>) -> String {
    origin.as_ref().map_or_else(String::new, |origin| format!(" of {origin}"))
}

impl UnreadableRow {
    /// Number of bytes of a row that are quoted at most.
    pub const MAX_QUOTED_BYTES: usize = 60;

    pub(super) fn new(line: u64, (kind, text): (RowErrorKind, &[u8])) -> Self {
        let quoted = &text[..text.len().min(Self::MAX_QUOTED_BYTES)];
        let text = String::from_utf8_lossy(quoted).into_owned();
        Self { origin: None, line, text, kind }
    }
}

/// Reason why a row could not be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowErrorKind {
    /// The row ends before all required fields.
    #[error("it ends too early")]
    MissingField,
    /// The field for the TCP state holds an unknown word.
    #[error("unknown TCP state")]
    UnknownTcpState,
    /// A field for an address and port holds something else.
    #[error("not an address and port")]
    InvalidEndpoint,
    /// A field for a number holds something else.
    #[error("not a number")]
    InvalidNumber,
    /// The row does not have the form of the rows of its table.
    #[error("not a row of a socket table")]
    UnrecognizedRow,
    /// The footer reports rows, but the listing has none.
    #[error("the rows that it tells of are missing")]
    MissingRows,
    /// The line exceeds the limit of the line reader.
    #[error("a line of more than 64 KiB")]
    LineTooLong,
}

/// Output format of `conntrack` that is recognized but not supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnsupportedFormat {
    /// Output of `conntrack -o xml`.
    Xml,
    /// Output of `conntrack -E`: one event per line.
    Events,
}

impl UnsupportedFormat {
    fn description(self) -> &'static str {
        match self {
            Self::Xml => "is a flow table in XML, which is not read",
            Self::Events => "has events of conntrack -E, which are no table",
        }
    }
}

/// Reason why a capture could not be parsed to its end.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// The source failed while the capture was read.
    #[error("cannot read {origin}")]
    Read {
        /// Source of the bytes, for messages.
        origin: String,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The capture has no text.
    #[error("{origin} is empty")]
    Empty {
        /// Source of the bytes, for messages.
        origin: String,
    },
    /// The text is not a recognized listing.
    #[error("{origin} is no listing of TCP sockets; it begins: {first_line}")]
    UnrecognizedListing {
        /// Source of the bytes, for messages.
        origin: String,
        /// First non-empty line, of which at most
        /// [`UnreadableRow::MAX_QUOTED_BYTES`] are quoted.
        first_line: String,
    },
    /// The text is UTF-16, as saved by PowerShell.
    #[error("{origin} is text in UTF-16")]
    Utf16 {
        /// Source of the bytes, for messages.
        origin: String,
    },
    /// The listing was transferred over TCP, but lacks the connection of that session.
    #[error("{origin} listed sockets, but not that of this session")]
    SessionConnectionMissing {
        /// Source of the bytes, for messages.
        origin: String,
    },
    /// Only inbound connections were requested, but the listing has no listening
    /// socket to recognize them by.
    #[error("{origin} shows no listening socket, so that none is known to be inbound")]
    NoListeners {
        /// Source of the bytes, for messages.
        origin: String,
    },
    /// The text is a flow table or flow events in an unsupported format.
    #[error("{origin} {}", format.description())]
    UnsupportedFormat {
        /// Source of the bytes, for messages.
        origin: String,
        /// Format of the text.
        format: UnsupportedFormat,
    },
    /// Only flows to the host itself were requested, but the addresses of the host
    /// are unknown.
    #[error("{origin} does not tell which flows are to addresses of its host")]
    UnknownLocalAddresses {
        /// Source of the bytes, for messages.
        origin: String,
    },
    /// The flow table lacks even the connection of the session, or this host's own
    /// connections.
    #[error("{origin} tracks no connection, not even this session")]
    NothingTracked {
        /// Source of the bytes, for messages.
        origin: String,
    },
    /// Tracked flows were requested, but the listing has sockets.
    #[error("{origin} listed sockets, where tracked flows were asked for")]
    NotAFlowTable {
        /// Source of the bytes, for messages.
        origin: String,
    },
    /// The kernel reported an error instead of a dump or at the end of the dump.
    #[error("the kernel refused a dump by {interface}")]
    DumpRefused {
        /// Netlink interface of the dump.
        interface: Interface,
        /// Error that the kernel reported.
        source: io::Error,
    },
    /// The kernel reported that the table changed during the dump, so that the dump
    /// is inconsistent.
    #[error("the kernel dump by {interface} was interrupted")]
    DumpInterrupted {
        /// Netlink interface of the dump.
        interface: Interface,
    },
    /// The dump ended without an end message.
    #[error("the kernel dump by {interface} has no end")]
    DumpIncomplete {
        /// Netlink interface of the dump.
        interface: Interface,
    },
    /// A message does not match the layout in the kernel's headers.
    #[error("message {number} of the kernel dump is not understood: {problem}")]
    InvalidMessage {
        /// Number of the message, from 1.
        number: u64,
        /// Reason why the message could not be parsed.
        problem: MessageError,
    },
}

impl Hints for ParseError {
    fn hints(&self) -> Vec<String> {
        self.hint().into_iter().collect()
    }
}

impl ParseError {
    /// Returns advice for the user, if there is any for this error.
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Empty { .. } => {
                "A listing has at least its headings; ss -H prints none on an idle host, so leave -H out."
            }
            Self::UnrecognizedListing { .. } => {
                "Known are the listings of netstat, ss and conntrack, and /proc/net/tcp; see topip(7)."
            }
            Self::SessionConnectionMissing { .. } => {
                "May its user see the sockets there? Or name another command with `--command`."
            }
            Self::Read { .. } => "List the sockets there by hand: does that come to its end?",
            Self::NoListeners { .. } => "List all sockets: netstat -natW, or ss -tan.",
            Self::UnsupportedFormat { .. } => {
                "List the table as text: conntrack -L -p tcp, without -o xml."
            }
            Self::UnknownLocalAddresses { .. } => {
                "Leave `--inbound` out, or look on that host itself with `--source` conntrack."
            }
            Self::NothingTracked { .. } => {
                "No rule there uses connection tracking; see nft list ruleset. Or its user may not see the flows."
            }
            Self::NotAFlowTable { .. } => {
                "What it runs for topip has to be conntrack -L -p tcp, or cat /proc/net/nf_conntrack."
            }
            Self::Utf16 { .. } => {
                "PowerShell writes that; save the listing with Out-File -Encoding utf8, or by cmd."
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// Parses `capture` and passes each connection, including listening sockets, to
/// `accept`, which returns `true` if the connection is counted.
///
/// # Errors
///
/// Returns an error if the source fails or if the capture is not a recognized listing
/// or dump. A single row of a listing that cannot be parsed is not an error; it is
/// counted in the [`ParseStats`].
pub fn read(
    capture: Capture,
    accept: &mut impl FnMut(&Connection) -> bool,
) -> Result<ParseStats, ParseError> {
    let Capture { format, origin, byte_order, bytes, .. } = capture;
    match format {
        CaptureFormat::InetDiag => {
            inet_diag::read(bytes, byte_order.unwrap_or(ByteOrder::NATIVE), accept)
        }
        CaptureFormat::Ctnetlink => {
            conntrack::messages::read(bytes, byte_order.unwrap_or(ByteOrder::NATIVE), accept)
        }
        CaptureFormat::Listing => {
            let mut stats = listing::read(bytes, &origin, byte_order, accept)?;
            if origin.starts_with("/proc/self/")
                && let Some(row) = &mut stats.first_unreadable
            {
                row.origin = Some(origin);
            }
            Ok(stats)
        }
    }
}
