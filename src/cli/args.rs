//! The options of the programs, and what they mean.
use std::time::Duration;

use clap::{ArgAction, Args, CommandFactory, Parser, ValueEnum};

use crate::model::verdict::{Status, StatusError};

use super::{applet::Applet, duration::duration};

mod notify;
mod threshold;
mod log_commands;
mod ssh;
mod selection;
mod smtp;

pub(super) use log_commands::{
    LogArgs, LogCommand, Moment, Output, RecordArgs, ReportArgs, WatchArgs,
};
pub(super) use notify::{AlertArgs, DEFAULT_LOG};
pub(super) use selection::{How, LookArgs};
pub(super) use smtp::{Correspondents, MailArgs, MailServer};
pub(super) use ssh::{HostKey, LoginArgs};
pub(super) use threshold::{JudgingArgs, RuleName};

const AFTER_HELP: &str = "\
Examples:
  check_topip                          judge this host's connections
  check_topip -v                       ... and show the top addresses
  check_topip -w 200 -c 500            ... by fixed thresholds as well
  check_topip -H web1,web2 -u monitor  judge two servers' connections together
  netstat -ntW | check_topip --input - judge a listing
  check_topip -a topip@web1,ops@web1   mail an alert as well

Durations: 90, 90s, 10m, 2h, 7d. Ranges: [@][start:]end. See check_topip(1).";

/// Which remote address holds this host's TCP connections, and is it too many?
#[derive(Debug, Parser)]
#[command(
    name = "check_topip",
    version,
    after_help = AFTER_HELP,
    args_override_self = true,
    disable_help_flag = true,
    disable_version_flag = true,
    term_width = 80
)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    pub(super) sample: SampleArgs,
    #[command(flatten)]
    pub(super) alerting: AlertArgs,

    /// Answer as a plugin, or in one JSON object for programs
    #[arg(long, value_enum, default_value_t, value_name = "FORM", help_heading = "How it is told")]
    pub(super) output: Form,
    /// Show the addresses; -vv: how it was done; -vvv: all
    #[arg(short, long, action = ArgAction::Count, help_heading = "How it is told")]
    pub(super) verbose: u8,
    /// Print the version; exit code 3
    #[arg(short = 'V', long, action = ArgAction::Version, help_heading = "How it is told")]
    version: (),
    /// Print this help; exit code 3
    #[arg(short, long, action = ArgAction::Help, help_heading = "How it is told")]
    help: (),
}

// The options that every program of the suite has: how a sample is taken and
// judged. (Documented for clap, it would be what the program is about.)
#[derive(Clone, Debug, Args)]
pub(super) struct SampleArgs {
    #[command(flatten)]
    pub(super) look: LookArgs,
    #[command(flatten)]
    pub(super) login: LoginArgs,
    #[command(flatten)]
    pub(super) judging: JudgingArgs,

    /// Give up after so long, with this status [default: 10:unknown]
    #[arg(
        short,
        long,
        value_name = "SECONDS[:STATUS]",
        allow_hyphen_values = true,
        help_heading = "How it is told"
    )]
    pub(super) timeout: Option<Timeout>,
}

/// Forms of the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// A status line with perfdata, and more lines below.
    #[default]
    #[value(help = None)]
    Nagios,
    /// An object.
    #[value(help = None)]
    Json,
}

/// How long a run may take, and what it comes to if it takes longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timeout {
    pub(super) after: Duration,
    pub(super) status: Status,
}

impl std::str::FromStr for Timeout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (after, status) = match text.split_once(':') {
            None => (text, Status::Unknown),
            Some((after, status)) => (
                after,
                status.parse().map_err(|StatusError| {
                    "not a status; write warning, critical or unknown, or its number 1 to 3"
                })?,
            ),
        };
        if status == Status::Ok {
            return Err(
                "what was not seen in time is no OK; write warning, critical or unknown".to_owned()
            );
        }
        match duration(after)? {
            Duration::ZERO => Err("a check needs at least 1 second".to_owned()),
            after => Ok(Self { after, status }),
        }
    }
}

/// The options of a program as clap has them; `None` where it has none.
#[must_use]
pub fn command(applet: Applet) -> Option<clap::Command> {
    match applet {
        Applet::Check => Some(CheckArgs::command()),
        Applet::Log => Some(LogArgs::command()),
        Applet::Munin => None,
    }
}

/// Every option of a program, and of its commands, as a manual writes it: `-w`
/// and `--warning` alike.
#[must_use]
pub fn manual_options(applet: Applet) -> Vec<String> {
    let command = command(applet);
    let commands = command.iter().flat_map(|it| std::iter::once(it).chain(it.get_subcommands()));
    let mut options: Vec<_> = commands.flat_map(options).collect();
    options.sort();
    options.dedup();
    options
}

fn options(command: &clap::Command) -> Vec<String> {
    let flags = command.get_arguments().flat_map(|arg| {
        let short = arg.get_short().map(|letter| format!("-{letter}"));
        let shorts = arg.get_all_short_aliases().unwrap_or_default();
        let short = short.into_iter().chain(shorts.into_iter().map(|letter| format!("-{letter}")));
        let longs = arg.get_long().into_iter().chain(arg.get_all_aliases().unwrap_or_default());
        let longs: Vec<_> = longs.map(|word| format!("--{word}")).collect();
        short.chain(longs)
    });
    flags.collect()
}
