//! Rows of `/proc/net/tcp` and `/proc/net/tcp6`: `0: 0100007F:0016 00000000:0000 0A …`.
//!
//! proc(5) documents the columns, but not the byte order of the addresses. The byte
//! order follows from the `%08X` of a `__be32` in the kernel's `tcp_ipv4.c` and
//! `tcp_ipv6.c`: each 32-bit word is printed in the byte order of the machine.
use std::{
    cmp::Ordering,
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use super::capture::ByteOrder;
use crate::model::connection::{Connection, TcpState};

use super::{
    endpoint::HEX_DIGIT_VALUES,
    error::RowErrorKind,
    row::{RowError, RowKind, fields},
};

/// Parses a row that was written by a machine with the given byte order.
pub(super) fn parse_row<'a>(
    line: &'a [u8],
    byte_order: ByteOrder,
    connection: &mut Connection,
) -> Result<RowKind, RowError<'a>> {
    let mut fields = fields(line);
    let row_number = fields.next_field()?;
    if row_number.last() != Some(&b':') {
        return Err((RowErrorKind::UnrecognizedRow, line));
    }
    let (local, peer, tcp_state_word) =
        (fields.next_field()?, fields.next_field()?, fields.next_field()?);
    // The state of a truncated row may itself be truncated; require the next field to
    // detect that.
    if fields.is_at_end() {
        return Err((RowErrorKind::MissingField, line));
    }
    let tcp_state = parse_hex(tcp_state_word)
        .filter(|_| tcp_state_word.len() == 2)
        .and_then(|number| TcpState::from_kernel_number(u8::try_from(number).ok()?))
        .ok_or((RowErrorKind::UnknownTcpState, tcp_state_word))?;
    parse_endpoint(local, byte_order, &mut connection.local)
        .ok_or((RowErrorKind::InvalidEndpoint, local))?;
    parse_endpoint(peer, byte_order, &mut connection.peer)
        .ok_or((RowErrorKind::InvalidEndpoint, peer))?;
    connection.tcp_state = Some(tcp_state);
    connection.peer_truncated = None;
    Ok(RowKind::Connection)
}

/// Parses an address and port, such as `0100007F:0016`.
fn parse_endpoint(word: &[u8], byte_order: ByteOrder, endpoint: &mut SocketAddr) -> Option<()> {
    let at = word.len().checked_sub(5)?;
    let (address, port) = (&word[..at], word[at..].strip_prefix(b":")?);
    let port = u16::try_from(parse_hex(port)?).ok()?;
    *endpoint = SocketAddr::new(parse_address(address, byte_order)?, port);
    Some(())
}

/// Parses an address of one 32-bit word (IPv4) or four (IPv6).
fn parse_address(digits: &[u8], byte_order: ByteOrder) -> Option<IpAddr> {
    let parse_word = |digits: &[u8]| -> Option<[u8; 4]> {
        let word = parse_hex(digits)?;
        Some(match byte_order {
            ByteOrder::Little => word.to_le_bytes(),
            ByteOrder::Big => word.to_be_bytes(),
        })
    };
    match digits.len() {
        8 => Some(Ipv4Addr::from(parse_word(digits)?).into()),
        32 => {
            let mut octets = [0; 16];
            for (word, digits) in octets.chunks_exact_mut(4).zip(digits.chunks_exact(8)) {
                word.copy_from_slice(&parse_word(digits)?);
            }
            Some(Ipv6Addr::from(octets).into())
        }
        _ => None,
    }
}

/// Parses one to eight hexadecimal digits.
fn parse_hex(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let (mut number, mut all_values) = (0, 0);
    for &digit in digits {
        let value = HEX_DIGIT_VALUES[usize::from(digit)];
        all_values |= value;
        number = number << 4 | u32::from(value & 0xF);
    }
    (all_values < 0x10).then_some(number)
}

/// Detects the byte order of the rows in `text`. If the rows of `/proc/net/tcp` do not
/// show it, the rows of a following `/proc/net/tcp6` may.
pub(super) fn detect_byte_order(text: &[u8]) -> Option<ByteOrder> {
    byte_order_of_rows(text).or_else(|| {
        let heading = memchr::memmem::find(text, b"sl  local_address")?;
        let rows = &text[heading..];
        let start = memchr::memchr(b'\n', rows)? + 1;
        byte_order_of_rows(&rows[start..])
    })
}

/// Returns the byte order of the machine that wrote the rows at the start of a text, if
/// the rows show it. In the wrong byte order, the local addresses are implausible. Peer
/// addresses are ignored, because a peer can choose its address.
fn byte_order_of_rows(rows: &[u8]) -> Option<ByteOrder> {
    let score = |byte_order| -> i64 {
        let mut connection = Connection::UNSPECIFIED;
        let local_addresses: BTreeSet<_> = rows
            .split(|&byte| byte == b'\n')
            .map_while(|line| match parse_row(line, byte_order, &mut connection) {
                Ok(RowKind::Connection) => Some(connection.local.ip().to_canonical()),
                _ => None,
            })
            .collect();
        local_addresses.into_iter().map(plausibility).sum()
    };
    let (little, big) = (score(ByteOrder::Little), score(ByteOrder::Big));
    match little.cmp(&big) {
        Ordering::Greater => Some(ByteOrder::Little),
        Ordering::Less => Some(ByteOrder::Big),
        Ordering::Equal => None,
    }
}

/// Returns a score for `address` as the local address of a machine: positive if it is
/// plausible, negative if it is not.
///
/// A multicast address is never a local address, so a single one is conclusive. The score of
/// 10/8 is 0: in the wrong byte order, a public address whose last octet is 10 looks like one
/// of 10/8.
fn plausibility(address: IpAddr) -> i64 {
    const CONCLUSIVE: i64 = 1000;
    match address {
        address if address.is_unspecified() => 0,
        IpAddr::V4(ipv4) => match ipv4.octets() {
            [127, 0, 0, _] => CONCLUSIVE,
            // 0/8 is not assigned; 224/3 is multicast and reserved.
            [0 | 224.., ..] => -CONCLUSIVE,
            [192, 168, ..] | [172, 16..32, ..] => 100,
            _ => 0,
        },
        address if address.is_loopback() => CONCLUSIVE,
        // 2000::/3 is the allocated global unicast range.
        IpAddr::V6(ipv6) if ipv6.octets()[0] >> 5 == 1 => 100,
        IpAddr::V6(ipv6) if ipv6.is_unicast_link_local() || ipv6.is_unique_local() => 100,
        IpAddr::V6(_) => -CONCLUSIVE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::row::render_row;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        assert_eq!(
            render_row(|connection| parse_row(line.as_bytes(), ByteOrder::Little, connection)),
            expected
        );
    }

    #[test]
    fn rows_are_parsed() {
        check("0: 0100007F:0016 0200000A:D431 01 0", "Established 127.0.0.1:22 10.0.0.2:54321");
        check("0: 0100007F:0016 00000000:0000 0A 0", "Listen 127.0.0.1:22 0.0.0.0:0");
        check(
            "  12: B80D0120000000000000000010000000:0050 B80D0120000000000000000007000000:C350 06 0",
            "TimeWait [2001:db8::10]:80 [2001:db8::7]:50000",
        );
        check(
            "0: 0000000000000000FFFF00000100007F:0050 0000000000000000FFFF0000076000CB:C350 03 0",
            "SynRecv [::ffff:127.0.0.1]:80 [::ffff:203.0.96.7]:50000",
        );
        check("0: 0100007F:0016 0200000A:D431 0C 0", "SynRecv 127.0.0.1:22 10.0.0.2:54321");
    }

    #[test]
    fn malformed_rows_are_rejected() {
        check("0: 0100007F:0016", "incomplete row: 0: 0100007F:0016");
        check(
            "0: 0100007F:0016 0200000A:D431 01",
            "incomplete row: 0: 0100007F:0016 0200000A:D431 01",
        );
        check("0: 0100007F:0016 0200000A:D431 0D 0", "unknown TCP state: 0D");
        check("0: 0100007F:0016 0200000A:D431 1 0", "unknown TCP state: 1");
        check("0: 0100007F 0200000A:D431 01 0", "not an address and port: 0100007F");
        check("0: 100007F:0016 0200000A:D431 01 0", "not an address and port: 100007F:0016");
        check("0: 0100007G:0016 0200000A:D431 01 0", "not an address and port: 0100007G:0016");
        check("0: 0100007F:0016 é:D431 01 0", "not an address and port: é:D431");
        check(
            "0 0100007F:0016 0200000A:D431 01 0",
            "not a row of a socket table: 0 0100007F:0016 0200000A:D431 01 0",
        );
    }

    #[test]
    fn byte_order_is_detected_by_local_addresses() {
        let detect = |rows: &str| byte_order_of_rows(rows.as_bytes());
        assert_eq!(detect("0: 0100007F:0016 0100007F:D431 01 0"), Some(ByteOrder::Little));
        assert_eq!(detect("0: 7F000001:0016 7F000001:D431 01 0"), Some(ByteOrder::Big));
        assert_eq!(detect("0: 0101A8C0:0016 077100CB:D431 01 0"), Some(ByteOrder::Little));
        assert_eq!(detect("0: C0A80101:0016 CB007107:D431 01 0"), Some(ByteOrder::Big));
        assert_eq!(
            detect(
                "0: 0000000000000000FFFF00000A0200C0:0050 0000000000000000FFFF0000077100CB:C350 03 0"
            ),
            Some(ByteOrder::Little)
        );
        assert_eq!(
            detect(
                "0: 20010DB8000000000000000000000010:0050 20010DB8000000000000000000000007:C350 03 0"
            ),
            Some(ByteOrder::Big)
        );
        // A peer that ends in 127 is loopback in the wrong byte order; peers are ignored.
        assert_eq!(
            detect("0: 0A0200C0:0016 7F7100CB:D431 01 0\n0: 0100007F:0016 00000000:0000 0A 0"),
            Some(ByteOrder::Little)
        );
        // In the other byte order, 192.0.2.10 is 10.2.0.192, which is as plausible.
        assert_eq!(detect("0: 0A0200C0:0016 7F7100CB:D431 01 0"), None);
        // Unspecified addresses and headings have no score.
        assert_eq!(detect("0: 00000000:0016 00000000:0000 0A 0\nsl\n"), None);
    }
}
