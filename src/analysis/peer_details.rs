//! The JSON representation of a peer, the same in all output of the suite.
use std::net::IpAddr;

use serde::Serialize;

use super::tally::Peer;
use crate::model::{connection::TcpState, peer_id::PeerId};

/// A peer with its connections by port and by TCP state.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PeerDetails<'a> {
    /// The address, or the network in CIDR notation; of a truncated address the visible
    /// part, followed by three dots; `None` for a group.
    pub address: Option<String>,
    /// Name of the group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<&'a str>,
    /// Name given by the administrator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<&'a str>,
    /// Number of the autonomous system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asn: Option<u32>,
    /// Name of the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<&'a str>,
    /// Code or name of the country.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<&'a str>,
    /// Number of the peer's addresses that are connected.
    pub addresses: u64,
    /// Number of connections.
    pub connections: u64,
    /// Time of the first sample that had this peer on top, in seconds since 1970-01-01
    /// UTC; `None` if unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_on_top: Option<u64>,
    /// Connections by local address, busiest first; empty if there is only one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub local_addresses: Vec<LocalAddressCount>,
    /// Connections by local port, busiest first.
    pub ports: Vec<PortCount>,
    /// Connections by TCP state, most frequent first.
    #[serde(rename = "states")]
    pub tcp_states: Vec<TcpStateCount>,
}

/// Number of connections to a local address.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LocalAddressCount {
    /// The address; `None` for truncated addresses, and for those beyond the maximum number.
    pub address: Option<IpAddr>,
    /// Number of connections to the address.
    pub connections: u64,
}

/// Number of connections to a local port.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PortCount {
    /// The local port.
    pub port: u16,
    /// Number of connections to the port.
    pub connections: u64,
}

/// Number of connections in a TCP state.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TcpStateCount {
    /// Name of the state, such as `ESTABLISHED`; `None` if the table has no states.
    #[serde(rename = "state")]
    pub tcp_state: Option<&'static str>,
    /// Number of connections in the state.
    pub connections: u64,
}

impl<'a> PeerDetails<'a> {
    /// Creates the representation of `peer`.
    #[must_use]
    pub fn new(peer: &'a Peer) -> Self {
        let group = match &peer.id {
            PeerId::Network(_) => None,
            PeerId::Group(group) => Some(group.name.as_str()),
        };
        Self {
            address: if group.is_none() { Some(peer.name()) } else { None },
            group,
            label: peer.label.as_deref(),
            asn: peer.operator.asn,
            operator: peer.operator.name.as_deref(),
            country: peer.operator.country.as_deref(),
            addresses: peer.addresses,
            connections: peer.connections,
            first_on_top: peer.first_on_top,
            local_addresses: peer
                .local_addresses
                .iter()
                .map(|&(address, connections)| LocalAddressCount { address, connections })
                .collect(),
            ports: peer
                .ports
                .iter()
                .map(|&(port, connections)| PortCount { port, connections })
                .collect(),
            tcp_states: peer
                .tcp_states
                .iter()
                .map(|&(tcp_state, connections)| TcpStateCount {
                    tcp_state: tcp_state.map(TcpState::name),
                    connections,
                })
                .collect(),
        }
    }
}
