//! The name of this host in SMTP commands and in Message-IDs.
use std::{fmt, net::IpAddr, str::FromStr};
#[cfg(feature = "mail")]
use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

#[cfg(feature = "mail")]
use crate::sys::{network_interface, resolver};

#[cfg(feature = "mail")]
use super::host_name;
use super::is_address_literal;

/// Maximum time for the lookup of this host's fully qualified name. Sending the mail
/// needs the rest of the time.
#[cfg(feature = "mail")]
const MAX_LOOKUP_TIME: Duration = Duration::from_secs(1);
/// Maximum length of a domain name in bytes (RFC 1035, section 2.3.4).
const MAX_DOMAIN_BYTES: usize = 253;
/// Maximum length of a label of a domain name in bytes.
const MAX_LABEL_BYTES: usize = 63;

/// A domain name, or an address literal such as `[192.0.2.1]` (RFC 5321, sections 4.1.2
/// and 4.1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalName(String);

/// The text is neither a domain name nor an address literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a host name such as web1.example.com, or an address such as [192.0.2.1]")]
pub struct LocalNameError;

impl fmt::Display for LocalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for LocalName {
    type Err = LocalNameError;

    fn from_str(text: &str) -> Result<Self, LocalNameError> {
        let literal = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if literal.is_some_and(is_address_literal) || is_domain(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(LocalNameError)
        }
    }
}

impl From<IpAddr> for LocalName {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(format!("[{address}]")),
            IpAddr::V6(address) => Self(format!("[IPv6:{address}]")),
        }
    }
}

/// Returns whether `text` is a domain name for SMTP: letters, digits and hyphens. A text
/// whose last label is a number is an IPv4 address.
fn is_domain(text: &str) -> bool {
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= MAX_DOMAIN_BYTES
        && text.split('.').all(is_label)
        && !text.rsplit('.').next().is_some_and(is_number)
}

fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL_BYTES).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Returns `name` if it is a domain name of several labels.
#[cfg(feature = "mail")]
fn qualified(name: &str) -> Option<LocalName> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if is_domain(name) && name.contains('.') { Some(LocalName(name.to_owned())) } else { None }
}

/// Returns the fully qualified name of this host: the name that the resolver finds, or
/// else the host name. `None` if neither is fully qualified.
#[cfg(feature = "mail")]
pub(super) fn qualified_name(deadline: Instant) -> Option<LocalName> {
    let host_name = host_name();
    let remaining = deadline.saturating_duration_since(Instant::now());
    let lookup_deadline = Instant::now() + (remaining / 3).min(MAX_LOOKUP_TIME);
    let canonical_name = resolver::canonical_name(&host_name, lookup_deadline);
    canonical_name.as_deref().and_then(qualified).or_else(|| qualified(&host_name))
}

/// Returns an address of this host as a literal, if possible one that other hosts can
/// reach.
#[cfg(feature = "mail")]
pub(super) fn address_literal() -> LocalName {
    let addresses = network_interface::addresses().unwrap_or_default();
    let reachable = addresses.into_iter().find(|&address| !is_local(address));
    reachable.unwrap_or(Ipv4Addr::LOCALHOST.into()).into()
}

/// Returns whether `address` is a loopback or link-local address.
#[cfg(feature = "mail")]
fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_name_is_domain_or_address_literal() {
        let label = "a".repeat(MAX_LABEL_BYTES);
        let longest = [label.as_str(); 4].join(".")[..MAX_DOMAIN_BYTES].to_owned();
        for text in [
            "web1",
            "web1.example.com",
            "3com.example",
            "[192.0.2.1]",
            "[IPv6:2001:db8::1]",
            &longest,
        ] {
            assert_eq!(text.parse(), Ok(LocalName(text.to_owned())));
        }
        for text in [
            "",
            ".",
            "web1.",
            "web1..example.com",
            "-web1.example.com",
            "web1-.example.com",
            "web_1.example.com",
            "wéb.example.com",
            "web1.example.com\r\nRCPT TO:<x@example.com>",
            "web1.example.com>",
            "192.0.2.1",
            "[192.0.2]",
            "[2001:db8::1]",
            "[web1]",
            &format!("{label}a.example.com"),
            &format!("{longest}a"),
        ] {
            assert_eq!(text.parse::<LocalName>(), Err(LocalNameError), "{text:?}");
        }
    }

    #[test]
    fn addresses_become_literals() {
        for (address, literal) in [
            ("192.0.2.1", "[192.0.2.1]"),
            ("::ffff:192.0.2.1", "[192.0.2.1]"),
            ("2001:db8::1", "[IPv6:2001:db8::1]"),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(LocalName::from(address).to_string(), literal);
        }
    }

    #[cfg(feature = "mail")]
    #[test]
    fn qualified_name_has_several_labels() {
        for (name, expected) in [
            ("web1.example.com", Some("web1.example.com")),
            ("web1.example.com.", Some("web1.example.com")),
            ("web1", None),
            ("web1.", None),
            ("", None),
            ("[192.0.2.1]", None),
            ("192.0.2.1", None),
        ] {
            assert_eq!(qualified(name).map(|name| name.to_string()).as_deref(), expected);
        }
    }
}
