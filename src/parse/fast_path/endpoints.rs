//! Readers for the address and port of both ends of a row.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use memchr::{memchr, memrchr};

use super::cursor::{self, RowCursor};
use crate::parse::{capture::ByteOrder, netstat};

// Endpoints are written in place: returning them through several functions costs a third
// of the time that the fast path saves.

/// Reads `192.0.2.1` or `[2001:db8::1]`.
#[inline]
pub(super) fn read_bracketed(cursor: &mut RowCursor<'_>, endpoint: &mut SocketAddr) -> Option<()> {
    if cursor.skip_if_next(b"[") {
        let length = memchr(b']', cursor.peek(MAX_ENDPOINT_BYTES))?;
        *endpoint = SocketAddr::new(read_ipv6(cursor, length)?.into(), 0);
        cursor.expect_byte(b']')
    } else {
        *endpoint = SocketAddr::new(cursor.read_ipv4()?.into(), 0);
        Some(())
    }
}

/// Reads `192.0.2.1` or `2001:db8::1`. Returns `None` for an IPv6 address that may be
/// truncated.
#[inline]
pub(super) fn read_unbracketed(
    cursor: &mut RowCursor<'_>,
    endpoint: &mut SocketAddr,
    is_untruncated: bool,
) -> Option<()> {
    if let Some(address) = cursor.read_ipv4() {
        *endpoint = SocketAddr::new(address.into(), 0);
        return Some(());
    }
    let word = cursor.peek(MAX_ENDPOINT_BYTES);
    let word = &word[..memchr(b' ', word)?];
    if !is_untruncated && netstat::LinuxAddressWidth::reaches_truncated_width(word) {
        return None;
    }
    let length = memrchr(b':', word)?;
    *endpoint = SocketAddr::new(read_ipv6(cursor, length)?.into(), 0);
    Some(())
}

/// Maximum length of an address and port without a scope.
const MAX_ENDPOINT_BYTES: usize = 48;

/// Reads `0100007F:0016`, or an IPv6 address of four such words and its port.
#[inline]
pub(super) fn read_hexadecimal(
    cursor: &mut RowCursor<'_>,
    byte_order: ByteOrder,
    endpoint: &mut SocketAddr,
) -> Option<()> {
    let read_word = |cursor: &mut RowCursor<'_>| {
        cursor.read_hex(8).map(|number| match byte_order {
            ByteOrder::Little => number.to_le_bytes(),
            ByteOrder::Big => number.to_be_bytes(),
        })
    };
    let first = read_word(cursor)?;
    let address: IpAddr = match cursor.is_at_byte(b':') {
        true => Ipv4Addr::from(first).into(),
        false => {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&first);
            for word in octets[4..].chunks_exact_mut(4) {
                word.copy_from_slice(&read_word(cursor)?);
            }
            Ipv6Addr::from(octets).into()
        }
    };
    cursor.expect_byte(b':')?;
    *endpoint = SocketAddr::new(address, u16::try_from(cursor.read_hex(4)?).ok()?);
    Some(())
}

/// Reads an IPv6 address of `length` bytes without a scope.
fn read_ipv6(cursor: &mut RowCursor<'_>, length: usize) -> Option<Ipv6Addr> {
    let end = cursor.position + length;
    if cursor.skip_if_next(b"::ffff:") {
        if let Some(address) = cursor.read_ipv4() {
            return (cursor.position == end).then(|| address.to_ipv6_mapped());
        }
        cursor.position -= b"::ffff:".len();
    }
    let address = parse_groups(cursor.peek(length))?;
    cursor.position = end;
    Some(address)
}

/// Parses the groups of an IPv6 address, with at most one `::`.
fn parse_groups(text: &[u8]) -> Option<Ipv6Addr> {
    let (mut groups, mut n_groups, mut gap, mut rest) = ([0; 8], 0, None, text);
    if let Some(after) = text.strip_prefix(b"::") {
        (gap, rest) = (Some(0), after);
    }
    while !rest.is_empty() {
        let n_digits;
        (*groups.get_mut(n_groups)?, n_digits) = cursor::parse_group(rest)?;
        n_groups += 1;
        rest = match &rest[n_digits..] {
            [b':', b':', after @ ..] if gap.is_none() => {
                gap = Some(n_groups);
                after
            }
            [b':', after @ ..] if !after.is_empty() => after,
            [] => break,
            _ => return None,
        };
    }
    match gap {
        None if n_groups == 8 => {}
        Some(gap) if n_groups < 8 => groups[gap..].rotate_right(8 - n_groups),
        _ => return None,
    }
    Some(Ipv6Addr::from(groups))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn address_readers_agree_with_standard_library(
            ipv4 in "[0-9]{1,3}(\\.[0-9]{1,3}){3}|[0-9a.:]{0,16}|[0-9.]{0,40}",
            ipv6 in "[0-9a-f]{0,5}(::?[0-9a-f]{0,5}){0,9}",
            malformed in "[0-9a-fA-F]{1,4}:[/0-9@-Ga-g`\\x7f]{1,4}::[0-9a-f]{1,4}",
        ) {
            for text in [ipv4, ipv6, malformed] {
                let padded = [text.as_bytes(), b" ", &[b'x'; RowCursor::WINDOW_BYTES]].concat();
                let mut cursor = RowCursor::new(&padded).expect("the text is padded to the window size");
                let address = cursor.read_ipv4().filter(|_| cursor.position == text.len());
                prop_assert_eq!(address, text.parse().ok(), "{:?}", text);
                cursor.position = 0;
                let address = read_ipv6(&mut cursor, text.len());
                prop_assert_eq!(address, text.parse().ok(), "{:?}", text);
            }
        }
    }
}
