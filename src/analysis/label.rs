//! Names that an administrator gives to addresses and networks.
use std::collections::{BTreeMap, BTreeSet};

use crate::model::{network::Network, peer_id::MAX_GROUP_NAME_BYTES, sanitize};

/// Names of networks. A peer has the name of the narrowest network that contains it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    names: BTreeMap<Network, String>,
    /// The prefix lengths of the networks. A lookup tries only these, which are usually few.
    prefix_lengths: BTreeSet<u8>,
}

/// One label, written as `198.51.100.0/24=office`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The address or network that has the name.
    pub network: Network,
    /// The sanitized name, not empty.
    pub name: String,
}

impl Label {
    /// Creates a label. Returns `None` if the sanitized name is empty. Parentheses
    /// and commas are replaced because they end a name in the output.
    #[must_use]
    pub fn new(network: Network, name: &str) -> Option<Self> {
        let name = sanitize::single_line(name).replace(['(', ')', ','], "?");
        let name = sanitize::truncate(&name, MAX_GROUP_NAME_BYTES);
        if name.is_empty() { None } else { Some(Self { network, name }) }
    }
}

impl Extend<Label> for Labels {
    fn extend<I: IntoIterator<Item = Label>>(&mut self, labels: I) {
        for Label { network, name } in labels {
            self.prefix_lengths.insert(network.prefix_length());
            self.names.insert(network, name);
        }
    }
}

impl Labels {
    /// Returns the name of a peer.
    #[must_use]
    pub fn name_of(&self, peer: Network) -> Option<&str> {
        let mut lengths = self.prefix_lengths.range(..=peer.prefix_length()).rev();
        let name =
            lengths.find_map(|&length| self.names.get(&Network::new(peer.first_address(), length)));
        name.map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().expect("a network")
    }

    #[test]
    fn narrowest_network_names_a_peer() {
        let mut labels = Labels::default();
        labels.extend(
            [("198.51.100.0/24", "office"), ("198.51.100.7", "printer"), ("2001:db8::/32", "us")]
                .map(|(net, name)| Label::new(network(net), name).expect("a label")),
        );
        let name_of = |peer| labels.name_of(network(peer)).unwrap_or("-").to_owned();
        assert_eq!(name_of("198.51.100.7"), "printer");
        assert_eq!(name_of("198.51.100.8"), "office");
        assert_eq!(name_of("198.51.100.0/24"), "office");
        assert_eq!(name_of("198.51.0.0/16"), "-");
        assert_eq!(name_of("2001:db8:1::/64"), "us");
        assert_eq!(name_of("203.0.113.7"), "-");
    }

    #[test]
    fn label_is_sanitized_and_truncated() {
        let name = |text| Label::new(network("::1"), text).map(|label| label.name);
        assert_eq!(name("a|b=1;2\n$(x)"), Some("a?b=1;2 ??x?".to_owned()));
        assert_eq!(name("  \n"), None);
        assert_eq!(name(&"x".repeat(99)).map(|name| name.len()), Some(MAX_GROUP_NAME_BYTES));
    }
}
