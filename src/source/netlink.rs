//! Sockets of this host, read over the kernel's sock_diag (sock_diag(7)).
//!
//! No privilege is needed. The request is the older `TCPDIAG_GETSOCK`: the kernel
//! answers it with IPv4 and IPv6 in one walk through its tables, while
//! `SOCK_DIAG_BY_FAMILY` takes one walk per family. If the kernel rejects the older
//! request, the newer one is sent once per family.
use std::ops::RangeInclusive;

use crate::{
    model::connection::TcpStates,
    parse::{
        capture::{ByteOrder, Capture, CaptureFormat},
        inet_diag::{SOCK_DIAG_BY_FAMILY, TCPDIAG_GETSOCK},
        netlink::{AF_INET, AF_INET6, Interface},
    },
};

use super::source_error::SourceError;

pub(super) mod dump;
mod port_filter;

use dump::DumpSocket;

const IPPROTO_TCP: u8 = 6;

/// Opens a dump of the TCP sockets in these states at these local ports; all ports if
/// `ports` is empty.
pub(super) fn open(
    tcp_states: TcpStates,
    ports: &[RangeInclusive<u16>],
) -> Result<Vec<Capture>, SourceError> {
    request_with_fallback(InetDiagRequest::new(tcp_states, ports))
}

/// Sends the request, and repeats it without the port filter if the kernel rejects the
/// filter. The result stays correct: connections are also filtered by port later.
fn request_with_fallback(request: InetDiagRequest) -> Result<Vec<Capture>, SourceError> {
    match request_dump(&request) {
        Err(SourceError::Refused { .. }) if !request.filter.is_empty() => {
            request_dump(&InetDiagRequest { filter: Vec::new(), ..request })
        }
        result => result,
    }
}

fn request_dump(request: &InetDiagRequest) -> Result<Vec<Capture>, SourceError> {
    match dump(TCPDIAG_GETSOCK, &request.both_families_payload()) {
        Ok(dump) => Ok(vec![capture(dump)]),
        Err(SourceError::Refused { .. }) => [AF_INET, AF_INET6]
            .into_iter()
            .map(|family| Ok(capture(dump(SOCK_DIAG_BY_FAMILY, &request.family_payload(family))?)))
            .collect(),
        Err(error) => Err(error),
    }
}

fn dump(message_type: u16, payload: &[u8]) -> Result<DumpSocket, SourceError> {
    dump::open(Interface::SockDiag, message_type, payload)
}

fn capture(dump: DumpSocket) -> Capture {
    Capture::new(CaptureFormat::InetDiag, "netlink", Some(ByteOrder::NATIVE), Box::new(dump))
}

/// A request for a dump of TCP sockets.
struct InetDiagRequest {
    /// TCP states to select, one bit each. Bit 3 (`SYN_RECV`) also selects half-open
    /// connections, which do not have a full socket yet (`tcp_diag.c`).
    state_bits: u32,
    /// `struct inet_diag_sockid`: zeros, which match everything, except for the local
    /// port if exactly one is selected.
    socket_id: [u8; 48],
    /// Attribute with bytecode for the ports; empty if the kernel needs no bytecode.
    filter: Vec<u8>,
}

impl InetDiagRequest {
    /// Creates a request. A single port goes into the socket ID, where the kernel
    /// compares it at no cost; several ports need bytecode.
    fn new(tcp_states: TcpStates, ports: &[RangeInclusive<u16>]) -> Self {
        let single_port = match ports {
            [range] if range.start() == range.end() => *range.start(),
            _ => 0,
        };
        let mut socket_id = [0; 48];
        socket_id[..2].copy_from_slice(&single_port.to_be_bytes());
        let bytecode = if single_port == 0 { port_filter::bytecode(ports) } else { None };
        let filter = bytecode.map_or_else(Vec::new, |bytecode| attribute(&bytecode));
        Self { state_bits: tcp_states.bits(), socket_id, filter }
    }

    /// Returns a `struct inet_diag_req`: no family, no extensions, the socket ID, the
    /// states, and an unused field.
    fn both_families_payload(&self) -> Vec<u8> {
        let state_bits = self.state_bits.to_ne_bytes();
        [&[0; 4][..], &self.socket_id, &state_bits, &[0; 4], &self.filter].concat()
    }

    /// Returns a `struct inet_diag_req_v2` for one address family.
    fn family_payload(&self, family: u8) -> Vec<u8> {
        let state_bits = self.state_bits.to_ne_bytes();
        [&[family, IPPROTO_TCP, 0, 0][..], &state_bits, &self.socket_id, &self.filter].concat()
    }
}

/// Returns a `struct nlattr` followed by `bytecode`. The kernel accepts the attribute
/// after either request.
fn attribute(bytecode: &[u8]) -> Vec<u8> {
    const INET_DIAG_REQ_BYTECODE: u16 = 1;
    let length = u16::try_from(4 + bytecode.len()).expect("a filter is short");
    [&length.to_ne_bytes()[..], &INET_DIAG_REQ_BYTECODE.to_ne_bytes(), bytecode].concat()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, TcpListener};

    use crate::{model::connection::Connection, parse};

    use super::*;

    fn unfiltered_request() -> InetDiagRequest {
        InetDiagRequest { state_bits: u32::MAX >> 20 & !1, socket_id: [0; 48], filter: Vec::new() }
    }

    /// Current kernels do not have a handler for DCCP. The kernel answers a dump of
    /// DCCP sockets like a dump of TCP sockets without tcp_diag.
    #[test]
    fn kernel_refuses_dump_without_module() {
        const IPPROTO_DCCP: u8 = 33;
        let mut payload = unfiltered_request().family_payload(AF_INET);
        payload[1] = IPPROTO_DCCP;
        match dump(SOCK_DIAG_BY_FAMILY, &payload) {
            Err(SourceError::Refused { source, .. }) => assert_eq!(source.raw_os_error(), Some(2)),
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("the kernel dumped DCCP sockets"),
        }
    }

    /// Sends the request in each of its forms.
    fn dumps(request: &InetDiagRequest) -> impl Iterator<Item = Result<DumpSocket, SourceError>> {
        [
            (TCPDIAG_GETSOCK, request.both_families_payload()),
            (SOCK_DIAG_BY_FAMILY, request.family_payload(AF_INET)),
            (SOCK_DIAG_BY_FAMILY, request.family_payload(AF_INET6)),
        ]
        .into_iter()
        .map(|(message_type, payload)| dump(message_type, &payload))
    }

    #[test]
    fn both_request_types_are_answered_completely() {
        for dump in dumps(&unfiltered_request()) {
            let capture = capture(dump.expect("the kernel answers the request"));
            parse::read(capture, &mut |_| true).expect("the dump is complete");
        }
    }

    #[test]
    fn kernel_selects_ports() {
        let listeners = [(); 4].map(|()| TcpListener::bind("[::1]:0").expect("a port is free"));
        let ports = listeners.each_ref().map(|it| it.local_addr().expect("it is bound").port());
        let selected_ports = [ports[1]..=ports[1], ports[3]..=ports[3]];
        let request = InetDiagRequest {
            filter: InetDiagRequest::new(TcpStates::CONNECTED, &selected_ports).filter,
            ..unfiltered_request()
        };
        let mut found_ports = Vec::new();
        for dump in dumps(&request) {
            // Another process may use the same port of another address.
            let mut on_connection = |connection: &Connection| {
                if connection.local.ip() == Ipv6Addr::LOCALHOST {
                    found_ports.push(connection.local.port());
                }
                true
            };
            parse::read(capture(dump.expect("the kernel accepts the filter")), &mut on_connection)
                .expect("the dump is complete");
        }
        found_ports.sort_unstable();
        let mut expected = [ports[1], ports[1], ports[3], ports[3]];
        expected.sort_unstable();
        assert_eq!(found_ports, expected);
    }

    #[test]
    fn rejected_filter_is_dropped() {
        let request = || InetDiagRequest { filter: attribute(&[99; 4]), ..unfiltered_request() };
        for dump in dumps(&request()) {
            let Err(SourceError::Refused { source, .. }) = dump else {
                panic!("the kernel accepted the filter")
            };
            assert_eq!(source.raw_os_error(), Some(22));
        }
        assert_eq!(request_with_fallback(request()).expect("the request is repeated").len(), 1);
    }
}
