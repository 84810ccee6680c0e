//! An IP address or network.
use std::{
    cmp::Ordering,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use cidr::{Family, IpCidr, IpInet};
use serde::{Deserialize, Serialize};

/// An IP address or a network in CIDR notation.
///
/// Networks are ordered by their first address, IPv4 before IPv6; a network sorts
/// before the networks it contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(IpCidr);

impl Network {
    /// Creates the network with this prefix length that contains `address`. With a length
    /// beyond the maximum of the address family, the network is the single address.
    #[must_use]
    pub fn new(address: IpAddr, prefix_length: u8) -> Self {
        let inet =
            IpInet::new(address, prefix_length).unwrap_or_else(|_| IpInet::new_host(address));
        Self(inet.network())
    }

    /// Returns the first address; for a single address, that address.
    #[must_use]
    pub fn first_address(&self) -> IpAddr {
        self.0.first_address()
    }

    /// Returns the last address.
    #[must_use]
    pub fn last_address(&self) -> IpAddr {
        self.0.last_address()
    }

    /// Returns the prefix length: the number of leading bits that all addresses of
    /// the network share.
    #[must_use]
    pub fn prefix_length(&self) -> u8 {
        self.0.network_length()
    }

    /// Returns whether the network is a single address.
    #[must_use]
    pub fn is_single_address(&self) -> bool {
        self.0.is_host_address()
    }

    /// Parses a network that selects or names addresses.
    ///
    /// # Errors
    ///
    /// Returns an error if the text is not a network, or if no counted address can be
    /// in it: the clients of the NAT64 prefix are counted as IPv4.
    pub fn parse_selector(text: &str) -> Result<Self, NetworkError> {
        let network: Self = text.parse()?;
        let has_nat64_only = network.contains(NAT64_PREFIX)
            && (NAT64_MIN_PREFIX_LENGTH..=EMBEDDING_PREFIX_LENGTH)
                .contains(&network.prefix_length());
        if has_nat64_only { Err(NetworkError::Nat64Prefix) } else { Ok(network) }
    }

    /// Returns whether the network has addresses whose last 32 bits are an IPv4 address:
    /// IPv4-mapped addresses, or those of NAT64 clients.
    #[must_use]
    pub fn may_embed_ipv4(&self) -> bool {
        [MAPPED_PREFIX, NAT64_PREFIX].into_iter().any(|prefix| {
            self.contains(prefix)
                || Self::new(prefix, EMBEDDING_PREFIX_LENGTH).contains(self.first_address())
        })
    }

    /// Returns whether `address` is in the network.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

impl Ord for Network {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.first_address(), self.prefix_length())
            .cmp(&(other.first_address(), other.prefix_length()))
    }
}

impl PartialOrd for Network {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl TryFrom<String> for Network {
    type Error = NetworkError;

    fn try_from(text: String) -> Result<Self, NetworkError> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

/// Prefix length of the networks in which an IPv6 address has an IPv4 address as its last
/// 32 bits.
const EMBEDDING_PREFIX_LENGTH: u8 = 96;
/// First address of the IPv4-mapped addresses (RFC 4291, section 2.5.5.2).
const MAPPED_PREFIX: IpAddr = IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0));
/// First address of the NAT64 prefix (RFC 6052, section 2.1).
const NAT64_PREFIX: IpAddr = IpAddr::V6(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0));
/// Minimum length of a prefix that contains `64:ff9b::/96` and no other assigned network. The
/// next assigned network is `64:ff9b:1::/48`, for local NAT64 gateways (RFC 8215).
const NAT64_MIN_PREFIX_LENGTH: u8 = 48;

/// Returns the address by which a host is counted: the IPv4 address in an IPv4-mapped
/// address (RFC 4291, section 2.5.5.2) and in an address of the NAT64 prefix
/// `64:ff9b::/96` (RFC 6052, section 2.1); any other address as it is.
#[must_use]
pub fn canonical_address(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => nat64_client(v6).map_or(address, IpAddr::V4),
        canonical => canonical,
    }
}

/// Returns the IPv4 address of a NAT64 client; `None` for other addresses.
///
/// RFC 6052, section 3.1, forbids the prefix for private and other non-global addresses.
/// Such an address stays an IPv6 address. Otherwise, a client that uses it would be counted as
/// `127.0.0.1` or `192.168.0.1`, which are excluded.
fn nat64_client(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [0x64, 0xff9b, 0, 0, 0, 0, ..] = address.segments() else {
        return None;
    };
    let [.., a, b, c, d] = address.octets();
    let client = Ipv4Addr::new(a, b, c, d);
    let is_forbidden = client.is_unspecified()
        || client.is_private()
        || client.is_loopback()
        || client.is_link_local()
        || client.is_multicast()
        || client.is_broadcast();
    if is_forbidden { None } else { Some(client) }
}

/// Returns whether `host` is `localhost` or a loopback address (without brackets).
#[must_use]
pub fn is_loopback_host(host: &str) -> bool {
    let is_loopback = host.parse::<IpAddr>().is_ok_and(|it| it.to_canonical().is_loopback());
    host == "localhost" || is_loopback
}

/// Error for a text that is not a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// The text is neither an address nor a network.
    #[error("not an address or network; write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32")]
    Syntax,
    /// The prefix length exceeds the maximum of the address family.
    #[error("an {family} prefix length is at most {max_length}")]
    PrefixLength {
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// 32 or 128.
        max_length: u8,
    },
    /// The network is that of NAT64 clients, which are counted as IPv4.
    #[error("has no effect: NAT64 clients are counted as IPv4; write their IPv4 network")]
    Nat64Prefix,
}

impl FromStr for Network {
    type Err = NetworkError;

    /// Parses a single address as a network with one address, clears host bits
    /// (`10.1.2.3/8` becomes `10.0.0.0/8`), and maps `::ffff:192.0.2.0/120` and
    /// `64:ff9b::192.0.2.0/120` to `192.0.2.0/24`, because such addresses are counted as IPv4.
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let text = text.trim();
        let (address, length) = match text.split_once('/') {
            None => (text, None),
            Some((address, length)) => (address, Some(length)),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Syntax)?;
        let (family, max_length) = match address {
            IpAddr::V4(_) => ("IPv4", Family::Ipv4.len()),
            IpAddr::V6(_) => ("IPv6", Family::Ipv6.len()),
        };
        let length = match length {
            None => max_length,
            Some(digits) if is_decimal(digits) => digits
                .parse()
                .ok()
                .filter(|&length| length <= max_length)
                .ok_or(NetworkError::PrefixLength { family, max_length })?,
            Some(_) => return Err(NetworkError::Syntax),
        };
        let canonical = canonical_address(address);
        let inet = match (address, canonical) {
            (IpAddr::V6(_), IpAddr::V4(_)) if length >= EMBEDDING_PREFIX_LENGTH => {
                IpInet::new(canonical, length - EMBEDDING_PREFIX_LENGTH)
            }
            _ => IpInet::new(address, length),
        };
        let inet = inet.map_err(|_| NetworkError::PrefixLength { family, max_length })?;
        Ok(Self(inet.network()))
    }
}

fn is_decimal(digits: &str) -> bool {
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

impl fmt::Display for Network {
    /// Writes a single address without its prefix length.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_single_address() {
            self.first_address().fmt(f)
        } else {
            write!(f, "{}/{}", self.first_address(), self.prefix_length())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let found = match text.parse::<Network>() {
            Ok(network) => network.to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn networks_are_canonicalized() {
        check("10.0.0.0/8", "10.0.0.0/8");
        check("10.1.2.3/8", "10.0.0.0/8");
        check("192.0.2.7", "192.0.2.7");
        check("192.0.2.7/32", "192.0.2.7");
        check("0.0.0.0/0", "0.0.0.0/0");
        check("2001:DB8::/32", "2001:db8::/32");
        check("::1", "::1");
        check("::ffff:192.0.2.9/120", "192.0.2.0/24");
        check("::ffff:192.0.2.9", "192.0.2.9");
        check("64:ff9b::192.0.2.9", "192.0.2.9");
        check("64:ff9b::c000:200/120", "192.0.2.0/24");
        check("64:ff9b::/96", "64:ff9b::/96");
        check("64:ff9b::/32", "64:ff9b::/32");
    }

    #[test]
    fn selector_of_nat64_prefix_is_rejected() {
        for text in ["64:ff9b::/96", "64:ff9b::/64", "64:ff9b::/48"] {
            assert_eq!(Network::parse_selector(text), Err(NetworkError::Nat64Prefix), "{text}");
        }
        for text in ["64:ff9b::/32", "64:ff9b:1::/48", "64:ff9b::192.0.2.0/120", "::/0"] {
            assert!(Network::parse_selector(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn malformed_networks_are_rejected() {
        let syntax = NetworkError::Syntax.to_string();
        for text in [
            "",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "10.0.0/8",
            "010.0.0.0/8",
            "web1",
            "fe80::1%eth0",
            ":: 1",
            "10.0.0.0/+8",
        ] {
            check(text, &syntax);
        }
        check("10.0.0.0/33", "an IPv4 prefix length is at most 32");
        check("10.0.0.0/999999999999", "an IPv4 prefix length is at most 32");
        check("::/129", "an IPv6 prefix length is at most 128");
    }
}
