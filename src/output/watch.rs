//! What a live view shows: a screen that is drawn anew with each sample, or a
//! line for each.
use crate::model::{sanitize, verdict::Status};

use super::{report::Report, text};

/// One sample of a live view.
#[derive(Clone, Debug, PartialEq)]
pub struct Watched {
    /// What was seen, and how many connections each named peer of the worst view
    /// has more than in the sample before, where there was one; or why nothing.
    pub seen: Result<(Report, Option<Vec<i64>>), String>,
    /// When it was, for people.
    pub time: String,
    /// What is looked at, and how often.
    pub title: String,
}

/// A line of the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The text, no wider than the screen.
    pub text: String,
    /// Whether it is about somebody who is over the limit.
    pub is_over: bool,
}

/// How wide an address and its name are shown, where they are longer than usual.
const WIDEST_NAME: usize = 45;

/// The screen, of `width` columns and `height` rows at most.
#[must_use]
pub fn screen(watched: &Watched, width: usize, height: usize) -> Vec<Row> {
    let Watched { seen, time, title } = watched;
    let gap = width.saturating_sub(title.chars().count() + time.chars().count()).max(1);
    let mut rows = vec![row(&format!("{title}{}{time}", " ".repeat(gap)), width, false)];
    match seen {
        Ok((report, changes)) => {
            rows.extend(summary(report).iter().map(|text| row(text, width, false)));
            rows.extend(peers(report, changes.as_deref(), width));
        }
        Err(problem) => rows.push(row(&unknown(problem), width, false)),
    }
    rows.truncate(height);
    rows
}

/// What there is to say of all.
fn summary(report: &Report) -> Vec<String> {
    let view = report.worst();
    let mut lines = vec![
        status(report),
        text::connections_from(&view.sample),
        text::figures_and_limit(report, view),
    ];
    lines.extend(report.troubles.iter().map(|trouble| sanitize::line(&trouble.problem)));
    lines.extend(report.shares.iter().map(text::share));
    lines.push(String::new());
    lines
}

/// A table of the busiest.
fn peers(report: &Report, changes: Option<&[i64]>, width: usize) -> Vec<Row> {
    let view = report.worst();
    let names: Vec<_> = view.sample.top.iter().map(text::who).collect();
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let column = longest.clamp("ADDRESS".len(), WIDEST_NAME);
    let heading =
        format!("{:>11} {:>7}  {:<column$}  PORTS; STATES", "CONNECTIONS", "CHANGE", "ADDRESS");
    let mut rows = vec![row(&heading, width, false)];
    for (nth, (peer, name)) in view.sample.top.iter().zip(&names).enumerate() {
        let change = changes.and_then(|changes| changes.get(nth));
        let text = format!(
            "{:>11} {:>7}  {name:<column$}  {}; {}",
            peer.connections,
            change.map_or_else(String::new, |&change| signed(change)),
            text::ports(peer),
            text::states(peer),
        );
        let is_over = view.verdict.limit.is_exceeded_by(peer.connections);
        rows.push(row(&text, width, is_over));
    }
    rows
}

fn status(report: &Report) -> String {
    format!("{} - {}", report.status(), text::message(report))
}

fn unknown(problem: &str) -> String {
    format!("{} - {}", Status::Unknown, sanitize::line(problem))
}

/// The sample on one line, without a line end.
#[must_use]
pub fn line(watched: &Watched) -> String {
    let Watched { seen, time, .. } = watched;
    match seen {
        Ok((report, _)) => {
            let sample = &report.worst().sample;
            format!("{time} {}; {}", status(report), text::connections_from(sample))
        }
        Err(problem) => format!("{time} {}", unknown(problem)),
    }
}

fn row(text: &str, width: usize, is_over: bool) -> Row {
    Row { text: text.chars().take(width).collect::<String>().trim_end().to_owned(), is_over }
}

/// `+3`, `-3`, and nothing where nothing has changed.
fn signed(change: i64) -> String {
    if change == 0 { String::new() } else { format!("{change:+}") }
}
