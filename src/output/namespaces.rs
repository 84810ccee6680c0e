//! Lines about the network namespaces of a host.
use crate::model::namespace::Namespace;

use super::report::{DEFAULT_LISTED_PEERS, Report, Verbosity};

/// Returns the connections of each namespace, busiest first. Lists at most
/// [`DEFAULT_LISTED_PEERS`] namespaces, unless `verbosity` requests all.
pub(super) fn namespace_lines(report: &Report, verbosity: Verbosity) -> Vec<String> {
    let namespaces = &report.observation.namespaces;
    let shown = match verbosity {
        Verbosity::Everything => namespaces.len(),
        _ => namespaces.len().min(DEFAULT_LISTED_PEERS),
    };
    let (shown, rest) = namespaces.split_at(shown);
    let noun = report.noun();
    let namespace_line = |(namespace, n): &(Namespace, u64)| {
        format!("Network namespace {namespace}: {}", noun.count(*n))
    };
    let mut lines: Vec<_> = shown.iter().map(namespace_line).collect();
    if !rest.is_empty() {
        let n: u64 = rest.iter().map(|(_, connections)| connections).sum();
        lines.push(format!("{} more network namespaces: {}", rest.len(), noun.count(n)));
    }
    lines
}
