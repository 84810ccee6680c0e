//! Everything that one run observed, from the sources to the report.
use crate::{
    model::{kernel_counters::NamespaceCounters, namespace::Namespace, problem::Problem},
    parse::{ParseStats, capture::ServerIdentity},
};

use super::{
    filter::Skipped,
    note::{Note, SourceDetail},
    tally::Tally,
};

/// Result of sampling: of one source, of one target, or of all targets together.
#[derive(Debug, Default)]
pub struct Observation {
    /// Counted connections. Empty after the samples have been created from it.
    pub tally: Tally,
    /// Connections that were not counted.
    pub skipped: Skipped,
    /// Rows that were parsed, and rows that could not be parsed.
    pub parse_stats: ParseStats,
    /// Connections of each server; empty for a single target.
    pub servers: Vec<(String, u64)>,
    /// Identity of the server; `None` if it is unknown, and for several servers.
    pub server_identity: Option<ServerIdentity>,
    /// Connections of each network namespace, busiest first; empty unless namespaces
    /// were selected.
    pub namespaces: Vec<(Namespace, u64)>,
    /// Counters of each sampled network namespace of this host.
    pub kernel_counters: Vec<NamespaceCounters>,
    /// Failures: connections may be missing from the counts.
    pub problems: Vec<Problem>,
    /// True if connections were counted that should have been excluded. The top peer is then
    /// not reliable, and the status cannot be worse than UNKNOWN.
    pub unreliable: bool,
    /// Facts for the default output.
    pub notes: Vec<Note>,
    /// Facts about the sources, for verbose output.
    pub details: Vec<SourceDetail>,
}

impl Observation {
    /// Adds the result of another part of the run.
    pub fn merge(&mut self, other: Self) {
        let Self {
            tally,
            skipped,
            parse_stats,
            servers,
            server_identity: _,
            namespaces,
            kernel_counters,
            problems,
            unreliable,
            notes,
            details,
        } = other;
        self.tally.merge(tally);
        self.skipped.merge(skipped);
        self.parse_stats.merge(parse_stats);
        self.servers.extend(servers);
        self.namespaces.extend(namespaces);
        self.kernel_counters.extend(kernel_counters);
        self.problems.extend(problems);
        self.unreliable |= unreliable;
        self.notes.extend(notes);
        // Most namespaces have the same details; each is listed once.
        for detail in details {
            if !self.details.contains(&detail) {
                self.details.push(detail);
            }
        }
    }
}
