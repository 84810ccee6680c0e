//! Random connections, written in every dialect, are read back unchanged.
use std::{
    collections::BTreeMap,
    io::Cursor,
    net::{IpAddr, SocketAddr},
};

use proptest::prelude::*;
use topip::{
    model::connection::TcpState,
    parse::{
        ParseError,
        capture::{ByteOrder, Capture, CaptureFormat},
        inet_diag::{SOCK_DIAG_BY_FAMILY, TCPDIAG_GETSOCK},
        netlink::{AF_INET, AF_INET6},
    },
};

use super::fixtures::{tally_as, tally_of};

#[derive(Clone, Debug)]
struct Row {
    local: SocketAddr,
    peer: SocketAddr,
    state: TcpState,
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let states: Vec<_> =
        TcpState::ALL.into_iter().filter(|&state| state != TcpState::Listen).collect();
    let v4 = any::<u32>().prop_map(|bits| IpAddr::from(bits.to_be_bytes()));
    let v6 = any::<u128>().prop_map(|bits| IpAddr::from(bits.to_be_bytes()));
    // Addresses with runs of zeros, which IPv6 notation shortens.
    let sparse = (any::<u16>(), any::<u16>(), 0..7u32).prop_map(|(first, last, at)| {
        IpAddr::from((u128::from(first) << 112 | u128::from(last) << (16 * at)).to_be_bytes())
    });
    let mapped = any::<u32>()
        .prop_map(|bits| IpAddr::from((0xFFFF_0000_0000 | u128::from(bits)).to_be_bytes()));
    // A few addresses that occur often, so that counts above 1 occur.
    let few = (0..4u8).prop_map(|host| IpAddr::from([203, 0, 113, host]));
    let peer = prop_oneof![v4, v6, sparse, mapped, few.clone(), few]
        .prop_filter("the unspecified address is not a peer", |address| !address.is_unspecified());
    let row = (1..=u16::MAX, peer, 1..=u16::MAX, prop::sample::select(states));
    let row = row.prop_map(|(local_port, peer, peer_port, state)| {
        let local = match peer {
            IpAddr::V4(_) => IpAddr::from([192, 0, 2, 10]),
            IpAddr::V6(_) => "2001:db8::10".parse().unwrap(),
        };
        let (local, peer) = (SocketAddr::new(local, local_port), SocketAddr::new(peer, peer_port));
        Row { local, peer, state }
    });
    prop::collection::vec(row, 1..60)
}

fn expected(rows: &[Row], with_states: bool) -> String {
    let mut tally = BTreeMap::new();
    for row in rows {
        let state = if with_states { row.state.name() } else { "-" };
        let key = format!("{} {} {state}", row.local.port(), row.peer.ip().to_canonical());
        *tally.entry(key).or_insert(0) += 1;
    }
    let mut lines: Vec<_> = tally.iter().map(|(row, n)| format!("{row} {n}\n")).collect();
    lines.sort();
    lines.concat()
}

/// Formats an endpoint without brackets: `2001:db8::1:80`.
fn bare(end: &SocketAddr) -> String {
    format!("{}:{}", end.ip(), end.port())
}

fn dotted(end: &SocketAddr) -> String {
    format!("{}.{}", end.ip(), end.port())
}

/// Returns the state name of the BSDs, with an additional underscore.
fn bsd_state(state: TcpState) -> &'static str {
    match state {
        TcpState::SynRecv => "SYN_RCVD",
        TcpState::FinWait1 => "FIN_WAIT_1",
        TcpState::FinWait2 => "FIN_WAIT_2",
        TcpState::Close => "CLOSED",
        state => state.name(),
    }
}

fn ss_state(state: TcpState) -> &'static str {
    match state {
        TcpState::Established => "ESTAB",
        TcpState::SynSent => "SYN-SENT",
        TcpState::SynRecv => "SYN-RECV",
        TcpState::FinWait1 => "FIN-WAIT-1",
        TcpState::FinWait2 => "FIN-WAIT-2",
        TcpState::TimeWait => "TIME-WAIT",
        TcpState::Close => "UNCONN",
        TcpState::CloseWait => "CLOSE-WAIT",
        TcpState::LastAck => "LAST-ACK",
        TcpState::Listen => "LISTEN",
        TcpState::Closing => "CLOSING",
        TcpState::Unreplied | TcpState::SeenReply | TcpState::Assured => unreachable!("not TCP"),
    }
}

fn conntrack_state(state: TcpState) -> Option<&'static str> {
    Some(match state {
        TcpState::FinWait1 => "FIN_WAIT",
        TcpState::SynSent | TcpState::FinWait2 | TcpState::Closing | TcpState::Listen => {
            return None;
        }
        state => state.name(),
    })
}

fn windows_state(state: TcpState) -> &'static str {
    match state {
        TcpState::SynRecv => "SYN_RECEIVED",
        state => bsd_state(state),
    }
}

fn hex(end: &SocketAddr, order: ByteOrder) -> String {
    let octets = match end.ip() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let words: String = octets
        .chunks_exact(4)
        .map(|word| {
            let word = word.try_into().unwrap();
            let word = match order {
                ByteOrder::Little => u32::from_le_bytes(word),
                ByteOrder::Big => u32::from_be_bytes(word),
            };
            format!("{word:08X}")
        })
        .collect();
    format!("{words}:{:04X}", end.port())
}

/// Returns a kernel dump in the given byte order: one message for each row, and one that
/// ends the dump.
fn dump(rows: &[Row], order: ByteOrder) -> Vec<u8> {
    let two = |number: u16| match order {
        ByteOrder::Little => number.to_le_bytes(),
        ByteOrder::Big => number.to_be_bytes(),
    };
    let header = |length: u16, message_type: u16| {
        let length = match order {
            ByteOrder::Little => [two(length), [0; 2]],
            ByteOrder::Big => [[0; 2], two(length)],
        };
        [&length.concat()[..], &two(message_type), &two(2), &[0; 8]].concat()
    };
    let octets = |end: &SocketAddr| {
        let mut octets = match end.ip() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        octets.resize(16, 0);
        octets
    };
    let mut bytes = Vec::new();
    for (nth, Row { local, peer, state }) in rows.iter().enumerate() {
        let family = if peer.is_ipv4() { AF_INET } else { AF_INET6 };
        // Attributes may leave the end of a message unaligned.
        let attributes = &[5, 0, 8, 0, 0][..nth % 2 * 5];
        let length = u16::try_from(16 + 72 + attributes.len()).unwrap();
        let kind = if nth % 3 == 0 { TCPDIAG_GETSOCK } else { SOCK_DIAG_BY_FAMILY };
        bytes.extend(header(length, kind));
        bytes.extend([family, state.number(), 0, 0]);
        bytes.extend([local.port().to_be_bytes(), peer.port().to_be_bytes()].concat());
        bytes.extend([octets(local), octets(peer)].concat());
        // Interface, cookie, timer, queues, user, inode.
        bytes.extend([0xA5; 72 - 40]);
        bytes.extend(attributes);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes.extend(header(20, 3));
    bytes.extend([0; 4]);
    bytes
}

fn listing(heading: &str, rows: &[Row], row: impl Fn(&Row) -> String) -> Vec<u8> {
    let rows: String = rows.iter().map(|it| row(it) + "\n").collect();
    format!("{heading}{rows}").into_bytes()
}

#[track_caller]
fn check(listing: Vec<u8>, order: Option<ByteOrder>, expected: &str) {
    let text = String::from_utf8_lossy(&listing).into_owned();
    let (found, reading) = tally_of(listing, order);
    assert_eq!(found, expected, "{text}");
    assert_eq!(reading.n_unreadable, 0, "{reading:?} {text}");
    assert_eq!(reading.assumed_byte_order, None, "{text}");
    let is_row = |line: &&str| {
        let is_more = line.starts_with("TCP: ") || line.contains("rto:");
        line.contains(|it: char| it.is_ascii_digit()) && !is_more
    };
    assert_eq!(reading.n_rows, text.lines().filter(is_row).count() as u64, "{reading:?} {text}");
}

/// Writes the rows in every dialect, and asserts that each listing is read back unchanged.
#[track_caller]
fn assert_every_dialect_round_trips(rows: &[Row]) {
    let all = expected(rows, true);
    let net_tools = |Row { local, peer, state }: &Row| {
        let six = if peer.is_ipv6() { "6" } else { "" };
        format!("tcp{six} 0 0 {} {} {} -", bare(local), bare(peer), state.name())
    };
    let heading = "Proto Recv-Q Send-Q Local Address Foreign Address State PID\n";
    // A row wider than the column shows that addresses are not truncated.
    let wide = "tcp6 0 0 2001:db8:1111:2222:3333::1:80 :::* LISTEN -\n";
    check(listing(&format!("{heading}{wide}"), rows, net_tools), None, &all);
    check(listing("", rows, net_tools), None, &all);
    let busybox = |Row { local, peer, state }: &Row| {
        format!("tcp        0      0 {} {} {}   ", bare(local), bare(peer), state.name())
    };
    check(listing(heading, rows, busybox), None, &all);

    let ss = |Row { local, peer, state }: &Row| {
        format!("{:10} 0      0      {local} {peer} users:((\"a b\",pid=1,fd=3))", ss_state(*state))
    };
    let heading = "State Recv-Q Send-Q Local Address:Port Peer Address:Port Process\n";
    check(listing(heading, rows, ss), None, &all);
    check(listing("", rows, ss), None, &all);
    let netid = |row: &Row| format!("tcp   {}\n\t cubic wscale:7,7 rto:204", ss(row));
    let heading = "Netid State Recv-Q Send-Q Local Address:Port Peer Address:Port\n";
    check(listing(heading, rows, netid), None, &all);
    let stateless = |Row { local, peer, .. }: &Row| format!("0      0      {local} {peer}");
    check(listing("", rows, stateless), None, &expected(rows, false));

    // conntrack does not have a name for every state.
    let tracked: Vec<_> =
        rows.iter().filter(|row| conntrack_state(row.state).is_some()).cloned().collect();
    let conntrack = |Row { local, peer, state }: &Row| {
        let state = conntrack_state(*state).unwrap();
        let (to, from) = (local.ip(), peer.ip());
        let (to_port, from_port) = (local.port(), peer.port());
        format!(
            "tcp      6 {to_port} {state} src={from} dst={to} sport={from_port} dport={to_port} \
             packets=1 bytes=60 src=10.1.0.2 dst={from} sport=8080 dport={from_port} mark=0 use=1"
        )
    };
    if !tracked.is_empty() {
        check(listing("", &tracked, conntrack), None, &expected(&tracked, true));
        let family = |row: &Row| {
            let family = if row.peer.is_ipv4() { "ipv4     2" } else { "ipv6     10" };
            format!("{family} {}", conntrack(row))
        };
        check(listing("", &tracked, family), None, &expected(&tracked, true));
    }

    let bsd = |Row { local, peer, state }: &Row| {
        let family = if peer.is_ipv4() { "tcp4" } else { "tcp6" };
        format!("{family} 0 0 {} {} {}", dotted(local), dotted(peer), bsd_state(*state))
    };
    let heading = "Proto Recv-Q Send-Q Local Address Foreign Address (state)\n";
    let wide = "tcp6 0 0 2001:db8:1111:2222:3333::1.80 *.* LISTEN\n";
    check(listing(&format!("{heading}{wide}"), rows, bsd), None, &all);

    let solaris = |Row { local, peer, state }: &Row| {
        format!("{} {} 64128 0 128872 0 {}", dotted(local), dotted(peer), bsd_state(*state))
    };
    check(listing("\nTCP: IPv6\n", rows, solaris), None, &all);
    check(listing("", rows, solaris), None, &all);

    let windows = |Row { local, peer, state }: &Row| {
        format!("  TCP    {local}        {peer}      {}", windows_state(*state))
    };
    let heading = "\nActive Connections\n\n  Proto  Local Address  Foreign Address  State\n";
    check(listing(heading, rows, windows), None, &all);

    for order in [ByteOrder::Little, ByteOrder::Big] {
        let (found, _) = tally_as(CaptureFormat::InetDiag, dump(rows, order), Some(order));
        assert_eq!(found, all);
        let proc = |Row { local, peer, state }: &Row| {
            format!(
                "   0: {} {} {:02X} 00000000:00000000",
                hex(local, order),
                hex(peer, order),
                state.number()
            )
        };
        check(
            listing("  sl  local_address rem_address   st tx_queue\n", rows, proc),
            Some(order),
            &all,
        );
        check(listing("", rows, proc), Some(order), &all);
        // A local loopback address reveals the byte order if no heading does.
        let local = Row {
            local: "127.0.0.1:25".parse().unwrap(),
            peer: "0.0.0.0:0".parse().unwrap(),
            state: TcpState::Listen,
        };
        let rows: Vec<_> = std::iter::once(local).chain(rows.iter().cloned()).collect();
        check(listing("  sl  local_address rem_address   st tx_queue\n", &rows, proc), None, &all);
    }
}

proptest! {
    #[test]
    fn every_dialect_round_trips(rows in rows()) {
        assert_every_dialect_round_trips(&rows);
    }

    /// No dump without a valid end is taken for a complete one.
    #[test]
    fn arbitrary_dumps_are_errors(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        // Message types of linux/netlink.h and linux/netfilter/nfnetlink_conntrack.h.
        const NLMSG_NOOP: u16 = 1;
        const IPCTNL_MSG_CT_NEW: u16 = 1 << 8;
        for format in [CaptureFormat::InetDiag, CaptureFormat::Ctnetlink] {
            let error = dump_error(format, bytes.clone());
            prop_assert!(is_error_in_first_message(&error), "{error:?}");
            // Such a message is ignored, regardless of its content.
            let error = dump_error(format, message(NLMSG_NOOP, &bytes));
            prop_assert!(matches!(error, ParseError::DumpIncomplete { .. }), "{error:?}");
        }
        // The bytes are parsed as attributes of a flow.
        let error = dump_error(CaptureFormat::Ctnetlink, message(IPCTNL_MSG_CT_NEW, &bytes));
        prop_assert!(is_error_in_first_message(&error), "{error:?}");
    }
}

fn message(message_type: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + payload.len()).unwrap();
    let header = [&length.to_ne_bytes()[..], &message_type.to_ne_bytes(), &[2, 0], &[0; 8]];
    [&header.concat()[..], payload].concat()
}

#[track_caller]
fn dump_error(format: CaptureFormat, bytes: Vec<u8>) -> ParseError {
    let capture = Capture::new(format, "a dump", None, Box::new(Cursor::new(bytes)));
    topip::parse::read(capture, &mut |_| true).expect_err("a dump without an end is an error")
}

/// Returns whether the first message is invalid, cut, or the last one.
fn is_error_in_first_message(error: &ParseError) -> bool {
    matches!(
        error,
        ParseError::InvalidMessage { number: 1, .. }
            | ParseError::Read { .. }
            | ParseError::DumpIncomplete { .. }
    )
}

/// Rows that failed the property test above.
#[test]
fn short_and_long_ipv6_addresses_round_trip() {
    let row = |local: &str, peer: &str| Row {
        local: local.parse().unwrap(),
        peer: peer.parse().unwrap(),
        state: TcpState::Established,
    };
    assert_every_dialect_round_trips(&[
        row("[2001:db8::10]:1", "[6e00:0:339a::]:1"),
        row("[2001:db8::10]:10", "[186a:10aa:5474:a33e:1000:12c1:1000:1000]:10000"),
    ]);
}
