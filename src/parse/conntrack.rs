//! Tracked flows to connections: what `conntrack -L` prints, and
//! `/proc/net/nf_conntrack`; the kernel's own messages are read in `messages`.
//!
//! A flow has two directions, each with the addresses and ports of its packets.
//! The original one is that of the first packet, before anything of it was
//! rewritten: its source is the client, and its destination is where the client
//! wanted to go, whatever NAT made of that. So the peer is the original source,
//! and the local end the original destination. The reply's addresses are not
//! asked. Nor are zones: the same addresses and ports in two zones are two flows.
//!
//! A row is `[ipv4 2] tcp 6 [TIMEOUT] [STATE] src=… dst=… sport=… dport=…`, what was
//! counted of that direction, the reply's the same way, and more. Those of
//! `/proc` begin with the family, and so do those of `-o extended`.
use std::net::SocketAddr;

use crate::model::connection::{Connection, TcpState};

use super::{
    endpoint::{address, decimal, port},
    reader::{Problem, Unfit},
    row::{Faulty, Row, fields},
};

pub mod messages;

const IPPROTO_TCP: u8 = 6;

/// The states that the kernel gives a TCP flow, in the order of `enum
/// tcp_conntrack` (`include/uapi/linux/netfilter/nf_conntrack_tcp.h`), and what
/// each is to the end that the client has called, which is the one that counts
/// here.
///
/// | kernel | seen on the way | here |
/// |---|---|---|
/// | `NONE` | nothing yet; a flow that somebody entered by hand | `CLOSE` |
/// | `SYN_SENT` | a SYN of the client, and no answer | `SYN_RECV` |
/// | `SYN_RECV` | the SYN+ACK to it | `SYN_RECV` |
/// | `ESTABLISHED` | the ACK to that | `ESTABLISHED` |
/// | `FIN_WAIT` | a FIN, from either end | `FIN_WAIT1` |
/// | `CLOSE_WAIT` | the ACK to it | `CLOSE_WAIT` |
/// | `LAST_ACK` | the other end's FIN | `LAST_ACK` |
/// | `TIME_WAIT` | the ACK to that | `TIME_WAIT` |
/// | `CLOSE` | a RST | `CLOSE` |
/// | `SYN_SENT2` | two SYNs that crossed; once called `LISTEN` | `SYN_RECV` |
///
/// The kernel's `SYN_SENT` is the client's state. The host that was called has
/// sent none: to it, the connection is half-open, as it is in the next state.
const STATES: [(&[u8], TcpState); 10] = [
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

/// The state that the kernel means by `number`.
fn state_of_number(number: u8) -> Option<TcpState> {
    STATES.get(usize::from(number)).map(|&(_, tcp_state)| tcp_state)
}

fn state_of_word(word: &[u8]) -> Option<TcpState> {
    match word {
        b"LISTEN" => Some(TcpState::SynRecv),
        _ => STATES.iter().find(|(name, _)| *name == word).map(|&(_, tcp_state)| tcp_state),
    }
}

/// Where in `line` that begins which the tool says last, on standard error: a saved
/// listing may have it, in the middle of a row too, because what is still to come
/// of the listing waits in a buffer then.
pub(super) fn footer(line: &[u8]) -> Option<usize> {
    if !line.ends_with(b" have been shown.") {
        return None;
    }
    memchr::memmem::find(line, b"conntrack v")
}

/// Whether a footer says that there were flows.
pub(super) fn tells_of_flows(footer: &[u8]) -> bool {
    !footer.ends_with(b": 0 flow entries have been shown.")
}

/// Whether `line` is of what the tool prints in place of a listing.
pub(super) fn unfit(line: &[u8]) -> Option<Unfit> {
    if line.starts_with(b"<conntrack>") || line.starts_with(b"<flow") {
        return Some(Unfit::Xml);
    }
    if !line.first().is_some_and(|&byte| byte == b'[' || byte.is_ascii_whitespace()) {
        return None;
    }
    // With -o timestamp, the time stands before it, in brackets too.
    let mut words = fields(line).take(2);
    let is_event = words.any(|word| matches!(word, b"[NEW]" | b"[UPDATE]" | b"[DESTROY]"));
    is_event.then_some(Unfit::Events)
}

/// Reads a row.
pub(super) fn row(line: &[u8]) -> Result<Row, Faulty<'_>> {
    let mut fields = fields(line);
    let mut next = || fields.next().ok_or((Problem::MissingField, line));
    let mut name = next()?;
    let mut number = next()?;
    if matches!(name, b"ipv4" | b"ipv6") {
        (name, number) = (next()?, next()?);
    }
    let protocol = decimal(number).and_then(|number| u8::try_from(number).ok());
    let protocol = protocol.ok_or((Problem::Row, line))?;
    if protocol != IPPROTO_TCP {
        // A word before the number, and flows: it could be a row of anything.
        let is_flow = name.is_ascii() && memchr::memmem::find(line, b" src=").is_some();
        return if is_flow { Ok(Row::Other) } else { Err((Problem::Row, line)) };
    }
    let mut word = next()?;
    if decimal(word).is_some() {
        word = next()?;
    }
    // What is forwarded by hardware, or by a flowtable, has neither: the kernel
    // takes only what is established out of its own sight.
    let tcp_state = match word.starts_with(b"src=") {
        true => TcpState::Established,
        false => {
            let tcp_state = state_of_word(word).ok_or((Problem::TcpState, word))?;
            word = next()?;
            tcp_state
        }
    };
    let (source, destination) = (word, next()?);
    let (source_port, destination_port) = (next()?, next()?);
    // A row that was cut in its middle may still have all that is read of it.
    // What follows is asked for, so that a cut port shows.
    next()?;
    Ok(Row::Connection(Connection {
        local: end((destination, b"dst="), (destination_port, b"dport="))?,
        peer: end((source, b"src="), (source_port, b"sport="))?,
        tcp_state: Some(tcp_state),
        peer_cut: None,
    }))
}

/// An address and a port, each with the name that stands before it.
fn end<'a>(
    (host, host_name): (&'a [u8], &[u8]),
    (service, service_name): (&'a [u8], &[u8]),
) -> Result<SocketAddr, Faulty<'a>> {
    let none = Problem::Endpoint;
    let ip = host.strip_prefix(host_name).ok_or(none).and_then(address);
    let port = service.strip_prefix(service_name).ok_or(none).and_then(port);
    Ok(SocketAddr::new(
        ip.map_err(|problem| (problem, host))?,
        port.map_err(|problem| (problem, service))?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::row::told;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        assert_eq!(told(row(line.as_bytes())), expected);
    }

    #[test]
    fn rows() {
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
        // What the kernel's ct_seq_show prints of a flow that it has handed on.
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
    fn rows_that_are_none() {
        let row = "tcp 6 119 ESTABLISHED src=203.0.113.7 dst=192.0.2.1 sport=50000 dport=80";
        check(row, &format!("it ends too early: {row}"));
        check("tcp 6 119", "it ends too early: tcp 6 119");
        check("tcp 6 119 SYN src=1", "unknown TCP state: SYN");
        check("tcp 0 0 192.0.2.1:22", "not a row of a socket table: tcp 0 0 192.0.2.1:22");
        check("a line of 3 words", "not a row of a socket table: a line of 3 words");
        let with = |word: &str, other: &str| row.replace(word, other) + " src=10.1.0.2";
        check(&with("src=2", "src=g"), "not an address and port: src=g03.0.113.7");
        check(&with("dst=", "src="), "not an address and port: src=192.0.2.1");
        check(&with("dport=80", "dport=http"), "not an address and port: dport=http");
        check(&with("sport=50000", "sport=65536"), "not an address and port: sport=65536");
    }

    #[test]
    fn what_the_tool_prints_beside_listings() {
        let shown = "conntrack v1.4.7 (conntrack-tools): 12 flow entries have been shown.";
        assert_eq!(footer(shown.as_bytes()), Some(0));
        assert_eq!(footer(format!("tcp      6 11{shown}").as_bytes()), Some(13));
        assert_eq!(footer(b"conntrack v1.4.7 (conntrack-tools): Operation failed: sorry"), None);
        for (line, expected) in [
            ("<conntrack>", Some(Unfit::Xml)),
            ("<flow><meta direction=\"original\">", Some(Unfit::Xml)),
            ("    [NEW] tcp      6 120 SYN_SENT src=192.0.2.7", Some(Unfit::Events)),
            ("[1795873200.123456]\t [UPDATE] tcp      6 60 SYN_RECV", Some(Unfit::Events)),
            ("[DESTROY] udp      17 src=192.0.2.7", Some(Unfit::Events)),
            ("tcp      6 120 SYN_SENT src=192.0.2.7", None),
            ("", None),
        ] {
            assert_eq!(unfit(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn states_have_one_meaning_in_words_and_numbers() {
        for (number, (word, tcp_state)) in (0..).zip(STATES) {
            assert_eq!(state_of_number(number), Some(tcp_state));
            assert_eq!(state_of_word(word), Some(tcp_state));
        }
        assert_eq!(state_of_number(10), None);
        assert_eq!(state_of_word(b"LISTEN"), state_of_number(9));
        assert_eq!(state_of_word(b"ESTAB"), None);
    }
}
