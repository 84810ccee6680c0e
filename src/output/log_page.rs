//! The summary of an alert log as a page of HTML: time lines and a table.
use std::{fmt::Write, iter};

use crate::{
    alert_log::{
        stats::Offender,
        time_line::{Axis, Cell, Lane, TimeLines},
    },
    model::{peer_id::GroupBy, problem::Problem, sanitize},
};

use super::{
    html::Html,
    log_table::{OffenderColumns, OffenderTable, format_minute, share_text, totals_line},
    text,
    time_axis::{Tick, axis_seconds, ticks},
};

/// Style sheet. It has no character that HTML escapes.
const STYLE: &str = include_str!("log_page.css");
/// The page loads nothing and runs nothing, whatever an error in it would allow.
const SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
/// Maximum number of episodes of a lane that are described one by one.
const MAX_EPISODES: usize = 12;
/// Maximum length of a list of servers in bytes.
const MAX_SERVERS_BYTES: usize = 200;
/// A label that begins behind this part of the axis, in percent, would not fit.
const MAX_LABEL_PERCENT: i64 = 94;

/// The report on an alert log, for a browser.
pub struct OffenderPage<'a> {
    /// The offenders.
    pub table: &'a OffenderTable<'a>,
    /// The time lines of all of them.
    pub time_lines: &'a TimeLines,
    /// The lanes of each listed offender.
    pub lanes: &'a [Vec<Lane>],
    /// What could not be read.
    pub problems: &'a [Problem],
    /// The command line that made the page.
    pub command: &'a str,
    /// Time of the report in seconds since 1970-01-01 UTC.
    pub created: i64,
}

/// Returns the report as a page without scripts that refers to nothing outside of it.
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
        "No alerts. The log has alerts only: it does not show whether samples were taken."
            .to_owned()
    } else {
        totals_line(page.table)
    };
    let text = match page.time_lines.bounds() {
        Some((start, end)) => format!("{}: {totals}", period_text(page, start, end)),
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

/// Returns `2026-11-10 02:10 to 02:50`.
fn period_text(page: &OffenderPage<'_>, start: i64, end: i64) -> String {
    let [start, end] = [start, end].map(page.table.to_local);
    let is_same_day = start.date_naive() == end.date_naive();
    let end = if is_same_day { end.format("%H:%M").to_string() } else { format_minute(end) };
    format!("{} to {end}", format_minute(start))
}

/// Height of a lane in units of the drawing.
const LANE_HEIGHT: u64 = 50;
/// Minimum height of a bar: 2 of 24 pixels.
const MIN_BAR_HEIGHT: u64 = 4;

/// The logarithmic scale of the heights. Offenders differ by orders of magnitude.
#[derive(Clone, Copy, Debug)]
struct Scale {
    /// Number of connections at the height 0, a power of ten.
    lowest: u64,
    /// Number of connections at the full height, more than `lowest`.
    highest: u64,
}

impl Scale {
    /// Returns the scale for these peaks and limits.
    fn new<'a>(cells: impl Iterator<Item = &'a Cell> + Clone) -> Self {
        let peaks = cells.clone().map(|cell| cell.peak);
        let highest = peaks.clone().max().unwrap_or(0).max(2);
        let limits = cells.filter_map(|cell| cell.limit).fold(f64::INFINITY, f64::min);
        let lowest_peak = peaks.min().unwrap_or(0);
        let mut lowest = 1;
        while lowest < lowest_peak / 10 && float(lowest * 10) < limits {
            lowest *= 10;
        }
        Self { lowest, highest }
    }

    /// Returns the number of connections at half of the height.
    fn middle(self) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is between the two"
        )]
        let middle = (float(self.lowest) * float(self.highest)).sqrt() as u64;
        middle
    }

    /// Returns the height of a number of connections; `None` if it is not in the drawing.
    fn height(self, connections: f64) -> Option<u64> {
        let [lowest, highest] = [self.lowest, self.highest].map(|it| libm::log(float(it)));
        let height = (libm::log(connections) - lowest) / (highest - lowest) * float(LANE_HEIGHT);
        if !(0.0..=float(LANE_HEIGHT)).contains(&height) {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "see above")]
        let height = height as u64;
        Some(height)
    }
}

fn float(n: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a drawing needs few digits")]
    let float = n as f64;
    float
}

/// The table of time lines.
struct TimeLineTable<'a> {
    page: &'a OffenderPage<'a>,
    axis: Axis,
    ticks: Vec<Tick>,
    scale: Scale,
    /// Lanes of all addresses, if there are several addresses.
    total: Vec<Lane>,
    /// Whether the lanes are of different servers.
    has_servers: bool,
}

impl<'a> TimeLineTable<'a> {
    fn new(page: &'a OffenderPage<'a>, axis: Axis) -> Self {
        let all = page.time_lines.total_lanes();
        let scale = Scale::new(all.iter().flat_map(|lane| &lane.cells));
        let has_servers = all.len() > 1;
        let total = if page.table.offenders.len() > 1 { all } else { Vec::new() };
        let ticks = ticks(axis, page.table.to_local);
        Self { page, axis, ticks, scale, total, has_servers }
    }

    fn render(&self) -> Vec<Html> {
        let mut headings = vec![column_heading(subject_heading(self.page.table.columns), "text")];
        if self.has_servers {
            headings.push(column_heading("Servers", "text"));
        }
        let time = [("scope", "col"), ("class", "time")];
        headings.push(Html::element("th", &time, [self.axis_drawing()]));
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
        let seconds = self.axis.column_seconds.unsigned_abs();
        let Scale { lowest, highest } = self.scale;
        format!(
            "Times over the limit. A column is {}. Heights are logarithmic: {lowest} at the \
             bottom, {} in the middle, {} at the top.",
            text::format_duration(seconds),
            self.scale.middle(),
            text::pluralize(highest, "connection", "connections"),
        )
    }

    /// Explains the drawings, and what the log does not show.
    fn legend(&self) -> String {
        let cells = || self.lanes().flat_map(|lane| &lane.cells);
        let has_limits = cells().any(|cell| cell.limit.is_some());
        let has_gaps = self.lanes().any(|lane| !lane.gaps.is_empty());
        let mut sentences = vec![
            "A bar shows when an address was over the limit, and its height the most \
             connections.",
        ];
        sentences.push(if has_limits {
            "The line in a bar is the limit."
        } else {
            "This log does not have the limits; with --log-format json it would."
        });
        if has_gaps {
            sentences.push(
                "The count of consecutive samples shows that no sample was taken in a gray \
                 time.",
            );
        }
        sentences.push(
            "The log has alerts only: a time without a bar is a time within the limit or a \
             time without samples.",
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
        if self.has_servers {
            row.push(Html::text_element("td", &servers_text(lane)));
        }
        let drawing = self.lane_drawing(subject, lane);
        row.push(Html::element("td", &[("class", "time")], [drawing]));
        let peak = lane.cells.iter().map(|cell| cell.peak).max().unwrap_or(0);
        let peak = [Html::text(&peak.to_string())];
        row.push(Html::element("td", &[("class", "number peak")], peak));
        Html::element("tr", &[], row).line()
    }

    /// Returns the axis. It is not stretched, because of its labels.
    fn axis_drawing(&self) -> Html {
        let [start, end] = [self.axis.start, self.axis.start + axis_seconds(self.axis)];
        let title = format!("Time, {}", period_text(self.page, start, end));
        let mut parts = vec![Html::text_element("title", &title)];
        for Tick { seconds, label } in &self.ticks {
            let hundredths = i128::from(*seconds) * 10_000 / i128::from(axis_seconds(self.axis));
            let x = format!("{}.{:02}%", hundredths / 100, hundredths % 100);
            let line = [("class", "grid"), ("x1", &x), ("x2", &x), ("y1", "0"), ("y2", "100%")];
            parts.push(Html::element("line", &line, []));
            if hundredths < i128::from(MAX_LABEL_PERCENT) * 100 {
                let place = [("x", x.as_str()), ("y", "60%"), ("dx", "3")];
                parts.push(Html::element("text", &place, [Html::text(label)]));
            }
        }
        Html::element("svg", &[("role", "img")], parts)
    }

    fn lane_drawing(&self, subject: &str, lane: &Lane) -> Html {
        let view_box = format!("0 0 {} {LANE_HEIGHT}", self.axis.n_columns);
        let attributes =
            [("role", "img"), ("viewBox", view_box.as_str()), ("preserveAspectRatio", "none")];
        let title = if self.has_servers {
            format!("{subject} on {}", servers_text(lane))
        } else {
            subject.to_owned()
        };
        let mut parts = vec![
            Html::text_element("title", &title),
            Html::text_element("desc", &self.description(lane)),
            path("grid", &self.grid_path()),
        ];
        let gaps = self.gap_path(lane);
        if !gaps.is_empty() {
            parts.push(path("gap", &gaps));
        }
        parts.extend(self.bars(lane));
        let limits = self.limit_path(lane);
        if !limits.is_empty() {
            parts.push(path("limit", &limits));
        }
        Html::element("svg", &attributes, parts)
    }

    /// Describes a lane in words.
    fn description(&self, lane: &Lane) -> String {
        let episodes = episodes(lane);
        let mut texts: Vec<_> = if episodes.len() <= MAX_EPISODES {
            episodes.iter().map(|cells| self.episode_text(cells)).collect()
        } else {
            let n_episodes = episodes.len();
            vec![format!("{n_episodes} times over the limit"), self.episode_text(&lane.cells)]
        };
        let gaps = lane.gaps.iter().take(MAX_EPISODES);
        texts.extend(
            gaps.map(|gap| format!("no sample taken {}", period_text(self.page, gap.from, gap.to))),
        );
        texts.join("; ")
    }

    /// Returns `2026-11-10 02:10 to 02:50, 40 alerts, at most 480 connections`.
    fn episode_text(&self, cells: &[Cell]) -> String {
        let Axis { start, column_seconds, .. } = self.axis;
        let [first, .., last] = [cells.first(), cells.last()]
            .map(|cell| cell.map_or(start, |cell| start + cell.column * column_seconds));
        let peak = cells.iter().map(|cell| cell.peak).max().unwrap_or(0);
        format!(
            "{}, {}, at most {}",
            period_text(self.page, first, last + column_seconds),
            text::pluralize(cells.iter().map(|cell| cell.alerts).sum(), "alert", "alerts"),
            text::pluralize(peak, "connection", "connections")
        )
    }

    /// Returns the ticks of the axis as lines.
    fn grid_path(&self) -> String {
        let mut path = String::new();
        for Tick { seconds, .. } in &self.ticks {
            let tenths = seconds * 10 / self.axis.column_seconds;
            let _ = write!(path, "M{}.{} 0V{LANE_HEIGHT}", tenths / 10, tenths % 10);
        }
        path
    }

    /// Returns the columns in which no sample was taken as boxes.
    fn gap_path(&self, lane: &Lane) -> String {
        let Axis { start, column_seconds, .. } = self.axis;
        let mut path = String::new();
        for gap in &lane.gaps {
            let [from, to] = [gap.from, gap.to].map(|time| (time - start) / column_seconds);
            let n_columns = to - from - 1;
            if n_columns > 0 {
                let _ = write!(path, "M{} 0v{LANE_HEIGHT}h{n_columns}V0z", from + 1);
            }
        }
        path
    }

    /// Returns the bars: each episode with its description, or all in one if they are many.
    fn bars(&self, lane: &Lane) -> Vec<Html> {
        let episodes = episodes(lane);
        if episodes.len() > MAX_EPISODES {
            let paths: String = episodes.iter().map(|cells| self.bar_path(cells)).collect();
            return vec![path("bar", &paths)];
        }
        let bars = episodes.iter().map(|cells| {
            let title = Html::text_element("title", &self.episode_text(cells));
            Html::element("path", &[("class", "bar"), ("d", &self.bar_path(cells))], [title])
        });
        bars.collect()
    }

    /// Returns the outline of the bars of an episode.
    fn bar_path(&self, cells: &[Cell]) -> String {
        let first_column = cells.first().map_or(0, |cell| cell.column);
        let mut path = format!("M{first_column} {LANE_HEIGHT}");
        for cells in cells.chunk_by(|a, b| self.bar_height(a) == self.bar_height(b)) {
            let y = LANE_HEIGHT - self.bar_height(&cells[0]);
            let _ = write!(path, "V{y}h{}", cells.len());
        }
        let _ = write!(path, "V{LANE_HEIGHT}z");
        path
    }

    fn bar_height(&self, cell: &Cell) -> u64 {
        self.scale.height(float(cell.peak)).unwrap_or(0).max(MIN_BAR_HEIGHT)
    }

    /// Returns the limits as lines in the bars.
    fn limit_path(&self, lane: &Lane) -> String {
        let mut path = String::new();
        for cells in lane.cells.chunk_by(|a, b| {
            b.column == a.column + 1 && self.limit_height(a) == self.limit_height(b)
        }) {
            if let Some(height) = self.limit_height(&cells[0]) {
                let y = LANE_HEIGHT - height;
                let _ = write!(path, "M{} {y}h{}", cells[0].column, cells.len());
            }
        }
        path
    }

    /// Returns the height of the limit; `None` if it is not known or not in the drawing.
    fn limit_height(&self, cell: &Cell) -> Option<u64> {
        self.scale.height(cell.limit?)
    }
}

/// Returns the servers with blanks between them, so that a long list has line breaks.
fn servers_text(lane: &Lane) -> String {
    sanitize::truncate(&lane.servers.replace(',', ", "), MAX_SERVERS_BYTES)
}

fn path(class: &str, data: &str) -> Html {
    Html::element("path", &[("class", class), ("d", data)], [])
}

/// Returns the columns with alerts, those that follow each other together.
fn episodes(lane: &Lane) -> Vec<&[Cell]> {
    lane.cells.chunk_by(|a, b| b.column == a.column + 1).collect()
}

fn column_heading(text: &str, class: &str) -> Html {
    Html::element("th", &[("scope", "col"), ("class", class)], [Html::text(text)])
}

fn subject_heading(columns: OffenderColumns) -> &'static str {
    match columns {
        OffenderColumns::Plain | OffenderColumns::Operator => "Address",
        OffenderColumns::Groups { grouping: GroupBy::Asn, .. } => "Operator",
        OffenderColumns::Groups { grouping: GroupBy::Country, .. } => "Country",
        OffenderColumns::Groups { grouping: GroupBy::Label, .. } => "Label",
    }
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
