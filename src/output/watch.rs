//! The live view: a screen that is redrawn after each sample, or one line per
//! sample.
use crate::model::{sanitize, verdict::Status};

use super::{report::Report, text};

/// One sample of a live view.
#[derive(Debug)]
pub struct WatchFrame {
    /// The report, with the change in connections of each listed peer of the worst
    /// view since the previous sample (`None` for the first sample); or the error message.
    pub result: Result<(Report, Option<Vec<i64>>), String>,
    /// Local time of the sample.
    pub time: String,
    /// Source and interval of the samples.
    pub title: String,
}

/// A row of the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScreenRow {
    /// The text, at most as wide as the screen.
    pub text: String,
    /// `true` for a peer over the limit.
    pub is_over_limit: bool,
}

/// Maximum width in columns of an address with its label.
const MAX_NAME_COLUMNS: usize = 45;

/// Returns the screen, with at most `width` columns and `height` rows.
#[must_use]
pub fn render_watch_screen(frame: &WatchFrame, width: usize, height: usize) -> Vec<ScreenRow> {
    let WatchFrame { result, time, title } = frame;
    let gap = width.saturating_sub(title.chars().count() + time.chars().count()).max(1);
    let mut rows = vec![screen_row(&format!("{title}{}{time}", " ".repeat(gap)), width, false)];
    match result {
        Ok((report, changes)) => {
            rows.extend(summary_lines(report).iter().map(|text| screen_row(text, width, false)));
            rows.extend(peer_table(report, changes.as_deref(), width));
        }
        Err(message) => rows.push(screen_row(&unknown_line(message), width, false)),
    }
    rows.truncate(height);
    rows
}

/// Returns the lines above the table: status, totals and problems.
fn summary_lines(report: &Report) -> Vec<String> {
    let view = report.worst_view();
    let mut lines = vec![
        status_line(report),
        text::connections_summary(report, &view.sample),
        text::limit_and_statistics(report, view),
    ];
    lines.extend(
        report
            .problems()
            .map(|problem| sanitize::single_line(&text::options_as_flags(&problem.message))),
    );
    lines.extend(text::server_lines(report));
    lines.push(String::new());
    lines
}

/// Returns the table of the busiest peers.
fn peer_table(report: &Report, changes: Option<&[i64]>, width: usize) -> Vec<ScreenRow> {
    let view = report.worst_view();
    let names: Vec<_> = view.sample.top.iter().map(text::peer_label).collect();
    let max_width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let name_width = max_width.clamp("ADDRESS".len(), MAX_NAME_COLUMNS);
    let heading =
        format!("{:>11} {:>7}  {:<name_width$}  PORTS; STATES", "CONNECTIONS", "CHANGE", "ADDRESS");
    let mut rows = vec![screen_row(&heading, width, false)];
    for (nth, (peer, name)) in view.sample.top.iter().zip(&names).enumerate() {
        let change = changes.and_then(|changes| changes.get(nth));
        let details = [text::format_ports(peer), text::format_tcp_states(peer)].join("; ");
        let text = format!(
            "{:>11} {:>7}  {name:<name_width$}  {}",
            peer.connections,
            change.map_or_else(String::new, |&change| format_change(change)),
            details.trim_start_matches("; "),
        );
        let is_over_limit = peer.over.is_some();
        rows.push(screen_row(&text, width, is_over_limit));
    }
    rows
}

fn status_line(report: &Report) -> String {
    format!("{} - {}", report.status(), text::status_text(report))
}

fn unknown_line(message: &str) -> String {
    format!("{} - {}", Status::Unknown, sanitize::single_line(message))
}

/// Returns the sample on one line, without a line end.
#[must_use]
pub fn render_watch_line(frame: &WatchFrame) -> String {
    let WatchFrame { result, time, .. } = frame;
    match result {
        Ok((report, _)) => {
            let sample = &report.worst_view().sample;
            format!("{time} {}; {}", status_line(report), text::connections_summary(report, sample))
        }
        Err(message) => format!("{time} {}", unknown_line(message)),
    }
}

fn screen_row(text: &str, width: usize, is_over_limit: bool) -> ScreenRow {
    ScreenRow {
        text: text.chars().take(width).collect::<String>().trim_end().to_owned(),
        is_over_limit,
    }
}

/// Returns `+3` or `-3`; empty if the count did not change.
fn format_change(change: i64) -> String {
    if change == 0 { String::new() } else { format!("{change:+}") }
}
