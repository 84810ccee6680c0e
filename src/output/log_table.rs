//! The summary of an alert log as a table, JSON or CSV.
use chrono::{DateTime, FixedOffset};
use serde::Serialize;

use crate::{
    alert_log::stats::{Offender, Offenders},
    model::{problem::Problem, sanitize},
};

use super::text;

/// Maximum length of a bar in columns.
const MAX_BAR_COLUMNS: usize = 20;
/// Minimum width in columns for bars to be drawn.
const MIN_BAR_COLUMNS: usize = 4;

/// The space and the characters that are available for the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableLayout {
    /// Width of the terminal; `None` if the output is not a terminal, and no bars
    /// are drawn.
    pub columns: Option<u16>,
    /// True if block characters can be shown.
    pub has_blocks: bool,
}

/// Returns an error message of `topip_log` for standard error.
#[must_use]
pub fn render_log_problem(problem: &Problem) -> String {
    render_stderr_problem("topip_log", problem)
}

/// Returns an error message for standard error, `PROGRAM: …`, with more lines below.
#[must_use]
pub fn render_stderr_problem(program: &str, problem: &Problem) -> String {
    let mut lines = problem.lines();
    lines[0] = format!("{program}: {}", lines[0]);
    lines.iter().map(|line| sanitize::printable(&text::options_as_flags(line)) + "\n").collect()
}

/// Returns the `top` offenders as a table.
#[must_use]
pub fn render_offender_table(
    offenders: &Offenders,
    top: usize,
    layout: TableLayout,
    to_local: impl Fn(i64) -> DateTime<FixedOffset>,
) -> String {
    if offenders.is_empty() {
        return "No alerts.\n".to_owned();
    }
    let listed = offenders.top(top);
    let heading = ["ALERTS", "PEAK", "FIRST", "LAST", "ADDRESS", "SERVER"].map(ToOwned::to_owned);
    let mut rows = vec![heading];
    rows.extend(listed.iter().map(|offender| {
        [
            offender.alerts.to_string(),
            offender.peak.to_string(),
            format_minute(to_local(offender.first)),
            format_minute(to_local(offender.last)),
            offender.network.to_string(),
            sanitize::single_line(&offender.servers.join(",")),
        ]
    }));
    let mut lines = align_columns(&rows);
    append_bars(&mut lines, &listed, layout);
    let addresses = offenders.len() as u64;
    let totals = format!(
        "{} about {}",
        text::pluralize(offenders.alerts(), "alert", "alerts"),
        text::pluralize(addresses, "address", "addresses")
    );
    lines.push(match listed.len() as u64 {
        n if n < addresses => format!("{totals}; these are the top {n}."),
        _ => format!("{totals}."),
    });
    lines.join("\n") + "\n"
}

fn format_minute(time: DateTime<FixedOffset>) -> String {
    time.format("%Y-%m-%d %H:%M").to_string()
}

/// Returns the rows with aligned columns. The first two columns are numbers and
/// are aligned to the right.
fn align_columns(rows: &[[String; 6]]) -> Vec<String> {
    let mut widths = [0; 6];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    rows.iter().map(|row| align_row(row, widths)).collect()
}

fn align_row(row: &[String; 6], widths: [usize; 6]) -> String {
    let [alerts, peak, rest @ ..] = row;
    let mut cells = vec![
        format!("{alerts:>width$}", width = widths[0]),
        format!("{peak:>width$}", width = widths[1]),
    ];
    for (cell, width) in rest.iter().zip(&widths[2..]) {
        cells.push(format!("{cell:<width$}"));
    }
    cells.join("  ").trim_end().to_owned()
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
/// a column if block characters can be shown. Every bar has a minimum length.
fn bar(peak: u64, highest: u64, columns: usize, has_blocks: bool) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let max_units = columns * if has_blocks { 8 } else { 1 };
    let length = u128::from(peak) * max_units as u128 / u128::from(highest);
    let length = usize::try_from(length).expect("peak is at most the highest peak").max(1);
    if has_blocks { "█".repeat(length / 8) + EIGHTHS[length % 8] } else { "#".repeat(length) }
}

/// Returns the `top` offenders as one JSON object.
#[must_use]
pub fn render_offender_json(
    offenders: &Offenders,
    n_bad_lines: u64,
    top: usize,
    to_local: impl Fn(i64) -> DateTime<FixedOffset>,
) -> String {
    #[derive(Serialize)]
    struct OffenderReport {
        alerts: u64,
        addresses: usize,
        damaged_lines: u64,
        offenders: Vec<OffenderEntry>,
    }
    #[derive(Serialize)]
    struct OffenderEntry {
        address: String,
        alerts: u64,
        peak: u64,
        first: String,
        last: String,
        servers: Vec<String>,
    }
    let mut entries = Vec::new();
    for offender in offenders.top(top) {
        entries.push(OffenderEntry {
            address: offender.network.to_string(),
            alerts: offender.alerts,
            peak: offender.peak,
            first: to_local(offender.first).to_rfc3339(),
            last: to_local(offender.last).to_rfc3339(),
            servers: offender.servers,
        });
    }
    let report = OffenderReport {
        alerts: offenders.alerts(),
        addresses: offenders.len(),
        damaged_lines: n_bad_lines,
        offenders: entries,
    };
    serde_json::to_string_pretty(&report).expect("numbers and strings are serializable") + "\n"
}

/// Returns the `top` offenders as comma-separated values by RFC 4180, but with
/// Unix line ends. Several servers are separated by blanks.
#[must_use]
pub fn render_offender_csv(
    offenders: &Offenders,
    top: usize,
    to_local: impl Fn(i64) -> DateTime<FixedOffset>,
) -> String {
    let mut lines = "address,alerts,peak,first,last,servers\n".to_owned();
    for offender in offenders.top(top) {
        // Server names contain no comma, quote or blank: the log parser rejects
        // lines with such names.
        let (first, last) =
            (to_local(offender.first).to_rfc3339(), to_local(offender.last).to_rfc3339());
        let Offender { network, alerts, peak, servers, .. } = offender;
        lines += &format!("{network},{alerts},{peak},{first},{last},{}\n", servers.join(" "));
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
