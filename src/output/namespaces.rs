//! Lines about the network namespaces of a host.
use crate::model::namespace::Namespace;

use super::{
    report::{DEFAULT_LISTED_PEERS, Report, Verbosity},
    text::pluralize,
};

/// Returns the connections of each namespace, busiest first. Unless all are
/// requested, as many namespaces as peers are listed.
pub(super) fn namespace_lines(report: &Report, verbosity: Verbosity) -> Vec<String> {
    let namespaces = &report.observation.namespaces;
    let shown = match verbosity {
        Verbosity::Everything => namespaces.len(),
        _ => namespaces.len().min(DEFAULT_LISTED_PEERS),
    };
    let (shown, rest) = namespaces.split_at(shown);
    let mut lines: Vec<_> = shown.iter().map(namespace_line).collect();
    if !rest.is_empty() {
        let n: u64 = rest.iter().map(|(_, connections)| connections).sum();
        lines.push(format!("{} more network namespaces: {}", rest.len(), pluralize_connections(n)));
    }
    lines
}

fn namespace_line((namespace, n): &(Namespace, u64)) -> String {
    format!("Network namespace {namespace}: {}", pluralize_connections(*n))
}

fn pluralize_connections(n: u64) -> String {
    pluralize(n, "connection", "connections")
}
