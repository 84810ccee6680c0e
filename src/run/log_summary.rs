//! Summarizes alert logs: alerts per address.
use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Instant,
};

use chrono::TimeZone;

use crate::{
    alert_log::{
        entry::LogEntry,
        parse::{LineError, LogLineParser, is_other_record},
        stats::{Grouping, Offender, Offenders},
        time_line::{AlertDetails, Lane, Period, TimeLines},
    },
    model::{
        network::Network,
        peer_id::{Group, GroupBy},
        problem::{Hints, Problem},
    },
    parse::line::Line,
    storage::log_reader::{self, LogFile, LogFinder, LogReaderError, PendingLogFile},
    sys::resolver::{self, ReverseName},
};

use super::operators::Operators;

/// Number of lines between two progress reports.
const LINES_PER_PROGRESS_REPORT: u64 = 4096;
/// Maximum number of bad lines that are listed.
const MAX_LISTED_BAD_LINES: usize = 10;
/// Maximum number of characters of a bad line that are shown.
const MAX_SHOWN_CHARS: usize = 60;

/// Selection of log files and alerts.
#[derive(Clone, Debug)]
pub struct LogQuery {
    /// Log files, each read together with its rotated files; `-` is standard input.
    pub logs: Vec<PathBuf>,
    /// Ignore alerts before this time; seconds since 1970-01-01 UTC.
    pub since: Option<i64>,
    /// Ignore alerts at or after this time; seconds since 1970-01-01 UTC.
    pub until: Option<i64>,
    /// Aggregation of the addresses.
    pub grouping: Grouping,
    /// Network databases, which have the operators of networks.
    pub network_dbs: Vec<PathBuf>,
    /// Property by which alerts are summed; `None` to sum by address.
    pub group_by: Option<GroupBy>,
    /// Period of the time lines; `None` if no time lines are needed.
    pub time_lines: Option<Period>,
}

/// Result of reading the logs.
#[derive(Debug, Default)]
pub struct LogSummary {
    /// Alert totals per address.
    pub offenders: Offenders,
    /// Times of the alerts per address, if they were requested.
    pub time_lines: Option<TimeLines>,
    /// Number of lines that are not valid log lines.
    pub n_bad_lines: u64,
    /// The first bad lines, each with its file, line number and error.
    pub bad_lines: Vec<String>,
    /// Logs and network databases that could not be read.
    pub problems: Vec<Problem>,
}

/// The offenders that a report lists.
#[derive(Debug)]
pub struct TopOffenders {
    /// Offenders with the most alerts, most first.
    pub listed: Vec<Offender>,
    /// Number of all offenders.
    pub total: usize,
    /// Time lines of the offenders in `listed`; empty if no time lines were requested.
    pub lanes: Vec<Vec<Lane>>,
}

impl TopOffenders {
    /// Looks up the names of the addresses in `listed` until `deadline`. Returns the
    /// addresses whose names could not be looked up.
    pub fn look_up_names(&mut self, deadline: Instant) -> Vec<IpAddr> {
        let is_address = |network: &Network| network.is_single_address();
        let mut offenders = Vec::new();
        for offender in &mut self.listed {
            if let Some(network) = offender.network.filter(is_address) {
                offenders.push((network.first_address(), &mut offender.name));
            }
        }
        let addresses = offenders.iter().map(|(address, _)| *address).collect();
        let names = resolver::reverse_names(addresses, deadline);
        let mut unresolved = Vec::new();
        for ((address, offender_name), name) in offenders.into_iter().zip(names) {
            match name {
                ReverseName::Confirmed(name) => *offender_name = Some(name),
                ReverseName::Absent => {}
                ReverseName::Unknown => unresolved.push(address),
            }
        }
        unresolved
    }
}

/// Reads the logs of `query` and returns the alert totals. Local times in the logs
/// are in `zone`. `progress` is called regularly with the number of bytes read and
/// the total, `None` if the total is unknown.
pub fn summarize_logs(
    query: &LogQuery,
    zone: &impl TimeZone,
    progress: &mut impl FnMut(u64, Option<u64>),
) -> LogSummary {
    let mut finder = LogFinder::default();
    let files: Vec<_> = query.logs.iter().flat_map(|path| find_inputs(&mut finder, path)).collect();
    let total: Option<u64> =
        files.iter().map(|file| file.as_ref().map_or(Some(0), LogInput::size)).sum();
    let offenders = Offenders::new(query.grouping);
    let time_lines = query.time_lines.map(|period| TimeLines::new(query.grouping, period));
    let mut summary = LogSummary { offenders, time_lines, ..LogSummary::default() };
    let mut n_bytes_before = 0;
    for file in files {
        let outcome = file.and_then(LogInput::open).and_then(|mut file| {
            summary.read_file(&mut file, query, zone, &mut |read| {
                progress(n_bytes_before + read, total);
            })?;
            n_bytes_before += file.bytes_read();
            Ok(())
        });
        summary.problems.extend(outcome.err().map(|error| error.to_problem()));
    }
    summary
}

/// A log to read.
enum LogInput {
    StandardInput,
    File(PendingLogFile),
}

impl LogInput {
    fn size(&self) -> Option<u64> {
        match self {
            Self::StandardInput => None,
            Self::File(file) => file.size,
        }
    }

    fn open(self) -> Result<LogFile, LogReaderError> {
        match self {
            Self::StandardInput => log_reader::open_stdin(),
            Self::File(file) => file.open(),
        }
    }
}

fn find_inputs(finder: &mut LogFinder, path: &Path) -> Vec<Result<LogInput, LogReaderError>> {
    if path == Path::new("-") {
        return vec![Ok(LogInput::StandardInput)];
    }
    finder.find(path).into_iter().map(|file| file.map(LogInput::File)).collect()
}

impl LogSummary {
    /// Returns the `n` addresses or groups with the most alerts, with the operators that the
    /// network databases of `query` have for them. A database that fails is a problem.
    pub fn top(&mut self, n: usize, query: &LogQuery) -> TopOffenders {
        let mut operators = Operators::open(&query.network_dbs);
        let top = match query.group_by {
            Some(group_by) => self.top_groups(n, group_by, &mut operators),
            None => self.top_addresses(n, &mut operators),
        };
        self.problems.append(&mut operators.problems);
        top
    }

    fn top_addresses(&self, n: usize, operators: &mut Operators) -> TopOffenders {
        let mut listed = self.offenders.top(n);
        for offender in &mut listed {
            if let Some(network) = offender.network {
                offender.operator = operators.operator_of(network);
            }
        }
        let lanes = match &self.time_lines {
            Some(time_lines) => {
                let networks = listed.iter().map(|offender| offender.network);
                networks.map(|network| time_lines.lanes(network.as_slice())).collect()
            }
            None => Vec::new(),
        };
        TopOffenders { listed, total: self.offenders.len(), lanes }
    }

    fn top_groups(&self, n: usize, group_by: GroupBy, operators: &mut Operators) -> TopOffenders {
        let mut listed =
            self.offenders.by_operator(group_by, |network| operators.operator_of(network));
        let total = listed.len();
        listed.truncate(n);
        let lanes = match &self.time_lines {
            Some(time_lines) => group_lanes(time_lines, &listed, group_by, operators),
            None => Vec::new(),
        };
        TopOffenders { listed, total, lanes }
    }

    fn read_file(
        &mut self,
        file: &mut LogFile,
        query: &LogQuery,
        zone: &impl TimeZone,
        progress: &mut impl FnMut(u64),
    ) -> Result<(), LogReaderError> {
        let mut parser = LogLineParser::new(zone.clone());
        if let Some(time_lines) = &mut self.time_lines {
            time_lines.start_file();
        }
        loop {
            if file.line_number() % LINES_PER_PROGRESS_REPORT == 0 {
                progress(file.bytes_read());
            }
            let Some(line) = file.next_line()? else {
                return Ok(());
            };
            match parse_entry(&line, &mut parser) {
                Ok(Some((entry, text))) => self.add_entry(&entry, text, query),
                Ok(None) => {}
                Err(problem) => {
                    let excerpt = line_excerpt(&line);
                    self.add_bad_line(
                        &format!("line {} of {}: {problem}", file.line_number(), file.name),
                        &excerpt,
                    );
                }
            }
        }
    }

    /// Adds the entry of the line `text`.
    fn add_entry(
        &mut self,
        entry: &LogEntry,
        text: &str,
        LogQuery { since, until, .. }: &LogQuery,
    ) {
        let timestamp = entry.timestamp.timestamp();
        let is_in_period = since.is_none_or(|since| timestamp >= since)
            && until.is_none_or(|until| timestamp < until);
        if is_in_period {
            self.offenders.add(entry);
            if let Some(time_lines) = &mut self.time_lines {
                time_lines.add(entry, AlertDetails::parse(text));
            }
        }
    }

    fn add_bad_line(&mut self, problem: &str, text: &str) {
        self.n_bad_lines += 1;
        if self.bad_lines.len() < MAX_LISTED_BAD_LINES {
            self.bad_lines.push(format!("{problem}: {text}"));
        }
    }
}

/// Returns the lanes of operators or countries, and of addresses without a group.
fn group_lanes(
    time_lines: &TimeLines,
    listed: &[Offender],
    group_by: GroupBy,
    operators: &mut Operators,
) -> Vec<Vec<Lane>> {
    let mut members: BTreeMap<Group, Vec<Network>> = BTreeMap::new();
    for network in time_lines.networks() {
        if let Some((group, _)) = operators.operator_of(network).group(group_by) {
            members.entry(group).or_default().push(network);
        }
    }
    let lanes = listed.iter().map(|offender| match offender.network {
        Some(network) => time_lines.lanes(&[network]),
        None => {
            let group = offender.operator.group(group_by);
            let networks = group.and_then(|(group, _)| members.get(&group));
            time_lines.lanes(networks.map_or(&[], Vec::as_slice))
        }
    });
    lanes.collect()
}

/// Parses a log line, and returns the entry and the text; returns `None` if the line is
/// blank, or not about one peer.
fn parse_entry<'a>(
    line: &Line<'a>,
    parser: &mut LogLineParser<impl TimeZone>,
) -> Result<Option<(LogEntry, &'a str)>, String> {
    let bytes = match line {
        Line::Complete(bytes) => bytes,
        // A line without a line end may be truncated in the middle of the address.
        Line::Unterminated(_) => return Err("it has no line end".to_owned()),
        Line::TooLong(_) => return Err("it is too long".to_owned()),
    };
    if bytes.is_empty() {
        return Ok(None);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| LineError::Format.to_string())?;
    if is_other_record(text) {
        return Ok(None);
    }
    let entry = parser.parse(text).map_err(|error| error.to_string())?;
    Ok(Some((entry, text)))
}

/// Returns the beginning of a line for an error message; invalid UTF-8 is replaced.
fn line_excerpt(line: &Line<'_>) -> String {
    let (Line::Complete(bytes) | Line::Unterminated(bytes) | Line::TooLong(bytes)) = line;
    let bytes = &bytes[..bytes.len().min(4 * MAX_SHOWN_CHARS)];
    String::from_utf8_lossy(bytes).chars().take(MAX_SHOWN_CHARS).collect()
}
