//! Errors of parsing: of a capture, and of one row of a listing.
use std::io;

use crate::model::problem::Hints;

use super::{
    bpf_walk::WalkError,
    netlink::{Interface, MessageError},
};

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
    /// Maximum number of bytes of a row that are quoted.
    pub const MAX_QUOTED_BYTES: usize = 60;

    pub(super) fn new(line: u64, (kind, bytes): (RowErrorKind, &[u8])) -> Self {
        Self { origin: None, line, text: quote(bytes), kind }
    }
}

/// Returns the start of a line as text, for messages, with three dots if the rest is omitted.
pub(super) fn quote(line: &[u8]) -> String {
    let quoted = &line[..line.len().min(UnreadableRow::MAX_QUOTED_BYTES)];
    let mut text = String::from_utf8_lossy(quoted).into_owned();
    if quoted.len() < line.len() {
        text += "...";
    }
    text
}

/// Reason why a row could not be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowErrorKind {
    /// The row ends before all required fields.
    #[error("incomplete row")]
    MissingField,
    /// The field for the TCP state holds an unknown word.
    #[error("unknown TCP state")]
    UnknownTcpState,
    /// A field for an address and port holds something else.
    #[error("not an address and port")]
    InvalidEndpoint,
    /// A field for an address holds something else.
    #[error("not an address")]
    InvalidAddress,
    /// A field for a number holds something else.
    #[error("not a number")]
    InvalidNumber,
    /// The row does not have the form of the rows of its table.
    #[error("not a row of a socket table")]
    UnrecognizedRow,
    /// The footer reports rows, but the listing has none.
    #[error("rows counted by the footer are missing")]
    MissingRows,
    /// The line exceeds the limit of the line reader.
    #[error("longer than 64 KiB")]
    LineTooLong,
}

/// Output format that is recognized but not supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnsupportedFormat {
    /// Output of `conntrack -o xml`.
    Xml,
    /// Output of `conntrack -E`: one event per line.
    Events,
    /// Output of `netstat -A` of a system that truncates endpoints to make room for the
    /// addresses of kernel structures.
    CutEndpoints,
}

impl UnsupportedFormat {
    fn description(self) -> &'static str {
        match self {
            Self::Xml => "flow tables in XML are not supported",
            Self::Events => "events of conntrack -E, not a flow table",
            Self::CutEndpoints => "netstat -A truncates addresses and ports",
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Self::Xml | Self::Events => {
                "List the table as text: conntrack -L -p tcp, without -o xml."
            }
            Self::CutEndpoints => "Omit -A: netstat -an.",
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
    #[error("{origin}: not a recognized socket listing; first line: {first_line}")]
    UnrecognizedListing {
        /// Source of the bytes, for messages.
        origin: String,
        /// First non-empty line, of which at most
        /// [`UnreadableRow::MAX_QUOTED_BYTES`] are quoted.
        first_line: String,
    },
    /// A message of a tool precedes the heading, and no row follows.
    #[error("{origin}: no rows; message in line {line}: {text}")]
    ToolFailed {
        /// Source of the bytes, for messages.
        origin: String,
        /// Line number of the message, from 1.
        line: u64,
        /// Message, of which at most [`UnreadableRow::MAX_QUOTED_BYTES`] are quoted.
        text: String,
    },
    /// The listing has listening sockets only: connections were not listed, or it does not
    /// show that they were.
    #[error("{origin} lists listening sockets only")]
    ListenersOnly {
        /// Source of the bytes, for messages.
        origin: String,
    },
    /// The listing has the same table more than once.
    #[error("{origin}: several listings; the second one starts in line {line}")]
    SeveralListings {
        /// Source of the bytes, for messages.
        origin: String,
        /// Line number of the first row of the second listing, from 1.
        line: u64,
    },
    /// The text is UTF-16, as saved by PowerShell.
    #[error("{origin}: UTF-16 text is not supported")]
    Utf16 {
        /// Source of the bytes, for messages.
        origin: String,
    },
    /// The listing was transferred over TCP, but lacks the connection of that session.
    #[error("{origin}: the socket listing lacks the connection of this session")]
    SessionConnectionMissing {
        /// Source of the bytes, for messages.
        origin: String,
    },
    /// Only inbound connections were requested, but the listing has no listening
    /// socket to recognize them by.
    #[error("{origin}: no listening sockets, so inbound connections cannot be recognized")]
    NoListeners {
        /// Source of the bytes, for messages.
        origin: String,
    },
    /// The text is a flow table or flow events in an unsupported format.
    #[error("{origin}: {}", format.description())]
    UnsupportedFormat {
        /// Source of the bytes, for messages.
        origin: String,
        /// Format of the text.
        format: UnsupportedFormat,
    },
    /// Only flows to the host itself were requested, but the addresses of the host
    /// are unknown.
    #[error("{origin}: unknown local addresses, so inbound flows cannot be recognized")]
    UnknownLocalAddresses {
        /// Source of the bytes, for messages.
        origin: String,
    },
    /// The flow table is empty: it lacks even the connection of the session, or this host's
    /// own connections.
    #[error("{origin}: no tracked connections, not even this session")]
    NothingTracked {
        /// Source of the bytes, for messages.
        origin: String,
    },
    /// Tracked flows were requested, but the listing has sockets.
    #[error("{origin}: a socket listing instead of tracked flows")]
    NotAFlowTable {
        /// Source of the bytes, for messages.
        origin: String,
    },
    /// Flows of UDP were requested, but the listing has sockets.
    #[error("{origin}: not a flow table; a socket table does not show the clients of UDP")]
    NoUdpFlows {
        /// Source of the bytes, for messages.
        origin: String,
    },
    /// The listing has counts by address, and other rows.
    #[error("{origin}: counts by address are mixed with rows of another listing")]
    MixedCounts {
        /// Source of the bytes, for messages.
        origin: String,
    },
    /// The selection needs ports, states or directions, and the listing has counts by
    /// address only.
    #[error("{origin}: {option} cannot be applied to counts by address")]
    CountsWithoutDetails {
        /// Source of the bytes, for messages.
        origin: String,
        /// Option that cannot be applied.
        option: &'static str,
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
    #[error("the kernel dump by {interface} is incomplete")]
    DumpIncomplete {
        /// Netlink interface of the dump.
        interface: Interface,
    },
    /// The bytes are not a complete walk of the kernel's hash table.
    #[error("cannot use {origin}: {problem}")]
    Walk {
        /// Source of the bytes, for messages.
        origin: String,
        /// Reason why the walk cannot be used.
        problem: WalkError,
    },
    /// A message does not match the layout in the kernel's headers.
    #[error("cannot parse message {number} of the kernel dump: {problem}")]
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
    /// Returns a hint for the user; `None` for an error without a hint.
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Empty { .. } => {
                "The command that wrote it may have failed. Omit -H of ss: without headings, the listing of an \
                 idle host is empty."
            }
            Self::ToolFailed { .. } => {
                "List the sockets again, as a user with permission to see them: ss -tan, or \
                 netstat -nat."
            }
            Self::ListenersOnly { .. } => {
                "List connections too: ss -tan or netstat -nat, without -l."
            }
            Self::SeveralListings { line, .. } => {
                return Some(format!(
                    "Several listings are not added up. Split the file and check each part: csplit \
                     FILE {line}"
                ));
            }
            Self::UnrecognizedListing { .. } => {
                "Supported formats are the listings of netstat, ss and conntrack, /proc/net/tcp, \
                 and counts by address; see topip(7)."
            }
            Self::SessionConnectionMissing { .. } => {
                "Make sure that the login user may see all sockets of the server, or set the \
                 listing command with `--command`."
            }
            Self::Walk { .. } => {
                "Use `--source` auto, or load the BPF program again: systemctl restart topip-bpf"
            }
            Self::Read { .. } => "List the sockets there by hand, and check that the listing ends.",
            Self::NoListeners { .. } => "List all sockets: netstat -natW, or ss -tan.",
            Self::UnsupportedFormat { format, .. } => format.hint(),
            Self::UnknownLocalAddresses { .. } => {
                "Omit `--inbound`, or run the check on that host with `--source` conntrack."
            }
            Self::NothingTracked { .. } => {
                "Either no firewall rule there uses connection tracking (see nft list ruleset), or \
                 the login user has no permission to see the flows."
            }
            Self::NotAFlowTable { .. } => {
                "The command that the server runs must be conntrack -L -p tcp, or cat \
                 /proc/net/nf_conntrack."
            }
            Self::NoUdpFlows { .. } => {
                "A server has one socket for all clients of UDP, including those of QUIC. List the \
                 flows instead: conntrack -L"
            }
            Self::MixedCounts { .. } => "Check the counts and the other listing separately.",
            Self::CountsWithoutDetails { .. } => {
                "Select the connections before counting them, or use the listing itself as input."
            }
            Self::Utf16 { .. } => {
                "Windows PowerShell writes UTF-16 by default. Save the listing with Out-File \
                 -Encoding utf8, or in cmd."
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
