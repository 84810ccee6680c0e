//! The report in the format of the plugin guidelines: a status line with
//! performance data, and long output.
use nagiosplugin::ToPerfString;

use crate::{
    analysis::{
        rule::JudgeConfig,
        sample::Sample,
        tally::{Aggregation, PrefixLengths},
        view::View,
    },
    model::{
        metric::{Metric, MetricRange},
        problem::Problem,
        range::Range,
        sanitize,
        verdict::Status,
    },
};

use super::{
    namespaces,
    notes::{self, note_text},
    report::{Report, Verbosity},
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
    let is_verbose = verbosity >= Verbosity::Addresses;
    if !is_verbose {
        lines.extend(text::other_rule_alerts(report));
    }
    lines.extend(report.notes().map(note_text));
    lines.extend(text::rule_limitations(report));
    if is_verbose || text::needs_explanation(report.status()) {
        let worst = std::slice::from_ref(report.worst_view());
        let views = if is_verbose { &report.views[..] } else { worst };
        lines.extend(views.iter().flat_map(|view| peer_lines(report, view, verbosity)));
    }
    if is_verbose {
        lines.extend(text::server_lines(report));
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
    let heading = text::peer_list_heading(report, sample, n_listed);
    let mut lines = vec![text::prefixed(&report.views, view, &heading)];
    for peer in sample.top.iter().take(n_listed) {
        lines.push(text::peer_line(report, peer, sample, verbosity));
    }
    lines
}

fn capitalize(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// A number or threshold of the performance data. The nagiosplugin crate would
/// write all digits of a float, and does not support ranges.
enum PerfValue {
    Number(f64),
    Count(u64),
    Range(Range),
}

impl ToPerfString for PerfValue {
    fn to_perf_string(&self) -> String {
        match self {
            Self::Number(number) => text::decimal(*number),
            Self::Count(count) => count.to_perf_string(),
            Self::Range(range) => range.to_string(),
        }
    }
}

/// Returns the performance data in a fixed order: `max=12;28.1;;0 avg=…`.
fn perfdata(report: &Report) -> String {
    // Always the first view, so that a graph shows one series.
    let sample = &report.views[0].sample;
    let mut metrics = Vec::new();
    for metric in Metric::ALL {
        if metric != Metric::Over {
            metrics.push(metric_of(report, sample, metric));
        }
    }
    for View { sample, .. } in &report.views[1..] {
        let (label, max) = match sample.aggregation {
            Aggregation::Prefix(PrefixLengths { v4, v6, .. }) => {
                (format!("max_{v4}_{v6}"), sample.summary.max)
            }
            Aggregation::Group(by) => (format!("max_{}", by.name()), sample.max_attributable()),
        };
        let limit = PerfValue::Number(sample.limit.connections);
        metrics.push(metric(&label, PerfValue::Count(max), Some(limit), None));
    }
    metrics.push(metric_of(report, sample, Metric::Over));
    metrics.join(" ")
}

/// Returns a metric of the sample with the ranges for it. The warning range of the maximum
/// is the limit by default.
fn metric_of(report: &Report, sample: &Sample, name: Metric) -> String {
    let value = match name {
        // The limit applies only to attributable peers; the graph shows the maximum of all.
        Metric::Max => PerfValue::Count(sample.summary.max),
        _ => PerfValue::Number(sample.metric(name)),
    };
    let JudgeConfig { warning, critical, .. } = &report.judge_config;
    let limit = match name {
        Metric::Max => Some(PerfValue::Number(sample.limit.connections)),
        _ => None,
    };
    metric(name.name(), value, range_of(warning, name).or(limit), range_of(critical, name))
}

fn range_of(ranges: &[MetricRange], metric: Metric) -> Option<PerfValue> {
    let range = ranges.iter().find(|range| range.metric == metric)?;
    Some(PerfValue::Range(range.range))
}

/// Returns a metric with the minimum 0: `max=12;28.1;;0`.
fn metric(
    label: &str,
    value: PerfValue,
    warning: Option<PerfValue>,
    critical: Option<PerfValue>,
) -> String {
    // The crate's `PerfData` is not used: it quotes every label, ends in an empty field,
    // and is rendered only as a part of `Resource`, which begins with `TOPIP is OK`
    // where the status line of a plugin begins with `TOPIP OK - `.
    let value = value.to_perf_string();
    let warning = warning.map_or_else(String::new, |range| range.to_perf_string());
    let critical = critical.map_or_else(String::new, |range| range.to_perf_string());
    format!("{label}={value};{warning};{critical};0")
}

#[cfg(test)]
mod tests {
    use nagiosplugin::{CheckResult, PerfData, Resource};

    use super::*;

    #[test]
    fn metric_differs_from_crate_by_quotes_and_empty_field() {
        let perf_data = PerfData::new("max", PerfValue::Count(12))
            .with_thresholds(Some(PerfValue::Number(28.1)), None)
            .with_minimum(PerfValue::Count(0));
        let result = CheckResult::new().with_perf_data(perf_data);
        let (_, line) = Resource::new("TOPIP").with_result(result).nagios_result();
        assert_eq!(line, "TOPIP is OK|'max'=12;28.1;;0;");
        let rendered = metric("max", PerfValue::Count(12), Some(PerfValue::Number(28.1)), None);
        assert_eq!(rendered, "max=12;28.1;;0");
    }
}
