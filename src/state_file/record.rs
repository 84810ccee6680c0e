//! What stands in the state file.
use serde::{Deserialize, Serialize};

use crate::{
    history::{History, OnTop, Previous, REMEMBERED},
    network::Network,
};

use super::VERSION;

/// The content, as it stands in the file; see topip-state(5).
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct State {
    version: u32,
    program: String,
    when: u64,
    pub(super) servers: Vec<String>,
    maxip: Option<Network>,
    connections: u64,
    row: u32,
    tops: Vec<Top>,
    /// The same by other networks, where a check judges by several.
    also: Vec<Also>,
}

/// A peer that has been on top, as it stands in the file.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Top {
    ip: Network,
    first: u64,
    last: u64,
}

/// What is remembered of a sample by other networks, as it stands in the file.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Also {
    maxip: Option<Network>,
    connections: u64,
    row: u32,
    tops: Vec<Top>,
}

impl State {
    /// What is to be kept of a sample of `servers`.
    pub(super) fn of(records: &[Previous], servers: Vec<String>) -> Self {
        let mut views = records.iter().map(Also::of);
        let Also { maxip, connections, row, tops } = views.next().unwrap_or_default();
        Self {
            version: VERSION,
            program: concat!("topip ", env!("CARGO_PKG_VERSION")).to_owned(),
            when: records.first().map_or(0, |record| record.when),
            servers,
            maxip,
            connections,
            row,
            tops,
            also: views.collect(),
        }
    }

    /// What is known from it, for each grain.
    pub(super) fn histories(self) -> Vec<History> {
        let Self { when, maxip, connections, row, tops, also, .. } = self;
        let first = Also { maxip, connections, row, tops };
        std::iter::once(first)
            .chain(also)
            .map(|view| History { previous: Some(view.previous(when)) })
            .collect()
    }
}

impl Also {
    fn of(record: &Previous) -> Self {
        let top = |&OnTop { network, first, last }: &OnTop| Top { ip: network, first, last };
        Self {
            maxip: record.on_top,
            connections: record.connections,
            row: record.row,
            tops: record.tops.iter().map(top).collect(),
        }
    }

    fn previous(self, when: u64) -> Previous {
        let Self { maxip, connections, row, tops } = self;
        let on_top = |Top { ip, first, last }| OnTop { network: ip, first, last };
        let tops = tops.into_iter().take(REMEMBERED).map(on_top).collect();
        Previous { when, on_top: maxip, connections, row, tops }
    }
}
