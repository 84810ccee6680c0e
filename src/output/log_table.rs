//! What a log comes to, for people and for other programs.
use chrono::{DateTime, FixedOffset};
use serde::Serialize;

use crate::{
    alert_log::stats::{Offender, Offenders},
    model::sanitize,
};

use super::text;

/// The longest bar, in characters, and how much of a line is left for it.
const LONGEST_BAR: usize = 20;
const SHORTEST_BAR: usize = 4;

/// What a screen can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    /// How many characters fit on a line; `None` where nobody looks, and
    /// nothing is drawn.
    pub columns: Option<u16>,
    /// Whether it can draw blocks.
    pub has_blocks: bool,
}

/// What went wrong, for standard error: `topip_log: …`, and more lines below.
#[must_use]
pub fn complaint(problem: &str, more: &[String]) -> String {
    let lines = std::iter::once(format!("topip_log: {problem}")).chain(more.iter().cloned());
    lines.map(|line| sanitize::shown(&line) + "\n").collect()
}

/// The `top` offenders as a table.
#[must_use]
pub fn offenders_as_text(
    offenders: &Offenders,
    top: usize,
    picture: Picture,
    local: impl Fn(i64) -> DateTime<FixedOffset>,
) -> String {
    if offenders.is_empty() {
        return "No alerts.\n".to_owned();
    }
    let listed = offenders.top(top);
    let time = |seconds| local(seconds).format("%Y-%m-%d %H:%M").to_string();
    let heading = ["ALERTS", "PEAK", "FIRST", "LAST", "ADDRESS", "SERVER"].map(ToOwned::to_owned);
    let mut rows = vec![heading];
    rows.extend(listed.iter().map(|it| {
        [
            it.alerts.to_string(),
            it.peak.to_string(),
            time(it.first),
            time(it.last),
            it.network.to_string(),
            sanitize::line(&it.servers.join(",")),
        ]
    }));
    let mut lines = aligned(&rows);
    draw(&mut lines, &listed, picture);
    let addresses = offenders.len() as u64;
    let all = format!(
        "{} about {}",
        text::count(offenders.alerts(), "alert", "alerts"),
        text::count(addresses, "address", "addresses")
    );
    lines.push(match listed.len() as u64 {
        n if n < addresses => format!("{all}; these are the top {n}."),
        _ => format!("{all}."),
    });
    lines.join("\n") + "\n"
}

/// The rows, each cell as wide as the widest above and below; the first two are
/// numbers, and end below one another.
fn aligned(rows: &[[String; 6]]) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; 6] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let line = |row: &[String; 6]| {
        let cells =
            row.iter().zip(widths).enumerate().map(|(column, (cell, width))| match column {
                0 | 1 => format!("{cell:>width$}"),
                _ => format!("{cell:<width$}"),
            });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// Puts a bar as long as its peak behind each line, where there is room.
fn draw(lines: &mut [String], listed: &[Offender], picture: Picture) {
    let Some(columns) = picture.columns else {
        return;
    };
    let widest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let room = usize::from(columns).saturating_sub(widest + 2).min(LONGEST_BAR);
    if room < SHORTEST_BAR {
        return;
    }
    let highest = listed.iter().map(|it| it.peak).max().unwrap_or(0).max(1);
    for (line, Offender { peak, .. }) in lines[1..].iter_mut().zip(listed) {
        let bar = bar(*peak, highest, room, picture.has_blocks);
        let gap = widest + 2 - line.chars().count();
        *line = format!("{line}{}{bar}", " ".repeat(gap));
    }
}

/// A bar that is `room` long for the `highest` peak, in eighths of a block where
/// those can be drawn. Nobody who had connections has no bar.
fn bar(peak: u64, highest: u64, room: usize, has_blocks: bool) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let units = room * if has_blocks { 8 } else { 1 };
    let length = u128::from(peak) * units as u128 / u128::from(highest);
    let length = usize::try_from(length).expect("no longer than the longest").max(1);
    match has_blocks {
        true => "█".repeat(length / 8) + EIGHTHS[length % 8],
        false => "#".repeat(length),
    }
}

/// The `top` offenders as one object.
#[must_use]
pub fn offenders_as_json(
    offenders: &Offenders,
    damaged: u64,
    top: usize,
    local: impl Fn(i64) -> DateTime<FixedOffset>,
) -> String {
    #[derive(Serialize)]
    struct Object {
        alerts: u64,
        addresses: usize,
        damaged_lines: u64,
        offenders: Vec<Row>,
    }
    #[derive(Serialize)]
    struct Row {
        address: String,
        alerts: u64,
        peak: u64,
        first: String,
        last: String,
        servers: Vec<String>,
    }
    let row = |it: Offender| Row {
        address: it.network.to_string(),
        alerts: it.alerts,
        peak: it.peak,
        first: local(it.first).to_rfc3339(),
        last: local(it.last).to_rfc3339(),
        servers: it.servers,
    };
    let object = Object {
        alerts: offenders.alerts(),
        addresses: offenders.len(),
        damaged_lines: damaged,
        offenders: offenders.top(top).into_iter().map(row).collect(),
    };
    serde_json::to_string_pretty(&object).expect("numbers and texts can be written") + "\n"
}

/// The `top` offenders as comma-separated values, by RFC 4180 but for line ends,
/// which are those of Unix. Several servers are parted by blanks.
#[must_use]
pub fn offenders_as_csv(
    offenders: &Offenders,
    top: usize,
    local: impl Fn(i64) -> DateTime<FixedOffset>,
) -> String {
    let mut lines = "address,alerts,peak,first,last,servers\n".to_owned();
    for it in offenders.top(top) {
        // Names of servers have no comma, quote or blank: it would be no line of
        // a log.
        let (first, last) = (local(it.first).to_rfc3339(), local(it.last).to_rfc3339());
        let Offender { network, alerts, peak, servers, .. } = it;
        lines += &format!("{network},{alerts},{peak},{first},{last},{}\n", servers.join(" "));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars() {
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
