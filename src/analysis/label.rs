//! What the administrator calls an address or a network.
use std::collections::BTreeMap;

use crate::model::{network::Network, sanitize};

/// How long a label may be, in bytes: it stands in the status line.
const LONGEST: usize = 40;

/// Names of networks; the narrowest one that holds a peer names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(BTreeMap<Network, String>);

/// A label, as it is written: `198.51.100.0/24=office`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// What it names.
    pub network: Network,
    /// The name, clean.
    pub name: String,
}

impl Label {
    /// Names `network`, unless nothing of `name` is left when it is cleaned.
    /// Brackets and commas end a name where it is shown.
    #[must_use]
    pub fn new(network: Network, name: &str) -> Option<Self> {
        let name = sanitize::line(name).replace(['(', ')', ','], "?");
        let name = sanitize::beginning(&name, LONGEST);
        (!name.is_empty()).then_some(Self { network, name })
    }
}

impl Extend<Label> for Labels {
    fn extend<I: IntoIterator<Item = Label>>(&mut self, labels: I) {
        self.0.extend(labels.into_iter().map(|Label { network, name }| (network, name)));
    }
}

impl Labels {
    /// What a peer is called.
    #[must_use]
    pub fn of(&self, peer: Network) -> Option<&str> {
        if self.0.is_empty() {
            return None;
        }
        let around = |length| Network::of(peer.first_address(), length);
        (0..=peer.length()).rev().find_map(|length| self.0.get(&around(length))).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().expect("a network")
    }

    #[test]
    fn the_narrowest_network_names_a_peer() {
        let mut labels = Labels::default();
        labels.extend(
            [("198.51.100.0/24", "office"), ("198.51.100.7", "printer"), ("2001:db8::/32", "us")]
                .map(|(net, name)| Label::new(network(net), name).expect("a label")),
        );
        let of = |peer| labels.of(network(peer)).unwrap_or("-").to_owned();
        assert_eq!(of("198.51.100.7"), "printer");
        assert_eq!(of("198.51.100.8"), "office");
        assert_eq!(of("198.51.100.0/24"), "office");
        assert_eq!(of("198.51.0.0/16"), "-");
        assert_eq!(of("2001:db8:1::/64"), "us");
        assert_eq!(of("203.0.113.7"), "-");
    }

    #[test]
    fn a_label_is_foreign_text() {
        let name = |text| Label::new(network("::1"), text).map(|label| label.name);
        assert_eq!(name("a|b=1;2\n$(x)"), Some("a?b=1;2 ??x?".to_owned()));
        assert_eq!(name("  \n"), None);
        assert_eq!(name(&"x".repeat(99)).map(|name| name.len()), Some(LONGEST));
    }
}
