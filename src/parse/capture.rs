//! Output of a source: the bytes of a socket table and what is known about them.
use std::{
    fmt,
    io::BufRead,
    net::{IpAddr, SocketAddr},
};

use crate::model::kernel_counters::NamespaceCounters;

/// Unparsed bytes of a socket table.
///
/// The bytes are a stream, not a buffer, so that memory use does not grow with the
/// size of the table.
pub struct Capture {
    /// Format of the bytes.
    pub format: CaptureFormat,
    /// Source of the bytes, for messages, such as `/proc/self/net/tcp` or
    /// `standard input`.
    pub origin: String,
    /// Byte order of the machine that wrote the table; `None` if it is unknown and
    /// has to be detected in the bytes.
    pub byte_order: Option<ByteOrder>,
    /// Connection that transfers the bytes, if the table can list it. It exists only because
    /// of the sample and is not counted.
    pub session_connection: Option<SessionConnection>,
    /// Identity of the server that wrote the table, as it reports it; `None` if it is
    /// unknown, and for this host.
    pub server_identity: Option<ServerIdentity>,
    /// Sorted addresses of the sampled host, for a flow table, which does not show
    /// them; `None` if they are unknown or not needed.
    pub local_addresses: Option<Vec<IpAddr>>,
    /// Counters of the sampled network namespace; `None` if they are unknown.
    pub kernel_counters: Option<NamespaceCounters>,
    /// Facts for verbose output about how the bytes were obtained.
    pub notes: Vec<CaptureNote>,
    /// Bytes of the table.
    pub bytes: Box<dyn BufRead + Send>,
}

impl Capture {
    /// Creates a capture without a session connection, addresses, counters and notes.
    #[must_use]
    pub fn new(
        format: CaptureFormat,
        origin: impl Into<String>,
        byte_order: Option<ByteOrder>,
        bytes: Box<dyn BufRead + Send>,
    ) -> Self {
        Self {
            format,
            origin: origin.into(),
            byte_order,
            session_connection: None,
            server_identity: None,
            local_addresses: None,
            kernel_counters: None,
            notes: Vec::new(),
            bytes,
        }
    }
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

/// A fact about how the bytes of a capture were obtained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaptureNote {
    /// Login to a server over SSH.
    SshLogin {
        /// Name of the server.
        server: String,
        /// Name of the user.
        user: String,
        /// Authentication method, with the key's file.
        method: String,
        /// Command that listed the sockets.
        command: String,
    },
    /// Parameters of an SSH session.
    SshSession {
        /// Name of the server.
        server: String,
        /// Negotiated algorithms.
        algorithms: String,
        /// Durations of the stages.
        timings: String,
    },
    /// Listing of a server by an external SSH client.
    RemoteShell {
        /// Name of the server.
        server: String,
        /// File name of the client.
        program: String,
        /// Command that printed the listing.
        command: String,
    },
    /// Size of the kernel's flow table.
    FlowTableSize {
        /// Number of flows.
        count: u32,
        /// Maximum number of flows.
        max: u32,
    },
}

/// TCP connection of the SSH session that samples a host. IPv4-mapped addresses are
/// stored as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionConnection {
    /// Endpoint on the sampled host.
    pub local: SocketAddr,
    /// Endpoint on the host that runs topip.
    pub peer: SocketAddr,
    /// True if the sampled host itself reported both ends, so that its socket table
    /// must list the connection.
    pub is_confirmed: bool,
}

/// Identity of a server. Two names with the same identity are names of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerIdentity {
    /// Random ID that the kernel creates at boot (`/proc/sys/kernel/random/boot_id`). The
    /// containers of a host share it.
    pub boot_id: String,
    /// Address and port of the SSH server.
    pub address: SocketAddr,
}

/// Format of the bytes of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureFormat {
    /// Netlink messages of the kernel's sock_diag.
    InetDiag,
    /// Records of topip's BPF program.
    BpfWalk,
    /// Netlink messages of the kernel's ctnetlink.
    Ctnetlink,
    /// Text of a tool or of `/proc`; the dialect is detected in the text.
    Listing,
}

/// Order of the bytes of a number in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    /// Least significant byte first, as on x86 and most ARM.
    Little,
    /// Most significant byte first, as on s390x.
    Big,
}

impl ByteOrder {
    /// Byte order of this machine.
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
