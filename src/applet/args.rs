//! The options of the check, and what they mean.
use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use clap::{ArgAction, CommandFactory, Parser, ValueEnum};

use crate::{connection::TcpState, filter::Network, range::Range, secret::Secret, verdict::Status};

use super::{
    duration::duration,
    server::ServerName,
    value::{addresses, connections, ports, probability, samples, times},
};

/// The least that a limit may be: a browser opens fewer than this at once.
const FLOOR: &str = "10";

const AFTER_HELP: &str = "\
Examples:
  check_topip                          judge this host's connections
  check_topip -v                       ... and show the top addresses
  check_topip -w 200 -c 500            ... by fixed thresholds as well
  check_topip -H web1,web2 -u monitor  judge two servers' connections together
  netstat -ntW | check_topip --input - judge a listing

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
    /// Servers to reach by SSH, whose counts add up; none, localhost and its
    /// addresses are this host
    #[arg(
        short = 'H',
        visible_short_alias = 's',
        long,
        visible_alias = "server",
        value_name = "[USER@]HOST[:PORT],...",
        value_delimiter = ',',
        help_heading = "What is looked at",
        conflicts_with = "input"
    )]
    pub(super) hostname: Vec<ServerName>,
    /// Read a saved listing instead of looking at this host; - is standard input
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "What is looked at",
        conflicts_with = "source"
    )]
    pub(super) input: Option<PathBuf>,
    /// How to look at this host
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "HOW",
        help_heading = "What is looked at"
    )]
    pub(super) source: How,
    /// Count IPv4 only; IPv4-mapped addresses are IPv4
    #[arg(short = '4', help_heading = "What is looked at", conflicts_with = "six")]
    pub(super) four: bool,
    /// Count IPv6 only
    #[arg(short = '6', help_heading = "What is looked at")]
    pub(super) six: bool,
    /// Accepted and without effect: IPv4-mapped addresses always count as IPv4
    #[arg(long, help_heading = "What is looked at")]
    ipv6: bool,
    /// Count only connections to these ports of this host
    #[arg(
        long,
        value_name = "PORT[-PORT],...",
        value_delimiter = ',',
        value_parser = ports,
        help_heading = "What is looked at"
    )]
    pub(super) port: Vec<RangeInclusive<u16>>,
    /// Count only connections in these TCP states
    #[arg(
        long,
        value_name = "STATE,...",
        value_delimiter = ',',
        help_heading = "What is looked at"
    )]
    pub(super) state: Vec<TcpState>,
    /// Do not count connections in these TCP states
    #[arg(
        long,
        value_name = "STATE,...",
        value_delimiter = ',',
        help_heading = "What is looked at"
    )]
    pub(super) exclude_state: Vec<TcpState>,
    /// Count only connections to a port that is listened on
    #[arg(long, help_heading = "What is looked at")]
    pub(super) inbound: bool,
    /// Do not count these networks, beside 127.0.0.0/8 ::1 192.168.0.0/16
    #[arg(
        short = 'x',
        long,
        value_name = "NET,...",
        value_delimiter = ',',
        help_heading = "What is looked at"
    )]
    pub(super) exclude: Vec<Network>,
    /// Do not count the networks in this file, one a line, # for comments
    #[arg(long, value_name = "FILE", help_heading = "What is looked at")]
    pub(super) exclude_file: Vec<PathBuf>,
    /// Count 127.0.0.0/8, ::1 and 192.168.0.0/16 too
    #[arg(long, help_heading = "What is looked at")]
    pub(super) no_default_excludes: bool,

    /// Log in as this user [default: the current one]
    #[arg(short, long, value_name = "USER", help_heading = "How servers are reached")]
    pub(super) username: Option<String>,
    /// Password; anybody can see it in the process list: use a file
    #[arg(
        short,
        long,
        value_name = "PASSWORD",
        allow_hyphen_values = true,
        help_heading = "How servers are reached",
        conflicts_with = "password_file"
    )]
    pub(super) password: Option<Secret>,
    /// File with the password, or set TOPIP_PASSWORD
    #[arg(long, value_name = "FILE", help_heading = "How servers are reached")]
    pub(super) password_file: Option<PathBuf>,
    /// Private key [default: ~/.ssh/id_ed25519, id_ecdsa, id_rsa, and the agent]
    #[arg(short, long, value_name = "FILE", help_heading = "How servers are reached")]
    pub(super) identity: Vec<PathBuf>,
    /// File with the passphrase of the private key
    #[arg(long, value_name = "FILE", help_heading = "How servers are reached")]
    pub(super) passphrase_file: Option<PathBuf>,
    /// Known host keys [default: the user's files, then the system's]
    #[arg(long, value_name = "FILE", help_heading = "How servers are reached")]
    pub(super) known_hosts: Option<PathBuf>,
    /// What to do with a host key that is not known
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "POLICY",
        help_heading = "How servers are reached"
    )]
    pub(super) host_key: HostKey,
    /// Run this there instead of the built-in choice
    #[arg(
        long,
        value_name = "COMMAND",
        allow_hyphen_values = true,
        help_heading = "How servers are reached"
    )]
    pub(super) command: Option<String>,

    /// Judge the N addresses with the most connections; 0 and 1 are all [default: all]
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        value_parser = addresses,
        allow_hyphen_values = true,
        help_heading = "How it is judged"
    )]
    pub(super) top: Option<usize>,
    /// How the limit is found; see topip(7)
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "RULE",
        help_heading = "How it is judged"
    )]
    pub(super) rule: RuleName,
    /// Rule stddev: warn above so many standard deviations
    #[arg(
        long,
        alias = "stdev",
        value_name = "N",
        default_value = "5",
        value_parser = times,
        allow_hyphen_values = true,
        help_heading = "How it is judged"
    )]
    pub(super) stddev: f64,
    /// Rule lognormal: how likely a clean sample may be over its limit
    #[arg(
        long,
        value_name = "P",
        default_value = "0.01",
        value_parser = probability,
        allow_hyphen_values = true,
        help_heading = "How it is judged"
    )]
    pub(super) false_alarm_rate: f64,
    /// Either: but never at or below so many connections; 0 for the bare rule
    #[arg(
        long,
        value_name = "N",
        default_value = FLOOR,
        value_parser = connections,
        allow_hyphen_values = true,
        help_heading = "How it is judged"
    )]
    pub(super) floor: f64,
    /// Critical once an address has been on top in so many samples on end
    #[arg(
        long,
        value_name = "K",
        default_value = "2",
        value_parser = samples,
        allow_hyphen_values = true,
        help_heading = "How it is judged"
    )]
    pub(super) consecutive: u32,
    /// An earlier sample that is older does not count; 0: however old
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "1h",
        value_parser = duration,
        allow_hyphen_values = true,
        help_heading = "How it is judged"
    )]
    pub(super) max_age: Duration,
    /// Warn at once where the top count is outside this range
    #[arg(
        short,
        long,
        value_name = "RANGE",
        allow_hyphen_values = true,
        help_heading = "How it is judged"
    )]
    pub(super) warning: Option<Range>,
    /// Critical at once where the top count is outside this range
    #[arg(
        short,
        long,
        value_name = "RANGE",
        allow_hyphen_values = true,
        help_heading = "How it is judged"
    )]
    pub(super) critical: Option<Range>,
    /// Keep the sample here [default: a file of its own in /var/lib/topip]
    #[arg(long, value_name = "FILE", help_heading = "How it is judged")]
    pub(super) state_file: Option<PathBuf>,

    /// Give up after so long, with this status [default: 10:unknown]
    #[arg(
        short,
        long,
        value_name = "SECONDS[:STATUS]",
        allow_hyphen_values = true,
        help_heading = "How it is told"
    )]
    pub(super) timeout: Option<Timeout>,
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

/// Ways to look at this host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum How {
    /// By netlink, and by /proc where that is not to be had.
    #[default]
    #[value(help = None)]
    Auto,
    /// By netlink alone.
    #[value(help = None)]
    Netlink,
    /// By /proc alone.
    #[value(help = None)]
    Proc,
}

/// What to do with a host key that is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum HostKey {
    /// Refuse it.
    #[default]
    #[value(help = None)]
    Strict,
    /// Take it, and write it down.
    #[value(help = None)]
    AcceptNew,
    /// Take any.
    #[value(help = None)]
    Ignore,
}

/// Rules by which the limit is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum RuleName {
    /// A multiple of the standard deviation.
    #[default]
    #[value(help = None)]
    Stddev,
    /// By the counts of the others.
    #[value(help = None)]
    Lognormal,
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
                status.parse().map_err(|error: crate::verdict::StatusError| error.to_string())?,
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

/// The options as clap has them.
#[must_use]
pub fn command() -> clap::Command {
    CheckArgs::command()
}

/// Every option as a manual writes it, `-w` and `--warning` alike.
#[must_use]
pub fn manual_options() -> Vec<String> {
    let command = command();
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
