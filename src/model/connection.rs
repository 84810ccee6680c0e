//! One row of a socket table: two ends and a TCP state.
use std::{net::SocketAddr, str::FromStr};

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

/// A word that is no state of TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a TCP state; write ESTABLISHED, SYN_RECV, TIME_WAIT or another, as netstat has them")]
pub struct TcpStateError;

impl FromStr for TcpState {
    type Err = TcpStateError;

    /// Takes the names of the kernel, of `ss` and of the BSDs, in any case.
    fn from_str(text: &str) -> Result<Self, TcpStateError> {
        let letters = |text: &str| -> String {
            let letters = text.chars().filter(|letter| !"-_".contains(*letter));
            letters.map(|letter| letter.to_ascii_uppercase()).collect()
        };
        match letters(text.trim()).as_str() {
            "ESTAB" => Ok(Self::Established),
            "SYNRCVD" | "SYNRECEIVED" => Ok(Self::SynRecv),
            "CLOSED" => Ok(Self::Close),
            word => Self::ALL
                .into_iter()
                .find(|tcp_state| letters(tcp_state.name()) == word)
                .filter(|&tcp_state| tcp_state != Self::Listen)
                .ok_or(TcpStateError),
        }
    }
}

/// Some of the states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpStates(u32);

impl TcpStates {
    /// Every state that a connection can be in: all but LISTEN.
    pub const CONNECTED: Self = Self(0b1011_1111_1110);

    /// These states, and no other.
    #[must_use]
    pub fn of(tcp_states: &[TcpState]) -> Self {
        Self(tcp_states.iter().fold(0, |bits, tcp_state| bits | 1 << tcp_state.number()))
    }

    /// All of these that are not among `others`.
    #[must_use]
    pub fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// All of these and LISTEN.
    #[must_use]
    pub fn and_listen(self) -> Self {
        Self(self.0 | 1 << TcpState::Listen.number())
    }

    /// Whether `tcp_state` is one of them.
    #[must_use]
    pub fn contains(self, tcp_state: TcpState) -> bool {
        self.0 & 1 << tcp_state.number() != 0
    }

    /// A bit for each, at its number, as sock_diag(7) wants them.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_spelling() {
        for text in ["SYN_RECV", "syn-recv", "SYN_RCVD", "SynReceived", " syn_recv "] {
            assert_eq!(text.parse(), Ok(TcpState::SynRecv), "{text}");
        }
        assert_eq!("FIN_WAIT_1".parse(), Ok(TcpState::FinWait1));
        for text in ["", "LISTEN", "SYN", "3"] {
            assert_eq!(text.parse::<TcpState>(), Err(TcpStateError), "{text}");
        }
    }

    #[test]
    fn some_states() {
        assert_eq!(TcpStates::of(&TcpState::ALL), TcpStates::CONNECTED.and_listen());
        let waiting = TcpStates::of(&[TcpState::TimeWait]);
        assert!(waiting.contains(TcpState::TimeWait) && !waiting.contains(TcpState::Listen));
        assert!(!TcpStates::CONNECTED.without(waiting).contains(TcpState::TimeWait));
    }

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
