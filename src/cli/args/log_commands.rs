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

/// Text after the options of `topip_log -h`.
const AFTER_HELP: &str = "\
Examples:
  topip_log                               take a sample, and log alerts
  topip_log --never-log 192.0.2.0/24      never log or ban the office
  topip_log report --since 1d             summarize the alerts of a day
  topip_log report --since 12h --output html >night.html
  topip_log watch                         display the busiest addresses

HOSTS, NETS, PORTS and other plurals are lists with commas. The first value of
--source, --protocol, --host-key, --rule and --log-format is the default. The
long help, topip_log --help, explains the options.";

/// Text after the options of `topip_log --help`.
const AFTER_LONG_HELP: &str = "\
Alerts:
  An alert is an address that was over the limit in --consecutive samples, 2 by
  default. Run topip_log every minute, by cron or a systemd timer. It prints
  the lines that it logs, and otherwise nothing unless it fails. The sample is
  kept for the next run in a file below /var/lib/topip, or in
  ~/.local/state/topip; -vv prints the path.

Common tasks:
  Log alerts to /var/log/topip.log:
    topip_log
  Log alerts about a server, without installing anything on it:
    topip_log -H web1 -u monitor --log /var/log/topip/web1.log
  Exclude a network:
    topip_log -x 198.51.100.0/24
  Ban addresses, and never ban the office, 192.0.2.0/24:
    topip_log --never-log 192.0.2.0/24
    With the timer of the package, set this option in /etc/default/topip. Enable
    the jail of fail2ban, which bans the addresses in the log.
  Log the clients of containers, as root:
    topip_log --netns all
  Find out why a run fails:
    topip_log -vv
    Run it with the same options, as the user that runs it.
  Summarize the alerts of a week by networks:
    topip_log report --since 7d --prefix4 24 --top 3
  Draw a night as a page:
    topip_log report --since 12h --output html >night.html
  Display the busiest addresses until Ctrl-C:
    topip_log watch

Values:
  HOSTS, NAMESPACES, NETS, PORTS, STATES, LENGTHS and PROPERTIES are lists with
  commas, such as 80,443.
  SECONDS and DURATION are 90, 90s, 10m, 2h or 7d.
  RANGE is the range that is OK; with @, the range that is not:
    50       not OK above 50
    10:50    not OK below 10 and above 50
    10:      not OK below 10
    @10:20   not OK from 10 to 20

The exit status is 0 after success, 1 after a failure, 2 after a usage error.
See topip_log(1) for all details, and topip(7) for the rules.";

/// Logs remote addresses with too many TCP connections
///
/// Without a command, topip_log takes a sample as check_topip does, and appends an alert to a
/// log for each address that is CRITICAL by its limit. -h prints one line for each option.
#[derive(Debug, Parser)]
#[command(
    name = "topip_log",
    version,
    after_help = AFTER_HELP,
    after_long_help = AFTER_LONG_HELP,
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
    /// Take a sample, and log alerts; the default command
    #[command(
        disable_help_flag = true,
        disable_version_flag = true,
        args_override_self = true,
        term_width = 80
    )]
    Record(Box<RecordArgs>),
    /// Summarize logged alerts by address
    #[command(
        disable_help_flag = true,
        disable_version_flag = true,
        args_override_self = true,
        term_width = 80
    )]
    Report(ReportArgs),
    /// Continuously display the busiest addresses, until Ctrl-C
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
    /// Interval between samples, 1 second to 1 day
    #[arg(value_name = "SECONDS", default_value = "2", value_parser = interval)]
    pub(in crate::cli) interval: Duration,
    #[command(flatten)]
    pub(in crate::cli) sample: SampleArgs,
    #[command(flatten)]
    extra_opts: ExtraOptsArgs,
    /// Print help (--help: long help)
    ///
    /// -h prints one line for each option; --help prints this text.
    #[arg(short, long, action = ArgAction::Help, help_heading = "Output")]
    help: (),
}

/// Parses a sampling interval from 1 second to 1 day.
fn interval(text: &str) -> Result<Duration, String> {
    let max = Duration::from_secs(86_400);
    let interval = duration(text)?;
    let is_in_range = !interval.is_zero() && interval <= max;
    if is_in_range { Ok(interval) } else { Err("not a duration from 1 second to 1 day".to_owned()) }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RecordArgs {
    #[command(flatten)]
    pub(in crate::cli) sample: SampleArgs,
    #[command(flatten)]
    pub(in crate::cli) notify: NotifyArgs,
    #[command(flatten)]
    extra_opts: ExtraOptsArgs,

    /// Show the result; -vv, -vvv: more
    ///
    /// -v prints what check_topip -v prints; -vv also shows how the sample was taken and
    /// the path of the state file; -vvv shows everything.
    #[arg(short, long, action = ArgAction::Count, help_heading = "Output")]
    pub(in crate::cli) verbose: u8,
    /// Print help (--help: long help)
    ///
    /// -h prints one line for each option; --help prints this text.
    #[arg(short, long, action = ArgAction::Help, help_heading = "Output")]
    help: (),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ReportArgs {
    /// Read this log and its rotated files
    ///
    /// The file - is standard input. The option can be given several times. Compressed
    /// files (.gz) are read too.
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_LOG, action = ArgAction::Append)]
    pub(in crate::cli) log: Vec<PathBuf>,
    /// Count only alerts since this time
    ///
    /// WHEN is a duration before now, such as 7d, a date, such as 2026-11-22, or a date
    /// with time, such as "2026-11-22 14:30" or 2026-11-22T14:30:00+01:00.
    #[arg(long, value_name = "WHEN", value_parser = time_spec, allow_hyphen_values = true)]
    pub(in crate::cli) since: Option<TimeSpec>,
    /// Count only alerts before this time
    ///
    /// WHEN is a time as for --since.
    #[arg(long, value_name = "WHEN", value_parser = time_spec, allow_hyphen_values = true)]
    pub(in crate::cli) until: Option<TimeSpec>,
    /// Sum IPv4 addresses by networks of this length
    ///
    /// With 24, alerts about 203.0.113.7 and 203.0.113.9 count together.
    #[arg(long, value_name = "LEN", value_parser = prefix4, allow_hyphen_values = true)]
    pub(in crate::cli) prefix4: Option<u8>,
    /// Sum IPv6 addresses by networks of this length
    ///
    /// One client commonly has a /64.
    #[arg(long, value_name = "LEN", value_parser = prefix6, allow_hyphen_values = true)]
    pub(in crate::cli) prefix6: Option<u8>,
    /// Show operator and country from this MaxMind DB
    ///
    /// The file is one in MaxMind DB format, such as GeoLite2-ASN.mmdb or
    /// GeoLite2-Country.mmdb.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) network_db: Vec<PathBuf>,
    /// Sum the alerts by asn or country
    ///
    /// asn is the network operator. Both need --network-db.
    #[arg(long, value_name = "PROPERTY", value_parser = operator_property(), hide_possible_values = true)]
    pub(in crate::cli) group_by: Option<GroupBy>,
    /// Look up the names of the listed addresses
    ///
    /// The lookups take at most 10 seconds.
    #[arg(long)]
    pub(in crate::cli) resolve: bool,
    /// List only the N addresses with the most alerts
    ///
    /// 0 lists all. The default is 10 as text, 100 as html, and all in other formats.
    #[arg(short = 'n', long, value_name = "N", value_parser = addresses, allow_hyphen_values = true)]
    pub(in crate::cli) top: Option<usize>,
    /// Print text, json, csv or html
    ///
    /// text: a table (default); json: one JSON object; csv: comma-separated values with a
    /// heading; html: a page with time lines.
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        hide_default_value = true,
        hide_possible_values = true
    )]
    pub(in crate::cli) output: ReportFormat,
    /// Print help (--help: long help)
    ///
    /// -h prints one line for each option; --help prints this text.
    #[arg(short, long, action = ArgAction::Help)]
    help: (),
}

/// Output format of `topip_log report`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ReportFormat {
    /// Table.
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
