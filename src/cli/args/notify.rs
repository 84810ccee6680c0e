//! Options for notifications: alert log, mail and program.
use std::path::PathBuf;

use clap::Args;

use crate::{alert_log::entry::LineFormat, model::network::Network, run::Sink};

use super::MailArgs;

/// Default path of the alert log.
pub(in crate::cli) const DEFAULT_LOG: &str = "/var/log/topip.log";

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Notifications")]
pub(in crate::cli) struct NotifyArgs {
    /// Append alerts to a file, syslog or journald
    ///
    /// An alert is an address that is CRITICAL by its limit, not by -w or -c. The
    /// default file is /var/log/topip.log.
    #[arg(
        short,
        long,
        value_name = "FILE",
        num_args = 0..=1,
        default_missing_value = DEFAULT_LOG,
        value_parser = sink
    )]
    pub(in crate::cli) log: Option<Sink>,
    /// Write lines as classic, rfc3339 or json
    ///
    /// classic is the default, and the format of topip.py.
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        hide_default_value = true,
        hide_possible_values = true
    )]
    pub(in crate::cli) log_format: LineFormat,
    /// Never log, and so never ban, these networks
    ///
    /// Give the networks of your office and your own servers here, so that fail2ban and
    /// the program of --exec do not ban them. They are still counted, judged and
    /// mailed. A network that overlaps them is not logged either.
    #[arg(long, value_name = "NETS", value_delimiter = ',', value_parser = Network::parse_selector)]
    pub(in crate::cli) never_log: Vec<Network>,
    #[command(flatten)]
    pub(in crate::cli) mail: MailArgs,
    /// Run this program at each sample with an alert
    ///
    /// The program runs after log and mail, with the offenders as JSON on its standard
    /// input. Give its absolute path.
    #[arg(long, value_name = "PROGRAM", value_parser = program_path)]
    pub(in crate::cli) exec: Option<PathBuf>,
}

/// Parses the value of --exec. A program found through $PATH could be a different one for
/// each user.
fn program_path(text: &str) -> Result<PathBuf, String> {
    if text.starts_with('/') {
        Ok(PathBuf::from(text))
    } else {
        Err("not an absolute path; write /usr/local/bin/PROGRAM".to_owned())
    }
}

/// Parses the value of --log.
fn sink(text: &str) -> Result<Sink, String> {
    match text {
        "syslog" => Ok(Sink::Syslog),
        "journald" => Ok(Sink::Journal),
        "" | "-" => Err("not a file, syslog or journald".to_owned()),
        // After -l, a command is parsed as the value of -l.
        "record" | "report" | "watch" => {
            Err(format!("a command comes before the options; for a file, write ./{text}"))
        }
        path => Ok(Sink::File(PathBuf::from(path))),
    }
}
