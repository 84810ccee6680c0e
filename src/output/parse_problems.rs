//! Problems of parsing a listing.
use crate::{
    analysis::observation::Observation,
    model::problem::Problem,
    parse::{Dialect, ParseStats, RowErrorKind},
};

use super::text;

/// Returns the problems of rows, addresses and TCP states that could not be parsed.
#[must_use]
pub fn parse_problems(observation: &Observation) -> Vec<Problem> {
    let stats = &observation.parse_stats;
    let problems = [
        unreadable_rows(stats),
        truncated_addresses(stats),
        assumed_byte_order(stats),
        unknown_tcp_states(observation.skipped.unknown_state),
    ];
    problems.into_iter().flatten().collect()
}

fn unreadable_rows(stats: &ParseStats) -> Option<Problem> {
    let first = stats.first_unreadable.as_ref()?;
    let message = match stats.n_unreadable {
        1 => format!("cannot read 1 row, {first}"),
        n => format!("cannot read {n} rows, first {first}"),
    };
    let hint = match first.kind {
        RowErrorKind::InvalidEndpoint => {
            "Addresses and ports must be numbers: netstat and ss need -n."
        }
        _ => "The rows that could be read were counted.",
    };
    Some(Problem::new(message, hint))
}

fn truncated_addresses(stats: &ParseStats) -> Option<Problem> {
    let line = stats.first_truncated_line?;
    let message = match stats.n_truncated {
        1 => format!("the address in line {line} may be cut off"),
        n => format!("{n} addresses may be cut off, first in line {line}"),
    };
    let flag = if stats.dialects.contains(&Dialect::Bsd) {
        "-W (FreeBSD), -l (macOS) or -v (OpenBSD, NetBSD)"
    } else {
        "-W"
    };
    let hint = format!("Use netstat {flag}: an address that is cut off can look like another one.");
    Some(Problem::new(message, hint))
}

fn assumed_byte_order(stats: &ParseStats) -> Option<Problem> {
    let byte_order = stats.assumed_byte_order?;
    Some(Problem::new(
        format!("cannot determine the byte order of /proc, and assumed {byte_order}"),
        "List the sockets of that host with ss -tan instead.",
    ))
}

fn unknown_tcp_states(n: u64) -> Option<Problem> {
    if n == 0 {
        return None;
    }
    let connections = text::pluralize(n, "connection", "connections");
    Some(Problem::new(
        format!("the listing does not show the TCP state of {connections}"),
        "List the sockets with ss -tan, without a state filter.",
    ))
}
