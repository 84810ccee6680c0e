//! Captures to connections.
//!
//! A parser is given bytes and never knows where they come from. It hands each
//! connection on as soon as it has it, so that a table of any size passes
//! through little memory.
use std::io;

use super::capture::{ByteOrder, Capture, Format};
use crate::model::connection::Connection;

use super::{
    conntrack, inet_diag, listing,
    netlink::{Interface, MessageProblem},
};

/// What reading a capture came to, beside the connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The kinds of listing that were found, in their order, each once.
    pub dialects: Vec<Dialect>,
    /// In which byte order addresses were read that count, where the listing's own
    /// was neither told nor to be seen in it.
    pub assumed: Option<ByteOrder>,
    /// Rows that are TCP sockets, listening ones among them.
    pub rows: u64,
    /// Rows that are known and no TCP connections: UDP, Unix sockets.
    pub other: u64,
    /// Rows that should be connections and could not be read.
    pub unreadable: u64,
    /// The first of them.
    pub first_unreadable: Option<Unreadable>,
    /// Connections that count, and whose address the tool may have cut off.
    pub cut: u64,
    /// The line of the first of them.
    pub first_cut: Option<u64>,
}

impl Reading {
    /// What the rows that were read are.
    #[must_use]
    pub fn subject(&self) -> Subject {
        let mut subjects = self.dialects.iter().map(|dialect| dialect.subject());
        let first = subjects.next().unwrap_or_default();
        if subjects.all(|subject| subject == first) { first } else { Subject::Both }
    }

    /// Adds what reading another capture of the same source came to.
    pub fn add(&mut self, other: Self) {
        let new: Vec<_> =
            other.dialects.into_iter().filter(|it| !self.dialects.contains(it)).collect();
        self.dialects.extend(new);
        self.assumed = self.assumed.or(other.assumed);
        self.rows += other.rows;
        self.other += other.other;
        self.unreadable += other.unreadable;
        self.first_unreadable = self.first_unreadable.take().or(other.first_unreadable);
        self.cut += other.cut;
        self.first_cut = self.first_cut.or(other.first_cut);
    }
}

/// What the rows of a table are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Subject {
    /// A host's own sockets.
    #[default]
    Sockets,
    /// What a host's connection tracking knows: connections to it and through it.
    Flows,
    /// Some are the one, some the other.
    Both,
}

/// A kind of listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The kernel's sock_diag.
    InetDiag,
    /// The kernel's ctnetlink: tracked flows.
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
    /// What its rows are.
    #[must_use]
    pub fn subject(self) -> Subject {
        match self {
            Self::Ctnetlink | Self::Conntrack => Subject::Flows,
            _ => Subject::Sockets,
        }
    }

    /// What an administrator calls it.
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

/// A row that should be a connection and could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}{}: {problem}: {text}", of(origin))]
pub struct Unreadable {
    /// The file that it is in, where that is not the one that was named.
    pub origin: Option<String>,
    /// Counted from 1.
    pub line: u64,
    /// The part of it that is wrong, as it stands there; at most
    /// [`Unreadable::QUOTED`] bytes.
    pub text: String,
    /// What is wrong with it.
    pub problem: Problem,
}

fn of(origin: &Option<String>) -> String {
    origin.as_ref().map_or_else(String::new, |origin| format!(" of {origin}"))
}

impl Unreadable {
    /// How much of a row is quoted.
    pub const QUOTED: usize = 60;

    pub(super) fn new(line: u64, (problem, text): (Problem, &[u8])) -> Self {
        let text = String::from_utf8_lossy(&text[..text.len().min(Self::QUOTED)]).into_owned();
        Self { origin: None, line, text, problem }
    }
}

/// What is wrong with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It ends too early.
    #[error("it ends too early")]
    MissingField,
    /// A word where a TCP state should be.
    #[error("unknown TCP state")]
    TcpState,
    /// A word where an address should be.
    #[error("not an address and port")]
    Endpoint,
    /// Something where a number should be.
    #[error("not a number")]
    Number,
    /// None of the rows that its listing has.
    #[error("not a row of a socket table")]
    Row,
    /// A word that there were rows, and there are none.
    #[error("the rows that it tells of are missing")]
    MissingRows,
    /// So long that it is none.
    #[error("a line of more than 64 KiB")]
    TooLong,
}

/// What `conntrack` prints beside listings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// What `-o xml` prints.
    Xml,
    /// What `-E` prints: what became of flows, one after the other.
    Events,
}

impl Unfit {
    fn as_it_is(self) -> &'static str {
        match self {
            Self::Xml => "is a flow table in XML, which is not read",
            Self::Events => "has events of conntrack -E, which are no table",
        }
    }
}

/// Why a capture could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// The bytes stopped coming: the source's fault, not the format's.
    #[error("cannot read {origin}")]
    Read {
        /// Where they came from.
        origin: String,
        /// What the system said.
        source: io::Error,
    },
    /// There is nothing in it.
    #[error("{origin} is empty")]
    Empty {
        /// Where the bytes came from.
        origin: String,
    },
    /// There is something in it, but no listing.
    #[error("{origin} is no listing of TCP sockets; it begins: {first}")]
    NoListing {
        /// Where the bytes came from.
        origin: String,
        /// Its first line that is not empty, as far as it is quoted.
        first: String,
    },
    /// Text of two bytes a letter, as PowerShell saves it.
    #[error("{origin} is text in UTF-16")]
    Utf16 {
        /// Where the bytes came from.
        origin: String,
    },
    /// A listing that came by TCP, and does not have what it came by.
    #[error("{origin} listed sockets, but not that of this session")]
    Blind {
        /// Where it came from.
        origin: String,
    },
    /// Nothing listens, and only connections to what listens were asked for.
    #[error("{origin} shows no listening socket, so that none is known to be inbound")]
    NoListeners {
        /// Where it came from.
        origin: String,
    },
    /// A form of a flow table that is none of a listing.
    #[error("{origin} {}", unfit.as_it_is())]
    Unfit {
        /// Where it came from.
        origin: String,
        /// What it is.
        unfit: Unfit,
    },
    /// Only flows to the host itself were asked for, and nothing says which of
    /// its addresses are its own.
    #[error("{origin} does not tell which flows are to addresses of its host")]
    NoAddresses {
        /// Where it came from.
        origin: String,
    },
    /// A flow table that has nothing in it, which came by TCP or is this host's own.
    #[error("{origin} tracks no connection, not even this session")]
    NothingTracked {
        /// Where it came from.
        origin: String,
    },
    /// Another table than the one that was asked for.
    #[error("{origin} listed sockets, where tracked flows were asked for")]
    NoFlows {
        /// Where it came from.
        origin: String,
    },
    /// The kernel answered with an error in place of a dump, or at its end.
    #[error("the kernel refused a dump by {interface}")]
    Refused {
        /// What was asked.
        interface: Interface,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel says that the table changed too much while it dumped it.
    #[error("the kernel dump by {interface} was interrupted")]
    Interrupted {
        /// What was asked.
        interface: Interface,
    },
    /// The kernel stopped without an end.
    #[error("the kernel dump by {interface} has no end")]
    Endless {
        /// What was asked.
        interface: Interface,
    },
    /// A message that is not what the kernel's headers say it should be.
    #[error("message {number} of the kernel dump is not understood: {problem}")]
    Message {
        /// Counted from 1.
        number: u64,
        /// What is wrong with it.
        problem: MessageProblem,
    },
}

impl ParseError {
    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        let advice = match self {
            Self::Empty { .. } => {
                "A listing has at least its headings; ss -H prints none on an idle host, so leave -H out."
            }
            Self::NoListing { .. } => {
                "Known are the listings of netstat, ss and conntrack, and /proc/net/tcp; see topip(7)."
            }
            Self::Blind { .. } => {
                "May its user see the sockets there? Or name another command with --command."
            }
            Self::Read { .. } => "List the sockets there by hand: does that come to its end?",
            Self::NoListeners { .. } => "List all sockets: netstat -natW, or ss -tan.",
            Self::Unfit { .. } => "List the table as text: conntrack -L -p tcp, without -o xml.",
            Self::NoAddresses { .. } => {
                "Leave --inbound out, or look on that host itself with --source conntrack."
            }
            Self::NothingTracked { .. } => {
                "No rule there uses connection tracking; see nft list ruleset. Or its user may not see the flows."
            }
            Self::NoFlows { .. } => {
                "What it runs for topip has to be conntrack -L -p tcp, or cat /proc/net/nf_conntrack."
            }
            Self::Utf16 { .. } => {
                "PowerShell writes that; save the listing with Out-File -Encoding utf8, or by cmd."
            }
            _ => return None,
        };
        Some(advice.to_owned())
    }
}

/// Reads `capture` and gives each of its connections to `counts`, which says
/// whether it counts. Listening sockets are among them.
///
/// # Errors
///
/// Where the bytes stop coming or are no listing. A single row that cannot be
/// read is no error; it is in the [`Reading`].
pub fn read(
    capture: Capture,
    counts: &mut impl FnMut(&Connection) -> bool,
) -> Result<Reading, ParseError> {
    let Capture { format, origin, byte_order, bytes, .. } = capture;
    match format {
        Format::InetDiag => inet_diag::read(bytes, byte_order.unwrap_or(ByteOrder::NATIVE), counts),
        Format::Ctnetlink => {
            conntrack::messages::read(bytes, byte_order.unwrap_or(ByteOrder::NATIVE), counts)
        }
        Format::Listing => {
            let mut reading = listing::read(bytes, &origin, byte_order, counts)?;
            if origin.starts_with("/proc/self/")
                && let Some(unreadable) = &mut reading.first_unreadable
            {
                unreadable.origin = Some(origin);
            }
            Ok(reading)
        }
    }
}
