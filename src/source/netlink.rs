//! This machine's sockets by the kernel's sock_diag (sock_diag(7)).
//!
//! No privilege is needed. The question is the old one of `TCPDIAG_GETSOCK`: the
//! kernel answers it with IPv4 and IPv6 in one walk through its tables, where
//! `SOCK_DIAG_BY_FAMILY` takes one walk for each. Where a kernel does not know
//! the old one, the new one is asked twice.
use std::{
    io::{self, BufRead, Read},
    os::fd::OwnedFd,
};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect,
    netlink::{self, SocketAddrNetlink},
    recv, send, socket_with,
};

use crate::{
    capture::{ByteOrder, Capture, Format},
    connection::TcpStates,
    parse::inet_diag::{AF_INET, AF_INET6, SOCK_DIAG_BY_FAMILY, TCPDIAG_GETSOCK, refusal},
};

use super::{SourceError, read_buffered};

const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
const IPPROTO_TCP: u8 = 6;
/// What the kernel puts into one datagram of a dump at most.
const DATAGRAM: usize = 32 * 1024;

/// Asks for a dump of the TCP sockets in these states, at that port.
pub(super) fn open(tcp_states: TcpStates, port: Option<u16>) -> Result<Vec<Capture>, SourceError> {
    let question = Question { states: tcp_states.bits(), socket: socket(port) };
    match dump(TCPDIAG_GETSOCK, &question.both_families()) {
        Ok(both) => Ok(vec![capture(both)]),
        Err(SourceError::Refused(_)) => [AF_INET, AF_INET6]
            .into_iter()
            .map(|family| Ok(capture(dump(SOCK_DIAG_BY_FAMILY, &question.one_family(family))?)))
            .collect(),
        Err(error) => Err(error),
    }
}

fn capture(dump: Dump) -> Capture {
    Capture {
        format: Format::InetDiag,
        origin: "netlink".to_owned(),
        byte_order: Some(ByteOrder::NATIVE),
        own: None,
        how: Vec::new(),
        bytes: Box::new(dump),
    }
}

/// What is asked of the kernel. Bit 3 of the states gives the half-open
/// connections too, which have no socket yet (`tcp_diag.c`).
struct Question {
    states: u32,
    socket: [u8; 48],
}

impl Question {
    /// `struct inet_diag_req`: no family, no extensions, the socket, the states,
    /// and a field that nobody uses.
    fn both_families(&self) -> Vec<u8> {
        [&[0; 4][..], &self.socket, &self.states.to_ne_bytes(), &[0; 4]].concat()
    }

    /// `struct inet_diag_req_v2`.
    fn one_family(&self, family: u8) -> Vec<u8> {
        [&[family, IPPROTO_TCP, 0, 0][..], &self.states.to_ne_bytes(), &self.socket].concat()
    }
}

/// `struct inet_diag_sockid`, of which all is any but the local port, where that
/// is given.
fn socket(port: Option<u16>) -> [u8; 48] {
    let mut socket = [0; 48];
    socket[..2].copy_from_slice(&port.unwrap_or(0).to_be_bytes());
    socket
}

/// Asks, and waits for the beginning of the answer: a kernel that cannot do it
/// says so there.
fn dump(message_type: u16, request: &[u8]) -> Result<Dump, SourceError> {
    let failed =
        |step| move |errno: rustix::io::Errno| SourceError::Netlink { step, source: errno.into() };
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )
    .map_err(failed("open"))?;
    // Connected to the kernel, the socket takes nobody else's messages.
    connect(&socket, &SocketAddrNetlink::new(0, 0)).map_err(failed("open"))?;
    send(&socket, &message(message_type, request), SendFlags::empty()).map_err(failed("ask"))?;

    let mut dump = Dump { socket, datagram: vec![0; DATAGRAM], start: 0, end: 0 };
    let first =
        dump.fill_buf().map_err(|source| SourceError::Netlink { step: "read from", source })?;
    match refusal(first) {
        Some(error) => Err(SourceError::Refused(error)),
        None => Ok(dump),
    }
}

/// `struct nlmsghdr` and what it is the header of.
fn message(message_type: u16, payload: &[u8]) -> Vec<u8> {
    const HEADER: usize = 16;
    let length = u32::try_from(HEADER + payload.len()).expect("a request is short");
    let flags = NLM_F_REQUEST | NLM_F_DUMP;
    let sequence_and_port = [0; 8];
    [
        &length.to_ne_bytes()[..],
        &message_type.to_ne_bytes(),
        &flags.to_ne_bytes(),
        &sequence_and_port,
        payload,
    ]
    .concat()
}

/// The kernel's answer, datagram by datagram. It has no end of its own: who
/// reads it stops where the dump says that it is done.
struct Dump {
    socket: OwnedFd,
    datagram: Vec<u8>,
    start: usize,
    end: usize,
}

impl BufRead for Dump {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            let (_, length) = rustix::io::retry_on_intr(|| {
                recv(&self.socket, &mut self.datagram[..], RecvFlags::TRUNC)
            })?;
            // With TRUNC the kernel tells how long the datagram was.
            if length > self.datagram.len() {
                return Err(io::Error::other("a datagram was longer than the kernel sends"));
            }
            (self.start, self.end) = (0, length);
        }
        Ok(&self.datagram[self.start..self.end])
    }

    fn consume(&mut self, amount: usize) {
        self.start = self.end.min(self.start + amount);
    }
}

impl Read for Dump {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, buffer)
    }
}

#[cfg(test)]
mod tests {
    use crate::parse;

    use super::*;

    const ALL: Question = Question { states: u32::MAX >> 20 & !1, socket: [0; 48] };

    /// DCCP's handler is in no kernel of today. A dump of its sockets succeeds,
    /// without one, as a dump of TCP's does where tcp_diag is missing.
    #[test]
    fn a_missing_module_is_refused_by_the_real_kernel() {
        const IPPROTO_DCCP: u8 = 33;
        let mut request = ALL.one_family(AF_INET);
        request[1] = IPPROTO_DCCP;
        match dump(SOCK_DIAG_BY_FAMILY, &request) {
            Err(SourceError::Refused(error)) => assert_eq!(error.raw_os_error(), Some(2)),
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("a dump of what is not there"),
        }
    }

    #[test]
    fn both_questions_are_answered_to_the_end() {
        let questions = [
            (TCPDIAG_GETSOCK, ALL.both_families()),
            (SOCK_DIAG_BY_FAMILY, ALL.one_family(AF_INET)),
            (SOCK_DIAG_BY_FAMILY, ALL.one_family(AF_INET6)),
        ];
        for (message_type, request) in questions {
            let dump = dump(message_type, &request).expect("this kernel knows it");
            parse::read(capture(dump), &mut |_| true).expect("it has an end");
        }
    }
}
