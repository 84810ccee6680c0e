//! A whole alert log, plain or compressed, and the report about it.
use chrono::{DateTime, FixedOffset, Utc};
use topip::{
    alert_log::stats::{Grouping, Offender},
    model::problem::Problem,
    output::{self, OffenderColumns, OffenderTable, TableLayout},
    run::{LogQuery, LogSummary, summarize_logs},
};

use super::room;

/// Checks that each non-blank line of a log is an alert or a bad line, and that the report
/// keeps its format.
pub fn check(bytes: &[u8]) {
    let log = room::write("topip.log", bytes);
    let groupings = [(None, None), (Some(24), Some(64))];
    for (v4_prefix, v6_prefix) in groupings {
        let query = LogQuery {
            logs: vec![log.clone()],
            since: None,
            until: None,
            grouping: Grouping { v4_prefix, v6_prefix },
            network_dbs: Vec::new(),
            group_by: None,
        };
        let mut summary = summarize_logs(&query, &Utc, &mut |_, _| {});
        assert_counts_add_up(&summary, bytes);
        let listed = summary.top(usize::MAX, &query).listed;
        assert_output_is_well_formed(&summary, &listed);
    }
}

fn assert_counts_add_up(summary: &LogSummary, bytes: &[u8]) {
    let LogSummary { offenders, n_bad_lines, bad_lines, problems } = summary;
    let is_gzip = bytes.starts_with(&[0x1f, 0x8b]);
    assert!(problems.is_empty() || is_gzip, "{problems:?}");
    assert_eq!(bad_lines.len() as u64, (*n_bad_lines).min(10));
    if !is_gzip {
        let lines = bytes.split(|&byte| byte == b'\n');
        // A line that consists of a carriage return is blank, unless it is the last one and
        // lacks its line feed.
        let is_return = bytes == b"\r" || bytes.ends_with(b"\n\r");
        let n_lines = lines.filter(|line| !matches!(line, [] | [b'\r'])).count();
        let n_lines = n_lines as u64 + u64::from(is_return);
        assert_eq!(offenders.alerts() + n_bad_lines, n_lines);
    }
    assert!(offenders.len() as u64 <= offenders.alerts());
}

fn assert_output_is_well_formed(summary: &LogSummary, listed: &[Offender]) {
    let local = |seconds| DateTime::<Utc>::from_timestamp(seconds, 0).unwrap_or_default().into();
    let local = |seconds: i64| -> DateTime<FixedOffset> { local(seconds) };
    let offenders = &summary.offenders;
    let columns = OffenderColumns::Plain;
    let table = OffenderTable { offenders, listed, columns, to_local: &local };
    let shortened = OffenderTable { listed: &listed[..listed.len().min(10)], ..table };
    let table_layout = TableLayout { columns: Some(80), has_blocks: true };
    let text = output::render_offender_table(&shortened, table_layout);
    let is_plain = |text: &str| text.lines().all(|line| !line.contains(char::is_control));
    assert!(is_plain(&text), "{text:?}");
    assert!(text.lines().count() <= 12, "{text:?}");
    let csv = output::render_offender_csv(&table);
    assert_eq!(csv.lines().count(), offenders.len() + 1, "{csv:?}");
    for line in csv.lines() {
        let cells: Vec<_> = line.split(',').collect();
        assert_eq!(cells.len(), 6, "{line:?}");
        let is_formula = |cell: &&str| cell.starts_with(['=', '+', '@', '\t', '\r']);
        assert!(!cells.iter().any(is_formula), "{line:?}");
        assert!(is_plain(line) && !line.contains('"'), "{line:?}");
    }
    let json = output::render_offender_json(&table, summary.n_bad_lines);
    assert!(is_plain(&json), "{json:?}");
    let problem = Problem::with_hints("cannot read", summary.bad_lines.clone());
    let stderr = output::render_log_problem(&problem);
    assert!(is_plain(&stderr), "{stderr:?}");
    assert_eq!(stderr.lines().count(), 1 + summary.bad_lines.len(), "{stderr:?}");
}
