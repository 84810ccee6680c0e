//! Summarizes alert logs: alerts per address.
use std::path::{Path, PathBuf};

use chrono::TimeZone;

use crate::{
    alert_log::{
        entry::LogEntry,
        parse::{LineError, LogLineParser, is_other_record},
        stats::{Grouping, Offender, Offenders},
    },
    model::peer_id::GroupBy,
    model::problem::{Hints, Problem},
    parse::line::Line,
    storage::log_reader::{self, LogFile, LogFinder, LogReaderError, PendingLogFile},
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
    /// Files that have the operators of networks.
    pub network_dbs: Vec<PathBuf>,
    /// Sum the alerts by operator or country.
    pub group_by: Option<GroupBy>,
}

/// Result of reading the logs.
#[derive(Debug, Default)]
pub struct LogSummary {
    /// Alert totals per address.
    pub offenders: Offenders,
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
    /// Those with the most alerts, most first.
    pub listed: Vec<Offender>,
    /// Number of all of them.
    pub total: usize,
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
    let mut summary = LogSummary { offenders, ..LogSummary::default() };
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
    /// Returns the `n` addresses or groups with the most alerts, with their operators as
    /// far as the network databases of `query` have them. A database that fails is a
    /// problem.
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
        TopOffenders { listed, total: self.offenders.len() }
    }

    fn top_groups(&self, n: usize, group_by: GroupBy, operators: &mut Operators) -> TopOffenders {
        let mut listed =
            self.offenders.by_operator(group_by, |network| operators.operator_of(network));
        let total = listed.len();
        listed.truncate(n);
        TopOffenders { listed, total }
    }

    fn read_file(
        &mut self,
        file: &mut LogFile,
        query: &LogQuery,
        zone: &impl TimeZone,
        progress: &mut impl FnMut(u64),
    ) -> Result<(), LogReaderError> {
        let mut parser = LogLineParser::new(zone.clone());
        loop {
            if file.line_number() % LINES_PER_PROGRESS_REPORT == 0 {
                progress(file.bytes_read());
            }
            let Some(line) = file.next_line()? else {
                return Ok(());
            };
            match parse_entry(&line, &mut parser) {
                Ok(Some(entry)) => self.add_entry(&entry, query),
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

    fn add_entry(&mut self, entry: &LogEntry, LogQuery { since, until, .. }: &LogQuery) {
        let timestamp = entry.timestamp.timestamp();
        let is_in_period = since.is_none_or(|since| timestamp >= since)
            && until.is_none_or(|until| timestamp < until);
        if is_in_period {
            self.offenders.add(entry);
        }
    }

    fn add_bad_line(&mut self, problem: &str, text: &str) {
        self.n_bad_lines += 1;
        if self.bad_lines.len() < MAX_LISTED_BAD_LINES {
            self.bad_lines.push(format!("{problem}: {text}"));
        }
    }
}

/// Parses a log line; returns `None` if it is blank, or not about one peer.
fn parse_entry(
    line: &Line<'_>,
    parser: &mut LogLineParser<impl TimeZone>,
) -> Result<Option<LogEntry>, String> {
    let bytes = match line {
        Line::Complete(bytes) => bytes,
        // The end of the line may be missing, and with it a part of the address.
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
    parser.parse(text).map(Some).map_err(|error| error.to_string())
}

/// Returns the beginning of a line for an error message; invalid UTF-8 is replaced.
fn line_excerpt(line: &Line<'_>) -> String {
    let (Line::Complete(bytes) | Line::Unterminated(bytes) | Line::TooLong(bytes)) = line;
    let bytes = &bytes[..bytes.len().min(4 * MAX_SHOWN_CHARS)];
    String::from_utf8_lossy(bytes).chars().take(MAX_SHOWN_CHARS).collect()
}
