//! An address and a port, in one word, to a [`SocketAddr`].
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use memchr::{memchr, memrchr};

use super::reader::Problem;

/// Reads `ADDRESS:PORT` as Linux and Windows write it: `192.0.2.1:80`,
/// `2001:db8::1:80` (net-tools), `[2001:db8::1]:80` (ss, Windows), with scopes
/// (`fe80::1%eth0`, `[fe80::1]%eth0`, `[fe80::1%4]`), and `*` for any.
pub(super) fn colon(word: &[u8]) -> Result<SocketAddr, Problem> {
    let at = word.iter().rposition(|&byte| byte == b':').ok_or(Problem::Endpoint)?;
    join(&word[..at], &word[at + 1..])
}

/// Reads `ADDRESS.PORT` as the BSDs, macOS, AIX and Solaris write it.
pub(super) fn dot(word: &[u8]) -> Result<SocketAddr, Problem> {
    let at = memrchr(b'.', word).ok_or(Problem::Endpoint)?;
    join(&word[..at], &word[at + 1..])
}

/// Whether a dot stands before the port: then whatever follows the last colon
/// has one, which no address that ends in a colon and a port has.
pub(super) fn has_dot(word: &[u8]) -> bool {
    word.iter().rfind(|byte| matches!(byte, b'.' | b':')) == Some(&b'.')
}

fn join(host: &[u8], service: &[u8]) -> Result<SocketAddr, Problem> {
    Ok(SocketAddr::new(address(host)?, port(service)?))
}

/// Reads a port; `*` is 0.
pub(super) fn port(text: &[u8]) -> Result<u16, Problem> {
    if text == b"*" {
        return Ok(0);
    }
    decimal(text).and_then(|port| u16::try_from(port).ok()).ok_or(Problem::Endpoint)
}

/// Reads a number without a sign, such as one of a queue's length.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 19 {
        return None;
    }
    text.iter().try_fold(0, |number, &byte| {
        byte.is_ascii_digit().then(|| number * 10 + u64::from(byte - b'0'))
    })
}

/// Reads an address, in brackets or not, with a scope or without; `*` is the
/// unspecified one.
pub(super) fn address(text: &[u8]) -> Result<IpAddr, Problem> {
    if let Some(address) = ipv4(text) {
        return Ok(address.into());
    }
    let text = without_scope(text);
    if text == b"*" {
        return Ok(Ipv4Addr::UNSPECIFIED.into());
    }
    let inner = match text.strip_prefix(b"[") {
        Some(rest) => without_scope(rest.strip_suffix(b"]").ok_or(Problem::Endpoint)?),
        None => text,
    };
    let inner = std::str::from_utf8(inner).map_err(|_| Problem::Endpoint)?;
    if memchr(b':', inner.as_bytes()).is_some() {
        inner.parse::<Ipv6Addr>().map(IpAddr::V6).map_err(|_| Problem::Endpoint)
    } else {
        ipv4(inner.as_bytes()).map(IpAddr::V4).ok_or(Problem::Endpoint)
    }
}

/// Reads `192.0.2.1`: what the standard library takes, in a quarter of the time.
/// Nearly every address of a long listing is one.
fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let (mut bits, mut octet, mut n_digits, mut n_dots) = (0_u32, 0_u32, 0, 0);
    for &byte in text {
        match byte {
            // Others read 010 as 8.
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

/// Cuts off `%eth0`, which names an interface of this host, not the peer. It
/// stands within the brackets or behind them.
fn without_scope(text: &[u8]) -> &[u8] {
    match memchr(b'%', text) {
        Some(at) if !text[at..].ends_with(b"]") => &text[..at],
        _ => text,
    }
}

/// The address that a cut one began with: its complete groups, and how many
/// bits those are. Where `::` is cut through, what follows it could stand
/// anywhere, so only the groups before it are certain.
pub(super) fn beginning(text: &[u8]) -> (Ipv6Addr, u8) {
    let mut groups = [0; 8];
    let mut n_groups = 0;
    let mut words = text.split(|&byte| byte == b':').peekable();
    while let Some(word) = words.next() {
        let is_last = words.peek().is_none();
        let group =
            std::str::from_utf8(word).ok().and_then(|word| u16::from_str_radix(word, 16).ok());
        match group {
            // The last group may go on.
            Some(group) if !is_last && n_groups < groups.len() => {
                groups[n_groups] = group;
                n_groups += 1;
            }
            _ => break,
        }
    }
    let bits = u8::try_from(n_groups * 16).unwrap_or(128);
    (Ipv6Addr::from(groups), bits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(word: &str, expected: &str) {
        let word = word.as_bytes();
        let found = if has_dot(word) { dot(word) } else { colon(word) };
        let found = found.map_or_else(|problem| problem.to_string(), |it| it.to_string());
        assert_eq!(found, expected);
    }

    #[test]
    fn colons() {
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
    fn dots() {
        check("192.0.2.1.80", "192.0.2.1:80");
        check("2001:db8::1.80", "[2001:db8::1]:80");
        check("::ffff:192.0.2.1.80", "[::ffff:192.0.2.1]:80");
        check("fe80::1%lo0.22", "[fe80::1]:22");
        check("*.80", "0.0.0.0:80");
        check("*.*", "0.0.0.0:0");
    }

    #[test]
    fn what_is_none() {
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
        fn ipv4_is_what_the_standard_library_takes(
            digits in "[0-9]{1,3}(\\.[0-9]{1,3}){3}",
            any in "[0-9.]{0,18}|[0-9a.: ]{7,15}",
        ) {
            for text in [digits, any] {
                prop_assert_eq!(ipv4(text.as_bytes()), text.parse().ok(), "{:?}", text);
            }
        }
    }

    #[test]
    fn what_a_cut_address_began_with() {
        let check = |text: &str, expected: &str| {
            let (address, bits) = beginning(text.as_bytes());
            assert_eq!(format!("{address}/{bits}"), expected);
        };
        check("2001:db8:1:2:3:", "2001:db8:1:2:3::/80");
        check("2001:db8:1:2:3", "2001:db8:1:2::/64");
        check("2001:db8::1234:56", "2001:db8::/32");
        check("::1234:5678:9abc", "::/0");
        check("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:0/112");
        check("", "::/0");
    }
}
