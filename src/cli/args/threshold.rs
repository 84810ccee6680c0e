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
    /// Use only the N busiest addresses [default: all]
    ///
    /// The statistics use only these addresses; 0 and 1 use all. With the rule stddev
    /// and fewer than 24 addresses, no address can exceed 5 standard deviations.
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        value_parser = addresses,
        allow_hyphen_values = true
    )]
    pub(in crate::cli) top: Option<usize>,
    /// Set the limit, instead of computing it by a rule
    ///
    /// Every address has this limit. As with a rule, an address is CRITICAL after
    /// consecutive samples, and is logged and mailed; this is not so with -w and -c.
    #[arg(
        long,
        value_name = "N",
        value_parser = connections,
        conflicts_with_all = ["rule", "stddev", "false_alarm_rate", "floor"],
        allow_hyphen_values = true
    )]
    pub(in crate::cli) limit: Option<f64>,
    /// Compute the limit by auto, stddev or lognormal
    ///
    /// auto:      as lognormal, with a lower limit for addresses that are
    ///            also over the limit of stddev (default)
    /// stddev:    a multiple of the standard deviation of all counts, as
    ///            topip.py did (default if --stddev is given)
    /// lognormal: computed from the counts of all other addresses; gives
    ///            the fewest false alarms, for example if many customers
    ///            are behind large NAT gateways
    ///
    /// topip(7) has the formulas. -v shows how the limit was found, and the
    /// limit of the other rule.
    #[arg(
        long,
        value_enum,
        value_name = "RULE",
        hide_possible_values = true,
        verbatim_doc_comment
    )]
    pub(in crate::cli) rule: Option<RuleName>,
    /// Warn above N standard deviations [default: 5]
    ///
    /// This applies to the rules stddev and auto. Without --rule, this option selects
    /// stddev.
    #[arg(
        long,
        alias = "stdev",
        value_name = "N",
        value_parser = multiplier,
        allow_hyphen_values = true
    )]
    pub(in crate::cli) stddev: Option<f64>,
    /// Accept this rate of false alarms
    ///
    /// This applies to the rules lognormal and auto: P is the accepted probability,
    /// above 0 and below 1, that the top address of a clean sample is over the limit of
    /// lognormal. A lower value gives a higher limit.
    #[arg(
        long,
        value_name = "P",
        default_value = "0.015",
        value_parser = probability,
        allow_hyphen_values = true
    )]
    pub(in crate::cli) false_alarm_rate: f64,
    /// Never warn at or below N connections
    ///
    /// The limit of any rule is at least N. The default is 10, because a browser opens
    /// fewer connections at once. 0 disables this minimum. -w and -c do not depend on
    /// it.
    #[arg(
        long,
        value_name = "N",
        default_value = DEFAULT_FLOOR,
        value_parser = connections,
        allow_hyphen_values = true
    )]
    pub(in crate::cli) floor: f64,
    /// CRITICAL after COUNT samples in a row
    ///
    /// The status is CRITICAL after an address was over the limit in COUNT consecutive
    /// samples. With 1, an address over the limit is CRITICAL at once.
    #[arg(
        long,
        value_name = "COUNT",
        default_value = "2",
        value_parser = samples,
        allow_hyphen_values = true
    )]
    pub(in crate::cli) consecutive: u32,
    /// Ignore a sample older than this
    ///
    /// This applies to the previous sample. 0 disables the age limit. Set it to more than
    /// the interval between two checks.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "1h",
        value_parser = duration,
        allow_hyphen_values = true
    )]
    pub(in crate::cli) max_age: Duration,
    /// WARNING at once if the top count is outside RANGE
    ///
    /// -w 200 warns above 200 connections of one address. METRIC=RANGE compares
    /// another number of the performance data: -w connections=5000 warns about the
    /// total of all connections. Give the option once for each metric.
    #[arg(short, long, value_name = "RANGE", allow_hyphen_values = true)]
    pub(in crate::cli) warning: Vec<MetricRange>,
    /// CRITICAL at once if the top count is outside RANGE
    ///
    /// METRIC=RANGE compares another number, as with -w. Both ranges apply in addition
    /// to the limit; the worst result is the status.
    #[arg(short, long, value_name = "RANGE", allow_hyphen_values = true)]
    pub(in crate::cli) critical: Vec<MetricRange>,
    /// Keep the sample in this file
    ///
    /// The default is a file below /var/lib/topip for each set of options that select
    /// what is counted; -vv prints its path. The directory must exist.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) state_file: Option<PathBuf>,
}

/// Default of `--stddev`, as in topip.py.
const DEFAULT_MULTIPLIER: f64 = 5.0;

impl ThresholdArgs {
    /// Returns the number of standard deviations, or its default.
    pub(in crate::cli) fn multiplier(&self) -> f64 {
        self.stddev.unwrap_or(DEFAULT_MULTIPLIER)
    }

    /// Returns the rule, or the default rule. `--stddev` without `--rule` selects the rule of
    /// topip.py.
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
    /// Limit of lognormal, or a lower one if the count is also over the limit of stddev.
    #[value(help = None)]
    Auto,
    /// Multiple of the standard deviation.
    #[value(help = None)]
    Stddev,
    /// Lognormal distribution of the counts of the other addresses.
    #[value(help = None)]
    Lognormal,
}
