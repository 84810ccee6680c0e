//! The two ends of a row, an address and a port each.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use memchr::{memchr, memrchr};

use super::cursor::{self, Words};
use crate::parse::{capture::ByteOrder, netstat};

// An end is put where it belongs. To hand it through the hands of several would
// take a third of the time that is to be saved.

/// `192.0.2.1` or `[2001:db8::1]`.
#[inline]
pub(super) fn bracketed(words: &mut Words<'_>, end: &mut SocketAddr) -> Option<()> {
    if words.take(b"[") {
        let length = memchr(b']', words.ahead(LONGEST))?;
        *end = SocketAddr::new(ipv6(words, length)?.into(), 0);
        words.byte(b']')
    } else {
        *end = SocketAddr::new(words.ipv4()?.into(), 0);
        Some(())
    }
}

/// `192.0.2.1` or `2001:db8::1`.
#[inline]
pub(super) fn unbracketed(
    words: &mut Words<'_>,
    end: &mut SocketAddr,
    is_wide: bool,
) -> Option<()> {
    if let Some(address) = words.ipv4() {
        *end = SocketAddr::new(address.into(), 0);
        return Some(());
    }
    let word = words.ahead(LONGEST);
    let word = &word[..memchr(b' ', word)?];
    if !is_wide && netstat::Width::tells(word) {
        return None;
    }
    let length = memrchr(b':', word)?;
    *end = SocketAddr::new(ipv6(words, length)?.into(), 0);
    Some(())
}

/// No address with its port is longer, where it has no scope.
const LONGEST: usize = 48;

/// `0100007F:0016`, or with four such words.
#[inline]
pub(super) fn hexadecimal(
    words: &mut Words<'_>,
    byte_order: ByteOrder,
    end: &mut SocketAddr,
) -> Option<()> {
    let word = |words: &mut Words<'_>| {
        words.hex(8).map(|number| match byte_order {
            ByteOrder::Little => number.to_le_bytes(),
            ByteOrder::Big => number.to_be_bytes(),
        })
    };
    let first = word(words)?;
    let address: IpAddr = match words.is(b':') {
        true => Ipv4Addr::from(first).into(),
        false => {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&first);
            for four in octets[4..].chunks_exact_mut(4) {
                four.copy_from_slice(&word(words)?);
            }
            Ipv6Addr::from(octets).into()
        }
    };
    words.byte(b':')?;
    *end = SocketAddr::new(address, u16::try_from(words.hex(4)?).ok()?);
    Some(())
}

/// An address of that length, without a scope.
fn ipv6(words: &mut Words<'_>, length: usize) -> Option<Ipv6Addr> {
    let end = words.at + length;
    if words.take(b"::ffff:") {
        if let Some(address) = words.ipv4() {
            return (words.at == end).then(|| address.to_ipv6_mapped());
        }
        words.at -= b"::ffff:".len();
    }
    let address = groups(words.ahead(length))?;
    words.at = end;
    Some(address)
}

/// Groups of up to four digits between colons, and once between two of them none.
fn groups(text: &[u8]) -> Option<Ipv6Addr> {
    let (mut groups, mut n_groups, mut gap, mut rest) = ([0; 8], 0, None, text);
    if let Some(behind) = text.strip_prefix(b"::") {
        (gap, rest) = (Some(0), behind);
    }
    while !rest.is_empty() {
        let n_digits;
        (*groups.get_mut(n_groups)?, n_digits) = cursor::group(rest)?;
        n_groups += 1;
        rest = match &rest[n_digits..] {
            [b':', b':', behind @ ..] if gap.is_none() => {
                gap = Some(n_groups);
                behind
            }
            [b':', behind @ ..] if !behind.is_empty() => behind,
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
        fn addresses_are_what_the_standard_library_takes(
            v4 in "[0-9]{1,3}(\\.[0-9]{1,3}){3}|[0-9a.:]{0,16}|[0-9.]{0,40}",
            v6 in "[0-9a-f]{0,5}(::?[0-9a-f]{0,5}){0,9}",
            odd in "[0-9a-fA-F]{1,4}:[/0-9@-Ga-g`\\x7f]{1,4}::[0-9a-f]{1,4}",
        ) {
            for text in [v4, v6, odd] {
                let padded = [text.as_bytes(), b" ", &[b'x'; Words::LENGTH]].concat();
                let mut words = Words::of(&padded).expect("it is long enough");
                let found = words.ipv4().filter(|_| words.at == text.len());
                prop_assert_eq!(found, text.parse().ok(), "{:?}", text);
                words.at = 0;
                let found = ipv6(&mut words, text.len());
                prop_assert_eq!(found, text.parse().ok(), "{:?}", text);
            }
        }
    }
}
