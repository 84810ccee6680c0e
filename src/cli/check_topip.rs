//! `check_topip`: from its options to an answer in time.
use std::ffi::OsString;

use clap::{Parser, error::ErrorKind};

use crate::{
    model::verdict::Status,
    output::{self, Report, Verbosity},
};

use super::{
    applet::{Answer, Applet, Failure, Invocation},
    args::{CheckArgs, Form},
    config::{Asked, Listed},
    target_config, usage, watchdog,
};

/// What a pipe takes at once (pipe(7)).
const A_PIPE: usize = 64 * 1024;

/// Checks as it is asked to.
pub(super) fn answer(invocation: &Invocation) -> Answer {
    let program = OsString::from(Applet::Check.name());
    let args = std::iter::once(program).chain(invocation.args.iter().cloned());
    match CheckArgs::try_parse_from(args) {
        Ok(args) => checked(args, invocation),
        Err(error) => misused(&error, form_asked_for(&invocation.args)),
    }
}

/// Help and the version, and what is wrong with a command line.
///
/// The guidelines want 3 for all of them: clap's own 2 would be CRITICAL.
fn misused(error: &clap::Error, form: Form) -> Answer {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return Answer {
            output: error.render().to_string(),
            complaint: String::new(),
            exit_code: Status::Unknown.exit_code(),
            until: None,
        };
    }
    let more = vec!["See check_topip --help, or check_topip(1).".to_owned()];
    failed(&Failure::new(&usage::misuse(error), more), Status::Unknown, form)
}

/// The form that is asked for by a command line that is not understood: the
/// program that reads the answer does not know that it made a mistake.
fn form_asked_for(args: &[OsString]) -> Form {
    let words = args.iter().zip(args.iter().skip(1).map(Some).chain([None]));
    let asked_for = words.filter_map(|(word, next)| match word.to_str()? {
        "--output" => next?.to_str(),
        word => word.strip_prefix("--output="),
    });
    if asked_for.last() == Some("json") { Form::Json } else { Form::Nagios }
}

fn checked(args: CheckArgs, invocation: &Invocation) -> Answer {
    let CheckArgs { sample, alerting, verbose, output: form, .. } = args;
    let verbosity = Verbosity::from_count(verbose);
    let listed = Listed::by(verbosity);
    let timeout = target_config::timeout(&sample, invocation);
    let hint = verbosity >= Verbosity::Addresses || form == Form::Json;
    let asked = Asked { applet: Applet::Check, listed, alerting: Some(alerting), hint };
    let tell = move |report: Report| Answer {
        output: match form {
            Form::Nagios => output::nagios(&report, verbosity),
            Form::Json => output::json(&report, verbosity),
        },
        complaint: String::new(),
        exit_code: report.status().exit_code(),
        until: None,
    };
    let is_in_time =
        |length| length <= A_PIPE || watchdog::is_left_for(length, timeout, invocation);
    let until = Some(watchdog::until(timeout, invocation));
    let give_up = move |failure: Failure| {
        let status = if failure.is_late { timeout.status } else { Status::Unknown };
        Answer { until, ..failed(&failure, status, form) }
    };
    match watchdog::told(sample, asked, invocation, tell, give_up) {
        Ok(answer) if is_in_time(answer.output.len()) => Answer { until, ..answer },
        // There is no time left to give the whole of it, and a part is no answer.
        Ok(answer) => give_up(watchdog::too_long(answer.output.len(), timeout)),
        Err(failure) => give_up(failure),
    }
}

fn failed(failure: &Failure, status: Status, form: Form) -> Answer {
    let Failure { problem, more, .. } = failure;
    Answer {
        output: match form {
            Form::Nagios => output::failure(status, problem, more),
            Form::Json => output::json_failure(status, problem, more),
        },
        complaint: String::new(),
        exit_code: status.exit_code(),
        until: None,
    }
}

/// The answer to a panic: a mistake in topip, and no verdict.
pub(super) fn panicked(failure: &Failure) -> Answer {
    failed(failure, Status::Unknown, Form::Nagios)
}
