//! The kernel's answers by sock_diag to connections.
//!
//! The layouts are `struct nlmsghdr` (`include/uapi/linux/netlink.h`) and
//! `struct inet_diag_msg` (`include/uapi/linux/inet_diag.h`). Numbers are in the
//! byte order of the machine, ports and addresses in that of the network. The
//! attributes behind a message are not looked at.
use std::{
    io::{self, BufRead},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use crate::{
    capture::ByteOrder,
    connection::{Connection, TcpState},
};

use super::{Dialect, ParseError, Reading};

/// `TCPDIAG_GETSOCK`: one walk through the sockets of both families.
pub const TCPDIAG_GETSOCK: u16 = 18;
/// `SOCK_DIAG_BY_FAMILY`: one walk for each family.
pub const SOCK_DIAG_BY_FAMILY: u16 = 20;

const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 0x10;
/// IPv4, as a message names it.
pub const AF_INET: u8 = 2;
/// IPv6.
pub const AF_INET6: u8 = 10;

/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct inet_diag_msg`.
const MESSAGE: usize = 72;
/// What the kernel never exceeds: one skb.
const LONGEST: usize = 64 * 1024;

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageProblem {
    /// Its length is less than its parts need, or more than the kernel sends.
    #[error("its length is {0} bytes")]
    Length(usize),
    /// Not one of the types that a dump is made of.
    #[error("its type is {0}")]
    Type(u16),
    /// Neither IPv4 nor IPv6.
    #[error("its address family is {0}")]
    Family(u8),
    /// Not a state of TCP.
    #[error("its TCP state is {0}")]
    TcpState(u8),
}

/// Reads a dump to its end and gives each connection to `counts`.
///
/// # Errors
///
/// Where the kernel refuses or interrupts it, or what comes is no dump. A
/// module that is missing (tcp_diag) shows as a refusal at the *end*: the dump
/// itself succeeds, without a socket.
pub(super) fn read(
    mut bytes: impl BufRead,
    byte_order: ByteOrder,
    counts: &mut impl FnMut(&Connection) -> bool,
) -> Result<Reading, ParseError> {
    let mut dump = Dump { byte_order, n_messages: 0, counts };
    let mut straddling = Vec::new();
    loop {
        let chunk = bytes.fill_buf().map_err(unreadable)?;
        let (read, end) = dump.messages(chunk)?;
        let left = chunk.len() - read;
        bytes.consume(read);
        if end {
            return Ok(Reading { dialects: vec![Dialect::InetDiag], ..Reading::default() });
        }
        if read == 0 {
            if left == 0 {
                return Err(ParseError::Endless);
            }
            // A kernel's datagram ends where a message ends; a file's buffer
            // may end anywhere.
            dump.one_message(&mut bytes, &mut straddling)?;
            if dump.messages(&straddling)?.1 {
                return Ok(Reading { dialects: vec![Dialect::InetDiag], ..Reading::default() });
            }
        }
    }
}

fn unreadable(source: io::Error) -> ParseError {
    ParseError::Read { origin: "the kernel dump by sock_diag".to_owned(), source }
}

/// Whether an answer begins with a refusal: an error, or the end of a dump
/// that failed. A source asks this to try another way before it hands the
/// capture on.
#[must_use]
pub fn refusal(datagram: &[u8]) -> Option<io::Error> {
    let mut dump =
        Dump { byte_order: ByteOrder::NATIVE, n_messages: 0, counts: &mut |_: &Connection| false };
    let length = dump.number(datagram, 0).map_or(0, |length| length as usize).min(datagram.len());
    match dump.message(&datagram[..length]) {
        Err(ParseError::Refused(error)) => Some(error),
        _ => None,
    }
}

/// Where a dump stands.
struct Dump<'a, C> {
    byte_order: ByteOrder,
    n_messages: u64,
    counts: &'a mut C,
}

impl<C: FnMut(&Connection) -> bool> Dump<'_, C> {
    /// Reads the whole messages that `chunk` begins with. Gives how many bytes
    /// they take, and whether the last one ends the dump.
    fn messages(&mut self, chunk: &[u8]) -> Result<(usize, bool), ParseError> {
        let mut at = 0;
        while let Some(length) = self.number(chunk, at) {
            let length = self.checked(length)?;
            let Some(message) = chunk.get(at..at + length) else { break };
            // The padding behind the last message need not be there.
            at = (at + length.next_multiple_of(4)).min(chunk.len());
            self.n_messages += 1;
            if self.message(message)? {
                return Ok((at, true));
            }
        }
        Ok((at, false))
    }

    /// Reads one message, of which `bytes` hold a part.
    fn one_message(
        &mut self,
        bytes: &mut impl BufRead,
        message: &mut Vec<u8>,
    ) -> Result<(), ParseError> {
        message.resize(4, 0);
        bytes.read_exact(message).map_err(unreadable)?;
        let length = self.number(message, 0).map_or(Ok(0), |length| self.checked(length))?;
        message.resize(length, 0);
        bytes.read_exact(&mut message[4..]).map_err(unreadable)?;
        let mut padding = [0; 3];
        bytes.read_exact(&mut padding[..length.next_multiple_of(4) - length]).map_err(unreadable)
    }

    fn checked(&self, length: u32) -> Result<usize, ParseError> {
        let length = length as usize;
        if (HEADER..=LONGEST).contains(&length) {
            return Ok(length);
        }
        let number = self.n_messages + 1;
        Err(ParseError::Message { number, problem: MessageProblem::Length(length) })
    }

    /// Reads one message; says whether it ends the dump.
    fn message(&mut self, message: &[u8]) -> Result<bool, ParseError> {
        let wrong = |problem| ParseError::Message { number: self.n_messages, problem };
        let too_short = || wrong(MessageProblem::Length(message.len()));
        let (header, payload) = message.split_at_checked(HEADER).ok_or_else(too_short)?;
        let short = |at: usize| self.byte_order.u16([header[at], header[at + 1]]);
        let (message_type, flags) = (short(4), short(6));
        match message_type {
            NLMSG_NOOP => return Ok(false),
            NLMSG_ERROR => {
                let code = self.number(payload, 0).ok_or_else(too_short)?;
                return Err(ParseError::Refused(os_error(code)));
            }
            NLMSG_DONE => {
                // The trap of this interface: a dump that could not be made
                // ends as one that was, but for this number.
                return match self.number(payload, 0) {
                    Some(code) if code.cast_signed() < 0 => {
                        Err(ParseError::Refused(os_error(code)))
                    }
                    _ if flags & NLM_F_DUMP_INTR != 0 => Err(ParseError::Interrupted),
                    _ => Ok(true),
                };
            }
            TCPDIAG_GETSOCK | SOCK_DIAG_BY_FAMILY => {}
            other => return Err(wrong(MessageProblem::Type(other))),
        }
        if flags & NLM_F_DUMP_INTR != 0 {
            return Err(ParseError::Interrupted);
        }
        let payload = payload.first_chunk().ok_or_else(too_short)?;
        let connection = connection(payload).map_err(wrong)?;
        (self.counts)(&connection);
        Ok(false)
    }

    fn number(&self, bytes: &[u8], at: usize) -> Option<u32> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(match self.byte_order {
            ByteOrder::Little => u32::from_le_bytes(bytes),
            ByteOrder::Big => u32::from_be_bytes(bytes),
        })
    }
}

impl ByteOrder {
    fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }
}

/// The kernel sends error numbers negative.
fn os_error(code: u32) -> io::Error {
    io::Error::from_raw_os_error(code.cast_signed().wrapping_neg())
}

/// Reads a `struct inet_diag_msg`: family at 0, state at 1, then
/// `struct inet_diag_sockid` from 4: ports, and the two addresses of 16 bytes,
/// of which IPv4 uses four.
fn connection(message: &[u8; MESSAGE]) -> Result<Connection, MessageProblem> {
    let port = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
    let address = |at: usize| -> Result<IpAddr, MessageProblem> {
        let mut octets = [0; 16];
        octets.copy_from_slice(&message[at..at + 16]);
        let [a, b, c, d, ..] = octets;
        match message[0] {
            AF_INET => Ok(Ipv4Addr::new(a, b, c, d).into()),
            AF_INET6 => Ok(Ipv6Addr::from(octets).into()),
            family => Err(MessageProblem::Family(family)),
        }
    };
    Ok(Connection {
        local: SocketAddr::new(address(8)?, port(4)),
        peer: SocketAddr::new(address(24)?, port(6)),
        tcp_state: Some(
            TcpState::from_number(message[1]).ok_or(MessageProblem::TcpState(message[1]))?,
        ),
        peer_cut: None,
    })
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    /// A message as the kernel would send it, attributes and all.
    fn message(message_type: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + payload.len()).expect("short");
        let mut message = length.to_ne_bytes().to_vec();
        message.extend(message_type.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.extend([0; 8]);
        message.extend(payload);
        message.resize(message.len().next_multiple_of(4), 0);
        message
    }

    fn socket(family: u8, state: u8, peer: &[u8]) -> Vec<u8> {
        let mut payload = vec![family, state, 0, 0];
        payload.extend(443u16.to_be_bytes());
        payload.extend(50000u16.to_be_bytes());
        payload.extend([0; 16]);
        payload.extend(peer);
        payload.resize(MESSAGE, 0);
        // INET_DIAG_SHUTDOWN: five bytes that leave the message unaligned.
        payload.extend([5, 0, 8, 0, 0]);
        payload
    }

    fn done(code: i32) -> Vec<u8> {
        message(NLMSG_DONE, 2, &code.to_ne_bytes())
    }

    #[track_caller]
    fn check(messages: &[Vec<u8>], expected: &str) {
        let bytes = messages.concat();
        for capacity in [1, 5, 100, 65536] {
            let mut found = Vec::new();
            let reader = BufReader::with_capacity(capacity, &bytes[..]);
            let reading = read(reader, ByteOrder::NATIVE, &mut |connection: &Connection| {
                let state = connection.tcp_state.expect("the kernel tells").name();
                found.push(format!("{} {} {state}", connection.local.port(), connection.peer));
                true
            });
            match reading {
                Ok(_) => found.push("end".to_owned()),
                Err(ParseError::Refused(error)) => found.push(format!("refused: {error}")),
                Err(error) => found.push(error.to_string()),
            }
            assert_eq!(found.join(", "), expected, "in chunks of {capacity}");
        }
    }

    #[test]
    fn a_dump_of_both_families() {
        let v6 = Ipv6Addr::from_bits(0x2001_0db8_u128 << 96 | 7).octets();
        check(
            &[
                message(TCPDIAG_GETSOCK, 2, &socket(AF_INET, 1, &[192, 0, 2, 7])),
                message(NLMSG_NOOP, 0, &[]),
                message(SOCK_DIAG_BY_FAMILY, 2, &socket(AF_INET6, 3, &v6)),
                message(TCPDIAG_GETSOCK, 2, &socket(AF_INET, 12, &[192, 0, 2, 9])),
                done(0),
            ],
            "443 192.0.2.7:50000 ESTABLISHED, 443 [2001:db8::7]:50000 SYN_RECV, \
             443 192.0.2.9:50000 SYN_RECV, end",
        );
    }

    #[test]
    fn a_missing_module_is_no_empty_host() {
        check(&[done(-2)], "refused: No such file or directory (os error 2)");
        check(
            &[message(NLMSG_ERROR, 0, &(-95i32).to_ne_bytes())],
            "refused: Operation not supported (os error 95)",
        );
        assert!(refusal(&done(-2)).is_some());
        assert!(refusal(&done(0)).is_none());
        assert!(refusal(&message(NLMSG_ERROR, 0, &(-1i32).to_ne_bytes())).is_some());
        assert!(refusal(&message(TCPDIAG_GETSOCK, 2, &socket(2, 1, &[0; 4]))).is_none());
        assert!(refusal(&[]).is_none());
        assert!(refusal(&[255; 40]).is_none());
    }

    #[test]
    fn a_dump_that_was_disturbed_is_no_dump() {
        let row = socket(AF_INET, 1, &[192, 0, 2, 7]);
        check(
            &[message(TCPDIAG_GETSOCK, 2 | NLM_F_DUMP_INTR, &row)],
            "the kernel dump by sock_diag was interrupted",
        );
        let done = message(NLMSG_DONE, 2 | NLM_F_DUMP_INTR, &0i32.to_ne_bytes());
        check(&[done], "the kernel dump by sock_diag was interrupted");
        check(&[], "the kernel dump by sock_diag has no end");
        check(
            &[message(TCPDIAG_GETSOCK, 2, &row)],
            "443 192.0.2.7:50000 ESTABLISHED, the kernel dump by sock_diag has no end",
        );
    }

    #[test]
    fn messages_that_no_kernel_sends() {
        let text =
            |problem: &str| format!("message 1 of the kernel dump is not understood: {problem}");
        check(&[vec![4, 0, 0, 0]], &text("its length is 4 bytes"));
        check(&[vec![255; 16]], &text("its length is 4294967295 bytes"));
        check(&[message(99, 0, &[])], &text("its type is 99"));
        check(&[message(TCPDIAG_GETSOCK, 2, &[2, 1])], &text("its length is 18 bytes"));
        check(&[message(TCPDIAG_GETSOCK, 2, &socket(7, 1, &[]))], &text("its address family is 7"));
        check(&[message(TCPDIAG_GETSOCK, 2, &socket(2, 13, &[]))], &text("its TCP state is 13"));
        check(&[message(NLMSG_ERROR, 0, &[])], &text("its length is 16 bytes"));
    }
}
