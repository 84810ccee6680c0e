//! `topip_log`: its commands, and how it ends.
use std::ffi::OsString;

use clap::{
    Parser,
    error::{ContextKind, ErrorKind},
};

use super::{
    applet::{Answer, Applet, Failure, Invocation},
    args::{LogArgs, LogCommand},
    usage, watchdog,
};

mod record;
mod report;
mod watch_command;

/// Exit codes: of a command that could not do what it should, and of one that
/// was not understood.
pub(super) const COULD_NOT: u8 = 1;
const USAGE: u8 = 2;

/// Does as it is told.
pub(super) fn answer(invocation: &Invocation) -> Answer {
    let program = OsString::from(Applet::Log.name());
    let args = std::iter::once(program).chain(invocation.args.iter().cloned());
    match LogArgs::try_parse_from(args) {
        Err(error) => misused(&error, &invocation.args),
        Ok(LogArgs { command: Some(LogCommand::Report(args)), .. }) => {
            let (applet, doing) = (Applet::Log, "reading the log");
            let give_up = |failure: Failure| failed(&failure);
            let work = || report::answer(&args, invocation);
            watchdog::unless_ended(applet, doing, work, give_up).unwrap_or_else(give_up)
        }
        Ok(LogArgs { command: Some(LogCommand::Watch(args)), .. }) => {
            watch_command::answer(*args, invocation)
        }
        Ok(LogArgs { command: Some(LogCommand::Record(args)), .. }) => {
            record::answer(*args, invocation)
        }
        Ok(LogArgs { command: None, record, .. }) => record::answer(record, invocation),
    }
}

fn misused(error: &clap::Error, args: &[OsString]) -> Answer {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return Answer {
            output: error.render().to_string(),
            complaint: String::new(),
            exit_code: 0,
            until: None,
        };
    }
    let help = "See topip_log --help, or topip_log(1).".to_owned();
    let more = hint(error, args).into_iter().chain([help]).collect();
    Answer { exit_code: USAGE, ..failed(&Failure::new(&usage::misuse(error), more)) }
}

/// What somebody meant by a word that is no option.
fn hint(error: &clap::Error, args: &[OsString]) -> Option<String> {
    let word = match error.kind() {
        ErrorKind::InvalidSubcommand => ContextKind::InvalidSubcommand,
        ErrorKind::UnknownArgument => ContextKind::InvalidArg,
        _ => return None,
    };
    let word = error.get(word)?.to_string();
    let is_report = args.first().is_some_and(|first| first == "report");
    match is_report {
        _ if word.starts_with('-') => None,
        true => Some(format!("A log is named by --log {word}")),
        false => Some("The commands are record, report and watch.".to_owned()),
    }
}

/// The answer where nothing came of it.
pub(super) fn failed(Failure { problem, more, .. }: &Failure) -> Answer {
    Answer {
        output: String::new(),
        complaint: crate::output::complaint(problem, more),
        exit_code: COULD_NOT,
        until: None,
    }
}
