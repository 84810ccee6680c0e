//! The noun for the counted connections or flows.
use crate::model::protocol::Protocol;

/// The noun for the counted connections or flows, by protocol.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noun {
    one: &'static str,
    /// The plural.
    pub(super) many: &'static str,
    /// The plural at the start of a sentence.
    many_capitalized: &'static str,
    /// The plural with the names of the protocols.
    many_with_protocol: &'static str,
}

impl Noun {
    /// Returns the noun for connections or flows of these protocols.
    pub(super) fn new(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => Self {
                one: "connection",
                many: "connections",
                many_capitalized: "Connections",
                many_with_protocol: "TCP connections",
            },
            Protocol::Udp => Self {
                one: "flow",
                many: "flows",
                many_capitalized: "Flows",
                many_with_protocol: "UDP flows",
            },
            Protocol::All => Self {
                one: "connection or flow",
                many: "connections and flows",
                many_capitalized: "Connections and flows",
                many_with_protocol: "TCP connections and UDP flows",
            },
        }
    }

    /// Returns a number with the noun: `1 connection`, `2 connections`.
    pub(super) fn count(self, n: u64) -> String {
        format!("{n} {}", if n == 1 { self.one } else { self.many })
    }

    /// Returns `text`, which is about TCP connections, with this noun in place of
    /// "connections".
    pub(super) fn replace_in(self, text: &str) -> String {
        let parts = text.split("TCP connections").map(|part| {
            let part = part.replace("connections", self.many);
            part.replace("Connections", self.many_capitalized)
        });
        parts.collect::<Vec<_>>().join(self.many_with_protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nouns_are_replaced() {
        let text = "TCP connections per address\nConnections of 2 connections\n";
        assert_eq!(Noun::new(Protocol::Tcp).replace_in(text), text);
        assert_eq!(
            Noun::new(Protocol::Udp).replace_in(text),
            "UDP flows per address\nFlows of 2 flows\n"
        );
        assert_eq!(
            Noun::new(Protocol::All).replace_in(text),
            "TCP connections and UDP flows per address\n\
             Connections and flows of 2 connections and flows\n"
        );
    }
}
