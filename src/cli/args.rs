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

/// Text after the options of `check_topip -h`.
const AFTER_HELP: &str = "\
Status:
  OK        no address is over the limit
  WARNING   an address has more connections than the limit
  CRITICAL  the same address was also over the limit in the previous sample
  UNKNOWN   something could not be read or saved; the output has the reason

Examples:
  check_topip -v                        show the busiest addresses of this host
  check_topip -x 192.0.2.0/24 -w 200    exclude a network, and add a threshold
  check_topip -H web1,web2 -u monitor   check two servers over SSH
  netstat -ntW | check_topip --input -  check a saved listing

HOSTS, NETS, PORTS and other plurals are lists with commas. The first value of
--source, --protocol, --host-key, --rule and --output is the default. The long
help, check_topip --help, explains the options.";

/// Text after the options of `check_topip --help`.
const AFTER_LONG_HELP: &str = "\
Status:
  OK        No address is over the limit.
  WARNING   At least one address has more connections than the limit. The limit
            is computed for each sample by --rule, and is at least --floor; or
            it is a fixed --limit.
  CRITICAL  The same address was also over the limit in the previous sample,
            which had its own limit; see --consecutive.
  UNKNOWN   The check could not read everything, or could not save the sample.
            The status line shows the reason, and a line below it shows what to
            do.
  If several apply, CRITICAL is used before WARNING, WARNING before UNKNOWN, and
  UNKNOWN before OK. The exit status is 0, 1, 2 or 3. -w and -c add thresholds
  that a single sample can exceed. Run the check every minute.

Output:
  TOPIP CRITICAL - 203.0.113.7 has 152 connections, over 28.7 (lognormal)
      in 2 samples | max=152;28.7;;0 ... over=1;;;0
  over 28.7      the limit
  (lognormal)    the rule that gave the limit; see --rule
  in 2 samples   the number of consecutive samples with this address over the
                 limit
  max=152;28.7   the highest count, and the warning threshold
  over=1         the number of addresses over the limit in this sample; over=3
                 means three addresses

State:
  The sample is kept for the next run in a file below /var/lib/topip, or in
  ~/.local/state/topip if that directory cannot be used. -vv prints the path.
  Each user, each program and each selection of connections has its own file. A
  run by hand with the same options and user is the next sample of the same file.

Common tasks:
  Exclude a network:
    check_topip -x 198.51.100.0/24
  Find out why the status is UNKNOWN:
    check_topip -vv
    Run it with the options of the check, as the user that runs the check.
  Stop alerts about counts up to 50, which are harmless for this host:
    check_topip --floor 50
  Check a shop behind a CDN or a load balancer:
    check_topip --inbound --port 443 --limit 2000 -c 4000
    All connections come from the CDN. Watch max= in the output for a day, and
    use numbers above it. Do not ban the addresses of the CDN.
  Count the clients of containers, as root:
    check_topip --netns all -v
  Check a server without installing anything on it:
    check_topip -H web1 -u monitor
    Before that, accept the host key as the user of the check:
    ssh monitor@web1 true
  Continue after the host key of a server has changed:
    Find out why. If nobody changed it, do not log in: another host may answer.
    If the server was reinstalled, run as the user of the check:
    ssh-keygen -R web1
    ssh monitor@web1 true
    The second command shows the fingerprint of the new key. Compare it with
    ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub on the server, and accept it.
  Ban addresses, and never ban the office, 192.0.2.0/24:
    Enable the log and the jail, with the package installed, as root:
    In /etc/default/topip: TOPIP_LOG_OPTS=\"--never-log 192.0.2.0/24\"
    systemctl enable --now topip-log.timer
    In /etc/fail2ban/jail.d/topip.local: [topip], and below it: enabled = true
    systemctl restart fail2ban
    The timer logs alerts every minute; fail2ban bans the addresses in the log.
    topip does not ban addresses itself.
  Check a saved listing:
    netstat -ntW | check_topip --input -
  Mail alerts:
    check_topip -a topip@example.com,ops@example.com

Values:
  HOSTS, NAMESPACES, NETS, PORTS, STATES, LENGTHS and PROPERTIES are lists with
  commas, such as 80,443.
  SECONDS and DURATION are 90, 90s, 10m, 2h or 7d.
  RANGE is the range that is OK; with @, the range that is not:
    50       not OK above 50
    10:50    not OK below 10 and above 50
    10:      not OK below 10
    @10:20   not OK from 10 to 20

See check_topip(1) for all details, and topip(7) for the rules.";

/// Checks whether a remote address holds too many TCP connections of this host
///
/// Counts the TCP connections of this host by remote address, compares the count of each
/// address with a limit, and prints a status for Nagios, Icinga, Naemon or NRPE. -h prints one
/// line for each option.
#[derive(Debug, Parser)]
#[command(
    name = "check_topip",
    version,
    after_help = AFTER_HELP,
    after_long_help = AFTER_LONG_HELP,
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

    /// Print nagios, json, openmetrics or checkmk
    ///
    /// nagios:      a status line and further lines for a plugin (default)
    /// json:        one JSON object
    /// openmetrics: metrics for Prometheus
    /// checkmk:     a line of a local check of Checkmk
    ///
    /// The exit status is the same with each format.
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        hide_default_value = true,
        hide_possible_values = true,
        verbatim_doc_comment,
        help_heading = "Output"
    )]
    pub(super) output: OutputFormat,
    /// Write the output to this file
    ///
    /// The output is written to a new file, which then replaces this one, so that a
    /// reader sees the old or the new output.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(super) output_file: Option<PathBuf>,
    /// Add metrics for the N busiest addresses
    ///
    /// With --output openmetrics, add a metric for each of the N busiest addresses.
    /// The default is 0: each address is a new time series, and an attacker may have
    /// many addresses.
    #[arg(
        long,
        value_name = "N",
        default_value = "0", hide_default_value = true,
        value_parser = addresses,
        allow_hyphen_values = true,
        help_heading = "Output"
    )]
    pub(super) metrics_addresses: usize,
    /// Show the busiest addresses; -vv, -vvv: more
    ///
    /// -v also shows how the limit was found; -vv shows how the sample was taken and the
    /// path of the state file; -vvv shows everything.
    #[arg(short, long, action = ArgAction::Count, help_heading = "Output")]
    pub(super) verbose: u8,
    /// Print the version, and exit with 3
    #[arg(short = 'V', long, action = ArgAction::Version, help_heading = "Output")]
    version: (),
    /// Print help, and exit with 3 (--help: long help)
    ///
    /// -h prints one line for each option; --help prints this text.
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

    /// End the run after this time [default: 10]
    ///
    /// SECONDS:STATUS also sets the status of a run that exceeds the time: warning, critical or
    /// unknown. The default is 10:unknown; it is 60:unknown if exactly one server is
    /// checked over SSH in a terminal.
    #[arg(
        short,
        long,
        value_name = "SECONDS",
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
            return Err("a timeout must not be OK; write warning, critical or unknown".to_owned());
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
