//! Command-line options of the programs.
use std::{path::PathBuf, time::Duration};

use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, ValueEnum};

use crate::model::verdict::{Status, StatusError};

use super::{applet::Applet, duration::duration, value_parser::addresses};

mod extra_opts;
mod notify;
mod threshold;
mod log_commands;
mod ssh;
mod selection;
mod smtp;

pub(super) use extra_opts::{ExtraOptsArgs, SettingsLocation};
pub(super) use log_commands::{
    LogArgs, LogCommand, RecordArgs, ReportArgs, ReportFormat, TimeSpec, WatchArgs,
};
pub(super) use notify::{DEFAULT_LOG, NotifyArgs};
pub(super) use selection::{SelectionArgs, SourceKind};
pub(super) use smtp::{MailAddresses, MailArgs, MailServer, options_with_alert};
pub(super) use ssh::SshArgs;
pub(super) use threshold::{RuleName, ThresholdArgs};

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
    pub(super) notify: NotifyArgs,
    #[command(flatten)]
    extra_opts: ExtraOptsArgs,

    /// Format of the answer
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT", help_heading = "Output")]
    pub(super) output: OutputFormat,
    /// Replace this file by the answer, instead of printing it
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(super) output_file: Option<PathBuf>,
    /// Add a metric for each of the N busiest addresses to openmetrics
    #[arg(
        long,
        value_name = "N",
        default_value = "0",
        value_parser = addresses,
        allow_hyphen_values = true,
        help_heading = "Output"
    )]
    pub(super) metrics_addresses: usize,
    /// Show the addresses; -vv: how it was done; -vvv: all
    #[arg(short, long, action = ArgAction::Count, help_heading = "Output")]
    pub(super) verbose: u8,
    /// Print the version; exit code 3
    #[arg(short = 'V', long, action = ArgAction::Version, help_heading = "Output")]
    version: (),
    /// Print this help; exit code 3
    #[arg(short, long, action = ArgAction::Help, help_heading = "Output")]
    help: (),
}

/// Options of a program that reads settings files.
pub(super) trait ProgramArgs: CommandFactory + FromArgMatches {
    /// Returns the options for a sample, or `None` if the command takes none.
    fn sample_mut(&mut self) -> Option<&mut SampleArgs>;
}

impl ProgramArgs for CheckArgs {
    fn sample_mut(&mut self) -> Option<&mut SampleArgs> {
        Some(&mut self.sample)
    }
}

// Options that all programs share: sources, selection, SSH, thresholds and timeout.
// This is not a doc comment, because clap would print it as the program's description.
#[derive(Clone, Debug, Args)]
pub(super) struct SampleArgs {
    #[command(flatten)]
    pub(super) selection: SelectionArgs,
    #[command(flatten)]
    pub(super) ssh: SshArgs,
    #[command(flatten)]
    pub(super) thresholds: ThresholdArgs,

    /// Give up after so long, with this status [default: 10:unknown]
    #[arg(
        short,
        long,
        value_name = "SECONDS[:STATUS]",
        allow_hyphen_values = true,
        help_heading = "Output"
    )]
    pub(super) timeout: Option<Timeout>,
}

/// Format of the check's output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputFormat {
    /// Status line with performance data, and further lines.
    #[default]
    #[value(help = None)]
    Nagios,
    /// One JSON object.
    #[value(help = None)]
    Json,
    /// Metrics for Prometheus.
    #[value(help = None)]
    Openmetrics,
    /// Line of a local check of Checkmk.
    #[value(help = None)]
    Checkmk,
}

/// Time limit of a run, and the status if the run exceeds it.
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

/// Returns the clap command of a program, or `None` if the program has no options.
#[must_use]
pub fn command(applet: Applet) -> Option<clap::Command> {
    match applet {
        Applet::Check => Some(CheckArgs::command()),
        Applet::Log => Some(LogArgs::command()),
        Applet::Munin => None,
    }
}

/// Returns every option of a program and of its subcommands, short and long forms, as
/// a manual writes them: `-w`, `--warning`.
#[must_use]
pub fn manual_options(applet: Applet) -> Vec<String> {
    let command = command(applet);
    let all_commands =
        command.iter().flat_map(|it| std::iter::once(it).chain(it.get_subcommands()));
    let mut options: Vec<_> = all_commands.flat_map(option_flags).collect();
    options.sort();
    options.dedup();
    options
}

fn option_flags(command: &clap::Command) -> Vec<String> {
    let flags = command.get_arguments().flat_map(|arg| {
        let short_aliases = arg.get_all_short_aliases().unwrap_or_default();
        let shorts = arg.get_short().into_iter().chain(short_aliases);
        let longs = arg.get_long().into_iter().chain(arg.get_all_aliases().unwrap_or_default());
        let longs: Vec<_> = longs.map(|long| format!("--{long}")).collect();
        shorts.map(|short| format!("-{short}")).chain(longs)
    });
    flags.collect()
}
