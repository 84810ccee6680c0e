//! Parsing of an address and port in one word into a [`SocketAddr`].
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use memchr::{memchr, memrchr};

use super::error::RowErrorKind;

/// Parses `ADDRESS:PORT` in the formats of Linux and Windows: `192.0.2.1:80`,
/// `2001:db8::1:80` (net-tools), `[2001:db8::1]:80` (ss, Windows), optionally with a
/// scope (`fe80::1%eth0`, `[fe80::1]%eth0`, `[fe80::1%4]`), and `*` for any.
pub(super) fn parse_with_colon(word: &[u8]) -> Result<SocketAddr, RowErrorKind> {
    let at = word.iter().rposition(|&byte| byte == b':').ok_or(RowErrorKind::InvalidEndpoint)?;
    parse_host_and_port(&word[..at], &word[at + 1..])
}

/// Parses `ADDRESS.PORT` in the format of the BSDs, macOS, AIX and Solaris.
pub(super) fn parse_with_dot(word: &[u8]) -> Result<SocketAddr, RowErrorKind> {
    let at = memrchr(b'.', word).ok_or(RowErrorKind::InvalidEndpoint)?;
    parse_host_and_port(&word[..at], &word[at + 1..])
}

/// Returns true if a dot separates the port: the last separator of the word is then a
/// dot, but in a word with a colon before the port it is the colon.
pub(super) fn has_dot_before_port(word: &[u8]) -> bool {
    word.iter().rfind(|byte| matches!(byte, b'.' | b':')) == Some(&b'.')
}

fn parse_host_and_port(host: &[u8], service: &[u8]) -> Result<SocketAddr, RowErrorKind> {
    Ok(SocketAddr::new(parse_address(host)?, parse_port(service)?))
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

/// Parses an unsigned number of up to 19 digits, such as a queue length.
pub(super) fn parse_decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 19 {
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
    let text = strip_scope(text);
    if text == b"*" {
        return Ok(Ipv4Addr::UNSPECIFIED.into());
    }
    let address = match text.strip_prefix(b"[") {
        Some(rest) => strip_scope(rest.strip_suffix(b"]").ok_or(RowErrorKind::InvalidEndpoint)?),
        None => text,
    };
    let address = std::str::from_utf8(address).map_err(|_| RowErrorKind::InvalidEndpoint)?;
    if memchr(b':', address.as_bytes()).is_some() {
        address.parse::<Ipv6Addr>().map(IpAddr::V6).map_err(|_| RowErrorKind::InvalidEndpoint)
    } else {
        parse_ipv4(address.as_bytes()).map(IpAddr::V4).ok_or(RowErrorKind::InvalidEndpoint)
    }
}

/// Parses an IPv4 address. Accepts the same texts as the standard library, but takes a
/// quarter of the time; nearly every address of a long listing is IPv4.
fn parse_ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let (mut bits, mut octet, mut n_digits, mut n_dots) = (0_u32, 0_u32, 0, 0);
    for &byte in text {
        match byte {
            // No leading zeros: other programs parse 010 as octal 8.
            b'0'..=b'9' if n_digits == 0 || octet > 0 => {
                octet = octet * 10 + u32::from(byte - b'0');
                n_digits += 1;
                if octet > 255 {
                    return None;
                }
            }
            b'.' if n_digits > 0 && n_dots < 3 => {
                bits = bits << 8 | octet;
                (octet, n_digits) = (0, 0);
                n_dots += 1;
            }
            _ => return None,
        }
    }
    (n_dots == 3 && n_digits > 0).then(|| Ipv4Addr::from_bits(bits << 8 | octet))
}

/// Removes a scope such as `%eth0`, which names an interface of the listed host and not
/// the peer. The scope may stand inside or after the brackets.
fn strip_scope(text: &[u8]) -> &[u8] {
    match memchr(b'%', text) {
        Some(at) if !text[at..].ends_with(b"]") => &text[..at],
        _ => text,
    }
}

/// Returns the known prefix of a truncated IPv6 address, and its length in bits: the
/// complete groups before any `::`. Groups after a `::` are not known, because their
/// position depends on the missing rest.
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

    use super::*;

    #[track_caller]
    fn check(word: &str, expected: &str) {
        let word = word.as_bytes();
        let endpoint =
            if has_dot_before_port(word) { parse_with_dot(word) } else { parse_with_colon(word) };
        let rendered = endpoint.map_or_else(|kind| kind.to_string(), |it| it.to_string());
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
            "%:80",
            "192.0.2.01:80",
            "[192.0.2.1%]:80 ",
        ] {
            check(word, "not an address and port");
        }
    }

    proptest! {
        #[test]
        fn ipv4_parser_agrees_with_standard_library(
            dotted in "[0-9]{1,3}(\\.[0-9]{1,3}){3}",
            any in "[0-9.]{0,18}|[0-9a.: ]{7,15}",
        ) {
            for text in [dotted, any] {
                prop_assert_eq!(parse_ipv4(text.as_bytes()), text.parse().ok(), "{:?}", text);
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
