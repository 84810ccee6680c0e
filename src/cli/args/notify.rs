//! Options: who is told of an alert.
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::{alert_log::entry::Format, run::Sink};

use super::MailArgs;

/// The log where none is named.
pub(in crate::cli) const DEFAULT_LOG: &str = "/var/log/topip.log";

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Who is alerted")]
pub(in crate::cli) struct AlertArgs {
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
    pub(in crate::cli) log_format: LogFormat,
    #[command(flatten)]
    pub(in crate::cli) mail: MailArgs,
}

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum LogFormat {
    /// As topip.py did.
    #[default]
    #[value(help = None)]
    Classic,
    /// With the time of RFC 3339.
    #[value(help = None)]
    Rfc3339,
    /// An object a line.
    #[value(help = None)]
    Json,
}

impl From<LogFormat> for Format {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Classic => Self::Classic,
            LogFormat::Rfc3339 => Self::Rfc3339,
            LogFormat::Json => Self::Json,
        }
    }
}

fn sink(text: &str) -> Result<Sink, String> {
    match text {
        "syslog" => Ok(Sink::Syslog),
        "journald" => Ok(Sink::Journal),
        "" | "-" => Err("not a file, syslog or journald".to_owned()),
        // Behind -l they would be taken for its value.
        "record" | "report" | "watch" => {
            Err(format!("a command comes before the options; for a file, write ./{text}"))
        }
        path => Ok(Sink::File(PathBuf::from(path))),
    }
}
