//! The summary of an alert log as a table, JSON or CSV.
use chrono::{DateTime, FixedOffset};
use serde::Serialize;

use crate::{
    alert_log::stats::{Offender, Offenders},
    model::{peer_id::GroupBy, problem::Problem, sanitize},
};

use super::text;

/// Maximum length of a bar in columns.
const MAX_BAR_COLUMNS: usize = 20;
/// Minimum width in columns for bars to be drawn.
const MIN_BAR_COLUMNS: usize = 4;

/// The space and the characters that are available for the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableLayout {
    /// Width of the terminal; `None` if the output is not a terminal. Bars are drawn only
    /// on a terminal.
    pub columns: Option<u16>,
    /// `true` if block characters can be shown.
    pub has_blocks: bool,
}

/// Returns an error message of `topip_log` for standard error.
#[must_use]
pub fn render_log_problem(problem: &Problem) -> String {
    render_stderr_problem("topip_log", problem)
}

/// Returns an error message for standard error, `PROGRAM: …`, with the hints below.
#[must_use]
pub fn render_stderr_problem(program: &str, problem: &Problem) -> String {
    let mut lines = problem.lines();
    lines[0] = format!("{program}: {}", lines[0]);
    lines.iter().map(|line| sanitize::printable(&text::options_as_flags(line)) + "\n").collect()
}

/// The offenders of a report.
pub struct OffenderTable<'a> {
    /// Totals of all offenders.
    pub offenders: &'a Offenders,
    /// The offenders that the report lists, most alerts first.
    pub listed: &'a [Offender],
    /// Columns of the table.
    pub columns: OffenderColumns,
    /// Number of addresses whose names could not be looked up; `None` if no names were
    /// requested.
    pub unresolved: Option<usize>,
    /// Returns the local time of a number of seconds since 1970-01-01 UTC.
    pub to_local: &'a dyn Fn(i64) -> DateTime<FixedOffset>,
}

/// Columns of a table of offenders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffenderColumns {
    /// Those that every log has.
    Plain,
    /// Operator and country as well.
    Operator,
    /// Operators or countries in place of addresses, with the number of addresses.
    Groups {
        /// Property by which the addresses are grouped.
        grouping: GroupBy,
        /// Number of all groups, including those that are not listed.
        total: usize,
    },
}

/// Returns the offenders as a table.
#[must_use]
pub fn render_offender_table(table: &OffenderTable<'_>, layout: TableLayout) -> String {
    let OffenderTable { offenders, listed, .. } = table;
    if offenders.is_empty() {
        return "No alerts.\n".to_owned();
    }
    let mut heading = vec!["ALERTS", "SHARE", "PEAK", "FIRST", "LAST"];
    let subject = subject_heading(table.columns).to_ascii_uppercase();
    heading.push(&subject);
    heading.extend(match table.columns {
        OffenderColumns::Plain => &["SERVER"][..],
        OffenderColumns::Operator => &["SERVER", "OPERATOR"],
        OffenderColumns::Groups { .. } => &["ADDRESSES", "SERVER"],
    });
    if table.unresolved.is_some() {
        heading.push("NAME");
    }
    let mut rows: Vec<Vec<String>> = vec![heading.into_iter().map(ToOwned::to_owned).collect()];
    rows.extend(listed.iter().map(|offender| table_row(table, offender)));
    let mut lines = align_columns(&rows);
    append_bars(&mut lines, listed, layout);
    lines.push(totals_line(table));
    lines.join("\n") + "\n"
}

/// Returns the heading of the addresses, networks or groups.
pub(super) fn subject_heading(columns: OffenderColumns) -> &'static str {
    match columns {
        OffenderColumns::Plain | OffenderColumns::Operator => "Address",
        OffenderColumns::Groups { grouping: GroupBy::Asn, .. } => "Operator",
        OffenderColumns::Groups { grouping: GroupBy::Country, .. } => "Country",
        OffenderColumns::Groups { grouping: GroupBy::Label, .. } => "Label",
    }
}

/// Returns the totals of all offenders: `42 alerts about 2 addresses.`
pub(super) fn totals_line(table: &OffenderTable<'_>) -> String {
    let OffenderTable { offenders, listed, .. } = table;
    let addresses = offenders.len() as u64;
    let totals = format!(
        "{} about {}",
        text::pluralize(offenders.alerts(), "alert", "alerts"),
        text::pluralize(addresses, "address", "addresses")
    );
    let (totals, n_rows) = match table.columns {
        OffenderColumns::Groups { total, .. } => {
            let groups = text::pluralize(total as u64, "group", "groups");
            (format!("{totals} in {groups}"), total)
        }
        _ => (totals, offenders.len()),
    };
    match listed.len() {
        n if n < n_rows => format!("{totals}; these are the top {n}."),
        _ => format!("{totals}."),
    }
}

/// Returns the offender's share of all alerts.
pub(super) fn share_text(table: &OffenderTable<'_>, offender: &Offender) -> String {
    match text::percent(offender.alerts, table.offenders.alerts()) {
        0 => "<1 %".to_owned(),
        percent => format!("{percent} %"),
    }
}

fn table_row(table: &OffenderTable<'_>, offender: &Offender) -> Vec<String> {
    let Offender { addresses, operator, .. } = offender;
    let address = offender.network.map(|network| network.to_string());
    let servers = sanitize::single_line(&offender.servers.join(","));
    let mut row = vec![
        offender.alerts.to_string(),
        share_text(table, offender),
        offender.peak.to_string(),
        format_minute((table.to_local)(offender.first)),
        format_minute((table.to_local)(offender.last)),
    ];
    row.extend(match table.columns {
        OffenderColumns::Plain => vec![address.unwrap_or_default(), servers],
        OffenderColumns::Operator => {
            vec![address.unwrap_or_default(), servers, operator.to_string()]
        }
        // An address without a group stands for itself.
        OffenderColumns::Groups { .. } => {
            let group = address.unwrap_or_else(|| operator.to_string());
            vec![group, addresses.to_string(), servers]
        }
    });
    if table.unresolved.is_some() {
        row.push(offender.name.clone().unwrap_or_default());
    }
    row
}

pub(super) fn format_minute(time: DateTime<FixedOffset>) -> String {
    time.format("%Y-%m-%d %H:%M").to_string()
}

/// Returns `2026-11-10 02:10 to 02:50`.
pub(super) fn period_text(
    to_local: &dyn Fn(i64) -> DateTime<FixedOffset>,
    start: i64,
    end: i64,
) -> String {
    let [start, end] = [start, end].map(to_local);
    let is_same_day = start.date_naive() == end.date_naive();
    let end = if is_same_day { end.format("%H:%M").to_string() } else { format_minute(end) };
    format!("{} to {end}", format_minute(start))
}

/// Number of leading columns that are numbers.
const N_NUMBER_COLUMNS: usize = 3;

/// Returns the rows with aligned columns, numbers to the right.
fn align_columns(rows: &[Vec<String>]) -> Vec<String> {
    let mut widths = vec![0; rows[0].len()];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    rows.iter().map(|row| align_row(row, &widths)).collect()
}

fn align_row(row: &[String], widths: &[usize]) -> String {
    let cells = row.iter().zip(widths).enumerate().map(|(nth, (cell, width))| {
        if nth < N_NUMBER_COLUMNS { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
    });
    cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

/// Appends a bar for the peak to each line, if the terminal is wide enough.
fn append_bars(lines: &mut [String], listed: &[Offender], layout: TableLayout) {
    let Some(columns) = layout.columns else {
        return;
    };
    let widest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let bar_columns = usize::from(columns).saturating_sub(widest + 2).min(MAX_BAR_COLUMNS);
    if bar_columns < MIN_BAR_COLUMNS {
        return;
    }
    let highest = listed.iter().map(|offender| offender.peak).max().unwrap_or(0).max(1);
    for (line, Offender { peak, .. }) in lines[1..].iter_mut().zip(listed) {
        let bar = bar(*peak, highest, bar_columns, layout.has_blocks);
        let gap = widest + 2 - line.chars().count();
        *line = format!("{line}{}{bar}", " ".repeat(gap));
    }
}

/// Returns a bar whose length is `columns` for the `highest` peak, in eighths of
/// a column if block characters can be shown. The minimum length is one such unit.
fn bar(peak: u64, highest: u64, columns: usize, has_blocks: bool) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let max_units = columns * if has_blocks { 8 } else { 1 };
    let length = u128::from(peak) * max_units as u128 / u128::from(highest);
    let length = usize::try_from(length).expect("peak is at most the highest peak").max(1);
    if has_blocks { "█".repeat(length / 8) + EIGHTHS[length % 8] } else { "#".repeat(length) }
}

/// Returns the offenders as one JSON object.
#[must_use]
pub fn render_offender_json(table: &OffenderTable<'_>, n_bad_lines: u64) -> String {
    #[derive(Serialize)]
    struct OffenderReport<'a> {
        alerts: u64,
        addresses: usize,
        damaged_lines: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        unresolved_names: Option<usize>,
        offenders: Vec<OffenderEntry<'a>>,
    }
    #[derive(Serialize)]
    struct OffenderEntry<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        address: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        asn: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        operator: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        country: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        addresses: Option<u64>,
        alerts: u64,
        peak: u64,
        first: String,
        last: String,
        servers: &'a [String],
    }
    let OffenderTable { offenders, listed, to_local, .. } = table;
    let is_grouped = matches!(table.columns, OffenderColumns::Groups { .. });
    let mut entries = Vec::new();
    for offender in *listed {
        entries.push(OffenderEntry {
            address: offender.network.map(|network| network.to_string()),
            name: offender.name.as_deref(),
            asn: offender.operator.asn,
            operator: offender.operator.name.as_deref(),
            country: offender.operator.country.as_deref(),
            addresses: if is_grouped { Some(offender.addresses) } else { None },
            alerts: offender.alerts,
            peak: offender.peak,
            first: to_local(offender.first).to_rfc3339(),
            last: to_local(offender.last).to_rfc3339(),
            servers: &offender.servers,
        });
    }
    let report = OffenderReport {
        alerts: offenders.alerts(),
        addresses: offenders.len(),
        damaged_lines: n_bad_lines,
        unresolved_names: table.unresolved,
        offenders: entries,
    };
    serde_json::to_string_pretty(&report).expect("numbers and strings are serializable") + "\n"
}

/// Returns the offenders as comma-separated values by RFC 4180, but with Unix line
/// ends. Several servers are separated by spaces.
#[must_use]
pub fn render_offender_csv(table: &OffenderTable<'_>) -> String {
    let heading = match table.columns {
        OffenderColumns::Plain => "",
        OffenderColumns::Operator => ",asn,operator,country",
        OffenderColumns::Groups { .. } => ",asn,operator,country,addresses",
    };
    let name = if table.unresolved.is_some() { ",name" } else { "" };
    let mut lines = format!("address,alerts,peak,first,last,servers{heading}{name}\n");
    for offender in table.listed {
        // Server names contain no comma, quote or space: the log parser rejects
        // lines with such names. Names of operators and hosts contain no comma or quote
        // either.
        let [first, last] =
            [offender.first, offender.last].map(|time| (table.to_local)(time).to_rfc3339());
        let Offender { alerts, peak, servers, operator, .. } = offender;
        let network = offender.network.map_or_else(String::new, |network| network.to_string());
        lines += &format!("{network},{alerts},{peak},{first},{last},{}", servers.join(" "));
        if table.columns != OffenderColumns::Plain {
            let asn = operator.asn.map_or_else(String::new, |asn| asn.to_string());
            let [name, country] =
                [&operator.name, &operator.country].map(|it| it.as_deref().unwrap_or_default());
            lines += &format!(",{asn},{name},{country}");
        }
        if let OffenderColumns::Groups { .. } = table.columns {
            lines += &format!(",{}", offender.addresses);
        }
        if table.unresolved.is_some() {
            lines += &format!(",{}", offender.name.as_deref().unwrap_or_default());
        }
        lines += "\n";
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bar_length_is_proportional_to_peak() {
        let check = |peak, has_blocks, expected| {
            assert_eq!(bar(peak, 80, 10, has_blocks), expected, "{peak}");
        };
        check(80, true, "██████████");
        check(41, true, "█████▏");
        check(1, true, "▏");
        check(0, true, "▏");
        check(80, false, "##########");
        check(41, false, "#####");
        check(1, false, "#");
    }
}
