//! `topip_log record`: takes a sample and logs an alert.
use std::path::PathBuf;

use crate::{
    alert_log::entry::LineFormat,
    cli::{
        Applet, Invocation,
        args::{DEFAULT_LOG, NotifyArgs, RecordArgs},
        config::{ListLimit, RunOptions},
        program_output::ProgramOutput,
        target_config, watchdog,
    },
    output::{self, Report, Verbosity},
    run::Sink,
};

use super::{EXIT_FAILURE, failure_output};

/// Takes a sample, logs an alert and prints its log line.
pub(super) fn run(args: RecordArgs, invocation: &Invocation) -> ProgramOutput {
    let RecordArgs { sample, notify, verbose, .. } = args;
    let verbosity = Verbosity::from_count(verbose);
    let list_limit = ListLimit::for_verbosity(verbosity);
    let write_deadline =
        Some(watchdog::write_deadline(target_config::timeout(&sample, invocation), invocation));
    let format = notify.log_format;
    // Unlike check_topip, `record` always logs.
    let log = notify.log.unwrap_or_else(|| Sink::File(PathBuf::from(DEFAULT_LOG)));
    let notify = NotifyArgs { log: Some(log), ..notify };
    let report_hidden_namespaces = verbosity >= Verbosity::Addresses;
    let options = RunOptions {
        applet: Applet::Log,
        list_limit,
        notify: Some(notify),
        count_tcp_states: false,
        report_hidden_namespaces,
    };
    let outcome = watchdog::run_with_timeout(
        sample,
        options,
        invocation,
        |report| report_output(&report, verbosity, format),
        move |failure| ProgramOutput { write_deadline, ..failure_output(&failure.into_problem()) },
    );
    let program_output = match outcome {
        Ok(program_output) => program_output,
        Err(failure) => failure_output(&failure.into_problem()),
    };
    ProgramOutput { write_deadline, ..program_output }
}

fn report_output(report: &Report, verbosity: Verbosity, format: LineFormat) -> ProgramOutput {
    // cron mails all output, so without -v the alerts are the only output.
    let lines = report.log_records().map(|record| record.line(format) + "\n");
    let stdout = match verbosity {
        Verbosity::Terse => lines.collect(),
        _ => output::render_nagios(report, verbosity),
    };
    ProgramOutput { stdout, ..problems_output(report) }
}

/// Returns the problems of a run for standard error; the exit code is 0 without problems.
fn problems_output(report: &Report) -> ProgramOutput {
    let stderr: String = report.problems().map(output::render_log_problem).collect();
    ProgramOutput {
        exit_code: if stderr.is_empty() { 0 } else { EXIT_FAILURE },
        stderr,
        ..ProgramOutput::default()
    }
}
