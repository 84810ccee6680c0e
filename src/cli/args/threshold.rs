//! Options for thresholds.
use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use crate::{
    cli::{
        duration::duration,
        value_parser::{addresses, connections, multiplier, probability, samples},
    },
    model::metric::MetricRange,
};

/// Default of `--floor`: a browser opens fewer connections than this at a time.
const DEFAULT_FLOOR: &str = "10";

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Thresholds")]
pub(in crate::cli) struct ThresholdArgs {
    /// Judge the N addresses with the most connections; 0 and 1 are all [default: all]
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        value_parser = addresses,
        allow_hyphen_values = true
    )]
    pub(in crate::cli) top: Option<usize>,
    /// Limit for every address, in place of a rule
    #[arg(
        long,
        value_name = "N",
        value_parser = connections,
        conflicts_with_all = ["rule", "stddev", "false_alarm_rate", "floor"],
        allow_hyphen_values = true
    )]
    pub(in crate::cli) limit: Option<f64>,
    /// How the limit is found; see topip(7) [default: auto, or stddev where --stddev is given]
    #[arg(long, value_enum, value_name = "RULE")]
    pub(in crate::cli) rule: Option<RuleName>,
    /// Rule stddev: warn above so many standard deviations [default: 5]
    #[arg(
        long,
        alias = "stdev",
        value_name = "N",
        value_parser = multiplier,
        allow_hyphen_values = true
    )]
    pub(in crate::cli) stddev: Option<f64>,
    /// Rules auto and lognormal: how likely a clean sample may be over its limit
    #[arg(
        long,
        value_name = "PROBABILITY",
        default_value = "0.015",
        value_parser = probability,
        allow_hyphen_values = true
    )]
    pub(in crate::cli) false_alarm_rate: f64,
    /// Any rule: but never at or below so many connections; 0 for the bare rule
    #[arg(
        long,
        value_name = "N",
        default_value = DEFAULT_FLOOR,
        value_parser = connections,
        allow_hyphen_values = true
    )]
    pub(in crate::cli) floor: f64,
    /// Critical once an address was over the limit in so many consecutive samples
    #[arg(
        long,
        value_name = "COUNT",
        default_value = "2",
        value_parser = samples,
        allow_hyphen_values = true
    )]
    pub(in crate::cli) consecutive: u32,
    /// An earlier sample that is older does not count; 0: however old
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "1h",
        value_parser = duration,
        allow_hyphen_values = true
    )]
    pub(in crate::cli) max_age: Duration,
    /// Warn at once if the top count, or another metric, is outside this range
    #[arg(short, long, value_name = "[METRIC=]RANGE", allow_hyphen_values = true)]
    pub(in crate::cli) warning: Vec<MetricRange>,
    /// Critical at once if the top count, or another metric, is outside this range
    #[arg(short, long, value_name = "[METRIC=]RANGE", allow_hyphen_values = true)]
    pub(in crate::cli) critical: Vec<MetricRange>,
    /// Keep the sample here [default: a file of its own in /var/lib/topip]
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) state_file: Option<PathBuf>,
}

/// Default of `--stddev`, as in topip.py.
const DEFAULT_MULTIPLIER: f64 = 5.0;

impl ThresholdArgs {
    /// Returns the number of standard deviations, given or not.
    pub(in crate::cli) fn multiplier(&self) -> f64 {
        self.stddev.unwrap_or(DEFAULT_MULTIPLIER)
    }

    /// Returns the rule, given or not. A number of standard deviations alone selects the
    /// rule that topip.py had.
    pub(in crate::cli) fn rule_name(&self) -> RuleName {
        match (self.rule, self.stddev) {
            (Some(rule), _) => rule,
            (None, Some(_)) => RuleName::Stddev,
            (None, None) => RuleName::Auto,
        }
    }
}

/// Rule that calculates the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum RuleName {
    /// Lognormal distribution, and the standard deviation where it confirms.
    #[value(help = None)]
    Auto,
    /// Multiple of the standard deviation.
    #[value(help = None)]
    Stddev,
    /// Log-normal distribution of the other addresses' counts.
    #[value(help = None)]
    Lognormal,
}
