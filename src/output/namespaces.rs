//! What is said of the network namespaces of a host.
use crate::model::namespace::Namespace;

use super::{
    report::{LISTED, Report, Verbosity},
    text::count,
};

/// What each namespace has of the connections, the busiest first: as many as
/// there are peers on the list.
pub(super) fn shares(report: &Report, verbosity: Verbosity) -> Vec<String> {
    let namespaces = &report.namespaces;
    let shown = match verbosity {
        Verbosity::Everything => namespaces.len(),
        _ => namespaces.len().min(LISTED),
    };
    let (shown, rest) = namespaces.split_at(shown);
    let mut lines: Vec<_> = shown.iter().map(share).collect();
    if !rest.is_empty() {
        let n: u64 = rest.iter().map(|(_, connections)| connections).sum();
        lines.push(format!("{} more network namespaces: {}", rest.len(), connections(n)));
    }
    lines
}

fn share((namespace, n): &(Namespace, u64)) -> String {
    format!("Network namespace {namespace}: {}", connections(*n))
}

fn connections(n: u64) -> String {
    count(n, "connection", "connections")
}

/// Where connections are that the count does not have, and what shows them.
#[must_use]
pub fn elsewhere(n_holding: usize) -> String {
    let others = match n_holding {
        0 => "has other network namespaces, whose connections are not in this count".to_owned(),
        1 => "another network namespace holds sockets, which are not in this count".to_owned(),
        n => format!("{n} other network namespaces hold sockets, which are not in this count"),
    };
    format!(
        "This host forwards and {others}: containers, for one. See --netns all and --source \
         conntrack, and Containers, routers, balancers in check_topip(1)."
    )
}
