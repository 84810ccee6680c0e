//! The report as a line of a local check of the Checkmk agent (docs.checkmk.com, "Local
//! checks").
use crate::model::{problem::Problem, sanitize, verdict::Status};

use super::{
    report::Report,
    text::{self, MAX_STATUS_TEXT_BYTES, decimal},
};

/// Returns the report as a line: status, service, metrics and text.
#[must_use]
pub fn render_checkmk(report: &Report) -> String {
    // Always the first view, so that a graph shows one series.
    let sample = &report.views[0].sample;
    let summary = &sample.summary;
    let metrics = format!(
        "max={};{}|avg={}|stddev={}|med={}|min={}|addresses={}|connections={}|over={}",
        summary.max,
        decimal(sample.limit.connections),
        decimal(summary.avg),
        decimal(summary.stddev),
        summary.median,
        summary.min,
        sample.addresses,
        sample.connections,
        sample.n_over,
    );
    line(report.status(), &service(report), &metrics, &text::status_text(report))
}

/// Returns the line of a run without a verdict.
#[must_use]
pub fn render_checkmk_failure(status: Status, problem: &Problem) -> String {
    let message = sanitize::single_line(&text::options_as_flags(&problem.message));
    line(status, "TOPIP", "-", &sanitize::truncate(&message, MAX_STATUS_TEXT_BYTES))
}

fn line(status: Status, service: &str, metrics: &str, text: &str) -> String {
    // The agent reads \n in the text as a line end.
    let text = text.replace('\\', "?");
    format!("{} \"{service}\" {metrics} {text}\n", status.exit_code())
}

/// Returns the name of the service, with the servers if there are several.
fn service(report: &Report) -> String {
    let servers = report.observation.servers.iter().map(|(name, _)| name.as_str());
    let servers = servers.collect::<Vec<_>>().join(" ");
    sanitize::single_line(format!("TOPIP {servers}").trim_end()).replace('"', "?")
}
