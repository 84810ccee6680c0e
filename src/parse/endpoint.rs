//! Parsing of an address and port into a [`SocketAddr`].
//!
//! The functions `parse_…` take a complete word. The functions `split_…` take a text that
//! starts with a value, and return the value and the rest of the text. They read each byte
//! once, and accept the usual notations only.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use memchr::{memchr, memrchr};

use super::error::RowErrorKind;

/// Parses `ADDRESS:PORT` in the formats of Linux and Windows: `192.0.2.1:80`,
/// `2001:db8::1:80` (net-tools), `[2001:db8::1]:80` (ss, Windows), optionally with a
/// scope (`fe80::1%eth0`, `[fe80::1]%eth0`, `[fe80::1%4]`), and `*` for any.
pub(super) fn parse_with_colon(word: &[u8], endpoint: &mut SocketAddr) -> Result<(), RowErrorKind> {
    let at = memrchr(b':', word).ok_or(RowErrorKind::InvalidEndpoint)?;
    parse_host_and_port(&word[..at], &word[at + 1..], endpoint)
}

/// Parses `ADDRESS.PORT` in the format of the BSDs, macOS, AIX and Solaris.
pub(super) fn parse_with_dot(word: &[u8], endpoint: &mut SocketAddr) -> Result<(), RowErrorKind> {
    let at = memrchr(b'.', word).ok_or(RowErrorKind::InvalidEndpoint)?;
    parse_host_and_port(&word[..at], &word[at + 1..], endpoint)
}

/// Returns true if a dot precedes the port: the last dot or colon of the word is a dot.
pub(super) fn has_dot_before_port(word: &[u8]) -> bool {
    word.iter().rfind(|byte| matches!(byte, b'.' | b':')) == Some(&b'.')
}

fn parse_host_and_port(
    host: &[u8],
    service: &[u8],
    endpoint: &mut SocketAddr,
) -> Result<(), RowErrorKind> {
    *endpoint = SocketAddr::new(parse_address(host)?, parse_port(service)?);
    Ok(())
}

/// Parses a port; `*` is 0.
pub(super) fn parse_port(text: &[u8]) -> Result<u16, RowErrorKind> {
    if text == b"*" {
        return Ok(0);
    }
    parse_decimal(text)
        .and_then(|port| u16::try_from(port).ok())
        .ok_or(RowErrorKind::InvalidEndpoint)
}

/// Maximum number of digits of a number: 19 digits always fit into 64 bits.
pub(super) const MAX_DIGITS: usize = 19;

/// Parses an unsigned number, such as a queue length.
pub(super) fn parse_decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > MAX_DIGITS {
        return None;
    }
    text.iter().try_fold(0, |number, &byte| {
        byte.is_ascii_digit().then(|| number * 10 + u64::from(byte - b'0'))
    })
}

/// Parses an address with or without brackets and scope; `*` is the unspecified
/// address.
pub(super) fn parse_address(text: &[u8]) -> Result<IpAddr, RowErrorKind> {
    if let Some(address) = parse_ipv4(text) {
        return Ok(address.into());
    }
    if let Some(address) = parse_ipv6(text) {
        return Ok(address.into());
    }
    let text = strip_scope(text);
    if text == b"*" {
        return Ok(Ipv4Addr::UNSPECIFIED.into());
    }
    let address = match text.strip_prefix(b"[") {
        Some(rest) => strip_scope(rest.strip_suffix(b"]").ok_or(RowErrorKind::InvalidEndpoint)?),
        None => text,
    };
    match parse_ipv6(address) {
        Some(address) => Ok(address.into()),
        None => parse_ipv4(address).map(IpAddr::V4).ok_or(RowErrorKind::InvalidEndpoint),
    }
}

/// Parses an IPv4 address. Accepts the same texts as the standard library.
fn parse_ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    match split_ipv4(text)? {
        (address, []) => Some(address),
        _ => None,
    }
}

/// Parses an IPv4 address at the start of a text. Returns the address and the rest.
#[inline]
fn split_ipv4(text: &[u8]) -> Option<(Ipv4Addr, &[u8])> {
    let (a, rest) = split_octet(text)?;
    let (b, rest) = split_octet(rest.strip_prefix(b".")?)?;
    let (c, rest) = split_octet(rest.strip_prefix(b".")?)?;
    let (d, rest) = split_octet(rest.strip_prefix(b".")?)?;
    Some((Ipv4Addr::from_bits(a << 24 | b << 16 | c << 8 | d), rest))
}

/// Parses a number up to 255 at the start of a text, without leading zeros, because other
/// programs parse 010 as octal 8.
#[inline]
fn split_octet(text: &[u8]) -> Option<(u32, &[u8])> {
    let (first, rest) = split_digit(text)?;
    let Some((second, rest_of_two)) = split_digit(rest) else {
        return Some((first, rest));
    };
    if first == 0 {
        return None;
    }
    let Some((third, rest_of_three)) = split_digit(rest_of_two) else {
        return Some((10 * first + second, rest_of_two));
    };
    let octet = 100 * first + 10 * second + third;
    if octet < 256 { Some((octet, rest_of_three)) } else { None }
}

/// Parses a decimal digit at the start of a text.
#[inline]
fn split_digit(text: &[u8]) -> Option<(u32, &[u8])> {
    match text {
        [digit @ b'0'..=b'9', rest @ ..] => Some((u32::from(digit - b'0'), rest)),
        _ => None,
    }
}

/// Parses an IPv6 address. Accepts the same texts as the standard library.
fn parse_ipv6(text: &[u8]) -> Option<Ipv6Addr> {
    match split_ipv6(text)? {
        (address, []) => Some(address),
        _ => None,
    }
}

/// Parses an IPv6 address at the start of a text. Returns the address and the rest.
fn split_ipv6(text: &[u8]) -> Option<(Ipv6Addr, &[u8])> {
    let (high, rest) = split_groups(text, 8)?;
    if high.count == 8 {
        return Some((Ipv6Addr::from_bits(high.bits), rest));
    }
    let (low, rest) = split_groups(rest.strip_prefix(b"::")?, 7 - high.count)?;
    let high_bits = high.bits.checked_shl(16 * (8 - high.count)).unwrap_or(0);
    Some((Ipv6Addr::from_bits(high_bits | low.bits), rest))
}

/// Groups of an IPv6 address.
struct Groups {
    bits: u128,
    count: u32,
}

/// Parses up to `max_count` groups of an IPv6 address at the start of a text. The last two
/// may be an IPv4 address.
#[inline]
fn split_groups(text: &[u8], max_count: u32) -> Option<(Groups, &[u8])> {
    let (mut groups, mut rest) = (Groups { bits: 0, count: 0 }, text);
    let mut next = text;
    while groups.count < max_count && next.first().is_some_and(u8::is_ascii_hexdigit) {
        let (group, after_group) = split_group(next)?;
        if after_group.starts_with(b".") {
            let (address, rest) = split_ipv4(next)?;
            groups.bits = groups.bits << 32 | u128::from(address.to_bits());
            groups.count += 2;
            let is_last = groups.count <= max_count && !rest.starts_with(b":");
            return if is_last { Some((groups, rest)) } else { None };
        }
        groups.bits = groups.bits << 16 | u128::from(group);
        groups.count += 1;
        rest = after_group;
        match rest.strip_prefix(b":") {
            Some(after_colon) => next = after_colon,
            None => break,
        }
    }
    Some((groups, rest))
}

/// Parses a group of an IPv6 address at the start of a text: one to four hexadecimal digits.
#[inline]
fn split_group(text: &[u8]) -> Option<(u16, &[u8])> {
    let (mut group, mut rest) = (0, text);
    while let [digit, after @ ..] = rest {
        let value = HEX_DIGIT_VALUES[usize::from(*digit)];
        if value >= 0x10 {
            break;
        }
        group = group << 4 | u32::from(value);
        rest = after;
    }
    let n_digits = text.len() - rest.len();
    if (1..=4).contains(&n_digits) { Some((group as u16, rest)) } else { None }
}

/// Value of each byte as a hexadecimal digit; 0xFF for other bytes. Without this table,
/// decoding the digits would take half of the time for a row.
pub(super) const HEX_DIGIT_VALUES: [u8; 256] = {
    let mut values = [0xFF; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789ABCDEF"[value as usize] as usize] = value;
        values[b"0123456789abcdef"[value as usize] as usize] = value;
        value += 1;
    }
    values
};

/// Parses `192.0.2.1:80` or `[2001:db8::1]:80` at the start of a text. Returns the rest.
#[inline]
pub(super) fn split_endpoint<'a>(text: &'a [u8], endpoint: &mut SocketAddr) -> Option<&'a [u8]> {
    if let Some(text) = text.strip_prefix(b"[") {
        let (address, rest) = split_ipv6(text)?;
        let (port, rest) = split_port(rest.strip_prefix(b"]:")?)?;
        *endpoint = SocketAddrV6::new(address, port, 0, 0).into();
        return Some(rest);
    }
    let (address, rest) = split_ipv4(text)?;
    let (port, rest) = split_port(rest.strip_prefix(b":")?)?;
    *endpoint = SocketAddrV4::new(address, port).into();
    Some(rest)
}

/// Parses a port of one to five digits at the start of a text.
#[inline]
fn split_port(text: &[u8]) -> Option<(u16, &[u8])> {
    let (mut port, mut rest) = split_digit(text)?;
    for _ in 1..5 {
        let Some((digit, after)) = split_digit(rest) else {
            break;
        };
        (port, rest) = (10 * port + digit, after);
    }
    Some((u16::try_from(port).ok()?, rest))
}

/// Removes a scope such as `%eth0`: it names an interface of the listed host, and does not
/// belong to the peer. The scope may be inside or after the brackets.
fn strip_scope(text: &[u8]) -> &[u8] {
    match memchr(b'%', text) {
        Some(at) if !text[at..].ends_with(b"]") => &text[..at],
        _ => text,
    }
}

/// Returns the known prefix of a truncated IPv6 address, and its length in bits: the
/// complete groups before any `::`. Groups after a `::` are not known, because their
/// position depends on the missing part.
pub(super) fn known_prefix(text: &[u8]) -> (Ipv6Addr, u8) {
    let mut groups = [0; 8];
    let mut n_groups = 0;
    let mut words = text.split(|&byte| byte == b':').peekable();
    while let Some(word) = words.next() {
        let is_last = words.peek().is_none();
        let group =
            std::str::from_utf8(word).ok().and_then(|word| u16::from_str_radix(word, 16).ok());
        match group {
            // The last group may be truncated.
            Some(group) if !is_last && n_groups < groups.len() => {
                groups[n_groups] = group;
                n_groups += 1;
            }
            _ => break,
        }
    }
    let n_bits = u8::try_from(n_groups * 16).unwrap_or(128);
    (Ipv6Addr::from(groups), n_bits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::model::connection::Connection;

    use super::*;

    #[track_caller]
    fn check(word: &str, expected: &str) {
        let word = word.as_bytes();
        let parse = if has_dot_before_port(word) { parse_with_dot } else { parse_with_colon };
        let mut endpoint = Connection::UNSPECIFIED.peer;
        let parsed = parse(word, &mut endpoint);
        let rendered = parsed.map_or_else(|kind| kind.to_string(), |()| endpoint.to_string());
        assert_eq!(rendered, expected);
    }

    #[test]
    fn endpoints_with_colon_are_parsed() {
        check("192.0.2.1:80", "192.0.2.1:80");
        check("2001:db8::1:80", "[2001:db8::1]:80");
        check("[2001:db8::1]:80", "[2001:db8::1]:80");
        check("::ffff:192.0.2.1:80", "[::ffff:192.0.2.1]:80");
        check("[::ffff:192.0.2.1]:80", "[::ffff:192.0.2.1]:80");
        check(":::80", "[::]:80");
        check(":::*", "[::]:0");
        check("*:*", "0.0.0.0:0");
        check("0.0.0.0:*", "0.0.0.0:0");
        check("[::]:*", "[::]:0");
        check("127.0.0.53%lo:53", "127.0.0.53:53");
        check("*%lo:8080", "0.0.0.0:8080");
        check("fe80::1%eth0:22", "[fe80::1]:22");
        check("[fe80::1]%eth0:22", "[fe80::1]:22");
        check("[fe80::1%4]:445", "[fe80::1]:445");
    }

    #[test]
    fn endpoints_with_dot_are_parsed() {
        check("192.0.2.1.80", "192.0.2.1:80");
        check("2001:db8::1.80", "[2001:db8::1]:80");
        check("::ffff:192.0.2.1.80", "[::ffff:192.0.2.1]:80");
        check("fe80::1%lo0.22", "[fe80::1]:22");
        check("*.80", "0.0.0.0:80");
        check("*.*", "0.0.0.0:0");
    }

    #[test]
    fn malformed_endpoints_are_rejected() {
        for word in [
            "",
            ":",
            ":80",
            "192.0.2.1",
            "192.0.2.1:",
            "192.0.2.1:65536",
            "192.0.2.1:-1",
            "192.0.2:80",
            "192.0.2.1:http",
            "web1:80",
            "[2001:db8::1:80",
            "2001:db8::1]:80",
            "[]:80",
            "[::a:]:80",
            "%:80",
            "192.0.2.01:80",
            "[192.0.2.1%]:80 ",
        ] {
            check(word, "not an address and port");
        }
    }

    proptest! {
        #[test]
        fn address_parsers_agree_with_standard_library(
            ipv4 in "[0-9]{1,3}(\\.[0-9]{1,3}){3}|[0-9.]{0,18}|[0-9a.: ]{7,15}",
            ipv6 in "[0-9a-fA-F]{0,5}(::?[0-9a-f]{0,5}){0,9}",
            with_ipv4 in "([0-9a-f]{0,4}::?){0,8}[0-9]{1,3}(\\.[0-9]{1,3}){2,4}(::?[0-9a-f]{1,4})?",
            malformed in "[0-9a-f]{1,4}:[/0-9@-Ga-g`\\x7f]{1,4}::[0-9a-f]{1,4}",
        ) {
            for text in [ipv4, ipv6, with_ipv4, malformed] {
                prop_assert_eq!(parse_ipv4(text.as_bytes()), text.parse().ok(), "{:?}", text);
                prop_assert_eq!(parse_ipv6(text.as_bytes()), text.parse().ok(), "{:?}", text);
            }
        }

        #[test]
        fn usual_endpoints_are_parsed_like_others(
            ipv4 in "[0-9]{1,3}(\\.[0-9]{1,3}){3}:[0-9]{1,6}",
            ipv6 in "\\[[0-9a-f]{0,5}(::?[0-9a-f]{0,5}){0,9}\\]:[0-9]{1,6}",
            other in "[0-9a-f.:*%\\[\\]]{1,20}",
        ) {
            for word in [ipv4, ipv6, other] {
                let mut usual = Connection::UNSPECIFIED.peer;
                let mut expected = usual;
                if split_endpoint(word.as_bytes(), &mut usual) == Some(b"") {
                    let parsed = parse_with_colon(word.as_bytes(), &mut expected);
                    prop_assert_eq!((parsed, expected), (Ok(()), usual), "{:?}", word);
                }
            }
        }
    }

    #[test]
    fn truncated_addresses_have_known_prefixes() {
        let check = |text: &str, expected: &str| {
            let (prefix, n_bits) = known_prefix(text.as_bytes());
            assert_eq!(format!("{prefix}/{n_bits}"), expected);
        };
        check("2001:db8:1:2:3:", "2001:db8:1:2:3::/80");
        check("2001:db8:1:2:3", "2001:db8:1:2::/64");
        check("2001:db8::1234:56", "2001:db8::/32");
        check("::1234:5678:9abc", "::/0");
        check("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:0/112");
        check("", "::/0");
    }
}
