//! The kernel's answers by sock_diag to connections.
//!
//! The layout is `struct inet_diag_msg` (`include/uapi/linux/inet_diag.h`).
//! Numbers are in the byte order of the machine, ports and addresses in that of
//! the network. The attributes behind a message are not looked at.
use std::{
    io::BufRead,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use super::capture::ByteOrder;
use crate::model::connection::{Connection, TcpState};

use super::{
    netlink::{self, AF_INET, AF_INET6, Interface, MessageProblem},
    reader::{Dialect, ParseError, Reading},
};

/// `TCPDIAG_GETSOCK`: one walk through the sockets of both families.
pub const TCPDIAG_GETSOCK: u16 = 18;
/// `SOCK_DIAG_BY_FAMILY`: one walk for each family.
pub const SOCK_DIAG_BY_FAMILY: u16 = 20;

/// `struct inet_diag_msg`.
const MESSAGE: usize = 72;

/// Reads a dump to its end and gives each connection to `counts`.
///
/// # Errors
///
/// Where the kernel refuses or interrupts it, or what comes is no dump. A
/// module that is missing (tcp_diag) shows as a refusal at the *end*: the dump
/// itself succeeds, without a socket.
pub(super) fn read(
    bytes: impl BufRead,
    byte_order: ByteOrder,
    counts: &mut impl FnMut(&Connection) -> bool,
) -> Result<Reading, ParseError> {
    let mut take = |message_type: u16, payload: &[u8]| {
        if !matches!(message_type, TCPDIAG_GETSOCK | SOCK_DIAG_BY_FAMILY) {
            return Err(MessageProblem::Type(message_type));
        }
        let payload = payload.first_chunk();
        let payload = payload.ok_or(MessageProblem::Short)?;
        counts(&connection(payload)?);
        Ok(())
    };
    netlink::read(bytes, byte_order, Interface::SockDiag, &mut take)?;
    Ok(Reading { dialects: vec![Dialect::InetDiag], ..Reading::default() })
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
    use std::io::{BufReader, Read};

    use crate::parse::netlink::{HEADER, refusal};

    use super::*;

    const NLMSG_NOOP: u16 = 1;
    const NLMSG_ERROR: u16 = 2;
    const NLMSG_DONE: u16 = 3;
    const NLM_F_DUMP_INTR: u16 = 0x10;

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
                Err(ParseError::Refused { source, .. }) => found.push(format!("refused: {source}")),
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
    fn padding_may_come_with_the_next_chunk() {
        let mut bytes = message(TCPDIAG_GETSOCK, 2, &socket(AF_INET, 1, &[192, 0, 2, 7]));
        bytes.extend(done(0));
        // Cut anywhere, be it within the three bytes of padding behind 93.
        for at in 0..bytes.len() {
            let (one, other) = bytes.split_at(at);
            let mut n = 0;
            let reading = read(one.chain(other), ByteOrder::NATIVE, &mut |_: &Connection| {
                n += 1;
                true
            });
            assert!(reading.is_ok() && n == 1, "{at}: {reading:?}");
        }
    }

    #[test]
    fn the_padding_at_the_end_need_not_be_there() {
        let mut done = message(NLMSG_DONE, 2, &[0; 5]);
        done.truncate(16 + 5);
        check(
            &[message(TCPDIAG_GETSOCK, 2, &socket(AF_INET, 1, &[192, 0, 2, 7])), done],
            "443 192.0.2.7:50000 ESTABLISHED, end",
        );
    }

    #[test]
    fn messages_that_no_kernel_sends() {
        let text =
            |problem: &str| format!("message 1 of the kernel dump is not understood: {problem}");
        check(&[vec![4, 0, 0, 0]], &text("its length is 4 bytes"));
        check(&[vec![255; 16]], &text("its length is 4294967295 bytes"));
        check(&[message(99, 0, &[])], &text("its type is 99"));
        check(&[message(TCPDIAG_GETSOCK, 2, &[2, 1])], &text("it ends too early"));
        check(&[message(TCPDIAG_GETSOCK, 2, &socket(7, 1, &[]))], &text("its address family is 7"));
        check(&[message(TCPDIAG_GETSOCK, 2, &socket(2, 13, &[]))], &text("its TCP state is 13"));
        check(&[message(NLMSG_ERROR, 0, &[])], &text("it ends too early"));
    }
}
