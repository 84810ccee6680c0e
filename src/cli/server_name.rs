//! Server names on the command line: `[USER@]HOST[:PORT]`.
use std::{
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use crate::model::{network::is_loopback_host, sanitize};

const USAGE: &str = "not a server; write [USER@]HOST[:PORT], with IPv6 in brackets";

/// Server as given on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerName {
    pub(super) user: Option<String>,
    /// Host name or address, without brackets.
    pub(super) host: String,
    pub(super) port: Option<u16>,
}

impl ServerName {
    /// Returns `true` for this host, which needs no login.
    pub(super) fn is_local(&self) -> bool {
        self.user.is_none() && self.port.is_none() && is_loopback_host(&self.host)
    }
}

impl FromStr for ServerName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (user, address) = match text.trim().rsplit_once('@') {
            Some(("", _)) => return Err(USAGE.to_owned()),
            Some((user, address)) => (Some(user.to_owned()), address),
            None => (None, text.trim()),
        };
        let (host, port) = match address.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or(USAGE)?;
                (host, rest.strip_prefix(':').or(if rest.is_empty() { None } else { Some("") }))
            }
            // An IPv6 address without brackets has several colons and no port.
            None if normalized_address(address).is_some() => (address, None),
            None => match address.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (address, None),
            },
        };
        let port = match port {
            None => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                let port = digits.parse().ok().filter(|&port: &u16| port > 0);
                Some(port.ok_or_else(|| "its port is not a number from 1 to 65535".to_owned())?)
            }
            Some(_) => return Err(USAGE.to_owned()),
        };
        if host.is_empty() || host.starts_with('-') || !host.chars().all(is_host_char) {
            return Err(USAGE.to_owned());
        }
        if user.as_ref().is_some_and(|user| user.contains(':')) {
            return Err("not a server: it must not contain a password".to_owned());
        }
        // A host is one target, however its name or address is written.
        let host = normalized_address(host).unwrap_or_else(|| host.to_ascii_lowercase());
        Ok(Self { user, host, port })
    }
}

/// Returns an address in its usual notation, with its zone (RFC 4007, section 11); `None`
/// for other text.
fn normalized_address(text: &str) -> Option<String> {
    let Some((address, zone)) = text.split_once('%') else {
        return text.parse::<IpAddr>().ok().map(|address| address.to_canonical().to_string());
    };
    let address = address.parse::<Ipv6Addr>().ok()?;
    // A colon would begin a port, which needs brackets around the address.
    if zone.is_empty() || zone.contains(':') { None } else { Some(format!("{address}%{zone}")) }
}

fn is_host_char(c: char) -> bool {
    sanitize::is_visible_alphanumeric(c) || "-._:%".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let found = match text.parse::<ServerName>() {
            Ok(ServerName { user, host, port }) => format!("{user:?} {host} {port:?}"),
            Err(error) => error,
        };
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn server_names_are_read_or_rejected() {
        check("web1", "None web1 None");
        check("monitor@web1.example.com:2222", "Some(\"monitor\") web1.example.com Some(2222)");
        check("2001:db8::1", "None 2001:db8::1 None");
        check("[2001:db8::1]", "None 2001:db8::1 None");
        check("root@[2001:db8::1]:22", "Some(\"root\") 2001:db8::1 Some(22)");
        check("fe80::1%eth0", "None fe80::1%eth0 None");
        check("monitor@fe80:0::1%2", "Some(\"monitor\") fe80::1%2 None");
        check("[fe80::1%eth0]", "None fe80::1%eth0 None");
        check("[fe80::1%eth0]:2222", "None fe80::1%eth0 Some(2222)");
        check("fe80::1%eth0:22", USAGE);
        check("fe80::1%", USAGE);
        check("a@b@web1", "Some(\"a@b\") web1 None");
        check("[0:0::1]:2222", "None ::1 Some(2222)");
        check("Root@Web1.Example.Com", "Some(\"Root\") web1.example.com None");
        check("::ffff:192.0.2.10", "None 192.0.2.10 None");
        check("user:secret@web1", "not a server: it must not contain a password");
        for text in [
            "",
            "@web1",
            "web1:",
            "web1:ssh",
            "web1:22:22",
            "[web1",
            "[]",
            "[::1]22",
            "-oProxyCommand=x",
            "web 1",
            "web1;id",
            "a\0b",
            "web\u{3164}1",
            "web1/x",
        ] {
            let found = text.parse::<ServerName>();
            assert!(found.is_err(), "{text}: {found:?}");
        }
        check("web1:0", "its port is not a number from 1 to 65535");
        check("web1:65536", "its port is not a number from 1 to 65535");
    }

    #[test]
    fn localhost_without_user_or_port_is_local() {
        let is_local = |text: &str| text.parse::<ServerName>().expect("a server").is_local();
        assert!(
            is_local("localhost")
                && is_local("LOCALHOST")
                && is_local("127.0.0.1")
                && is_local("::1")
                && is_local("[::1]")
        );
        assert!(!is_local("localhost:22") && !is_local("root@localhost") && !is_local("web1"));
    }
}
