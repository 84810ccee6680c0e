//! Time lines of the alerts about each address: their times, peaks and servers.
//!
//! Memory is bounded. Time is divided into at most `MAX_COLUMNS` columns, which become
//! wider as the period grows. If there are too many addresses, those with the fewest alerts
//! are dropped.
use std::{cmp::Reverse, collections::BTreeMap, mem};

use serde::Deserialize;

use super::{
    entry::{LOCALHOST, LogEntry},
    stats::{Grouping, OTHER_SERVERS},
};
use crate::model::network::Network;

/// Maximum number of columns.
const MAX_COLUMNS: i64 = 500;
/// Maximum number of cells in all time lines: the complete time lines of 200 addresses.
const MAX_CELLS: usize = 200 * MAX_GAPS;
/// Maximum number of gaps in the time line of all addresses: one for each column.
const MAX_GAPS: usize = MAX_COLUMNS as usize;
/// Maximum number of distinct lists of servers.
const MAX_SERVER_LISTS: usize = 1000;
/// Maximum number of lanes in one time line.
const MAX_LANES: usize = 5;
/// Widths of a column in seconds. Each one divides the next one, so that columns can be
/// merged.
const COLUMN_WIDTHS: [i64; 9] = [60, 300, 900, 1800, 3600, 7200, 21_600, 43_200, 86_400];

/// The period that time lines cover, in seconds since 1970-01-01 UTC. Alerts outside the
/// period extend it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Period {
    /// First second; `None` for the time of the first alert.
    pub since: Option<i64>,
    /// The second after the last one; `None` for the time of the last alert.
    pub until: Option<i64>,
}

/// Details of an alert that only lines in JSON contain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
pub struct AlertDetails {
    /// The limit that was exceeded, in connections.
    pub limit: Option<f64>,
    /// Number of consecutive samples with the address over the limit.
    pub samples: Option<u32>,
}

impl AlertDetails {
    /// Parses a line of the log in any format.
    #[must_use]
    pub fn parse(line: &str) -> Self {
        if !line.starts_with('{') {
            return Self::default();
        }
        // An alert without these details is counted as well: other programs may write such
        // lines.
        serde_json::from_str(line).unwrap_or_default()
    }
}

/// The columns of all time lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Start of the first column, in seconds since 1970-01-01 UTC.
    pub start: i64,
    /// Width of a column in seconds.
    pub column_seconds: i64,
    /// Number of columns.
    pub n_columns: i64,
}

/// The alerts about one or several addresses, on the same servers.
#[derive(Clone, Debug, PartialEq)]
pub struct Lane {
    /// Names of the servers, separated by commas.
    pub servers: String,
    /// The columns with alerts, in ascending order.
    pub cells: Vec<Cell>,
    /// Periods without a sample that the log shows.
    pub gaps: Vec<Gap>,
}

impl Lane {
    /// Returns the number of alerts.
    #[must_use]
    pub fn alerts(&self) -> u64 {
        self.cells.iter().map(|cell| cell.alerts).sum()
    }
}

/// The alerts in one column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    /// Number of the column. The first column of the axis has the number 0.
    pub column: i64,
    /// Number of alerts, 1 or more.
    pub alerts: u64,
    /// Maximum number of connections in one alert.
    pub peak: u64,
    /// Limit of one of the alerts, usually the latest; `None` if the log does not show it.
    pub limit: Option<f64>,
}

impl Cell {
    /// Adds the alerts of `other`.
    fn merge(&mut self, other: &Self) {
        self.alerts += other.alerts;
        self.peak = self.peak.max(other.peak);
        self.limit = other.limit.or(self.limit);
    }
}

/// Time between two consecutive samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Time of the earlier sample, in seconds since 1970-01-01 UTC.
    pub from: i64,
    /// Time of the later sample, in seconds since 1970-01-01 UTC.
    pub to: i64,
}

/// The alerts about one address or network. Columns are counted from 1970-01-01 UTC.
#[derive(Debug, Default)]
struct TimeLine {
    alerts: u64,
    /// Each cell with the index of its list of servers, sorted by index and column.
    cells: Vec<(u16, Cell)>,
    gaps: Vec<(u16, Gap)>,
    previous: Option<PreviousAlert>,
}

/// The alert before the current one.
#[derive(Clone, Copy, Debug)]
struct PreviousAlert {
    /// The address. The time line may be that of a network that contains it.
    network: Network,
    servers: u16,
    timestamp: i64,
    samples: u32,
}

/// The time lines of all addresses.
#[derive(Debug)]
pub struct TimeLines {
    grouping: Grouping,
    period: Period,
    column_seconds: i64,
    /// Numbers of the first and the last column; `None` before the first alert.
    columns: Option<(i64, i64)>,
    /// The time line of all addresses together.
    total: TimeLine,
    by_network: BTreeMap<Network, TimeLine>,
    /// Number of cells and gaps in `by_network`.
    n_cells: usize,
    server_lists: BTreeMap<String, u16>,
    /// Shortest time between two consecutive samples, for each list of servers.
    intervals: Vec<Option<i64>>,
}

impl TimeLines {
    /// Creates empty time lines for `period`.
    #[must_use]
    pub fn new(grouping: Grouping, period: Period) -> Self {
        let mut time_lines = Self {
            grouping,
            period,
            column_seconds: COLUMN_WIDTHS[0],
            columns: None,
            total: TimeLine::default(),
            by_network: BTreeMap::new(),
            n_cells: 0,
            server_lists: BTreeMap::new(),
            intervals: Vec::new(),
        };
        for timestamp in [period.since, period.until.map(|until| until.saturating_sub(1))] {
            timestamp.into_iter().for_each(|timestamp| time_lines.extend_period(timestamp));
        }
        time_lines
    }

    /// Starts a file of the log. Its samples do not continue those of the previous file, which
    /// may be from another host.
    pub fn start_file(&mut self) {
        for time_line in self.by_network.values_mut() {
            time_line.previous = None;
        }
    }

    /// Adds one alert.
    pub fn add(&mut self, entry: &LogEntry, details: AlertDetails) {
        let timestamp = entry.timestamp.timestamp();
        self.extend_period(timestamp);
        let servers = self.server_list_index(&entry.servers);
        let column = timestamp.div_euclid(self.column_seconds);
        let cell = Cell { column, alerts: 1, peak: entry.connections, limit: details.limit };
        self.total.add_cell(servers, cell);
        let network = entry.network;
        let time_line = self.by_network.entry(self.grouping.network_for(network)).or_default();
        let n_before = time_line.len();
        time_line.add_cell(servers, cell);
        let alert =
            details.samples.map(|samples| PreviousAlert { network, servers, timestamp, samples });
        let previous = mem::replace(&mut time_line.previous, alert);
        if let Some(gap) = previous.zip(alert).and_then(|(earlier, later)| gap(earlier, later)) {
            let interval = &mut self.intervals[usize::from(servers)];
            let seconds = gap.to - gap.from;
            *interval = Some(interval.map_or(seconds, |shortest| shortest.min(seconds)));
            if seconds > 2 * self.column_seconds {
                time_line.gaps.push((servers, gap));
                self.total.add_gap(servers, gap);
            }
        }
        self.n_cells += time_line.len() - n_before;
        if self.n_cells > MAX_CELLS {
            self.drop_smallest();
        }
    }

    /// Returns the columns; `None` without alerts in an open period.
    #[must_use]
    pub fn axis(&self) -> Option<Axis> {
        let (first, last) = self.columns?;
        let column_seconds = self.column_seconds;
        Some(Axis { start: first * column_seconds, column_seconds, n_columns: last - first + 1 })
    }

    /// Returns the first second of the period, and the second after the last one; `None`
    /// without alerts in an open period.
    #[must_use]
    pub fn bounds(&self) -> Option<(i64, i64)> {
        let axis = self.axis()?;
        let end = axis.start + axis.n_columns * axis.column_seconds;
        let Period { since, until } = self.period;
        Some((
            since.map_or(axis.start, |since| since.max(axis.start)),
            until.map_or(end, |until| until.min(end)),
        ))
    }

    /// Returns the addresses and networks with a time line.
    pub fn networks(&self) -> impl Iterator<Item = Network> {
        self.by_network.keys().copied()
    }

    /// Returns the alerts about all addresses.
    #[must_use]
    pub fn total_lanes(&self) -> Vec<Lane> {
        self.lanes_of(&[&self.total])
    }

    /// Returns the alerts about these addresses and networks together: the servers with the
    /// most alerts first. If time lines were dropped, their alerts are missing.
    #[must_use]
    pub fn lanes(&self, networks: &[Network]) -> Vec<Lane> {
        let time_lines: Vec<_> =
            networks.iter().filter_map(|network| self.by_network.get(network)).collect();
        self.lanes_of(&time_lines)
    }

    fn lanes_of(&self, time_lines: &[&TimeLine]) -> Vec<Lane> {
        let first_column = self.columns.map_or(0, |(first, _)| first);
        let mut lanes: BTreeMap<u16, Lane> = BTreeMap::new();
        for &(servers, cell) in time_lines.iter().flat_map(|time_line| &time_line.cells) {
            let cell = Cell { column: cell.column - first_column, ..cell };
            lanes.entry(servers).or_insert_with(|| self.new_lane(servers)).cells.push(cell);
        }
        for lane in lanes.values_mut() {
            lane.cells = merge_columns(mem::take(&mut lane.cells));
        }
        for &(servers, gap) in time_lines.iter().flat_map(|time_line| &time_line.gaps) {
            if let Some(lane) = lanes.get_mut(&servers).filter(|_| self.is_gap(servers, gap)) {
                lane.gaps.push(gap);
            }
        }
        let mut lanes: Vec<_> = lanes.into_values().collect();
        lanes.sort_by_key(|lane| Reverse(lane.alerts()));
        merge_smallest_lanes(&mut lanes);
        lanes
    }

    fn new_lane(&self, servers: u16) -> Lane {
        let name = self.server_lists.iter().find(|&(_, &index)| index == servers);
        let servers = name.map(|(name, _)| name.clone()).unwrap_or_default();
        Lane { servers, cells: Vec::new(), gaps: Vec::new() }
    }

    /// Returns whether the time between two samples is longer than usual.
    fn is_gap(&self, servers: u16, gap: Gap) -> bool {
        let interval = self.intervals[usize::from(servers)];
        interval.is_some_and(|interval| gap.to - gap.from > 2 * interval)
    }

    /// Extends the columns to `timestamp`. Makes them wider if there would be more than
    /// [`MAX_COLUMNS`].
    fn extend_period(&mut self, timestamp: i64) {
        let column = timestamp.div_euclid(self.column_seconds);
        let (first, last) = self.columns.unwrap_or((column, column));
        let (mut first, mut last) = (first.min(column), last.max(column));
        while last - first >= MAX_COLUMNS {
            let wider = wider_column(self.column_seconds);
            let factor = wider / self.column_seconds;
            self.column_seconds = wider;
            (first, last) = (first.div_euclid(factor), last.div_euclid(factor));
            self.total.widen_columns(factor);
            self.n_cells = 0;
            for time_line in self.by_network.values_mut() {
                time_line.widen_columns(factor);
                self.n_cells += time_line.len();
            }
        }
        self.columns = Some((first, last));
    }

    /// Drops the time lines with the fewest alerts until at most half of [`MAX_CELLS`] remain.
    fn drop_smallest(&mut self) {
        let mut by_alerts: Vec<_> =
            self.by_network.iter().map(|(&network, line)| (line.alerts, network)).collect();
        by_alerts.sort_unstable();
        for (_, network) in by_alerts {
            if self.n_cells <= MAX_CELLS / 2 {
                break;
            }
            let dropped = self.by_network.remove(&network);
            self.n_cells -= dropped.map_or(0, |time_line| time_line.len());
        }
    }

    /// Returns the index of a list of servers, and adds the list if it is new.
    fn server_list_index(&mut self, servers: &[String]) -> u16 {
        let name = if servers.is_empty() { LOCALHOST.to_owned() } else { servers.join(",") };
        if let Some(&index) = self.server_lists.get(&name) {
            return index;
        }
        let n_lists = self.server_lists.len();
        let name = if n_lists < MAX_SERVER_LISTS { name } else { OTHER_SERVERS.to_owned() };
        let next = u16::try_from(n_lists).expect("at most MAX_SERVER_LISTS + 1 lists");
        self.intervals.resize(n_lists + 1, None);
        *self.server_lists.entry(name).or_insert(next)
    }
}

impl TimeLine {
    /// Returns the number of cells and gaps.
    fn len(&self) -> usize {
        self.cells.len() + self.gaps.len()
    }

    fn add_cell(&mut self, servers: u16, cell: Cell) {
        self.alerts += cell.alerts;
        let key = (servers, cell.column);
        match self.cells.binary_search_by_key(&key, |(servers, cell)| (*servers, cell.column)) {
            Ok(position) => self.cells[position].1.merge(&cell),
            Err(position) => self.cells.insert(position, (servers, cell)),
        }
    }

    /// Adds a gap that several addresses may show.
    fn add_gap(&mut self, servers: u16, gap: Gap) {
        let is_full = self.gaps.len() >= MAX_GAPS;
        if !is_full && !self.gaps.contains(&(servers, gap)) {
            self.gaps.push((servers, gap));
        }
    }

    /// Merges every `factor` columns into one.
    fn widen_columns(&mut self, factor: i64) {
        for (servers, cell) in mem::take(&mut self.cells) {
            let cell = Cell { column: cell.column.div_euclid(factor), ..cell };
            match self.cells.last_mut() {
                Some((last, merged)) if (*last, merged.column) == (servers, cell.column) => {
                    merged.merge(&cell);
                }
                _ => self.cells.push((servers, cell)),
            }
        }
    }
}

/// Returns the time between two alerts about an address if no other sample was taken between
/// them: the later alert is one consecutive sample after the earlier one.
fn gap(earlier: PreviousAlert, later: PreviousAlert) -> Option<Gap> {
    let is_next = (later.network, later.servers) == (earlier.network, earlier.servers)
        && later.timestamp > earlier.timestamp
        && earlier.samples.checked_add(1) == Some(later.samples);
    if is_next { Some(Gap { from: earlier.timestamp, to: later.timestamp }) } else { None }
}

/// Returns the next column width above `column_seconds`, in seconds.
fn wider_column(column_seconds: i64) -> i64 {
    let wider = COLUMN_WIDTHS.into_iter().find(|&width| width > column_seconds);
    wider.unwrap_or(2 * column_seconds)
}

/// Merges the lanes beyond [`MAX_LANES`] into one.
fn merge_smallest_lanes(lanes: &mut Vec<Lane>) {
    if lanes.len() <= MAX_LANES {
        return;
    }
    let cells = lanes.drain(MAX_LANES - 1..).flat_map(|lane| lane.cells).collect();
    let cells = merge_columns(cells);
    // The lanes are of different servers, so their gaps cannot be merged.
    lanes.push(Lane { servers: OTHER_SERVERS.to_owned(), cells, gaps: Vec::new() });
}

/// Merges the cells of the same column, and sorts the cells by column.
fn merge_columns(mut cells: Vec<Cell>) -> Vec<Cell> {
    cells.sort_by_key(|cell| cell.column);
    let mut merged: Vec<Cell> = Vec::with_capacity(cells.len());
    for cell in cells {
        match merged.last_mut() {
            Some(last) if last.column == cell.column => last.merge(&cell),
            _ => merged.push(cell),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use chrono::{TimeZone, Utc};

    use super::*;

    /// Start of a minute, an hour and a day.
    const START: i64 = 1_700_006_400;

    fn entry(seconds: i64, address: &str, connections: u64, servers: &[&str]) -> LogEntry {
        LogEntry {
            timestamp: Utc.timestamp_opt(seconds, 0).single().expect("a time").fixed_offset(),
            network: address.parse().expect("an address"),
            connections,
            servers: servers.iter().map(ToString::to_string).collect(),
        }
    }

    fn details(limit: f64, samples: u32) -> AlertDetails {
        AlertDetails { limit: Some(limit), samples: Some(samples) }
    }

    fn networks(addresses: &[&str]) -> Vec<Network> {
        addresses.iter().map(|address| address.parse().expect("an address")).collect()
    }

    /// Returns lanes as `SERVERS: COLUMN=PEAK(ALERTS)/LIMIT … gap FROM-TO`.
    fn describe(lanes: &[Lane]) -> Vec<String> {
        let mut lines = Vec::new();
        for Lane { servers, cells, gaps } in lanes {
            let mut line = format!("{servers}:");
            for Cell { column, alerts, peak, limit } in cells {
                line += &format!(" {column}={peak}({alerts})");
                line += &limit.map_or_else(String::new, |limit| format!("/{limit}"));
            }
            for Gap { from, to } in gaps {
                line += &format!(" gap {}-{}", from - START, to - START);
            }
            lines.push(line);
        }
        lines
    }

    #[test]
    fn lanes_have_peaks_and_limits_by_server() {
        let mut time_lines = TimeLines::new(Grouping::default(), Period::default());
        assert_eq!(time_lines.axis(), None);
        for (seconds, address, connections, servers) in [
            (60, "203.0.113.7", 152, &[][..]),
            (119, "203.0.113.7", 160, &[]),
            (0, "203.0.113.7", 90, &["web1", "web2"]),
            (200, "203.0.113.8", 70, &[]),
        ] {
            let entry = entry(START + seconds, address, connections, servers);
            time_lines.add(&entry, details(28.5, 2));
        }
        let axis = time_lines.axis().expect("there are alerts");
        assert_eq!(axis, Axis { start: START, column_seconds: 60, n_columns: 4 });
        let lanes = |addresses| describe(&time_lines.lanes(&networks(addresses)));
        assert_eq!(
            lanes(&["203.0.113.7"]),
            ["localhost: 1=160(2)/28.5", "web1,web2: 0=90(1)/28.5"]
        );
        let both = ["localhost: 1=160(2)/28.5 3=70(1)/28.5", "web1,web2: 0=90(1)/28.5"];
        assert_eq!(lanes(&["203.0.113.7", "203.0.113.8"]), both);
        assert_eq!(describe(&time_lines.total_lanes()), both);
        assert_eq!(lanes(&["192.0.2.1"]), [""; 0]);
    }

    #[test]
    fn columns_become_wider_as_period_grows() {
        let axis_of = |days: i64| {
            let mut time_lines = TimeLines::new(Grouping::default(), Period::default());
            for minute in 0..days * 1440 {
                let entry = entry(START + minute * 60, "192.0.2.1", 9, &[]);
                time_lines.add(&entry, AlertDetails::default());
            }
            let lanes = time_lines.lanes(&networks(&["192.0.2.1"]));
            let Axis { column_seconds, n_columns, .. } = time_lines.axis().expect("alerts");
            let alerts: Vec<_> = lanes[0].cells.iter().map(|cell| cell.alerts).collect();
            assert_eq!(lanes[0].alerts(), days.unsigned_abs() * 1440);
            let per_column = (column_seconds / 60).unsigned_abs();
            assert!(alerts[1..alerts.len() - 1].iter().all(|&alerts| alerts == per_column));
            (column_seconds, n_columns)
        };
        assert_eq!(axis_of(1), (300, 288));
        assert_eq!(axis_of(7), (1800, 336));
        assert_eq!(axis_of(30), (7200, 360));
    }

    #[test]
    fn period_is_shown_as_requested() {
        let period = Period { since: Some(START), until: Some(START + 7200) };
        let mut time_lines = TimeLines::new(Grouping::default(), period);
        time_lines.add(&entry(START + 3600, "192.0.2.1", 9, &[]), AlertDetails::default());
        let axis = Axis { start: START, column_seconds: 60, n_columns: 120 };
        assert_eq!(time_lines.axis(), Some(axis));
        assert_eq!(describe(&time_lines.total_lanes()), ["localhost: 60=9(1)"]);
        assert_eq!(time_lines.bounds(), Some((START, START + 7200)));
        let period = Period { since: Some(START + 20), until: Some(START + 80) };
        let time_lines = TimeLines::new(Grouping::default(), period);
        assert_eq!(time_lines.bounds(), Some((START + 20, START + 80)));
    }

    #[test]
    fn consecutive_samples_show_gaps() {
        let gaps = |grouping, alerts: &[(i64, &str, u32)]| {
            let mut time_lines = TimeLines::new(grouping, Period::default());
            for &(minute, address, samples) in alerts {
                let entry = entry(START + minute * 60, address, 9, &[]);
                time_lines.add(&entry, details(5.0, samples));
            }
            let all: Vec<_> = time_lines.networks().collect();
            let lanes = time_lines.lanes(&all);
            lanes[0].gaps.iter().map(|gap| (gap.from - START) / 60).collect::<Vec<_>>()
        };
        let one = "192.0.2.1";
        let each = Grouping::default();
        assert_eq!(gaps(each, &[(0, one, 2), (1, one, 3), (9, one, 4), (10, one, 5)]), [1]);
        // The address was below the limit meanwhile, or a sample has no line.
        assert_eq!(gaps(each, &[(0, one, 2), (1, one, 3), (9, one, 3), (19, one, 5)]), [0; 0]);
        // The usual time between two samples is not known.
        assert_eq!(gaps(each, &[(0, one, 2), (9, one, 3)]), [0; 0]);
        let other = "192.0.2.2";
        let network = Grouping { v4_prefix: Some(24), v6_prefix: None };
        assert_eq!(gaps(network, &[(0, one, 2), (1, one, 3), (9, other, 4)]), [0; 0]);
    }

    #[test]
    fn memory_is_bounded_and_largest_time_lines_are_kept() {
        let mut time_lines = TimeLines::new(Grouping::default(), Period::default());
        for n in 0..u32::try_from(2 * MAX_CELLS).expect("a small number") {
            let seconds = START + i64::from(n) / 10;
            let stranger = std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string();
            time_lines.add(&entry(seconds, &stranger, 9, &[&n.to_string()]), details(5.0, 1));
            time_lines.add(&entry(seconds, "192.0.2.1", 9, &[]), details(5.0, n));
            assert!(time_lines.n_cells <= MAX_CELLS);
        }
        let n_cells: usize = time_lines.by_network.values().map(TimeLine::len).sum();
        assert_eq!(time_lines.n_cells, n_cells);
        assert!(time_lines.server_lists.len() <= MAX_SERVER_LISTS + 1);
        let lanes = time_lines.lanes(&networks(&["192.0.2.1"]));
        assert_eq!(lanes[0].alerts(), 2 * MAX_CELLS as u64);
        let lanes = time_lines.total_lanes();
        assert_eq!((lanes.len(), &*lanes[1].servers), (MAX_LANES, OTHER_SERVERS));
    }

    #[test]
    fn extreme_times_are_columns() {
        let mut time_lines = TimeLines::new(Grouping::default(), Period::default());
        for time in [chrono::DateTime::<Utc>::MIN_UTC, chrono::DateTime::<Utc>::MAX_UTC] {
            let entry = LogEntry { timestamp: time.fixed_offset(), ..entry(0, "::1", 1, &[]) };
            time_lines.add(&entry, AlertDetails::default());
        }
        let axis = time_lines.axis().expect("there are alerts");
        assert!((2..=MAX_COLUMNS).contains(&axis.n_columns), "{axis:?}");
        assert_eq!(time_lines.total_lanes()[0].alerts(), 2);
    }
}
