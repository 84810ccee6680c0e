//! Parser for tracked flows as printed by `conntrack -L` and
//! `/proc/net/nf_conntrack`. The submodule `messages` parses the kernel's messages.
//!
//! A flow has two directions, each with the addresses and ports of its packets.
//! The original direction is that of the first packet before any rewriting: its
//! source is the client, and its destination is the address that the client
//! connected to, regardless of NAT. The peer is therefore the original source,
//! and the local endpoint the original destination. The addresses of the reply
//! direction and the zones are ignored: the same addresses and ports in two zones
//! are two flows.
//!
//! A row is `[ipv4 2] tcp 6 [TIMEOUT] [STATE] src=… dst=… sport=… dport=…`, the
//! counters of that direction, the same for the reply direction, and more. Rows of
//! `/proc` and of `-o extended` begin with the family. Rows of UDP have no state. They have
//! flags in brackets instead: `[UNREPLIED]` before the reply direction and `[ASSURED]` after
//! it.
use std::net::SocketAddr;

use crate::model::{
    connection::{Connection, TcpState},
    protocol::Protocol,
};

use super::{
    endpoint::{parse_address, parse_decimal, parse_port},
    error::{RowErrorKind, UnsupportedFormat},
    row::{Fields, RowError, RowKind, fields},
};

pub mod messages;

/// IP protocol number of TCP.
pub const IPPROTO_TCP: u8 = 6;
/// IP protocol number of UDP.
pub const IPPROTO_UDP: u8 = 17;

/// Connection tracking states of TCP flows, in the order of `enum tcp_conntrack`
/// (`include/uapi/linux/netfilter/nf_conntrack_tcp.h`), with the corresponding state
/// of the server's endpoint.
///
/// | kernel | packets so far | server's endpoint |
/// |---|---|---|
/// | `NONE` | none; the flow was added manually | `CLOSE` |
/// | `SYN_SENT` | SYN from the client, no answer | `SYN_RECV` |
/// | `SYN_RECV` | SYN+ACK | `SYN_RECV` |
/// | `ESTABLISHED` | ACK of the SYN+ACK | `ESTABLISHED` |
/// | `FIN_WAIT` | FIN from either endpoint | `FIN_WAIT1` |
/// | `CLOSE_WAIT` | ACK of the FIN | `CLOSE_WAIT` |
/// | `LAST_ACK` | FIN from the other endpoint | `LAST_ACK` |
/// | `TIME_WAIT` | ACK of the second FIN | `TIME_WAIT` |
/// | `CLOSE` | RST | `CLOSE` |
/// | `SYN_SENT2` | SYN from both endpoints; formerly `LISTEN` | `SYN_RECV` |
///
/// The kernel's `SYN_SENT` is the client's state. The server has not sent a SYN: for
/// the server, the connection is half-open, as in `SYN_RECV`.
const TCP_CONNTRACK_STATES: [(&[u8], TcpState); 10] = [
    (b"NONE", TcpState::Close),
    (b"SYN_SENT", TcpState::SynRecv),
    (b"SYN_RECV", TcpState::SynRecv),
    (b"ESTABLISHED", TcpState::Established),
    (b"FIN_WAIT", TcpState::FinWait1),
    (b"CLOSE_WAIT", TcpState::CloseWait),
    (b"LAST_ACK", TcpState::LastAck),
    (b"TIME_WAIT", TcpState::TimeWait),
    (b"CLOSE", TcpState::Close),
    (b"SYN_SENT2", TcpState::SynRecv),
];

/// Returns the state with the kernel's connection tracking `number`.
fn tcp_state_from_number(number: u8) -> Option<TcpState> {
    TCP_CONNTRACK_STATES.get(usize::from(number)).map(|&(_, tcp_state)| tcp_state)
}

/// Returns the state with the kernel's connection tracking name.
fn tcp_state_from_name(name: &[u8]) -> Option<TcpState> {
    match name {
        b"LISTEN" => Some(TcpState::SynRecv),
        _ => TCP_CONNTRACK_STATES
            .iter()
            .find(|&&(kernel_name, _)| kernel_name == name)
            .map(|&(_, tcp_state)| tcp_state),
    }
}

/// Returns the offset of the footer in `line`. The tool writes the footer to standard
/// error. In a saved listing with both streams the footer can be in the middle of a
/// row, because the tool buffers standard output.
pub(super) fn footer_offset(line: &[u8]) -> Option<usize> {
    if !line.ends_with(b" have been shown.") {
        return None;
    }
    memchr::memmem::find(line, b"conntrack v")
}

/// Returns whether the footer reports at least one flow.
pub(super) fn footer_reports_flows(footer: &[u8]) -> bool {
    !footer.ends_with(b": 0 flow entries have been shown.")
}

/// Returns the output format of the tool that `line` belongs to, if that format is not
/// supported.
pub(super) fn unsupported_format(line: &[u8]) -> Option<UnsupportedFormat> {
    if line.starts_with(b"<conntrack>") || line.starts_with(b"<flow") {
        return Some(UnsupportedFormat::Xml);
    }
    if !line.first().is_some_and(|&byte| byte == b'[' || byte.is_ascii_whitespace()) {
        return None;
    }
    // With -o timestamp, the event follows the time, which is also in brackets.
    let mut words = fields(line).take(2);
    let is_event = words.any(|word| matches!(word, b"[NEW]" | b"[UPDATE]" | b"[DESTROY]"));
    if is_event { Some(UnsupportedFormat::Events) } else { None }
}

/// Transport protocol of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FlowProtocol {
    Tcp,
    Udp,
}

impl FlowProtocol {
    /// Returns the protocol with this IP protocol number; `None` if its flows are not
    /// counted.
    fn from_number(number: u8, counted: Protocol) -> Option<Self> {
        match number {
            IPPROTO_TCP if counted.includes_tcp() => Some(Self::Tcp),
            IPPROTO_UDP if counted.includes_udp() => Some(Self::Udp),
            _ => None,
        }
    }
}

/// Parses a row. A row of a protocol that `counted` does not include is not a connection.
pub(super) fn parse_row<'a>(
    line: &'a [u8],
    counted: Protocol,
    connection: &mut Connection,
) -> Result<RowKind, RowError<'a>> {
    let mut fields = fields(line);
    let mut name = fields.next_field()?;
    let mut number = fields.next_field()?;
    if matches!(name, b"ipv4" | b"ipv6") {
        (name, number) = (fields.next_field()?, fields.next_field()?);
    }
    let protocol = parse_decimal(number).and_then(|number| u8::try_from(number).ok());
    let protocol = protocol.ok_or((RowErrorKind::UnrecognizedRow, line))?;
    let Some(protocol) = FlowProtocol::from_number(protocol, counted) else {
        // Require a name before the number and an address of a flow, because many
        // other lines have a number in the second column.
        let is_flow = name.is_ascii() && memchr::memmem::find(line, b" src=").is_some();
        return if is_flow {
            Ok(RowKind::Other)
        } else {
            Err((RowErrorKind::UnrecognizedRow, line))
        };
    };
    let mut word = fields.next_field()?;
    if parse_decimal(word).is_some() {
        word = fields.next_field()?;
    }
    // A flow that is forwarded by hardware or by a flowtable has neither timeout nor
    // state. The kernel offloads established flows only.
    let mut tcp_state = TcpState::Established;
    if protocol == FlowProtocol::Tcp && !word.starts_with(b"src=") {
        tcp_state = tcp_state_from_name(word).ok_or((RowErrorKind::UnknownTcpState, word))?;
        word = fields.next_field()?;
    }
    let (source, destination) = (word, fields.next_field()?);
    let (source_port, destination_port) = (fields.next_field()?, fields.next_field()?);
    if protocol == FlowProtocol::Udp {
        tcp_state = udp_state(fields)?;
    }
    // A truncated row may end within the destination port. Require another field, so
    // that a truncated port is not taken for a complete one.
    fields.next_field()?;
    *connection = Connection {
        local: endpoint((destination, b"dst="), (destination_port, b"dport="))?,
        peer: endpoint((source, b"src="), (source_port, b"sport="))?,
        tcp_state: Some(tcp_state),
        peer_truncated: None,
        count: None,
        is_local_truncated: false,
    };
    Ok(RowKind::Connection)
}

/// Returns the state of a UDP flow from the fields behind its original direction.
///
/// # Errors
///
/// Returns an error if the row is truncated, so that a flag may be missing.
fn udp_state<'a>(mut fields: Fields<'a>) -> Result<TcpState, RowError<'a>> {
    loop {
        match fields.next_field()? {
            b"[UNREPLIED]" => return Ok(TcpState::Unreplied),
            // If a flowtable or hardware forwards the flow, its flag replaces [ASSURED].
            b"[ASSURED]" | b"[OFFLOAD]" | b"[HW_OFFLOAD]" => return Ok(TcpState::Assured),
            // use= follows all flags.
            word if word.starts_with(b"use=") => return Ok(TcpState::SeenReply),
            _ => {}
        }
    }
}

/// Parses an address and a port, each with the expected field name, such as `src=`.
fn endpoint<'a>(
    (address_field, address_name): (&'a [u8], &[u8]),
    (port_field, port_name): (&'a [u8], &[u8]),
) -> Result<SocketAddr, RowError<'a>> {
    let invalid = RowErrorKind::InvalidEndpoint;
    let address = address_field.strip_prefix(address_name).ok_or(invalid).and_then(parse_address);
    let port = port_field.strip_prefix(port_name).ok_or(invalid).and_then(parse_port);
    Ok(SocketAddr::new(
        address.map_err(|kind| (kind, address_field))?,
        port.map_err(|kind| (kind, port_field))?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::row::render_row;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        check_protocol(line, Protocol::Tcp, expected);
    }

    #[track_caller]
    fn check_protocol(line: &str, protocol: Protocol, expected: &str) {
        let line = line.as_bytes();
        assert_eq!(render_row(|connection| parse_row(line, protocol, connection)), expected);
    }

    #[test]
    fn udp_rows_are_parsed_on_request() {
        let original = "src=203.0.113.7 dst=192.0.2.1 sport=50000 dport=443";
        let reply = "src=10.1.0.2 dst=203.0.113.7 sport=8443 dport=50000";
        let row = |before: &str, after: &str| format!("{original} {before}{reply} {after}");
        for (row, tcp_state) in [
            (row("[UNREPLIED] ", "mark=0 use=1"), "Unreplied"),
            (row("packets=1 bytes=1228 [UNREPLIED] packets=0 bytes=0 ", "use=1"), "Unreplied"),
            (row("", "mark=0 use=1"), "SeenReply"),
            (row("packets=1 bytes=80 ", "packets=2 bytes=9 [ASSURED] mark=0 use=2"), "Assured"),
            (row("", "[OFFLOAD] mark=0 use=2"), "Assured"),
            (row("", "[HW_OFFLOAD] mark=0 use=2"), "Assured"),
        ] {
            for start in ["udp      17 29", "ipv4     2 udp      17 179", "udp      17"] {
                let line = format!("{start} {row}");
                let expected = format!("{tcp_state} 192.0.2.1:443 203.0.113.7:50000");
                check_protocol(&line, Protocol::Udp, &expected);
                check_protocol(&line, Protocol::All, &expected);
                check_protocol(&line, Protocol::Tcp, "no connection");
            }
        }
        let tcp = "tcp 6 9 CLOSE src=203.0.113.7 dst=192.0.2.1 sport=1 dport=80 src=10.1.0.2";
        check_protocol(tcp, Protocol::Udp, "no connection");
        check_protocol(tcp, Protocol::All, "Close 192.0.2.1:80 203.0.113.7:1");
        for other in [
            "icmp     1 29 src=192.0.2.7 dst=192.0.2.1 type=8 code=0 id=7 src=192.0.2.1",
            "gre      47 29 src=192.0.2.7 dst=192.0.2.1 srckey=0x0 dstkey=0x1 src=192.0.2.1",
            "sctp     132 9 ESTABLISHED src=192.0.2.7 dst=192.0.2.1 sport=1 dport=2 src=192.0.2.1",
            "udplite  136 29 src=192.0.2.7 dst=192.0.2.1 sport=1 dport=2 src=192.0.2.1 use=1",
        ] {
            check_protocol(other, Protocol::All, "no connection");
        }
        // A row without its end may lack a flag.
        let cut = format!("udp 17 29 {}", row("", "mark=0"));
        check_protocol(&cut, Protocol::Udp, &format!("incomplete row: {cut}"));
    }

    #[test]
    fn rows_are_parsed() {
        check(
            "tcp      6 431999 ESTABLISHED src=203.0.113.7 dst=192.0.2.1 sport=50000 dport=80 \
             src=10.1.0.2 dst=203.0.113.7 sport=8080 dport=50000 [ASSURED] mark=0 use=1",
            "Established 192.0.2.1:80 203.0.113.7:50000",
        );
        check(
            "ipv6     10 tcp      6 119 SYN_SENT src=2001:0db8:0000:0000:0000:0000:0000:0007 \
             dst=2001:0db8:0000:0000:0000:0000:0000:0001 sport=50000 dport=80 packets=1 bytes=80 \
             [UNREPLIED] src=fd00::2 dst=2001:db8::7 sport=8080 dport=50000 mark=0 zone=0 use=2",
            "SynRecv [2001:db8::1]:80 [2001:db8::7]:50000",
        );
        // Output of the kernel's ct_seq_show for an offloaded flow.
        check(
            "ipv4     2 tcp      6 src=203.0.113.7 dst=192.0.2.1 sport=50000 dport=80 \
             src=10.1.0.2 dst=203.0.113.7 sport=8080 dport=50000 [HW_OFFLOAD] mark=0 use=2",
            "Established 192.0.2.1:80 203.0.113.7:50000",
        );
        check(
            "tcp 6 9 CLOSE src=203.0.113.7 dst=192.0.2.1 sport=1 dport=80 zone-orig=5 src=10.1.0.2",
            "Close 192.0.2.1:80 203.0.113.7:1",
        );
        for line in [
            "udp      17 29 src=192.0.2.7 dst=192.0.2.1 sport=5353 dport=53 [UNREPLIED] src=192.0.2.1",
            "icmp     1 29 src=192.0.2.7 dst=192.0.2.1 type=8 code=0 id=7 src=192.0.2.1",
            "unknown  2 599 src=192.0.2.7 dst=224.0.0.22 [UNREPLIED] src=224.0.0.22 dst=192.0.2.7",
            "ipv4     2 unknown  2 599 src=192.0.2.7 dst=224.0.0.22 [UNREPLIED] src=224.0.0.22",
        ] {
            check(line, "no connection");
        }
    }

    #[test]
    fn malformed_rows_are_rejected() {
        let row = "tcp 6 119 ESTABLISHED src=203.0.113.7 dst=192.0.2.1 sport=50000 dport=80";
        check(row, &format!("incomplete row: {row}"));
        check("tcp 6 119", "incomplete row: tcp 6 119");
        check("tcp 6 119 SYN src=1", "unknown TCP state: SYN");
        check("tcp 0 0 192.0.2.1:22", "not a row of a socket table: tcp 0 0 192.0.2.1:22");
        check("a line of 3 words", "not a row of a socket table: a line of 3 words");
        let replaced = |old: &str, new: &str| row.replace(old, new) + " src=10.1.0.2";
        check(&replaced("src=2", "src=g"), "not an address and port: src=g03.0.113.7");
        check(&replaced("dst=", "src="), "not an address and port: src=192.0.2.1");
        check(&replaced("dport=80", "dport=http"), "not an address and port: dport=http");
        check(&replaced("sport=50000", "sport=65536"), "not an address and port: sport=65536");
    }

    #[test]
    fn footers_and_unsupported_formats_are_detected() {
        let footer = "conntrack v1.4.7 (conntrack-tools): 12 flow entries have been shown.";
        assert_eq!(footer_offset(footer.as_bytes()), Some(0));
        assert_eq!(footer_offset(format!("tcp      6 11{footer}").as_bytes()), Some(13));
        assert_eq!(
            footer_offset(b"conntrack v1.4.7 (conntrack-tools): Operation failed: sorry"),
            None
        );
        for (line, expected) in [
            ("<conntrack>", Some(UnsupportedFormat::Xml)),
            ("<flow><meta direction=\"original\">", Some(UnsupportedFormat::Xml)),
            ("    [NEW] tcp      6 120 SYN_SENT src=192.0.2.7", Some(UnsupportedFormat::Events)),
            (
                "[1795873200.123456]\t [UPDATE] tcp      6 60 SYN_RECV",
                Some(UnsupportedFormat::Events),
            ),
            ("[DESTROY] udp      17 src=192.0.2.7", Some(UnsupportedFormat::Events)),
            ("tcp      6 120 SYN_SENT src=192.0.2.7", None),
            ("", None),
        ] {
            assert_eq!(unsupported_format(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn state_names_and_numbers_agree() {
        for (number, (name, tcp_state)) in (0..).zip(TCP_CONNTRACK_STATES) {
            assert_eq!(tcp_state_from_number(number), Some(tcp_state));
            assert_eq!(tcp_state_from_name(name), Some(tcp_state));
        }
        assert_eq!(tcp_state_from_number(10), None);
        assert_eq!(tcp_state_from_name(b"LISTEN"), tcp_state_from_number(9));
        assert_eq!(tcp_state_from_name(b"ESTAB"), None);
    }
}
