//! Options of `topip_log` and its commands.
use std::{path::PathBuf, time::Duration};

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::{
    cli::{
        duration::duration,
        value_parser::{addresses, operator_property, prefix4, prefix6},
    },
    model::peer_id::GroupBy,
};

use super::{ExtraOptsArgs, NotifyArgs, ProgramArgs, SampleArgs, notify::DEFAULT_LOG};

const AFTER_HELP: &str = "\
Examples:
  topip_log                            log an alert, where there is one
  topip_log -H web1 -u monitor --log /var/log/topip/web1.log
  topip_log report                     who was it, how often, and how badly?
  topip_log report --since 7d --prefix4 24 --top 3
  topip_log report --since 12h --output html >night.html
  topip_log watch                      who has the connections now?

Durations: 90, 90s, 10m, 2h, 7d. See topip_log(1).";

/// Logs which remote address holds too many TCP connections, and tells who did.
#[derive(Debug, Parser)]
#[command(
    name = "topip_log",
    version,
    after_help = AFTER_HELP,
    args_override_self = true,
    args_conflicts_with_subcommands = true,
    subcommand_precedence_over_arg = true,
    disable_help_flag = true,
    disable_help_subcommand = true,
    disable_version_flag = true,
    term_width = 80
)]
pub(in crate::cli) struct LogArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: Option<LogCommand>,
    #[command(flatten)]
    pub(in crate::cli) record: RecordArgs,
    /// Print the version
    #[arg(short = 'V', long, action = ArgAction::Version, help_heading = "Output")]
    version: (),
}

impl ProgramArgs for LogArgs {
    fn sample_mut(&mut self) -> Option<&mut SampleArgs> {
        match &mut self.command {
            Some(LogCommand::Report(_)) => None,
            Some(LogCommand::Watch(args)) => Some(&mut args.sample),
            Some(LogCommand::Record(args)) => Some(&mut args.sample),
            None => Some(&mut self.record.sample),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum LogCommand {
    /// Take a sample, and log an alert where there is one; as without a command
    #[command(
        disable_help_flag = true,
        disable_version_flag = true,
        args_override_self = true,
        term_width = 80
    )]
    Record(Box<RecordArgs>),
    /// Tell whom the alerts of a log are about
    #[command(
        disable_help_flag = true,
        disable_version_flag = true,
        args_override_self = true,
        term_width = 80
    )]
    Report(ReportArgs),
    /// Show who has the connections now, again and again, until Ctrl-C
    #[command(
        disable_help_flag = true,
        disable_version_flag = true,
        args_override_self = true,
        term_width = 80
    )]
    Watch(Box<WatchArgs>),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct WatchArgs {
    /// How often
    #[arg(value_name = "SECONDS", default_value = "2", value_parser = interval)]
    pub(in crate::cli) interval: Duration,
    #[command(flatten)]
    pub(in crate::cli) sample: SampleArgs,
    #[command(flatten)]
    extra_opts: ExtraOptsArgs,
    /// Print this help
    #[arg(short, long, action = ArgAction::Help, help_heading = "Output")]
    help: (),
}

/// Parses a sampling interval from 1 second to 1 day.
fn interval(text: &str) -> Result<Duration, String> {
    let max = Duration::from_secs(86_400);
    let interval = duration(text)?;
    let is_in_range = !interval.is_zero() && interval <= max;
    if is_in_range { Ok(interval) } else { Err("not from 1 second to a day".to_owned()) }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RecordArgs {
    #[command(flatten)]
    pub(in crate::cli) sample: SampleArgs,
    #[command(flatten)]
    pub(in crate::cli) notify: NotifyArgs,
    #[command(flatten)]
    extra_opts: ExtraOptsArgs,

    /// Show what was found, as check_topip does; -vv: how; -vvv: all
    #[arg(short, long, action = ArgAction::Count, help_heading = "Output")]
    pub(in crate::cli) verbose: u8,
    /// Print this help
    #[arg(short, long, action = ArgAction::Help, help_heading = "Output")]
    help: (),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ReportArgs {
    /// Read this log and what was rotated away from it; - is standard input
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_LOG, action = ArgAction::Append)]
    pub(in crate::cli) log: Vec<PathBuf>,
    /// Count alerts from then on: a duration ago, or a date with or without time
    #[arg(long, value_name = "WHEN", value_parser = time_spec, allow_hyphen_values = true)]
    pub(in crate::cli) since: Option<TimeSpec>,
    /// Count alerts before then only
    #[arg(long, value_name = "WHEN", value_parser = time_spec, allow_hyphen_values = true)]
    pub(in crate::cli) until: Option<TimeSpec>,
    /// Count IPv4 addresses by networks of so many bits
    #[arg(long, value_name = "LEN", value_parser = prefix4, allow_hyphen_values = true)]
    pub(in crate::cli) prefix4: Option<u8>,
    /// Count IPv6 addresses by networks of so many bits
    #[arg(long, value_name = "LEN", value_parser = prefix6, allow_hyphen_values = true)]
    pub(in crate::cli) prefix6: Option<u8>,
    /// MaxMind DB file with the operators or countries of addresses, to show with
    /// them
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) network_db: Vec<PathBuf>,
    /// Sum the alerts by operator or country, as --network-db has them
    #[arg(long, value_name = "PROPERTY", value_parser = operator_property())]
    pub(in crate::cli) group_by: Option<GroupBy>,
    /// Look up the names of the listed addresses, for 10 seconds at most
    #[arg(long)]
    pub(in crate::cli) resolve: bool,
    /// Tell about N addresses; 0 is all [default: 10 as text, 100 as html, else all]
    #[arg(short = 'n', long, value_name = "N", value_parser = addresses, allow_hyphen_values = true)]
    pub(in crate::cli) top: Option<usize>,
    /// Format of the report
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(in crate::cli) output: ReportFormat,
    /// Print this help
    #[arg(short, long, action = ArgAction::Help)]
    help: (),
}

/// Output format of `topip_log report`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ReportFormat {
    /// Table for people.
    #[default]
    #[value(help = None)]
    Text,
    /// One JSON object.
    #[value(help = None)]
    Json,
    /// Comma-separated values with a heading.
    #[value(help = None)]
    Csv,
    /// Page with time lines.
    #[value(help = None)]
    Html,
}

/// Point in time as given on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum TimeSpec {
    /// Duration before now.
    Ago(Duration),
    /// Local time of this host.
    Local(NaiveDateTime),
    /// Time with a UTC offset.
    Exact(DateTime<FixedOffset>),
}

/// Parses a duration, a date, a local time or a time of RFC 3339.
fn time_spec(text: &str) -> Result<TimeSpec, String> {
    if let Ok(ago) = duration(text) {
        return Ok(TimeSpec::Ago(ago));
    }
    let formats = ["%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"];
    let date =
        NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().and_then(|date| date.and_hms_opt(0, 0, 0));
    let local = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
    if let Some(local) = date.or(local) {
        return Ok(TimeSpec::Local(local));
    }
    if let Ok(exact) = DateTime::parse_from_rfc3339(text) {
        return Ok(TimeSpec::Exact(exact));
    }
    Err("not a time; write 7d for 7 days ago, 2026-11-22, \"2026-11-22 14:30\" or \
         2026-11-22T14:30:00+01:00"
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_specs_are_read() {
        let check = |text, expected: &str| {
            let found = match time_spec(text) {
                Ok(TimeSpec::Ago(ago)) => format!("{} s ago", ago.as_secs()),
                Ok(TimeSpec::Local(local)) => format!("{local} here"),
                Ok(TimeSpec::Exact(exact)) => exact.to_rfc3339(),
                Err(_) => "no time".to_owned(),
            };
            assert_eq!(found, expected, "{text}");
        };
        check("7d", "604800 s ago");
        check("2026-11-22", "2026-11-22 00:00:00 here");
        check("2026-11-22 14:30", "2026-11-22 14:30:00 here");
        check("2026-11-22T14:30:05", "2026-11-22 14:30:05 here");
        check("2026-11-22T14:30:05Z", "2026-11-22T14:30:05+00:00");
        check("2026-11-22T14:30:05+01:00", "2026-11-22T14:30:05+01:00");
        for text in
            ["", "yesterday", "2026-02-30", "-7d", "14:30", "2026-11-22 25:00", "22.11.2026"]
        {
            check(text, "no time");
        }
    }
}
