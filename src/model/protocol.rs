//! The transport protocols whose connections are counted.
use clap::ValueEnum;

use super::connection::TcpStates;

/// Counted transport protocols. The variants are the values of `--protocol`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// TCP.
    #[default]
    #[value(help = None)]
    Tcp,
    /// UDP. Only connection tracking shows the clients of UDP.
    #[value(help = None)]
    Udp,
    /// TCP and UDP.
    #[value(help = None)]
    All,
}

impl Protocol {
    /// Returns the value of `--protocol`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::All => "all",
        }
    }

    /// Returns whether TCP connections are counted.
    #[must_use]
    pub fn includes_tcp(self) -> bool {
        self != Self::Udp
    }

    /// Returns whether UDP flows are counted.
    #[must_use]
    pub fn includes_udp(self) -> bool {
        self != Self::Tcp
    }

    /// Returns the states that a connection or flow of these protocols can have.
    #[must_use]
    pub fn states(self) -> TcpStates {
        match self {
            Self::Tcp => TcpStates::CONNECTED,
            Self::Udp => TcpStates::UDP,
            Self::All => TcpStates::CONNECTED.with(TcpStates::UDP),
        }
    }
}
