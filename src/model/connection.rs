//! One row of a socket table: two endpoints and a TCP state.
use std::{
    fmt::{self, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroU32,
    str::FromStr,
};

use super::network::canonical_address;

/// A TCP socket as listed in a socket table.
///
/// Listening sockets are included; their peer is the unspecified address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Endpoint on the host that the table belongs to.
    pub local: SocketAddr,
    /// Remote endpoint, as written in the table: an IPv4 peer of a dual-stack
    /// socket may appear as `::ffff:192.0.2.1`.
    pub peer: SocketAddr,
    /// TCP state; `None` if the table does not show it, as with `ss state established`.
    pub tcp_state: Option<TcpState>,
    /// The visible part of the peer address, if the table may have truncated the address;
    /// `None` if the address is complete.
    pub peer_truncated: Option<TruncatedAddress>,
    /// True if the table may have truncated the local address.
    pub is_local_truncated: bool,
    /// Number of connections of a row that has the count of an address, without ports and
    /// states; `None` for a row of one connection.
    pub count: Option<NonZeroU32>,
}

/// The visible part of an IPv6 address that a table may have truncated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TruncatedAddress {
    /// The text, filled up with zeros.
    text: [u8; Self::MAX_BYTES],
    /// Number of leading bits of the address that are certain, 0 to 128.
    pub n_known_bits: u8,
    /// True if the visible part is an address by itself, so that it may be complete.
    pub is_address: bool,
}

impl TruncatedAddress {
    /// Maximum length of a text: netstat truncates to 22 characters or fewer.
    const MAX_BYTES: usize = 24;

    /// Creates the value from the visible part of an address, the number of leading bits that
    /// are certain, and whether the visible part is an address by itself. Bytes beyond the 24th
    /// are dropped.
    #[must_use]
    pub fn new(visible: &[u8], n_known_bits: u8, is_address: bool) -> Self {
        let mut text = [0; Self::MAX_BYTES];
        for (to, from) in text.iter_mut().zip(visible) {
            *to = *from;
        }
        Self { text, n_known_bits, is_address }
    }
}

impl fmt::Display for TruncatedAddress {
    /// Writes the visible part, followed by three dots, which no address contains.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in self.text.iter().take_while(|&&byte| byte != 0) {
            f.write_char(if byte.is_ascii_graphic() { char::from(byte) } else { '?' })?;
        }
        f.write_str("...")
    }
}

impl Connection {
    /// A connection without addresses, ports and state.
    pub const UNSPECIFIED: Self = {
        let endpoint = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        Self {
            local: endpoint,
            peer: endpoint,
            tcp_state: None,
            peer_truncated: None,
            count: None,
            is_local_truncated: false,
        }
    };

    /// Returns whether the socket has a peer; sockets without one are listening or
    /// unconnected.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        // The certain part of a truncated peer address may consist of zeros only.
        let has_peer = self.peer_truncated.is_some() || !self.peer.ip().is_unspecified();
        self.tcp_state != Some(TcpState::Listen) && has_peer
    }

    /// Returns the number of connections that the row represents.
    #[must_use]
    #[inline]
    pub fn n_connections(&self) -> u64 {
        self.count.map_or(1, |count| count.get().into())
    }

    /// Returns the address by which the connection is counted: the canonical address of the
    /// peer. Of truncated addresses, only IPv4-mapped ones are converted: the missing part of a
    /// NAT64 address belongs to the IPv4 address in it.
    #[must_use]
    #[inline]
    pub fn peer_address(&self) -> IpAddr {
        let address = self.peer.ip();
        if address.is_ipv4() {
            return address;
        }
        if self.peer_truncated.is_some() {
            address.to_canonical()
        } else {
            canonical_address(address)
        }
    }
}

/// TCP state, with the names and numbers of the Linux kernel
/// (`include/net/tcp_states.h`); or the state of a UDP flow of connection tracking.
///
/// `ss` writes the names with hyphens. The BSDs and Windows write `SYN_RCVD` or
/// `SYN_RECEIVED` for [`SynRecv`](Self::SynRecv), and `CLOSED` for
/// [`Close`](Self::Close).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[expect(missing_docs, reason = "RFC 9293, section 3.3.2, defines the states")]
pub enum TcpState {
    Established = 1,
    SynSent = 2,
    SynRecv = 3,
    FinWait1 = 4,
    FinWait2 = 5,
    TimeWait = 6,
    Close = 7,
    CloseWait = 8,
    LastAck = 9,
    Listen = 10,
    Closing = 11,
    /// UDP flow with packets in one direction only.
    Unreplied = 16,
    /// UDP flow with packets in both directions.
    SeenReply = 17,
    /// UDP flow with packets in both directions for a while: the kernel does not drop it
    /// early if the table is full.
    Assured = 18,
}

impl TcpState {
    /// All states of TCP, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::Established,
        Self::SynSent,
        Self::SynRecv,
        Self::FinWait1,
        Self::FinWait2,
        Self::TimeWait,
        Self::Close,
        Self::CloseWait,
        Self::LastAck,
        Self::Listen,
        Self::Closing,
    ];

    /// All states of UDP flows, with the names of the option `--status` of conntrack(8).
    pub const UDP: [Self; 3] = [Self::Unreplied, Self::SeenReply, Self::Assured];

    /// Returns the state with this [`number`](Self::number).
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().chain(Self::UDP).find(|tcp_state| tcp_state.number() == number)
    }

    /// Returns the state with the kernel's `number`, or `None` if no socket in a
    /// table can have that number.
    #[must_use]
    pub fn from_kernel_number(number: u8) -> Option<Self> {
        // 12 is NEW_SYN_RECV, the kernel's internal state of a half-open
        // connection without a full socket. Tools show both as SYN_RECV.
        match number {
            1..=11 => Some(Self::ALL[usize::from(number) - 1]),
            12 => Some(Self::SynRecv),
            _ => None,
        }
    }

    /// Returns the kernel's number, 1 to 11, for a TCP state. The states of UDP flows do not
    /// have a number in the kernel, and have 16 to 18 here.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }

    /// Returns the kernel's name without the prefix `TCP_`, such as `FIN_WAIT1`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Established => "ESTABLISHED",
            Self::SynSent => "SYN_SENT",
            Self::SynRecv => "SYN_RECV",
            Self::FinWait1 => "FIN_WAIT1",
            Self::FinWait2 => "FIN_WAIT2",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::Listen => "LISTEN",
            Self::Closing => "CLOSING",
            Self::Unreplied => "UNREPLIED",
            Self::SeenReply => "SEEN_REPLY",
            Self::Assured => "ASSURED",
        }
    }
}

/// Error for a word that is not a TCP state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a TCP state; write a state as netstat prints it, such as ESTABLISHED or SYN_RECV")]
pub struct TcpStateError;

impl FromStr for TcpState {
    type Err = TcpStateError;

    /// Parses the names used by the kernel, `ss`, the BSDs and conntrack, in any case.
    fn from_str(text: &str) -> Result<Self, TcpStateError> {
        match normalized_name(text.trim()).as_str() {
            "ESTAB" => Ok(Self::Established),
            "SYNRCVD" | "SYNRECEIVED" => Ok(Self::SynRecv),
            "CLOSED" => Ok(Self::Close),
            name => Self::ALL
                .into_iter()
                .chain(Self::UDP)
                .find(|tcp_state| normalized_name(tcp_state.name()) == name)
                .filter(|&tcp_state| tcp_state != Self::Listen)
                .ok_or(TcpStateError),
        }
    }
}

/// Returns `name` in upper case and without hyphens and underscores.
fn normalized_name(name: &str) -> String {
    let letters = name.chars().filter(|letter| !"-_".contains(*letter));
    letters.map(|letter| letter.to_ascii_uppercase()).collect()
}

/// Set of TCP states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpStates(u32);

impl TcpStates {
    /// All states of a connection: all except LISTEN.
    pub const CONNECTED: Self = Self(0b1011_1111_1110);
    /// All states of UDP flows.
    pub const UDP: Self = Self(0b111 << 16);

    /// Creates a set of exactly these states.
    #[must_use]
    pub fn new(tcp_states: &[TcpState]) -> Self {
        Self(tcp_states.iter().fold(0, |bits, tcp_state| bits | 1 << tcp_state.number()))
    }

    /// Returns the states of this set that are not in `others`.
    #[must_use]
    pub fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Returns the states of this set and of `others`.
    #[must_use]
    pub fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Returns this set plus LISTEN.
    #[must_use]
    pub fn with_listen(self) -> Self {
        Self(self.0 | 1 << TcpState::Listen.number())
    }

    /// Returns whether `tcp_state` is in the set.
    #[must_use]
    pub fn contains(self, tcp_state: TcpState) -> bool {
        self.0 & 1 << tcp_state.number() != 0
    }

    /// Returns a bit mask with one bit per state, at the state's number, as
    /// sock_diag(7) expects it.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_names_parse_in_any_spelling() {
        for text in ["SYN_RECV", "syn-recv", "SYN_RCVD", "SynReceived", " syn_recv "] {
            assert_eq!(text.parse(), Ok(TcpState::SynRecv), "{text}");
        }
        assert_eq!("FIN_WAIT_1".parse(), Ok(TcpState::FinWait1));
        for text in ["", "LISTEN", "SYN", "3"] {
            assert_eq!(text.parse::<TcpState>(), Err(TcpStateError), "{text}");
        }
    }

    #[test]
    fn state_sets_contain_only_their_states() {
        assert_eq!(TcpStates::new(&TcpState::ALL), TcpStates::CONNECTED.with_listen());
        let time_wait = TcpStates::new(&[TcpState::TimeWait]);
        assert!(time_wait.contains(TcpState::TimeWait) && !time_wait.contains(TcpState::Listen));
        assert!(!TcpStates::CONNECTED.without(time_wait).contains(TcpState::TimeWait));
    }

    #[test]
    fn state_numbers_round_trip() {
        for tcp_state in TcpState::ALL {
            assert_eq!(TcpState::from_number(tcp_state.number()), Some(tcp_state));
            assert_eq!(TcpState::from_kernel_number(tcp_state.number()), Some(tcp_state));
        }
        for tcp_state in TcpState::UDP {
            assert_eq!(TcpState::from_number(tcp_state.number()), Some(tcp_state));
            assert_eq!(TcpState::from_kernel_number(tcp_state.number()), None);
            assert!(TcpStates::UDP.contains(tcp_state));
            assert!(!TcpStates::CONNECTED.contains(tcp_state));
        }
        assert_eq!(TcpState::from_kernel_number(12), Some(TcpState::SynRecv));
        assert_eq!(TcpState::from_kernel_number(0), None);
        assert_eq!(TcpState::from_kernel_number(13), None);
    }
}
