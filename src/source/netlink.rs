//! This machine's sockets by the kernel's sock_diag (sock_diag(7)).
//!
//! No privilege is needed. The question is the old one of `TCPDIAG_GETSOCK`: the
//! kernel answers it with IPv4 and IPv6 in one walk through its tables, where
//! `SOCK_DIAG_BY_FAMILY` takes one walk for each. Where a kernel does not know
//! the old one, the new one is asked twice.
use std::ops::RangeInclusive;

use crate::{
    model::connection::TcpStates,
    parse::{
        capture::{ByteOrder, Capture, Format},
        inet_diag::{SOCK_DIAG_BY_FAMILY, TCPDIAG_GETSOCK},
        netlink::{AF_INET, AF_INET6, Interface},
    },
};

use super::dispatch::SourceError;

pub(super) mod dump;
mod port_filter;

use dump::Dump;

const IPPROTO_TCP: u8 = 6;

/// Asks for a dump of the TCP sockets in these states, at those ports; none: all.
pub(super) fn open(
    tcp_states: TcpStates,
    ports: &[RangeInclusive<u16>],
) -> Result<Vec<Capture>, SourceError> {
    ask_by_turns(Question::new(tcp_states, ports))
}

/// Asks without the filter where the kernel does not like it: whoever reads the
/// answer looks at the ports again.
fn ask_by_turns(question: Question) -> Result<Vec<Capture>, SourceError> {
    match ask(&question) {
        Err(SourceError::Refused { .. }) if !question.filter.is_empty() => {
            ask(&Question { filter: Vec::new(), ..question })
        }
        answer => answer,
    }
}

fn ask(question: &Question) -> Result<Vec<Capture>, SourceError> {
    match dump(TCPDIAG_GETSOCK, &question.both_families()) {
        Ok(both) => Ok(vec![capture(both)]),
        Err(SourceError::Refused { .. }) => [AF_INET, AF_INET6]
            .into_iter()
            .map(|family| Ok(capture(dump(SOCK_DIAG_BY_FAMILY, &question.one_family(family))?)))
            .collect(),
        Err(error) => Err(error),
    }
}

fn dump(message_type: u16, request: &[u8]) -> Result<Dump, SourceError> {
    dump::open(Interface::SockDiag, message_type, request)
}

fn capture(dump: Dump) -> Capture {
    Capture {
        format: Format::InetDiag,
        origin: "netlink".to_owned(),
        byte_order: Some(ByteOrder::NATIVE),
        own: None,
        addresses: None,
        how: Vec::new(),
        bytes: Box::new(dump),
    }
}

/// What is asked of the kernel. Bit 3 of the states gives the half-open
/// connections too, which have no socket yet (`tcp_diag.c`).
struct Question {
    states: u32,
    /// `struct inet_diag_sockid`, of which all is any but the local port, where
    /// one is given.
    socket: [u8; 48],
    /// An attribute with bytecode, or nothing.
    filter: Vec<u8>,
}

impl Question {
    /// One port has a place in the question, where it costs nothing.
    fn new(tcp_states: TcpStates, ports: &[RangeInclusive<u16>]) -> Self {
        let one = match ports {
            [range] if range.start() == range.end() => *range.start(),
            _ => 0,
        };
        let mut socket = [0; 48];
        socket[..2].copy_from_slice(&one.to_be_bytes());
        let bytecode = if one == 0 { port_filter::bytecode(ports) } else { None };
        let filter = bytecode.map_or_else(Vec::new, |bytecode| attribute(&bytecode));
        Self { states: tcp_states.bits(), socket, filter }
    }

    /// `struct inet_diag_req`: no family, no extensions, the socket, the states,
    /// and a field that nobody uses.
    fn both_families(&self) -> Vec<u8> {
        let states = self.states.to_ne_bytes();
        [&[0; 4][..], &self.socket, &states, &[0; 4], &self.filter].concat()
    }

    /// `struct inet_diag_req_v2`.
    fn one_family(&self, family: u8) -> Vec<u8> {
        let states = self.states.to_ne_bytes();
        [&[family, IPPROTO_TCP, 0, 0][..], &states, &self.socket, &self.filter].concat()
    }
}

/// `struct nlattr` and what it is the header of. The kernel looks for it behind
/// either question.
fn attribute(bytecode: &[u8]) -> Vec<u8> {
    const INET_DIAG_REQ_BYTECODE: u16 = 1;
    let length = u16::try_from(4 + bytecode.len()).expect("a filter is short");
    [&length.to_ne_bytes()[..], &INET_DIAG_REQ_BYTECODE.to_ne_bytes(), bytecode].concat()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use crate::{model::connection::Connection, parse};

    use super::*;

    fn all() -> Question {
        Question { states: u32::MAX >> 20 & !1, socket: [0; 48], filter: Vec::new() }
    }

    /// DCCP's handler is in no kernel of today. A dump of its sockets succeeds,
    /// without one, as a dump of TCP's does where tcp_diag is missing.
    #[test]
    fn a_missing_module_is_refused_by_the_real_kernel() {
        const IPPROTO_DCCP: u8 = 33;
        let mut request = all().one_family(AF_INET);
        request[1] = IPPROTO_DCCP;
        match dump(SOCK_DIAG_BY_FAMILY, &request) {
            Err(SourceError::Refused { source, .. }) => assert_eq!(source.raw_os_error(), Some(2)),
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("a dump of what is not there"),
        }
    }

    /// Every way of asking it.
    fn dumps(question: &Question) -> impl Iterator<Item = Result<Dump, SourceError>> {
        [
            (TCPDIAG_GETSOCK, question.both_families()),
            (SOCK_DIAG_BY_FAMILY, question.one_family(AF_INET)),
            (SOCK_DIAG_BY_FAMILY, question.one_family(AF_INET6)),
        ]
        .into_iter()
        .map(|(message_type, request)| dump(message_type, &request))
    }

    #[test]
    fn both_questions_are_answered_to_the_end() {
        for dump in dumps(&all()) {
            let capture = capture(dump.expect("this kernel knows it"));
            parse::read(capture, &mut |_| true).expect("it has an end");
        }
    }

    #[test]
    fn the_real_kernel_selects_ports() {
        let listeners = [(); 4].map(|()| TcpListener::bind("[::1]:0").expect("a port is free"));
        let ports = listeners.each_ref().map(|it| it.local_addr().expect("it has one").port());
        let wanted = [ports[1]..=ports[1], ports[3]..=ports[3]];
        let question =
            Question { filter: Question::new(TcpStates::CONNECTED, &wanted).filter, ..all() };
        let mut found = Vec::new();
        for dump in dumps(&question) {
            let mut see = |connection: &Connection| {
                found.push(connection.local.port());
                true
            };
            parse::read(capture(dump.expect("it takes the filter")), &mut see).expect("it ends");
        }
        found.sort_unstable();
        let mut twice = [ports[1], ports[1], ports[3], ports[3]];
        twice.sort_unstable();
        assert_eq!(found, twice);
    }

    #[test]
    fn a_filter_that_the_real_kernel_does_not_like_is_left_out() {
        let question = || Question { filter: attribute(&[99; 4]), ..all() };
        for dump in dumps(&question()) {
            let Err(SourceError::Refused { source, .. }) = dump else { panic!("it took it") };
            assert_eq!(source.raw_os_error(), Some(22));
        }
        assert_eq!(ask_by_turns(question()).expect("it is asked again").len(), 1);
    }
}
