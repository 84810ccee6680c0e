//! Options on the command line that have no effect on the run.
//!
//! An option without effect is a mistake: the user expects an effect that does not
//! happen. Settings of `--extra-opts` are not checked, because several checks share them.
//! Munin's variables are not checked, because sections such as `[topip_*]` set
//! them for several plugins.
use std::ffi::OsString;

use clap::{ArgMatches, Args, Command, FromArgMatches, error::Error, parser::ValueSource};

use crate::model::problem::Problem;

use super::args::{NotifyArgs, OutputFormat, RuleName, SampleArgs, SourceKind, SshArgs};

/// Prefix lengths at which a network is a single address.
const HOST_LENGTHS: (u8, u8) = (32, 128);

/// Names of the options that are given on a command line, unlike options at their defaults.
#[derive(Debug)]
pub(super) struct GivenOptions(Vec<String>);

/// Parses a command line by the command of `T`. Also returns the given options: those of the
/// subcommand, if the command line has one.
///
/// # Errors
///
/// Returns the errors of clap.
pub(super) fn parse<T: FromArgMatches>(
    command: &mut Command,
    args: impl Iterator<Item = OsString>,
) -> Result<(T, GivenOptions), Error> {
    let mut matches = command.try_get_matches_from_mut(args)?;
    let given = GivenOptions::new(matches.subcommand().map_or(&matches, |(_, matches)| matches));
    // Moves the values out of the matches, so that no copy of a password remains.
    let parsed = T::from_arg_matches_mut(&mut matches).map_err(|it| it.format(command))?;
    Ok((parsed, given))
}

impl GivenOptions {
    pub(super) fn new(matches: &ArgMatches) -> Self {
        let ids = matches.ids().map(clap::Id::as_str);
        let is_given = |id: &&str| matches.value_source(id) == Some(ValueSource::CommandLine);
        Self(ids.filter(is_given).map(str::to_owned).collect())
    }

    /// Returns the names of the options.
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    fn has(&self, id: &str) -> bool {
        self.0.iter().any(|given| given == id)
    }

    /// Checks the options that all programs share.
    ///
    /// # Errors
    ///
    /// Returns an error if an option has no effect.
    pub(super) fn check_sample(&self, args: &SampleArgs) -> Result<(), Problem> {
        let SampleArgs { selection, thresholds, .. } = args;
        let servers = &selection.hostname;
        let n_remote = servers.iter().filter(|server| !server.is_local()).count();
        if n_remote == 0 {
            for arg in SshArgs::augment_args(Command::default()).get_arguments() {
                let id = arg.get_id().as_str();
                self.reject(id, "because no server is checked over SSH; see `--hostname`")?;
            }
        }
        if n_remote > 0 && n_remote == servers.len() && selection.source != SourceKind::Conntrack {
            self.reject("source", "on servers that are checked over SSH, except with conntrack")?;
        }
        match thresholds.rule_name() {
            RuleName::Stddev => self.reject("false_alarm_rate", "on the rule stddev")?,
            RuleName::Lognormal => self.reject("stddev", "on the rule lognormal")?,
            RuleName::Auto => {}
        }
        if selection.ipv6_only {
            self.reject("prefix4", "with -6")?;
        }
        if selection.ipv4_only {
            self.reject("prefix6", "with -4")?;
        }
        let (v4, v6) = HOST_LENGTHS;
        let counts_addresses = selection.prefix4.iter().all(|&length| length == v4)
            && selection.prefix6.iter().all(|&length| length == v6);
        if counts_addresses {
            self.reject("prefix_members", "without `--prefix4` or `--prefix6`")?;
        }
        Ok(())
    }

    /// Checks the options for notifications of a program that logs only on request.
    ///
    /// # Errors
    ///
    /// Returns an error if an option has no effect.
    pub(super) fn check_notify(&self, args: &NotifyArgs) -> Result<(), Problem> {
        if args.log.is_some() { Ok(()) } else { self.reject("log_format", "without `--log`") }
    }

    /// Checks the options for the output format.
    ///
    /// # Errors
    ///
    /// Returns an error if an option has no effect.
    pub(super) fn check_output(&self, format: OutputFormat) -> Result<(), Problem> {
        match format {
            OutputFormat::Openmetrics => Ok(()),
            _ => self.reject("metrics_addresses", "without `--output` openmetrics"),
        }
    }

    /// Checks the options of a watch, which keeps its samples in memory.
    ///
    /// # Errors
    ///
    /// Returns an error if an option has no effect.
    pub(super) fn check_watch(&self) -> Result<(), Problem> {
        self.reject("state_file", "with watch, which keeps its samples in memory")
    }

    /// Checks that an option is not given. `reason` completes "has no effect" in the error.
    ///
    /// # Errors
    ///
    /// Returns an error if the option is given.
    fn reject(&self, id: &str, reason: &str) -> Result<(), Problem> {
        if !self.has(id) {
            return Ok(());
        }
        let option = format!("`--{}`", id.replace('_', "-"));
        let message = format!("{option} has no effect {reason}");
        Err(Problem::new(message, format!("Leave out {option}.")))
    }
}
