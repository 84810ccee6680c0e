//! What a source hands over: bytes, and what is known about them.
use std::{
    fmt,
    io::BufRead,
    net::{IpAddr, SocketAddr},
};

/// Bytes of a socket table, not yet read.
///
/// They are a stream, not a buffer: a table of a million sockets passes through
/// the memory of one.
pub struct Capture {
    /// How the bytes are to be read.
    pub format: Format,
    /// Where they come from, as an administrator would name it:
    /// `/proc/self/net/tcp`, `standard input`.
    pub origin: String,
    /// The byte order of the machine that wrote them; `None` where only the
    /// bytes themselves can tell.
    pub byte_order: Option<ByteOrder>,
    /// The connection that they come by, where it is in the table itself: it is
    /// of the looking, not of what is looked at.
    pub own: Option<OwnConnection>,
    /// The addresses of the host that is looked at, in order, where they are known
    /// and matter: a table of flows does not tell which of them are its own.
    pub addresses: Option<Vec<IpAddr>>,
    /// How they were come by, for whoever asks; one sentence each.
    pub how: Vec<String>,
    /// The bytes.
    pub bytes: Box<dyn BufRead + Send>,
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture")
            .field("format", &self.format)
            .field("origin", &self.origin)
            .field("byte_order", &self.byte_order)
            .finish_non_exhaustive()
    }
}

/// A connection, by its two ends; IPv4 as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnConnection {
    /// The looked-at host's end.
    pub local: SocketAddr,
    /// The looker's end.
    pub peer: SocketAddr,
    /// Whether the looked-at host has said so itself: then its table has it.
    pub is_certain: bool,
}

/// How the bytes of a capture are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Answers of the kernel's sock_diag, netlink message after message.
    InetDiag,
    /// Answers of the kernel's ctnetlink, the same way.
    Ctnetlink,
    /// Text that some tool or `/proc` wrote; its dialect is in the text.
    Listing,
}

/// Which end of a number comes first in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    /// The least significant byte, as on x86 and most ARM.
    Little,
    /// The most significant byte, as on s390x.
    Big,
}

impl ByteOrder {
    /// This machine's.
    pub const NATIVE: Self = if cfg!(target_endian = "big") { Self::Big } else { Self::Little };
}

impl fmt::Display for ByteOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Little => "little-endian",
            Self::Big => "big-endian",
        })
    }
}
