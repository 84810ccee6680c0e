//! An address, or all that begin alike.
use std::{cmp::Ordering, fmt, net::IpAddr, str::FromStr};

use cidr::{Family, IpCidr, IpInet};
use serde::{Deserialize, Serialize};

/// An address or a network in CIDR notation.
///
/// The order is that of the first addresses, IPv4 before IPv6; a network comes
/// before those within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(IpCidr);

impl Network {
    /// The network of `length` bits that `address` is in; a length beyond what
    /// the family has is the address alone.
    #[must_use]
    pub fn of(address: IpAddr, length: u8) -> Self {
        let inet = IpInet::new(address, length).unwrap_or_else(|_| IpInet::new_host(address));
        Self(inet.network())
    }

    /// Its first address: itself where it is an address.
    #[must_use]
    pub fn first_address(&self) -> IpAddr {
        self.0.first_address()
    }

    /// Its last address.
    #[must_use]
    pub fn last_address(&self) -> IpAddr {
        self.0.last_address()
    }

    /// How many bits its addresses have in common.
    #[must_use]
    pub fn length(&self) -> u8 {
        self.0.network_length()
    }

    /// Whether it is a single address.
    #[must_use]
    pub fn is_address(&self) -> bool {
        self.0.is_host_address()
    }

    /// Whether `address` is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

impl Ord for Network {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |network: &Self| (network.first_address(), network.length());
        key(self).cmp(&key(other))
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

/// Whether a host, by name or address and without brackets, is this one by
/// whatever name every host has for itself.
#[must_use]
pub fn is_this_host(host: &str) -> bool {
    let is_loopback = host.parse::<IpAddr>().is_ok_and(|it| it.to_canonical().is_loopback());
    host == "localhost" || is_loopback
}

/// Why a text is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Not of the form.
    #[error("not an address or network; write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32")]
    Form,
    /// More bits than the family has, or than an IPv4-mapped one leaves.
    #[error("a network of {family} has at most {most} bits")]
    Length {
        /// IPv4 or IPv6.
        family: &'static str,
        /// 32 or 128.
        most: u8,
    },
}

impl FromStr for Network {
    type Err = NetworkError;

    /// Takes an address as a network of one, host bits as they come
    /// (`10.1.2.3/8` is `10.0.0.0/8`), and `::ffff:192.0.2.0/120` as
    /// `192.0.2.0/24`, since mapped addresses count as IPv4.
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let text = text.trim();
        let (address, length) = match text.split_once('/') {
            None => (text, None),
            Some((address, length)) => (address, Some(length)),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Form)?;
        let (family, most) = match address {
            IpAddr::V4(_) => ("IPv4", Family::Ipv4.len()),
            IpAddr::V6(_) => ("IPv6", Family::Ipv6.len()),
        };
        let length = match length {
            None => most,
            Some(digits) if is_number(digits) => digits
                .parse()
                .ok()
                .filter(|&length| length <= most)
                .ok_or(NetworkError::Length { family, most })?,
            Some(_) => return Err(NetworkError::Form),
        };
        let canonical = address.to_canonical();
        let inet = match (address, canonical) {
            (IpAddr::V6(_), IpAddr::V4(_)) if length >= 96 => IpInet::new(canonical, length - 96),
            _ => IpInet::new(address, length),
        };
        let inet = inet.map_err(|_| NetworkError::Length { family, most })?;
        Ok(Self(inet.network()))
    }
}

fn is_number(digits: &str) -> bool {
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

impl fmt::Display for Network {
    /// An address without its length where it stands for itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_address() {
            true => self.first_address().fmt(f),
            false => write!(f, "{}/{}", self.first_address(), self.length()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn network(text: &str, expected: &str) {
        let found = match text.parse::<Network>() {
            Ok(network) => network.to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn networks() {
        network("10.0.0.0/8", "10.0.0.0/8");
        network("10.1.2.3/8", "10.0.0.0/8");
        network("192.0.2.7", "192.0.2.7");
        network("192.0.2.7/32", "192.0.2.7");
        network("0.0.0.0/0", "0.0.0.0/0");
        network("2001:DB8::/32", "2001:db8::/32");
        network("::1", "::1");
        network("::ffff:192.0.2.9/120", "192.0.2.0/24");
        network("::ffff:192.0.2.9", "192.0.2.9");
    }

    #[test]
    fn what_is_no_network() {
        let form = NetworkError::Form.to_string();
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
            network(text, &form);
        }
        network("10.0.0.0/33", "a network of IPv4 has at most 32 bits");
        network("10.0.0.0/999999999999", "a network of IPv4 has at most 32 bits");
        network("::/129", "a network of IPv6 has at most 128 bits");
    }
}
