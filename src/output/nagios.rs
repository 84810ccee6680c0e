//! The answer as the plugin guidelines and Nagios want it: a status line with
//! performance data, and more lines below.
use nagiosplugin::{CheckResult, PerfData, Resource, ToPerfString};

use crate::model::{range::Range, sanitize, verdict::Status};

use super::{
    namespaces,
    report::{Report, Trouble, Verbosity, View},
    text::{self, LONGEST_TEXT},
};

/// How long any other line may be.
const LONGEST_LINE: usize = 1000;

/// The answer, with a line end.
#[must_use]
pub fn nagios(report: &Report, verbosity: Verbosity) -> String {
    let status = report.status();
    let text = text::message(report);
    let mut lines = vec![format!("TOPIP {status} - {text} | {}", perfdata(report))];
    lines.extend(long_output(report, verbosity).iter().map(|line| tidy(line)));
    lines.join("\n") + "\n"
}

/// The answer of a run that came to no verdict, with a line end.
#[must_use]
pub fn failure(status: Status, problem: &str, more: &[String]) -> String {
    let problem = sanitize::beginning(&sanitize::line(problem), LONGEST_TEXT);
    let mut lines = vec![format!("TOPIP {status} - {problem}")];
    lines.extend(more.iter().map(|line| tidy(line)));
    lines.join("\n") + "\n"
}

fn tidy(line: &str) -> String {
    sanitize::beginning(&sanitize::line(line), LONGEST_LINE)
}

fn long_output(report: &Report, verbosity: Verbosity) -> Vec<String> {
    let mut lines = Vec::new();
    for Trouble { problem, advice } in &report.troubles {
        lines.push(format!("{}.", upper_first(problem)));
        lines.extend(advice.clone());
    }
    lines.extend(report.notes.iter().cloned());
    lines.extend(text::blind_sides(report));
    let asked = verbosity >= Verbosity::Addresses;
    if asked || text::wants_explaining(report.status()) {
        let worst = std::slice::from_ref(report.worst());
        let views = if asked { &report.views[..] } else { worst };
        lines.extend(views.iter().flat_map(|view| peers(report, view, verbosity)));
    }
    if asked {
        lines.extend(report.shares.iter().map(text::share));
        lines.extend(namespaces::shares(report, verbosity));
        for view in &report.views {
            let lines_of_view = text::explanation(report, view);
            let tagged = |line: &String| text::tagged(&report.views, view, line);
            lines.extend(lines_of_view.iter().map(tagged));
        }
    }
    if verbosity >= Verbosity::Details {
        lines.extend(report.details.iter().cloned());
    }
    lines
}

/// Who has the connections, the busiest first.
fn peers(report: &Report, view: &View, verbosity: Verbosity) -> Vec<String> {
    let sample = &view.sample;
    let listed = report.listed(view, verbosity);
    let heading = (listed > 0).then(|| text::heading(sample, listed));
    let heading = heading.map(|line| text::tagged(&report.views, view, &line));
    let peers = sample.top.iter().take(listed);
    heading.into_iter().chain(peers.map(|peer| text::peer(peer, sample.when))).collect()
}

fn upper_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// A number or threshold of perfdata. The crate would write a float with all
/// its digits, and knows no ranges.
enum Perf {
    Number(f64),
    Count(u64),
    Range(Range),
}

impl ToPerfString for Perf {
    fn to_perf_string(&self) -> String {
        match self {
            Self::Number(number) => text::decimal(*number),
            Self::Count(count) => count.to_string(),
            Self::Range(range) => range.to_string(),
        }
    }
}

/// `max=12;28.1;;0 avg=…`, in an order that stays.
fn perfdata(report: &Report) -> String {
    // The same view always: a graph of what happened to be the worst is none.
    let (View { sample, verdict, .. }, rule) = (&report.views[0], &report.rule);
    let summary = &sample.summary;
    let limit = Perf::Number(verdict.limit.connections);
    let warning = rule.warning.map_or(limit, Perf::Range);
    let max = PerfData::new("max", Perf::Count(summary.max))
        .with_thresholds(Some(warning), rule.critical.map(Perf::Range));
    let rest = [
        ("avg", Perf::Number(summary.avg)),
        ("stddev", Perf::Number(summary.stddev)),
        ("med", Perf::Count(summary.med)),
        ("min", Perf::Count(summary.min)),
        ("addresses", Perf::Count(sample.addresses)),
        ("connections", Perf::Count(sample.connections)),
    ];
    let rest = rest.map(|(label, value)| PerfData::new(label, value));
    let more = report.views[1..].iter().map(|View { sample, verdict, .. }| {
        let label = format!("max_{}_{}", sample.grain.v4, sample.grain.v6);
        let limit = Perf::Number(verdict.limit.connections);
        PerfData::new(label, Perf::Count(sample.summary.max)).with_thresholds(Some(limit), None)
    });
    let mut resource = Resource::new("TOPIP").with_fixed_state(report.status().into());
    for metric in std::iter::once(max).chain(rest).chain(more) {
        let metric = metric.with_minimum(Perf::Count(0));
        resource.push_result(CheckResult::new().with_perf_data(metric));
    }
    // The crate writes the status in a form of its own before the bar, quotes
    // labels that need none, and keeps empty fields at the end.
    let (_, line) = resource.nagios_result();
    let (_, perfdata) = line.split_once('|').expect("the crate puts a bar before perfdata");
    let metrics: Vec<_> = perfdata.split(' ').map(|metric| metric.replace('\'', "")).collect();
    metrics.iter().map(|metric| metric.trim_end_matches(';')).collect::<Vec<_>>().join(" ")
}
