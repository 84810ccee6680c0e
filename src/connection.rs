//! One row of a socket table: two ends and a TCP state.
use std::net::SocketAddr;

/// A TCP socket as some table shows it.
///
/// A listening socket is one too: its peer is the unspecified address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// This host's end.
    pub local: SocketAddr,
    /// The other end, as the table spells it: an IPv4 peer of a dual-stack
    /// socket may stand here as `::ffff:192.0.2.1`.
    pub peer: SocketAddr,
    /// `None` where the table does not tell, as `ss state established` does not.
    pub tcp_state: Option<TcpState>,
    /// Where the table may have cut the peer's address off: how many of its
    /// leading bits are certain. `None`: the address is whole.
    pub peer_cut: Option<u8>,
}

impl Connection {
    /// Whether there is somebody at the other end; if not, it listens or waits.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        // Of an address that was cut, nothing but zeros may be certain.
        let is_somebody = self.peer_cut.is_some() || !self.peer.ip().is_unspecified();
        self.tcp_state != Some(TcpState::Listen) && is_somebody
    }
}

/// The states of TCP, with the names and numbers of the Linux kernel
/// (`include/net/tcp_states.h`).
///
/// `ss` writes them with hyphens, the BSDs and Windows write `SYN_RCVD` or
/// `SYN_RECEIVED` for [`SynRecv`](Self::SynRecv) and `CLOSED` for
/// [`Close`](Self::Close).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[expect(missing_docs, reason = "RFC 9293, section 3.3.2, says what each means")]
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
}

impl TcpState {
    /// Every state, in the order of their numbers.
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

    /// The state that the kernel means by `number`; `None` for a number that it
    /// has not given to a socket that a table shows.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        // 12 is NEW_SYN_RECV, the kernel's own word for a half-open connection
        // that has no full socket yet. Everybody else calls both SYN_RECV.
        match number {
            1..=11 => Some(Self::ALL[usize::from(number) - 1]),
            12 => Some(Self::SynRecv),
            _ => None,
        }
    }

    /// The kernel's number, 1 to 11.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The kernel's name without its `TCP_`, such as `FIN_WAIT1`.
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
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_there_and_back() {
        for state in TcpState::ALL {
            assert_eq!(TcpState::from_number(state.number()), Some(state));
        }
        assert_eq!(TcpState::from_number(12), Some(TcpState::SynRecv));
        assert_eq!(TcpState::from_number(0), None);
        assert_eq!(TcpState::from_number(13), None);
    }
}
