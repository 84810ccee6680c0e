//! The summary of an alert log as a page of HTML: time lines and a table.
use std::{fmt::Write, iter};

use crate::{
    alert_log::{
        stats::Offender,
        time_line::{Axis, Lane, TimeLines},
    },
    model::{problem::Problem, sanitize},
};

use super::{
    html::Html,
    lane_drawing::LaneDrawing,
    log_table::{
        OffenderColumns, OffenderTable, format_minute, period_text, share_text, subject_heading,
        totals_line,
    },
    text,
};

/// Style sheet. It has no character that HTML escapes.
const STYLE: &str = include_str!("log_page.css");
/// Policy that prevents the browser from loading or running anything, even if a text is not
/// escaped.
const SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
/// Maximum length of a list of servers in bytes.
const MAX_SERVERS_BYTES: usize = 200;

/// The report on an alert log, for a browser.
pub struct OffenderPage<'a> {
    /// The offenders.
    pub table: &'a OffenderTable<'a>,
    /// The time lines of all offenders.
    pub time_lines: &'a TimeLines,
    /// The lanes of each listed offender.
    pub lanes: &'a [Vec<Lane>],
    /// Failures to read a log or to look up a name.
    pub problems: &'a [Problem],
    /// The command line that created the page.
    pub command: &'a str,
    /// Time of the report in seconds since 1970-01-01 UTC.
    pub created: i64,
}

/// Returns the report as a page without scripts and without references to other resources.
#[must_use]
pub fn render_offender_page(page: &OffenderPage<'_>) -> String {
    let attributes = [("lang", "en"), ("xmlns", "http://www.w3.org/1999/xhtml")];
    Html::element("html", &attributes, [head().line(), body(page)]).into_document()
}

const TITLE: &str = "Alerts about TCP connections";

fn head() -> Html {
    let policy = [("http-equiv", "Content-Security-Policy"), ("content", SECURITY_POLICY)];
    let viewport = [("name", "viewport"), ("content", "width=device-width, initial-scale=1")];
    let parts = [
        Html::element("meta", &[("charset", "utf-8")], []),
        Html::element("meta", &policy, []),
        Html::element("meta", &viewport, []),
        Html::text_element("title", TITLE),
        Html::element("style", &[], STYLE.lines().map(|line| Html::text(line).line())),
    ];
    Html::element("head", &[], parts.map(Html::line))
}

fn body(page: &OffenderPage<'_>) -> Html {
    let mut parts = vec![Html::text_element("h1", TITLE)];
    parts.extend(summary(page));
    parts.extend(problems(page.problems));
    if let Some(axis) = page.time_lines.axis().filter(|_| !page.table.listed.is_empty()) {
        parts.push(Html::text_element("h2", "Time lines"));
        parts.extend(TimeLineTable::new(page, axis).render());
        parts.push(Html::text_element("h2", "Offenders"));
        parts.push(offender_table(page));
    }
    parts.push(Html::text_element("h2", "About this page"));
    let created = (page.table.to_local)(page.created);
    let version = env!("CARGO_PKG_VERSION");
    let text = format!(
        "topip_log {version} wrote this page on {} by: ",
        created.format("%Y-%m-%d at %H:%M (UTC%:z)")
    );
    parts.push(Html::element(
        "p",
        &[],
        [Html::text(&text), Html::text_element("code", page.command)],
    ));
    let main = Html::element("main", &[], parts.into_iter().map(Html::line));
    Html::element("body", &[], [main])
}

/// Returns the totals, unless nothing could be read.
fn summary(page: &OffenderPage<'_>) -> Option<Html> {
    let is_empty = page.table.offenders.is_empty();
    if is_empty && !page.problems.is_empty() {
        return None;
    }
    let totals = if is_empty {
        "No alerts. The log contains only alerts: it does not show whether samples were taken."
            .to_owned()
    } else {
        totals_line(page.table)
    };
    let text = match page.time_lines.bounds() {
        Some((start, end)) => format!("{}: {totals}", period_text(page.table.to_local, start, end)),
        None => totals,
    };
    Some(Html::text_element("p", &text))
}

fn problems(problems: &[Problem]) -> Vec<Html> {
    if problems.is_empty() {
        return Vec::new();
    }
    let items = problems.iter().map(|problem| {
        let mut lines = problem.lines().into_iter().map(|line| text::options_as_flags(&line));
        let message = lines.next().unwrap_or_default();
        let hints = lines.map(|line| Html::text_element("small", &line));
        Html::element("li", &[], iter::once(Html::text(&message)).chain(hints)).line()
    });
    let list = Html::element("ul", &[], items);
    vec![Html::text_element("h2", "Problems"), list]
}

/// The table of time lines.
struct TimeLineTable<'a> {
    page: &'a OffenderPage<'a>,
    drawing: LaneDrawing<'a>,
    column_seconds: u64,
    /// Lanes of all addresses, if there are several addresses.
    total: Vec<Lane>,
    /// `true` if the lanes are of different servers.
    has_servers: bool,
}

impl<'a> TimeLineTable<'a> {
    fn new(page: &'a OffenderPage<'a>, axis: Axis) -> Self {
        let all = page.time_lines.total_lanes();
        let drawing = LaneDrawing::new(axis, &all, page.table.to_local);
        let has_servers = all.len() > 1;
        let total = if page.table.offenders.len() > 1 { all } else { Vec::new() };
        let column_seconds = axis.column_seconds.unsigned_abs();
        Self { page, drawing, column_seconds, total, has_servers }
    }

    fn render(&self) -> Vec<Html> {
        let mut headings = vec![column_heading(subject_heading(self.page.table.columns), "text")];
        if self.has_servers {
            headings.push(column_heading("Servers", "text"));
        }
        let time = [("scope", "col"), ("class", "time")];
        headings.push(Html::element("th", &time, [self.drawing.axis()]));
        headings.push(column_heading("Peak", "number peak"));
        let heading = Html::element("tr", &[], headings);
        let total = self.lane_rows("All addresses", &self.total, None);
        let offenders = self.page.table.listed.iter().zip(self.page.lanes);
        let rows = offenders.flat_map(|(offender, lanes)| {
            self.lane_rows(&subject(self.page.table, offender), lanes, Some(offender.alerts))
        });
        let rows: Vec<_> = total.into_iter().chain(rows).collect();
        let caption = Html::text_element("caption", &self.caption());
        let parts = [
            caption.line(),
            Html::element("thead", &[], [heading]).line(),
            Html::element("tbody", &[], rows),
        ];
        vec![Html::text_element("p", &self.legend()), Html::element("table", &[], parts)]
    }

    fn caption(&self) -> String {
        let scale = self.drawing.scale;
        format!(
            "Times over the limit. A column is {}. Heights are logarithmic: {} at the bottom, \
             {} in the middle, {} at the top.",
            text::format_duration(self.column_seconds),
            scale.lowest,
            scale.middle(),
            text::pluralize(scale.highest, "connection", "connections"),
        )
    }

    /// Explains the drawings and the limits of the log.
    fn legend(&self) -> String {
        let cells = || self.lanes().flat_map(|lane| &lane.cells);
        let has_limits = cells().any(|cell| cell.limit.is_some());
        let has_gaps = self.lanes().any(|lane| !lane.gaps.is_empty());
        let mut sentences = vec![
            "A bar shows when an address was over the limit; its height shows the maximum number \
             of connections.",
        ];
        sentences.push(if has_limits {
            "The line in a bar is the limit."
        } else {
            "This log does not contain the limits; a log with --log-format json does."
        });
        if has_gaps {
            sentences.push(
                "In a gray time, no sample was taken, as the number of consecutive samples shows.",
            );
        }
        sentences.push(
            "The log contains only alerts: at a time without a bar, no alert was logged, or no \
             sample was taken.",
        );
        sentences.join(" ")
    }

    fn lanes(&self) -> impl Iterator<Item = &Lane> {
        self.page.lanes.iter().flatten()
    }

    /// Returns a row for each lane of an offender with `alerts` alerts.
    fn lane_rows(&self, subject: &str, lanes: &[Lane], alerts: Option<u64>) -> Vec<Html> {
        let n_drawn: u64 = lanes.iter().map(Lane::alerts).sum();
        let mut rows: Vec<_> = lanes.iter().map(|lane| self.lane_row(subject, lane)).collect();
        if let Some(alerts) = alerts.filter(|&alerts| n_drawn < alerts) {
            let note =
                format!("The log has too many addresses: {n_drawn} of {alerts} alerts drawn");
            let heading = Html::element("th", &[("scope", "row")], [Html::text(subject)]);
            let n_columns = if self.has_servers { "3" } else { "2" };
            let cell = Html::element("td", &[("colspan", n_columns)], [Html::text(&note)]);
            rows.push(Html::element("tr", &[], [heading, cell]).line());
        }
        rows
    }

    fn lane_row(&self, subject: &str, lane: &Lane) -> Html {
        let mut row = vec![Html::element("th", &[("scope", "row")], [Html::text(subject)])];
        let mut title = subject.to_owned();
        if self.has_servers {
            let servers = servers_text(lane);
            row.push(Html::text_element("td", &servers));
            let _ = write!(title, " on {servers}");
        }
        let drawing = self.drawing.lane(&title, lane);
        row.push(Html::element("td", &[("class", "time")], [drawing]));
        let peak = lane.cells.iter().map(|cell| cell.peak).max().unwrap_or(0);
        let peak = [Html::text(&peak.to_string())];
        row.push(Html::element("td", &[("class", "number peak")], peak));
        Html::element("tr", &[], row).line()
    }
}

/// Returns the servers with spaces between them, so that the browser can break a long list.
fn servers_text(lane: &Lane) -> String {
    sanitize::truncate(&lane.servers.replace(',', ", "), MAX_SERVERS_BYTES)
}

fn column_heading(text: &str, class: &str) -> Html {
    Html::element("th", &[("scope", "col"), ("class", class)], [Html::text(text)])
}

/// Returns the address, network or group.
fn subject(table: &OffenderTable<'_>, offender: &Offender) -> String {
    let address = offender.network.map(|network| network.to_string());
    match table.columns {
        OffenderColumns::Groups { .. } => address.unwrap_or_else(|| offender.operator.to_string()),
        _ => address.unwrap_or_default(),
    }
}

/// Returns the table of the listed offenders.
fn offender_table(page: &OffenderPage<'_>) -> Html {
    let table = page.table;
    let columns = columns(page);
    let headings = columns.iter().map(|column| column_heading(column.heading, column.class));
    let heading = iter::once(column_heading(subject_heading(table.columns), "text"));
    let heading = Html::element("tr", &[], heading.chain(headings));
    let rows = table.listed.iter().zip(page.lanes).map(|(offender, lanes)| {
        let subject = [Html::text(&subject(table, offender))];
        let cells = columns.iter().map(|column| {
            let text = (column.cell)(page, offender, lanes);
            Html::element("td", &[("class", column.class)], [Html::text(&text)])
        });
        let heading = iter::once(Html::element("th", &[("scope", "row")], subject));
        Html::element("tr", &[], heading.chain(cells)).line()
    });
    let caption = "Most alerts first. The share is that of all alerts.";
    let parts = [
        Html::text_element("caption", caption).line(),
        Html::element("thead", &[], [heading]).line(),
        Html::element("tbody", &[], rows),
    ];
    Html::element("table", &[], parts)
}

/// A column of the table of offenders.
struct Column {
    heading: &'static str,
    class: &'static str,
    cell: fn(&OffenderPage<'_>, &Offender, &[Lane]) -> String,
}

/// Returns the columns after the first one.
fn columns(page: &OffenderPage<'_>) -> Vec<Column> {
    let text = |heading, cell| Column { heading, class: "text", cell };
    let number = |heading, cell| Column { heading, class: "number", cell };
    let mut columns = Vec::new();
    if page.table.unresolved.is_some() {
        columns.push(text("Name", |_, offender, _| offender.name.clone().unwrap_or_default()));
    }
    if let OffenderColumns::Groups { .. } = page.table.columns {
        columns.push(number("Addresses", |_, offender, _| offender.addresses.to_string()));
    }
    columns.push(number("Alerts", |_, offender, _| offender.alerts.to_string()));
    columns.push(number("Share", |page, offender, _| share_text(page.table, offender)));
    columns.push(number("Peak", |_, offender, _| offender.peak.to_string()));
    if page.lanes.iter().any(|lanes| last_limit(lanes).is_some()) {
        columns.push(number("Last limit", |_, _, lanes| {
            last_limit(lanes).map_or_else(String::new, text::decimal)
        }));
    }
    columns.push(text("First", |page, offender, _| {
        format_minute((page.table.to_local)(offender.first))
    }));
    columns.push(text("Last", |page, offender, _| {
        format_minute((page.table.to_local)(offender.last))
    }));
    columns.push(text("Servers", |_, offender, _| {
        sanitize::truncate(&offender.servers.join(", "), MAX_SERVERS_BYTES)
    }));
    if page.table.columns == OffenderColumns::Operator {
        columns.push(text("Operator", |_, offender, _| offender.operator.to_string()));
    }
    columns
}

/// Returns the limit of the latest alert that has one.
fn last_limit(lanes: &[Lane]) -> Option<f64> {
    let cells = lanes.iter().flat_map(|lane| &lane.cells).filter(|cell| cell.limit.is_some());
    cells.max_by_key(|cell| cell.column)?.limit
}
