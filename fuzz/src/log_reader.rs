//! A whole alert log, plain or compressed, and the report about it.
use chrono::{DateTime, FixedOffset, Utc};
use topip::{
    alert_log::{
        parse::is_other_record,
        stats::Grouping,
        time_line::{Lane, Period},
    },
    model::problem::Problem,
    output::{self, OffenderColumns, OffenderPage, OffenderTable, TableLayout},
    run::{LogQuery, LogSummary, TopOffenders, summarize_logs},
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
            time_lines: Some(Period::default()),
        };
        let mut summary = summarize_logs(&query, &Utc, &mut |_, _| {});
        assert_counts_add_up(&summary, bytes);
        let top = summary.top(usize::MAX, &query);
        assert_output_is_well_formed(&summary, &top);
    }
}

fn assert_counts_add_up(summary: &LogSummary, bytes: &[u8]) {
    let LogSummary { offenders, n_bad_lines, bad_lines, problems, .. } = summary;
    let is_gzip = bytes.starts_with(&[0x1f, 0x8b]);
    assert!(problems.is_empty() || is_gzip, "{problems:?}");
    assert_eq!(bad_lines.len() as u64, (*n_bad_lines).min(10));
    if !is_gzip {
        let lines = bytes.split(|&byte| byte == b'\n');
        // A line that consists of a carriage return is blank, unless it is the last one and
        // lacks its line feed.
        let is_return = bytes == b"\r" || bytes.ends_with(b"\n\r");
        let n_lines = lines.filter(|line| !matches!(line, [] | [b'\r'])).count();
        let is_other = |line: &&[u8]| {
            let text =
                line.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line));
            text.and_then(|text| std::str::from_utf8(text).ok()).is_some_and(is_other_record)
        };
        let n_other = bytes.split_inclusive(|&byte| byte == b'\n').filter(is_other).count();
        let n_lines = (n_lines - n_other) as u64 + u64::from(is_return);
        assert_eq!(offenders.alerts() + n_bad_lines, n_lines);
    }
    assert!(offenders.len() as u64 <= offenders.alerts());
}

fn assert_output_is_well_formed(summary: &LogSummary, top: &TopOffenders) {
    let listed = &top.listed[..];
    let local = |seconds| DateTime::<Utc>::from_timestamp(seconds, 0).unwrap_or_default().into();
    let local = |seconds: i64| -> DateTime<FixedOffset> { local(seconds) };
    let offenders = &summary.offenders;
    let columns = OffenderColumns::Plain;
    let table = OffenderTable { offenders, listed, columns, unresolved: None, to_local: &local };
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
    assert_page_is_well_formed(summary, &table, &top.lanes, problem);
}

fn assert_page_is_well_formed(
    summary: &LogSummary,
    table: &OffenderTable<'_>,
    lanes: &[Vec<Lane>],
    problem: Problem,
) {
    let time_lines = summary.time_lines.as_ref().expect("the query has time lines");
    for (offender, lanes) in table.listed.iter().zip(lanes) {
        assert_eq!(lanes.iter().map(Lane::alerts).sum::<u64>(), offender.alerts);
    }
    let page = OffenderPage {
        table,
        time_lines,
        lanes,
        problems: &[problem],
        command: &summary.bad_lines.concat(),
        created: 0,
    };
    let html = output::render_offender_page(&page);
    assert!(!html.lines().any(|line| line.contains(char::is_control)), "{html:?}");
    let mut open_elements = Vec::new();
    for tag in html.split('<').skip(2).filter_map(|text| text.split('>').next()) {
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap_or_default();
        assert!(ELEMENTS.contains(&name), "{tag:?}");
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag:?}");
        if tag.starts_with('/') {
            assert_eq!(open_elements.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open_elements.push(name);
        }
    }
    assert!(open_elements.is_empty(), "{open_elements:?}");
}

/// The elements of the page.
const ELEMENTS: [&str; 26] = [
    "body", "caption", "code", "desc", "h1", "h2", "head", "html", "li", "line", "main", "meta",
    "p", "path", "small", "style", "svg", "table", "tbody", "td", "text", "th", "thead", "title",
    "tr", "ul",
];
