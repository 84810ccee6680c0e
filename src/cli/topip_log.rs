//! `topip_log`: commands, usage errors and exit codes.
use std::ffi::OsString;

use clap::error::{ContextKind, ErrorKind};

use crate::{model::problem::Problem, output};

use super::{
    applet::Applet,
    args::{LogArgs, LogCommand},
    extra_opts::{self, ParseError, ParseFailure},
    given_options::GivenOptions,
    invocation::Invocation,
    program_output::ProgramOutput,
    usage, watchdog,
};

mod record;
mod report;
mod watch_command;

/// Exit code of a command that failed.
pub(super) const EXIT_FAILURE: u8 = 1;
/// Exit code for a usage error.
const EXIT_USAGE: u8 = 2;

/// Runs the command that the command line selects.
pub(super) fn run(invocation: &Invocation) -> ProgramOutput {
    let (args, given) = match extra_opts::parse::<LogArgs>(Applet::Log, invocation) {
        Ok(parsed) => parsed,
        Err(ParseFailure { error, .. }) => return parse_failure_output(error, invocation),
    };
    if let Err(problem) = check_effect(&given, &args) {
        return ProgramOutput { exit_code: EXIT_USAGE, ..failure_output(&problem) };
    }
    match args.command {
        Some(LogCommand::Report(args)) => {
            let (applet, activity) = (Applet::Log, "reading the log");
            watchdog::run_until_signal(
                applet,
                activity,
                || report::run(&args, invocation),
                |problem| failure_output(&problem),
            )
            .unwrap_or_else(|problem| failure_output(&problem))
        }
        Some(LogCommand::Watch(args)) => watch_command::run(*args, invocation),
        Some(LogCommand::Record(args)) => record::run(*args, invocation),
        None => record::run(args.record, invocation),
    }
}

/// Checks that each given option has an effect.
///
/// # Errors
///
/// Returns an error if an option has no effect.
fn check_effect(given: &GivenOptions, args: &LogArgs) -> Result<(), Problem> {
    match &args.command {
        Some(LogCommand::Report(_)) => Ok(()),
        Some(LogCommand::Watch(args)) => {
            given.check_watch()?;
            given.check_sample(&args.sample)
        }
        Some(LogCommand::Record(args)) => given.check_sample(&args.sample),
        None => given.check_sample(&args.record.sample),
    }
}

fn parse_failure_output(error: ParseError, invocation: &Invocation) -> ProgramOutput {
    match error {
        ParseError::Usage(error) => usage_output(&error, &invocation.args),
        ParseError::Settings(problem) => {
            ProgramOutput { exit_code: EXIT_USAGE, ..failure_output(&problem) }
        }
        ParseError::Interrupted(failure, _) => failure_output(&failure.into_problem()),
    }
}

/// Returns the help, the version or a usage error.
fn usage_output(error: &clap::Error, args: &[OsString]) -> ProgramOutput {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return ProgramOutput {
            stdout: error.render().to_string(),
            exit_code: 0,
            ..ProgramOutput::default()
        };
    }
    let help_hint = "See topip_log --help, or topip_log(1).".to_owned();
    let hints = usage_hint(error, args).into_iter().chain([help_hint]).collect();
    ProgramOutput {
        exit_code: EXIT_USAGE,
        ..failure_output(&Problem::with_hints(usage::describe(error), hints))
    }
}

/// Returns a hint for an unexpected argument, unless it looks like an option.
fn usage_hint(error: &clap::Error, args: &[OsString]) -> Option<String> {
    let context_kind = match error.kind() {
        ErrorKind::InvalidSubcommand => ContextKind::InvalidSubcommand,
        ErrorKind::UnknownArgument => ContextKind::InvalidArg,
        _ => return None,
    };
    let argument = error.get(context_kind)?.to_string();
    let is_report = args.first().is_some_and(|first| first == "report");
    if argument.starts_with('-') {
        None
    } else if is_report {
        Some(format!("Give a log with --log {argument}"))
    } else {
        Some("The commands are record, report and watch.".to_owned())
    }
}

/// Returns the output for a failure.
pub(super) fn failure_output(problem: &Problem) -> ProgramOutput {
    ProgramOutput {
        stderr: output::render_log_problem(problem),
        exit_code: EXIT_FAILURE,
        ..ProgramOutput::default()
    }
}
