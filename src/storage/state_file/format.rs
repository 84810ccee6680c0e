//! What stands in the state file.
use serde::{Deserialize, Serialize};

use crate::{
    analysis::{
        history::{Mailed, Mails, OnTop, Previous, REMEMBERED},
        tally::Grain,
    },
    model::network::Network,
};

use super::VERSION;

/// The content, as it stands in the file; see topip-state(5).
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct State {
    version: u32,
    program: String,
    when: u64,
    pub(super) servers: Vec<String>,
    prefix4: u8,
    prefix6: u8,
    maxip: Option<Network>,
    connections: u64,
    row: u32,
    tops: Vec<Top>,
    /// The same by other networks, where a check judges by several.
    also: Vec<Also>,
    mailed: Vec<Told>,
}

/// An alert that was mailed, as it stands in the file.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Told {
    ip: Network,
    when: u64,
}

/// A peer that has been on top, as it stands in the file.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Top {
    ip: Network,
    #[serde(default)]
    first: u64,
    #[serde(default)]
    last: u64,
}

/// What is remembered of a sample by other networks, as it stands in the file.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Also {
    prefix4: u8,
    prefix6: u8,
    maxip: Option<Network>,
    connections: u64,
    row: u32,
    tops: Vec<Top>,
}

impl Default for State {
    fn default() -> Self {
        Self::of(&[], &Mails::default(), Vec::new())
    }
}

impl Default for Also {
    fn default() -> Self {
        let Grain { v4, v6, .. } = Grain::ADDRESSES;
        let tops = Vec::new();
        Self { prefix4: v4, prefix6: v6, maxip: None, connections: 0, row: 0, tops }
    }
}

impl State {
    /// What is to be kept of a sample of `servers`.
    pub(super) fn of(records: &[Previous], mails: &Mails, servers: Vec<String>) -> Self {
        let told = |&Mailed { network, when }: &Mailed| Told { ip: network, when };
        let mut views = records.iter().map(Also::of);
        let Also { prefix4, prefix6, maxip, connections, row, tops } =
            views.next().unwrap_or_default();
        Self {
            version: VERSION,
            program: concat!("topip ", env!("CARGO_PKG_VERSION")).to_owned(),
            when: records.first().map_or(0, |record| record.when),
            servers,
            prefix4,
            prefix6,
            maxip,
            connections,
            row,
            tops,
            also: views.collect(),
            mailed: mails.0.iter().map(told).collect(),
        }
    }

    /// What was mailed.
    pub(super) fn mails(&self) -> Mails {
        let mailed = |&Told { ip, when }: &Told| Mailed { network: ip, when };
        Mails(self.mailed.iter().map(mailed).collect())
    }

    /// What is on record, for each way to tell peers apart.
    pub(super) fn records(self) -> Vec<Previous> {
        let Self { when, prefix4, prefix6, maxip, connections, row, tops, also, .. } = self;
        let first = Also { prefix4, prefix6, maxip, connections, row, tops };
        std::iter::once(first).chain(also).map(|view| view.previous(when)).collect()
    }
}

impl Also {
    fn of(record: &Previous) -> Self {
        let top = |&OnTop { network, first, last }: &OnTop| Top { ip: network, first, last };
        Self {
            prefix4: record.grain.v4,
            prefix6: record.grain.v6,
            maxip: record.on_top,
            connections: record.connections,
            row: record.row,
            tops: record.tops.iter().map(top).collect(),
        }
    }

    fn previous(self, when: u64) -> Previous {
        let Self { prefix4, prefix6, maxip, connections, row, tops } = self;
        let grain = Grain { v4: prefix4, v6: prefix6, members: 1 };
        let on_top = |Top { ip, first, last }| OnTop { network: ip, first, last };
        let tops = tops.into_iter().take(REMEMBERED).map(on_top).collect();
        Previous { when, grain, on_top: maxip, connections, row, tops }
    }
}
