//! Parser for dumps of sock_diag.
//!
//! The layout is `struct inet_diag_msg` (`include/uapi/linux/inet_diag.h`).
//! Numbers are in the byte order of the host, ports and addresses in network byte
//! order. The attributes that follow a message are ignored.
use std::{
    io::BufRead,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use super::capture::ByteOrder;
use crate::model::connection::{Connection, TcpState};

use super::{
    dialect::Dialect,
    error::ParseError,
    netlink::{self, AF_INET, AF_INET6, Interface, MessageError},
    stats::ParseStats,
};

/// Message type of a request for the sockets of both families in one walk, and of its
/// answer.
pub const TCPDIAG_GETSOCK: u16 = 18;
/// Message type of a request for the sockets of one family, and of its answer.
pub const SOCK_DIAG_BY_FAMILY: u16 = 20;

/// Size of `struct inet_diag_msg`.
const INET_DIAG_MSG_BYTES: usize = 72;

/// Reads a dump to its end and calls `on_connection` with each connection.
///
/// # Errors
///
/// Returns an error if the kernel refused or interrupted the dump, or if the bytes are
/// not a complete dump. If the kernel module tcp_diag is missing, the dump does not contain
/// sockets, and the error is in the message that *ends* the dump.
pub(super) fn read(
    bytes: impl BufRead,
    byte_order: ByteOrder,
    on_connection: &mut impl FnMut(&Connection) -> bool,
) -> Result<ParseStats, ParseError> {
    netlink::read(bytes, byte_order, Interface::SockDiag, &mut |message_type, payload: &[u8]| {
        if !matches!(message_type, TCPDIAG_GETSOCK | SOCK_DIAG_BY_FAMILY) {
            return Err(MessageError::Type(message_type));
        }
        let payload = payload.first_chunk();
        let payload = payload.ok_or(MessageError::Short)?;
        on_connection(&connection(payload)?);
        Ok(())
    })?;
    Ok(ParseStats { dialects: vec![Dialect::InetDiag], ..ParseStats::default() })
}

/// Parses a `struct inet_diag_msg`: family at offset 0, state at 1, and
/// `struct inet_diag_sockid` at 4: two ports, and two addresses of 16 bytes, of which
/// IPv4 uses the first four.
fn connection(message: &[u8; INET_DIAG_MSG_BYTES]) -> Result<Connection, MessageError> {
    Ok(Connection {
        local: SocketAddr::new(address(message, 8)?, port(message, 4)),
        peer: SocketAddr::new(address(message, 24)?, port(message, 6)),
        tcp_state: Some(
            TcpState::from_kernel_number(message[1]).ok_or(MessageError::TcpState(message[1]))?,
        ),
        peer_truncated: None,
        count: None,
        is_local_truncated: false,
    })
}

fn port(message: &[u8; INET_DIAG_MSG_BYTES], offset: usize) -> u16 {
    u16::from_be_bytes([message[offset], message[offset + 1]])
}

fn address(message: &[u8; INET_DIAG_MSG_BYTES], offset: usize) -> Result<IpAddr, MessageError> {
    let mut octets = [0; 16];
    octets.copy_from_slice(&message[offset..offset + 16]);
    let [a, b, c, d, ..] = octets;
    match message[0] {
        AF_INET => Ok(Ipv4Addr::new(a, b, c, d).into()),
        AF_INET6 => Ok(Ipv6Addr::from(octets).into()),
        family => Err(MessageError::Family(family)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read};

    use crate::parse::netlink::{HEADER_BYTES, refusal};

    use super::*;

    const NLMSG_NOOP: u16 = 1;
    const NLMSG_ERROR: u16 = 2;
    const NLMSG_DONE: u16 = 3;
    const NLM_F_DUMP_INTR: u16 = 0x10;

    /// Returns a message as the kernel sends it, with padding.
    fn message(message_type: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER_BYTES + payload.len()).expect("short");
        let mut message = length.to_ne_bytes().to_vec();
        message.extend(message_type.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.extend([0; 8]);
        message.extend(payload);
        message.resize(message.len().next_multiple_of(4), 0);
        message
    }

    fn socket(family: u8, tcp_state: u8, peer: &[u8]) -> Vec<u8> {
        let mut payload = vec![family, tcp_state, 0, 0];
        payload.extend(443u16.to_be_bytes());
        payload.extend(50000u16.to_be_bytes());
        payload.extend([0; 16]);
        payload.extend(peer);
        payload.resize(INET_DIAG_MSG_BYTES, 0);
        // INET_DIAG_SHUTDOWN is an attribute of five bytes, so the message needs padding.
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
            let stats = read(reader, ByteOrder::NATIVE, &mut |connection: &Connection| {
                let tcp_state = connection.tcp_state.expect("sock_diag shows it").name();
                found.push(format!("{} {} {tcp_state}", connection.local.port(), connection.peer));
                true
            });
            match stats {
                Ok(_) => found.push("end".to_owned()),
                Err(ParseError::DumpRefused { source, .. }) => {
                    found.push(format!("refused: {source}"))
                }
                Err(error) => found.push(error.to_string()),
            }
            assert_eq!(found.join(", "), expected, "in chunks of {capacity}");
        }
    }

    #[test]
    fn dump_with_both_families_is_parsed() {
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
    fn dump_without_module_is_refused() {
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
    fn interrupted_and_incomplete_dumps_are_rejected() {
        let row = socket(AF_INET, 1, &[192, 0, 2, 7]);
        check(
            &[message(TCPDIAG_GETSOCK, 2 | NLM_F_DUMP_INTR, &row)],
            "the kernel dump by sock_diag was interrupted",
        );
        let done = message(NLMSG_DONE, 2 | NLM_F_DUMP_INTR, &0i32.to_ne_bytes());
        check(&[done], "the kernel dump by sock_diag was interrupted");
        check(&[], "the kernel dump by sock_diag is incomplete");
        check(
            &[message(TCPDIAG_GETSOCK, 2, &row)],
            "443 192.0.2.7:50000 ESTABLISHED, the kernel dump by sock_diag is incomplete",
        );
    }

    #[test]
    fn padding_in_next_chunk_is_skipped() {
        let mut bytes = message(TCPDIAG_GETSOCK, 2, &socket(AF_INET, 1, &[192, 0, 2, 7]));
        bytes.extend(done(0));
        // Split at every offset, including those within the three bytes of padding.
        for offset in 0..bytes.len() {
            let (first, second) = bytes.split_at(offset);
            let mut n_connections = 0;
            let stats = read(first.chain(second), ByteOrder::NATIVE, &mut |_: &Connection| {
                n_connections += 1;
                true
            });
            assert!(stats.is_ok() && n_connections == 1, "{offset}: {stats:?}");
        }
    }

    #[test]
    fn missing_padding_at_end_is_accepted() {
        let mut done = message(NLMSG_DONE, 2, &[0; 5]);
        done.truncate(16 + 5);
        check(
            &[message(TCPDIAG_GETSOCK, 2, &socket(AF_INET, 1, &[192, 0, 2, 7])), done],
            "443 192.0.2.7:50000 ESTABLISHED, end",
        );
    }

    #[test]
    fn malformed_messages_are_rejected() {
        let text = |problem: &str| format!("cannot parse message 1 of the kernel dump: {problem}");
        check(&[vec![4, 0, 0, 0]], &text("invalid message length of 4 bytes"));
        check(&[vec![255; 16]], &text("invalid message length of 4294967295 bytes"));
        check(&[message(99, 0, &[])], &text("unexpected message type 99"));
        check(&[message(TCPDIAG_GETSOCK, 2, &[2, 1])], &text("incomplete message"));
        check(
            &[message(TCPDIAG_GETSOCK, 2, &socket(7, 1, &[]))],
            &text("unknown address family 7"),
        );
        check(&[message(TCPDIAG_GETSOCK, 2, &socket(2, 13, &[]))], &text("unknown TCP state 13"));
        check(&[message(NLMSG_ERROR, 0, &[])], &text("incomplete message"));
    }
}
