//! What is known of a peer, as every JSON of the suite tells it.
use serde::Serialize;

use super::tally::Peer;
use crate::model::connection::TcpState;

/// What is known of a peer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evidence<'a> {
    /// The address or network.
    pub address: String,
    /// What the administrator calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<&'a str>,
    /// How many addresses it has connections from.
    pub addresses: u64,
    /// How many connections it has.
    pub connections: u64,
    /// When it was first seen on top, in seconds since 1970-01-01 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_on_top: Option<u64>,
    /// Its connections by the port of this host, the busiest first.
    pub ports: Vec<Port>,
    /// Its connections by TCP state, the commonest first.
    pub states: Vec<State>,
}

/// How many connections go to a port.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Port {
    /// The port of this host.
    pub port: u16,
    /// How many.
    pub connections: u64,
}

/// How many connections are in a TCP state.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct State {
    /// Its name; `None` where the table does not tell.
    pub state: Option<&'static str>,
    /// How many.
    pub connections: u64,
}

impl<'a> Evidence<'a> {
    /// All that is known of a peer.
    #[must_use]
    pub fn of(peer: &'a Peer) -> Self {
        let state = |state: Option<TcpState>| state.map(TcpState::name);
        Self {
            address: peer.network.to_string(),
            label: peer.label.as_deref(),
            addresses: peer.addresses,
            connections: peer.connections,
            first_on_top: peer.first_on_top,
            ports: peer
                .ports
                .iter()
                .map(|&(port, connections)| Port { port, connections })
                .collect(),
            states: peer
                .states
                .iter()
                .map(|&(it, connections)| State { state: state(it), connections })
                .collect(),
        }
    }
}
