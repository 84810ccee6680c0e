//! Rows of `/proc/net/tcp` and `/proc/net/tcp6`: `0: 0100007F:0016 00000000:0000 0A …`.
//!
//! proc(5) gives the columns. The byte order of the addresses is in no manual;
//! it follows from the `%08X` of a `__be32` in the kernel's `tcp_ipv4.c` and
//! `tcp_ipv6.c`: each word of 32 bits is printed as the machine reads it.
use std::{
    cmp::Ordering,
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use super::capture::ByteOrder;
use crate::model::connection::{Connection, TcpState};

use super::{
    reader::Problem,
    row::{Faulty, Row, fields},
};

/// Reads a row of a machine of that byte order.
pub(super) fn row(line: &[u8], byte_order: ByteOrder) -> Result<Row, Faulty<'_>> {
    let mut fields = fields(line);
    let mut next = || fields.next().ok_or((Problem::MissingField, line));
    let number = next()?;
    if number.last() != Some(&b':') {
        return Err((Problem::Row, line));
    }
    let (local, peer, state) = (next()?, next()?, next()?);
    // A row that was cut in its middle may still have all that is read of it.
    // What follows the state is asked for, so that a cut state shows.
    next()?;
    let tcp_state = hex(state)
        .filter(|_| state.len() == 2)
        .and_then(|number| TcpState::from_number(u8::try_from(number).ok()?))
        .ok_or((Problem::TcpState, state))?;
    Ok(Row::Connection(Connection {
        local: endpoint(local, byte_order).ok_or((Problem::Endpoint, local))?,
        peer: endpoint(peer, byte_order).ok_or((Problem::Endpoint, peer))?,
        tcp_state: Some(tcp_state),
        peer_cut: None,
    }))
}

fn endpoint(word: &[u8], byte_order: ByteOrder) -> Option<SocketAddr> {
    let at = word.len().checked_sub(5)?;
    let (address, port) = (&word[..at], word[at..].strip_prefix(b":")?);
    let port = u16::try_from(hex(port)?).ok()?;
    Some(SocketAddr::new(self::address(address, byte_order)?, port))
}

fn address(digits: &[u8], byte_order: ByteOrder) -> Option<IpAddr> {
    let word = |digits: &[u8]| -> Option<[u8; 4]> {
        let word = hex(digits)?;
        Some(match byte_order {
            ByteOrder::Little => word.to_le_bytes(),
            ByteOrder::Big => word.to_be_bytes(),
        })
    };
    match digits.len() {
        8 => Some(Ipv4Addr::from(word(digits)?).into()),
        32 => {
            let mut octets = [0; 16];
            for (four, digits) in octets.chunks_exact_mut(4).zip(digits.chunks_exact(8)) {
                four.copy_from_slice(&word(digits)?);
            }
            Some(Ipv6Addr::from(octets).into())
        }
        _ => None,
    }
}

/// Reads up to eight hexadecimal digits.
fn hex(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let (mut number, mut seen) = (0, 0);
    for &digit in digits {
        let value = VALUES[usize::from(digit)];
        seen |= value;
        number = number << 4 | u32::from(value & 0xF);
    }
    (seen < 0x10).then_some(number)
}

/// What each byte is as a hexadecimal digit; 0xFF where it is none. Asked digit by
/// digit, that would be half of the time that a row takes.
pub(super) const VALUES: [u8; 256] = {
    let mut values = [0xFF; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789ABCDEF"[value as usize] as usize] = value;
        values[b"0123456789abcdef"[value as usize] as usize] = value;
        value += 1;
    }
    values
};

/// The byte order of what comes next. Rows of `tcp` may leave it open, and those of
/// `tcp6` behind them tell.
pub(super) fn byte_order_ahead(text: &[u8]) -> Option<ByteOrder> {
    byte_order(text).or_else(|| {
        let heading = memchr::memmem::find(text, b"sl  local_address")?;
        let rows = &text[heading..];
        let begin = memchr::memchr(b'\n', rows)? + 1;
        byte_order(&rows[begin..])
    })
}

/// The byte order of the machine that wrote the rows that a text begins with,
/// where they show it: read in the wrong order, a machine's own addresses are
/// none that it can have. Peers are not asked: they choose theirs.
fn byte_order(rows: &[u8]) -> Option<ByteOrder> {
    let score = |byte_order| -> i64 {
        let own: BTreeSet<_> = rows
            .split(|&byte| byte == b'\n')
            .map_while(|line| match row(line, byte_order) {
                Ok(Row::Connection(connection)) => Some(connection.local.ip().to_canonical()),
                _ => None,
            })
            .collect();
        own.into_iter().map(plausibility).sum()
    };
    let (little, big) = (score(ByteOrder::Little), score(ByteOrder::Big));
    match little.cmp(&big) {
        Ordering::Greater => Some(ByteOrder::Little),
        Ordering::Less => Some(ByteOrder::Big),
        Ordering::Equal => None,
    }
}

/// How much speaks for a machine having `address`, or against.
///
/// Nobody has a multicast address as his own, so one of them settles the matter.
/// 10/8 says nothing: many a public address ends in 10.
fn plausibility(address: IpAddr) -> i64 {
    const SETTLED: i64 = 1000;
    match address {
        it if it.is_unspecified() => 0,
        IpAddr::V4(it) => match it.octets() {
            [127, 0, 0, _] => SETTLED,
            // 0/8 is nobody's, 224/3 is multicast and reserved.
            [0 | 224.., ..] => -SETTLED,
            [192, 168, ..] | [172, 16..32, ..] => 100,
            _ => 0,
        },
        it if it.is_loopback() => SETTLED,
        // 2000::/3 is what has been given out.
        IpAddr::V6(it) if it.octets()[0] >> 5 == 1 => 100,
        IpAddr::V6(it) if it.is_unicast_link_local() || it.is_unique_local() => 100,
        IpAddr::V6(_) => -SETTLED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::row::told;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        assert_eq!(told(row(line.as_bytes(), ByteOrder::Little)), expected);
    }

    #[test]
    fn rows() {
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
    fn rows_that_are_none() {
        check("0: 0100007F:0016", "it ends too early: 0: 0100007F:0016");
        check(
            "0: 0100007F:0016 0200000A:D431 01",
            "it ends too early: 0: 0100007F:0016 0200000A:D431 01",
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
    fn the_byte_order_shows_in_the_addresses() {
        let order = |rows: &str| byte_order(rows.as_bytes());
        assert_eq!(order("0: 0100007F:0016 0100007F:D431 01 0"), Some(ByteOrder::Little));
        assert_eq!(order("0: 7F000001:0016 7F000001:D431 01 0"), Some(ByteOrder::Big));
        assert_eq!(order("0: 0101A8C0:0016 077100CB:D431 01 0"), Some(ByteOrder::Little));
        assert_eq!(order("0: C0A80101:0016 CB007107:D431 01 0"), Some(ByteOrder::Big));
        assert_eq!(
            order(
                "0: 0000000000000000FFFF00000A0200C0:0050 0000000000000000FFFF0000077100CB:C350 03 0"
            ),
            Some(ByteOrder::Little)
        );
        assert_eq!(
            order(
                "0: 20010DB8000000000000000000000010:0050 20010DB8000000000000000000000007:C350 03 0"
            ),
            Some(ByteOrder::Big)
        );
        // A peer that ends in 127 is loopback when read backwards; it has no say.
        assert_eq!(
            order("0: 0A0200C0:0016 7F7100CB:D431 01 0\n0: 0100007F:0016 00000000:0000 0A 0"),
            Some(ByteOrder::Little)
        );
        // Read backwards, 192.0.2.10 is 10.2.0.192, which is as good.
        assert_eq!(order("0: 0A0200C0:0016 7F7100CB:D431 01 0"), None);
        // Listeners and headings say nothing.
        assert_eq!(order("0: 00000000:0016 00000000:0000 0A 0\nsl\n"), None);
    }
}
