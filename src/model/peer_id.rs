//! The identity of a peer.
use std::{fmt, str::FromStr};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{
    network::{Network, NetworkError},
    sanitize,
};

/// Maximum length of the name of a group in bytes. Names are part of the status line.
pub const MAX_GROUP_NAME_BYTES: usize = 40;

/// Property by which addresses are combined into groups. The variants are the values of
/// `--group-by`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupBy {
    /// The autonomous system, or the operator's name if the system is not known.
    #[value(help = None)]
    Asn,
    /// The country.
    #[value(help = None)]
    Country,
    /// The name that the administrator gave to the network of the address.
    #[value(help = None)]
    Label,
}

impl GroupBy {
    /// Returns the value of `--group-by`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Asn => "asn",
            Self::Country => "country",
            Self::Label => "label",
        }
    }
}

/// Addresses with the same operator, country or label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// The property that the addresses have in common.
    pub by: GroupBy,
    /// Sanitized value of the property, such as `AS64500` or `DE`.
    pub name: String,
}

/// The address, network or group of a peer, by which samples are compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum PeerId {
    /// An address, or a network by its prefix length.
    Network(Network),
    /// A group.
    Group(Group),
}

impl PeerId {
    /// Returns the address or network; `None` for a group.
    #[must_use]
    pub fn network(&self) -> Option<Network> {
        match self {
            Self::Network(network) => Some(*network),
            Self::Group(_) => None,
        }
    }
}

/// Writes the address, the network in CIDR notation, or the group.
impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => network.fmt(f),
            Self::Group(group) => group.fmt(f),
        }
    }
}

/// Writes `AS64500`, `operator Example Net`, `country DE` or `label office`: a name alone
/// could be mistaken for an address.
impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { by, name } = self;
        match by {
            GroupBy::Asn if is_as_number(name) => f.write_str(name),
            GroupBy::Asn => write!(f, "operator {name}"),
            GroupBy::Country | GroupBy::Label => write!(f, "{} {name}", by.name()),
        }
    }
}

fn is_as_number(name: &str) -> bool {
    let digits = name.strip_prefix("AS").unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

impl FromStr for PeerId {
    type Err = NetworkError;

    /// Parses a network, or a group such as `asn:AS64500`.
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let by = |prefix: &str| GroupBy::value_variants().iter().find(|by| by.name() == prefix);
        let group = text.split_once(':').and_then(|(prefix, name)| Some((*by(prefix)?, name)));
        let Some((by, name)) = group else {
            return text.parse().map(Self::Network);
        };
        let name = sanitize::truncate(&sanitize::single_line(name), MAX_GROUP_NAME_BYTES);
        Ok(Self::Group(Group { by, name }))
    }
}

impl TryFrom<String> for PeerId {
    type Error = NetworkError;

    fn try_from(text: String) -> Result<Self, NetworkError> {
        text.parse()
    }
}

/// Returns the text that [`PeerId::from_str`] parses.
impl From<PeerId> for String {
    fn from(id: PeerId) -> Self {
        match id {
            PeerId::Network(network) => network.to_string(),
            PeerId::Group(Group { by, name }) => format!("{}:{name}", by.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, shown: &str, saved: &str) {
        let id: PeerId = text.parse().expect("a peer");
        assert_eq!((id.to_string().as_str(), String::from(id).as_str()), (shown, saved));
    }

    #[test]
    fn networks_and_groups_are_parsed() {
        check("203.0.113.7", "203.0.113.7", "203.0.113.7");
        check("2001:db8::/64", "2001:db8::/64", "2001:db8::/64");
        check("asn:AS64500", "AS64500", "asn:AS64500");
        check("asn:Example Net", "operator Example Net", "asn:Example Net");
        check("asn:AS", "operator AS", "asn:AS");
        check("label:203.0.113.7", "label 203.0.113.7", "label:203.0.113.7");
        check("country:a:b\nc|d", "country a:b c?d", "country:a:b c?d");
        assert!("asn".parse::<PeerId>().is_err());
        assert!("other:AS64500".parse::<PeerId>().is_err());
        let long: PeerId = format!("label:{}", "x".repeat(99)).parse().expect("a peer");
        assert_eq!(long.to_string().len(), "label ".len() + MAX_GROUP_NAME_BYTES);
    }
}
