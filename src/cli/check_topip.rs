//! `check_topip`: options, run and output of the Nagios plugin.
use std::{ffi::OsString, path::PathBuf};

use clap::{ValueEnum, error::ErrorKind};

use crate::{
    model::{problem::Problem, verdict::Status},
    output::{self, Report, Verbosity},
};

use super::{
    applet::Applet,
    args::{CheckArgs, OutputFormat},
    config::{ListLimit, RunOptions},
    extra_opts::{self, ParseError, ParseFailure},
    given_options::GivenOptions,
    invocation::Invocation,
    program_output::ProgramOutput,
    target_config, usage,
    watchdog::{self, RunFailure},
};

/// Runs the check that the command line describes.
pub(super) fn run(invocation: &Invocation) -> ProgramOutput {
    match extra_opts::parse::<CheckArgs>(Applet::Check, invocation) {
        Ok((args, given)) => match check_effect(&given, &args) {
            Ok(()) => check(args, invocation),
            Err(problem) => ProgramOutput {
                output_file: args.output_file,
                ..problem_output(&problem, Status::Unknown, args.output)
            },
        },
        Err(ParseFailure { error, words }) => {
            let format = requested_format(&words);
            match error {
                ParseError::Usage(error) => usage_output(&error, format),
                ParseError::Settings(problem) => problem_output(&problem, Status::Unknown, format),
                ParseError::Interrupted(failure, status) => failure_output(failure, status, format),
            }
        }
    }
}

/// Checks that each given option has an effect.
///
/// # Errors
///
/// Returns an error if an option has no effect.
fn check_effect(given: &GivenOptions, args: &CheckArgs) -> Result<(), Problem> {
    given.check_sample(&args.sample)?;
    given.check_output(args.output)?;
    given.check_notify(&args.notify)
}

/// Returns the help, the version or a usage error.
///
/// The plugin guidelines require exit code 3 for all of them; clap's own exit code for
/// usage errors, 2, would be CRITICAL.
fn usage_output(error: &clap::Error, format: OutputFormat) -> ProgramOutput {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return ProgramOutput {
            stdout: error.render().to_string(),
            exit_code: Status::Unknown.exit_code(),
            ..ProgramOutput::default()
        };
    }
    let problem =
        Problem::new(usage::describe(error), "See check_topip --help, or check_topip(1).");
    problem_output(&problem, Status::Unknown, format)
}

/// Returns the output format from options that have been rejected: a program that
/// requested JSON also parses the output of a usage error.
fn requested_format(args: &[OsString]) -> OutputFormat {
    let word_pairs = args.iter().zip(args.iter().skip(1).map(Some).chain([None]));
    let formats = word_pairs.filter_map(|(word, next)| match word.to_str()? {
        "--output" => next?.to_str(),
        word => word.strip_prefix("--output="),
    });
    let format = formats.last().and_then(|name| OutputFormat::from_str(name, false).ok());
    format.unwrap_or_default()
}

/// Form of the output.
#[derive(Clone, Debug)]
struct AnswerForm {
    format: OutputFormat,
    verbosity: Verbosity,
    /// Maximum number of addresses with a metric of their own.
    metrics_addresses: usize,
    /// File that the output replaces; `None` for standard output.
    file: Option<PathBuf>,
}

fn check(args: CheckArgs, invocation: &Invocation) -> ProgramOutput {
    let CheckArgs { sample, notify, verbose, output: format, .. } = args;
    let verbosity = Verbosity::from_count(verbose);
    let form = AnswerForm {
        format,
        verbosity,
        metrics_addresses: args.metrics_addresses,
        file: args.output_file,
    };
    let timeout = target_config::timeout(&sample, invocation);
    let report_hidden_namespaces =
        verbosity >= Verbosity::Addresses || format == OutputFormat::Json;
    let options = RunOptions {
        applet: Applet::Check,
        list_limit: match form.metrics_addresses {
            0 => ListLimit::for_verbosity(verbosity),
            n_addresses => ListLimit::Number(n_addresses),
        },
        notify: Some(notify),
        count_tcp_states: format == OutputFormat::Openmetrics,
        report_hidden_namespaces,
    };
    let write_deadline = Some(watchdog::write_deadline(timeout, invocation));
    let timeout_file = form.file.clone();
    let outcome = watchdog::run_with_timeout(
        sample,
        options,
        invocation,
        |report| report_output(&report, &form),
        move |failure| ProgramOutput {
            write_deadline,
            output_file: timeout_file,
            ..failure_output(failure, timeout.status, format)
        },
    );
    let program_output = match outcome {
        Ok(ProgramOutput { ref stdout, .. })
            if form.file.is_none()
                && !watchdog::has_time_to_read(stdout.len(), timeout, invocation) =>
        {
            // The reader would not receive all of the output in time, and a part cannot be
            // parsed.
            let failure = watchdog::output_too_long(stdout.len(), timeout);
            failure_output(failure, timeout.status, format)
        }
        Ok(program_output) => program_output,
        Err(failure) => failure_output(failure, timeout.status, format),
    };
    ProgramOutput { write_deadline, output_file: form.file, ..program_output }
}

fn report_output(report: &Report, form: &AnswerForm) -> ProgramOutput {
    ProgramOutput {
        stdout: match form.format {
            OutputFormat::Nagios => output::render_nagios(report, form.verbosity),
            OutputFormat::Json => output::render_json(report, form.verbosity),
            OutputFormat::Openmetrics => output::render_openmetrics(report, form.metrics_addresses),
            OutputFormat::Checkmk => output::render_checkmk(report),
        },
        // Metrics cannot contain the text of a problem.
        stderr: match form.format {
            OutputFormat::Openmetrics => report.problems().map(stderr_text).collect(),
            _ => String::new(),
        },
        exit_code: report.status().exit_code(),
        ..ProgramOutput::default()
    }
}

fn failure_output(
    failure: RunFailure,
    timeout_status: Status,
    format: OutputFormat,
) -> ProgramOutput {
    let (problem, status) = match failure {
        RunFailure::TimedOut(problem) => (problem, timeout_status),
        RunFailure::Failed(problem) => (problem, Status::Unknown),
    };
    problem_output(&problem, status, format)
}

fn stderr_text(problem: &Problem) -> String {
    output::render_stderr_problem(Applet::Check.name(), problem)
}

/// Returns a problem in place of a report.
fn problem_output(problem: &Problem, status: Status, format: OutputFormat) -> ProgramOutput {
    let mut program_output =
        ProgramOutput { exit_code: status.exit_code(), ..ProgramOutput::default() };
    program_output.stdout = match format {
        OutputFormat::Nagios => output::render_nagios_failure(status, problem),
        OutputFormat::Json => output::render_json_failure(status, problem),
        OutputFormat::Checkmk => output::render_checkmk_failure(status, problem),
        OutputFormat::Openmetrics => {
            program_output.stderr = stderr_text(problem);
            output::render_openmetrics_failure(status)
        }
    };
    program_output
}

/// Returns a problem with the status UNKNOWN as a status line.
pub(super) fn unknown_output(problem: &Problem) -> ProgramOutput {
    problem_output(problem, Status::Unknown, OutputFormat::Nagios)
}
