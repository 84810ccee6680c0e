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
    /// Append alerts to a log, by default /var/log/topip.log; or syslog, journald
    #[arg(
        short,
        long,
        value_name = "FILE",
        num_args = 0..=1,
        default_missing_value = DEFAULT_LOG,
        value_parser = sink
    )]
    pub(in crate::cli) log: Option<Sink>,
    /// How a line of the log is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(in crate::cli) log_format: LineFormat,
    /// Neither log nor pass on alerts about these networks, nor about networks that
    /// contain one of their addresses
    #[arg(long, value_name = "NET,...", value_delimiter = ',', value_parser = Network::parse_selector)]
    pub(in crate::cli) never_log: Vec<Network>,
    #[command(flatten)]
    pub(in crate::cli) mail: MailArgs,
    /// Run this program at each sample with an alert, with the offenders as JSON on its
    /// standard input
    #[arg(long, value_name = "PROGRAM", value_parser = program_path)]
    pub(in crate::cli) exec: Option<PathBuf>,
}

/// Parses the value of --exec. A program found through $PATH could be a different one for
/// each user.
fn program_path(text: &str) -> Result<PathBuf, String> {
    if text.starts_with('/') {
        Ok(PathBuf::from(text))
    } else {
        Err("not a whole path; write /usr/local/bin/PROGRAM".to_owned())
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
