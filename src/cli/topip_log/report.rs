//! `topip_log report`: totals of logged alerts per address.
use std::{
    net::IpAddr,
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    alert_log::{parse, stats::Grouping, time_line::Period},
    cli::{
        Invocation,
        args::{ReportArgs, ReportFormat, TimeSpec},
        program_output::ProgramOutput,
    },
    model::problem::Problem,
    output::{self, OffenderColumns, OffenderPage, OffenderTable, TableLayout},
    run::{self, LogQuery, LogSummary, TopOffenders},
    sys::{local_time, stdio},
};

use super::{EXIT_FAILURE, EXIT_USAGE, failure_output};

/// Default number of addresses in a table.
const DEFAULT_TOP: usize = 10;
/// Default number of addresses on a page.
const DEFAULT_PAGE_TOP: usize = 100;
/// Maximum time to look up names; `--help` and the manual page state it.
const RESOLVE_TIME: Duration = Duration::from_secs(10);
/// Run time before the progress bar appears.
const PROGRESS_DELAY: Duration = Duration::from_millis(500);
/// Time between two updates of the progress bar.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Reads the logs and returns the report.
pub(super) fn run(args: &ReportArgs, invocation: &Invocation) -> ProgramOutput {
    let query = match log_query(args, invocation) {
        Ok(query) => query,
        Err(failure) => return ProgramOutput { exit_code: EXIT_USAGE, ..failure_output(&failure) },
    };
    let mut progress_bar =
        ProgressBar { text: None, next_update: invocation.started + PROGRESS_DELAY };
    let mut summary =
        run::summarize_logs(&query, &local_time::time_zone(), &mut |read_bytes, total_bytes| {
            if invocation.is_stderr_terminal {
                progress_bar.update(read_bytes, total_bytes);
            }
        });
    progress_bar.clear();
    // If no log was readable, an empty table would look like a result.
    let is_unreadable = summary.offenders.is_empty() && !summary.problems.is_empty();
    let mut top = summary.top(max_listed(args), &query);
    let unresolved =
        if args.resolve { Some(top.look_up_names(Instant::now() + RESOLVE_TIME)) } else { None };
    let problems = problems(&summary, unresolved.as_deref().unwrap_or_default());
    let stdout = if args.output == ReportFormat::Text && is_unreadable {
        String::new()
    } else {
        let report = LogReport { summary: &summary, top: &top, problems: &problems };
        report.render(args, unresolved.map(|addresses| addresses.len()), invocation)
    };
    ProgramOutput {
        stdout,
        stderr: problems.iter().map(output::render_log_problem).collect(),
        exit_code: if summary.problems.is_empty() { 0 } else { EXIT_FAILURE },
        ..ProgramOutput::default()
    }
}

/// Returns the query for the options.
fn log_query(args: &ReportArgs, invocation: &Invocation) -> Result<LogQuery, Problem> {
    if let Some(daemon) = args.log.iter().find(|log| is_daemon(log)) {
        let hints = vec![
            "If alerts are logged as JSON: journalctl -t topip -o cat | topip_log report --log -"
                .to_owned(),
        ];
        let daemon = daemon.display();
        let message = format!(
            "cannot read {daemon}: it is a daemon; for a file of that name, write ./{daemon}"
        );
        return Err(Problem::with_hints(&message, hints));
    }
    let since = args.since.map(|since| unix_seconds(since, invocation.now)).transpose()?;
    let until = args.until.map(|until| unix_seconds(until, invocation.now)).transpose()?;
    let is_empty_period = since.zip(until).is_some_and(|(since, until)| since >= until);
    if is_empty_period {
        let hints = vec!["`--since` must be earlier than `--until`.".to_owned()];
        return Err(Problem::with_hints("the period from `--since` to `--until` is empty", hints));
    }
    let grouping = Grouping { v4_prefix: args.prefix4, v6_prefix: args.prefix6 };
    if args.group_by.is_some() && args.network_db.is_empty() {
        let hints = vec!["Name a file such as GeoLite2-ASN.mmdb.".to_owned()];
        return Err(Problem::with_hints("`--group-by` needs `--network-db`", hints));
    }
    let (logs, network_dbs, group_by) = (args.log.clone(), args.network_db.clone(), args.group_by);
    let time_lines = if args.output == ReportFormat::Html {
        // A period without an end ends now.
        let now = i64::try_from(invocation.now.as_secs()).unwrap_or(i64::MAX);
        let is_open = since.is_some_and(|since| since < now);
        Some(Period { since, until: until.or(if is_open { Some(now) } else { None }) })
    } else {
        None
    };
    Ok(LogQuery { logs, since, until, grouping, network_dbs, group_by, time_lines })
}

/// Returns `true` if `record --log` would log to a daemon of this name.
fn is_daemon(log: &Path) -> bool {
    ["syslog", "journald"].iter().any(|daemon| log == Path::new(daemon))
}

/// Returns a time in seconds since 1970-01-01 UTC. A local time that is ambiguous because
/// clocks are set back is the first of its two instants.
fn unix_seconds(time_spec: TimeSpec, now: Duration) -> Result<i64, Problem> {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    match time_spec {
        TimeSpec::Ago(ago) => Ok(now.saturating_sub_unsigned(ago.as_secs())),
        TimeSpec::Exact(exact) => Ok(exact.timestamp()),
        TimeSpec::Local(local) => {
            let instants = parse::local_instants(&local_time::time_zone(), &local);
            instants.map(|(first, _)| first.timestamp()).ok_or_else(|| {
                let hints =
                    vec!["The clocks are set forward over it: use one hour later.".to_owned()];
                Problem::with_hints(format!("the local time {local} does not exist"), hints)
            })
        }
    }
}

/// Returns the maximum number of addresses in the report.
fn max_listed(args: &ReportArgs) -> usize {
    match args.top {
        Some(0) => usize::MAX,
        Some(top) => top,
        None => match args.output {
            ReportFormat::Text => DEFAULT_TOP,
            ReportFormat::Html => DEFAULT_PAGE_TOP,
            ReportFormat::Json | ReportFormat::Csv => usize::MAX,
        },
    }
}

/// The content of a report.
struct LogReport<'a> {
    summary: &'a LogSummary,
    top: &'a TopOffenders,
    problems: &'a [Problem],
}

impl LogReport<'_> {
    /// Returns the report in the requested format. The names of `unresolved` addresses could
    /// not be looked up.
    fn render(
        &self,
        args: &ReportArgs,
        unresolved: Option<usize>,
        invocation: &Invocation,
    ) -> String {
        let TopOffenders { listed, total, .. } = self.top;
        let columns = match args.group_by {
            Some(grouping) => OffenderColumns::Groups { grouping, total: *total },
            None if args.network_db.is_empty() => OffenderColumns::Plain,
            None => OffenderColumns::Operator,
        };
        let LogSummary { offenders, n_bad_lines, .. } = self.summary;
        let to_local = &local_time::from_timestamp;
        let table = OffenderTable { offenders, listed, columns, unresolved, to_local };
        match args.output {
            ReportFormat::Text => output::render_offender_table(&table, table_layout(invocation)),
            ReportFormat::Json => output::render_offender_json(&table, *n_bad_lines),
            ReportFormat::Csv => output::render_offender_csv(&table),
            ReportFormat::Html => self.render_page(&table, invocation),
        }
    }

    fn render_page(&self, table: &OffenderTable<'_>, invocation: &Invocation) -> String {
        let time_lines = self.summary.time_lines.as_ref();
        output::render_offender_page(&OffenderPage {
            table,
            time_lines: time_lines.expect("the query for a page has time lines"),
            lanes: &self.top.lanes,
            problems: self.problems,
            command: &command_line(invocation),
            created: i64::try_from(invocation.now.as_secs()).unwrap_or(i64::MAX),
        })
    }
}

/// Returns the command line of this process, quoted for a shell.
fn command_line(invocation: &Invocation) -> String {
    let args = invocation.args.iter().map(|arg| arg.to_string_lossy());
    let words: Vec<_> = std::iter::once("topip_log".into()).chain(args).collect();
    let quoted = shlex::try_join(words.iter().map(AsRef::as_ref));
    quoted.expect("an argument cannot contain a zero byte")
}

/// Returns the width of the table, and whether block characters can be used.
fn table_layout(invocation: &Invocation) -> TableLayout {
    let variables = ["LC_ALL", "LC_CTYPE", "LANG"];
    let locale = variables.iter().find_map(|name| invocation.env_var(name));
    let locale = locale.map(|it| it.to_string_lossy().to_lowercase().replace('-', ""));
    let has_blocks = locale.is_some_and(|locale| locale.contains("utf8"));
    TableLayout { columns: invocation.columns, has_blocks }
}

/// Returns the problems of the report: logs that could not be read, the first lines that are
/// not alerts, and the addresses whose names could not be looked up.
fn problems(summary: &LogSummary, unresolved: &[IpAddr]) -> Vec<Problem> {
    let mut problems = summary.problems.clone();
    let LogSummary { n_bad_lines, bad_lines, .. } = summary;
    if *n_bad_lines > 0 {
        let n_omitted = *n_bad_lines - bad_lines.len() as u64;
        let mut lines = bad_lines.clone();
        if n_omitted > 0 {
            lines.push(format!("... and {n_omitted} more"));
        }
        let message = match n_bad_lines {
            1 => "1 line is not an alert and was not counted:".to_owned(),
            n => format!("{n} lines are not alerts and were not counted:"),
        };
        problems.push(Problem::with_hints(message, lines));
    }
    if let [first, others @ ..] = unresolved {
        let n_others = others.len();
        let others = if n_others > 0 { format!(" and {n_others} more") } else { String::new() };
        let message = format!("cannot look up the name of {first}{others}: no answer in time");
        problems.push(Problem::with_hints(message, vec![format!("Try: getent hosts {first}")]));
    }
    problems
}

/// Progress bar on standard error, on a line that is overwritten.
struct ProgressBar {
    /// Text on the terminal; `None` before the first update.
    text: Option<String>,
    next_update: Instant,
}

impl ProgressBar {
    /// Shows the progress if it is time for an update.
    fn update(&mut self, read_bytes: u64, total_bytes: Option<u64>) {
        const MIB: u64 = 1024 * 1024;
        let now = Instant::now();
        if now < self.next_update {
            return;
        }
        self.next_update = now + PROGRESS_INTERVAL;
        let read_mib = read_bytes / MIB;
        let text = match total_bytes.filter(|&total_bytes| total_bytes > 0) {
            None => format!("{read_mib} MiB read"),
            Some(total_bytes) => {
                let percent = (u128::from(read_bytes) * 100 / u128::from(total_bytes)).min(100);
                let n_done = usize::try_from(percent / 4).expect("at most 25");
                format!("[{:<25}] {percent:3} % of {} MiB", "#".repeat(n_done), total_bytes / MIB)
            }
        };
        // The progress bar is optional; a write error does not end the report.
        let _ = stdio::write_stderr(&format!("\r{text}\x1b[K"));
        self.text = Some(text);
    }

    /// Clears the line.
    fn clear(self) {
        if self.text.is_some() {
            let _ = stdio::write_stderr("\r\x1b[K");
        }
    }
}
