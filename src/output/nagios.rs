//! The report in the format of the plugin guidelines: a status line with
//! performance data, and long output.
use nagiosplugin::{CheckResult, PerfData, Resource, ToPerfString};

use crate::model::{problem::Problem, range::Range, sanitize, verdict::Status};

use super::{
    namespaces,
    notes::{self, note_text},
    report::{Report, Verbosity, View},
    text::{self, MAX_STATUS_TEXT_BYTES},
};

/// Maximum length in bytes of a line of the long output.
const MAX_LINE_BYTES: usize = 1000;

/// Returns the report with a line end.
#[must_use]
pub fn render_nagios(report: &Report, verbosity: Verbosity) -> String {
    let status = report.status();
    let text = text::status_text(report);
    let mut lines = vec![format!("TOPIP {status} - {text} | {}", perfdata(report))];
    lines.extend(long_output(report, verbosity).iter().map(|line| sanitize_line(line)));
    lines.join("\n") + "\n"
}

/// Returns the output of a run without a verdict, with a line end.
#[must_use]
pub fn render_nagios_failure(status: Status, problem: &Problem) -> String {
    let message = sanitize::single_line(&text::options_as_flags(&problem.message));
    let message = sanitize::truncate(&message, MAX_STATUS_TEXT_BYTES);
    let mut lines = vec![format!("TOPIP {status} - {message}")];
    lines.extend(problem.hints.iter().map(|hint| sanitize_line(hint)));
    lines.join("\n") + "\n"
}

fn sanitize_line(line: &str) -> String {
    sanitize::truncate(&sanitize::single_line(&text::options_as_flags(line)), MAX_LINE_BYTES)
}

fn long_output(report: &Report, verbosity: Verbosity) -> Vec<String> {
    let mut lines = Vec::new();
    for Problem { message, hints } in report.problems() {
        lines.push(format!("{}.", capitalize(message)));
        lines.extend(hints.iter().cloned());
    }
    lines.extend(report.notes().map(note_text));
    lines.extend(text::rule_limitations(report));
    let is_verbose = verbosity >= Verbosity::Addresses;
    if is_verbose || text::needs_explanation(report.status()) {
        let worst = std::slice::from_ref(report.worst_view());
        let views = if is_verbose { &report.views[..] } else { worst };
        lines.extend(views.iter().flat_map(|view| peer_lines(report, view, verbosity)));
    }
    if is_verbose {
        lines.extend(report.observation.servers.iter().map(text::server_line));
        lines.extend(namespaces::namespace_lines(report, verbosity));
        for view in &report.views {
            for line in text::explain_limits(report, view) {
                lines.push(text::prefixed(&report.views, view, &line));
            }
        }
    }
    if verbosity >= Verbosity::Details {
        lines.extend(notes::detail_lines(report));
    }
    lines
}

/// Returns the list of the busiest peers with its heading.
fn peer_lines(report: &Report, view: &View, verbosity: Verbosity) -> Vec<String> {
    let sample = &view.sample;
    let n_listed = report.n_listed(view, verbosity);
    if n_listed == 0 {
        return Vec::new();
    }
    let heading = text::peer_list_heading(sample, n_listed);
    let mut lines = vec![text::prefixed(&report.views, view, &heading)];
    for peer in sample.top.iter().take(n_listed) {
        lines.push(text::peer_line(peer, sample.timestamp));
    }
    lines
}

fn capitalize(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// A number or threshold of the performance data. The nagiosplugin crate would
/// write a float with all its digits, and does not support ranges.
enum PerfValue {
    Number(f64),
    Count(u64),
    Range(Range),
}

impl ToPerfString for PerfValue {
    fn to_perf_string(&self) -> String {
        match self {
            Self::Number(number) => text::decimal(*number),
            Self::Count(count) => count.to_string(),
            Self::Range(range) => range.to_string(),
        }
    }
}

/// Returns the performance data in a fixed order: `max=12;28.1;;0 avg=…`.
fn perfdata(report: &Report) -> String {
    // Always the first view, so that a graph shows one series.
    let View { sample, verdict, .. } = &report.views[0];
    let judge_config = &report.judge_config;
    let summary = &sample.summary;
    let limit = PerfValue::Number(verdict.limit.connections);
    let warning = judge_config.warning.map_or(limit, PerfValue::Range);
    let max = PerfData::new("max", PerfValue::Count(summary.max))
        .with_thresholds(Some(warning), judge_config.critical.map(PerfValue::Range));
    let statistics = [
        ("avg", PerfValue::Number(summary.avg)),
        ("stddev", PerfValue::Number(summary.stddev)),
        ("med", PerfValue::Count(summary.median)),
        ("min", PerfValue::Count(summary.min)),
        ("addresses", PerfValue::Count(sample.addresses)),
        ("connections", PerfValue::Count(sample.connections)),
    ];
    let statistics = statistics.map(|(label, value)| PerfData::new(label, value));
    let other_views = report.views[1..].iter().map(|View { sample, verdict, .. }| {
        let label =
            format!("max_{}_{}", sample.aggregation.v4_prefix, sample.aggregation.v6_prefix);
        let limit = PerfValue::Number(verdict.limit.connections);
        PerfData::new(label, PerfValue::Count(sample.summary.max))
            .with_thresholds(Some(limit), None)
    });
    let mut resource = Resource::new("TOPIP").with_fixed_state(report.status().into());
    for metric in std::iter::once(max).chain(statistics).chain(other_views) {
        let metric = metric.with_minimum(PerfValue::Count(0));
        resource.push_result(CheckResult::new().with_perf_data(metric));
    }
    // The crate writes its own status text before the bar, quotes labels that do
    // not need quotes, and keeps trailing empty fields.
    let (_, line) = resource.nagios_result();
    let (_, perfdata) = line.split_once('|').expect("the crate puts a bar before perfdata");
    let metrics: Vec<_> = perfdata.split(' ').map(|metric| metric.replace('\'', "")).collect();
    metrics.iter().map(|metric| metric.trim_end_matches(';')).collect::<Vec<_>>().join(" ")
}
