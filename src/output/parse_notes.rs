//! Details and problems of parsing a listing.
use crate::{
    analysis::filter::Skipped,
    parse::{Dialect, ParseStats, RowErrorKind, TableKind},
};

use super::{report::Trouble, text};

/// Returns the source with the formats that it was parsed as.
#[must_use]
pub fn describe_source(source: &str, stats: &ParseStats) -> String {
    let dialects: Vec<_> = stats.dialects.iter().map(|dialect: &Dialect| dialect.name()).collect();
    let mut text = format!("Looked at: {source}");
    match stats.dialects[..] {
        [] => text += ", which has headings only",
        // Netlink messages have a single format, so it is not shown.
        [Dialect::InetDiag | Dialect::Ctnetlink] => {}
        _ => text = format!("{text}, read as {}", dialects.join(", ")),
    }
    if stats.n_other > 0 {
        let rows = text::pluralize(stats.n_other, "row", "rows");
        let other_kind = match stats.table_kind() {
            TableKind::Flows => "flows",
            TableKind::Sockets | TableKind::Mixed => "sockets",
        };
        text = format!("{text}; {rows} of other {other_kind}");
    }
    text
}

/// Returns the problem of rows that could not be parsed, if there are any.
#[must_use]
pub fn unreadable_rows_problem(stats: &ParseStats) -> Option<Trouble> {
    let first = stats.first_unreadable.as_ref()?;
    let message = match stats.n_unreadable {
        1 => format!("cannot read 1 row, {first}"),
        n => format!("cannot read {n} rows, first {first}"),
    };
    let hint = match first.kind {
        RowErrorKind::InvalidEndpoint => {
            "Addresses and ports must be numbers: netstat and ss need -n.".to_owned()
        }
        _ => "The rows that could be read were counted.".to_owned(),
    };
    Some(Trouble { message, hint: Some(hint) })
}

/// Returns the problem of addresses that may be cut off, if there are any.
#[must_use]
pub fn truncated_addresses_problem(stats: &ParseStats) -> Option<Trouble> {
    let line = stats.first_truncated_line?;
    let message = match stats.n_truncated {
        1 => format!("the address in line {line} may be cut off"),
        n => format!("{n} addresses may be cut off, first in line {line}"),
    };
    let flag = match stats.dialects.contains(&Dialect::Bsd) {
        true => "-W (FreeBSD), -l (macOS) or -v (OpenBSD, NetBSD)",
        false => "-W",
    };
    let hint = Some(format!("List wide, with netstat {flag}: a cut address can be another one."));
    Some(Trouble { message, hint })
}

/// Returns the problem of an assumed byte order of addresses, if it was assumed.
#[must_use]
pub fn byte_order_problem(stats: &ParseStats) -> Option<Trouble> {
    let byte_order = stats.assumed_byte_order?;
    Some(Trouble {
        message: format!(
            "the addresses of /proc show no byte order, and were taken for {byte_order}"
        ),
        hint: Some("List the sockets of that machine with ss -tan instead.".to_owned()),
    })
}

/// Returns the problem of connections without a TCP state, if states were
/// selected.
#[must_use]
pub fn unknown_tcp_states_problem(skipped: &Skipped) -> Option<Trouble> {
    let n = skipped.unknown_state;
    (n > 0).then(|| Trouble {
        message: format!(
            "the listing does not tell the TCP state of {}",
            text::pluralize(n, "connection", "connections")
        ),
        hint: Some("List with ss -tan, without a filter by state.".to_owned()),
    })
}
