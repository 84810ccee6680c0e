//! Fuzz hooks: option values, and a whole command line.
use std::{ops::RangeInclusive, time::Duration};

use clap::Parser;

use super::{
    args::{CheckArgs, LogArgs, MailAddresses, MailServer, Timeout},
    duration::duration,
    server_name::ServerName,
    value_parser,
};

/// Values of one text, parsed as each kind of option; `None` if the text is rejected.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields have the names of the value parsers")]
pub struct Values {
    pub duration: Option<Duration>,
    pub timeout: Option<Duration>,
    pub ports: Option<RangeInclusive<u16>>,
    pub prefix4: Option<u8>,
    pub prefix6: Option<u8>,
    pub members: Option<u64>,
    pub multiplier: Option<f64>,
    pub probability: Option<f64>,
    pub connections: Option<f64>,
    pub samples: Option<u32>,
    /// User, host and port.
    pub server: Option<(Option<String>, String, Option<u16>)>,
    pub smtp: Option<String>,
    /// Sender and recipients.
    pub alert: Option<(String, Vec<String>)>,
    /// `true` if `--since` accepts the text.
    pub is_time_spec: bool,
}

/// Parses `text` as a value of each kind of option.
#[must_use]
pub fn values(text: &str) -> Values {
    Values {
        duration: duration(text).ok(),
        timeout: text.parse().ok().map(|Timeout { after, .. }| after),
        ports: value_parser::ports(text).ok(),
        prefix4: value_parser::prefix4(text).ok(),
        prefix6: value_parser::prefix6(text).ok(),
        members: value_parser::members(text).ok(),
        multiplier: value_parser::multiplier(text).ok(),
        probability: value_parser::probability(text).ok(),
        connections: value_parser::connections(text).ok(),
        samples: value_parser::samples(text).ok(),
        server: text.parse().ok().map(|ServerName { user, host, port }| (user, host, port)),
        smtp: text.parse().ok().map(|it: MailServer| format!("{it:?}")),
        alert: text.parse().ok().map(|MailAddresses { from, to }| {
            (from.to_string(), to.iter().map(ToString::to_string).collect())
        }),
        is_time_spec: LogArgs::try_parse_from(["topip_log", "report", "--since", text]).is_ok(),
    }
}

/// Returns the password in a command line of check_topip.
///
/// # Errors
///
/// Returns an error if clap rejects the command line.
pub fn password(words: &[&str]) -> Result<Option<String>, String> {
    let args = CheckArgs::try_parse_from(words).map_err(|error| error.to_string())?;
    Ok(args.sample.ssh.password.map(|it| it.reveal().to_owned()))
}
