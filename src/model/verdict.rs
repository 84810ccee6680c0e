//! The result of judging a sample.
use std::{fmt, str::FromStr};

use nagiosplugin::ServiceState;

use super::{metric::Metric, range::RangeViolation};

/// Plugin status as defined by Nagios.
///
/// The greatest of several statuses wins. No standard defines the order. UNKNOWN is below
/// WARNING and CRITICAL here, so that an incomplete observation does not hide a problem that
/// was found. UNKNOWN is above OK, because only a judged sample may be OK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Nothing to report; exit code 0.
    Ok,
    /// The observation is incomplete; exit code 3.
    Unknown,
    /// Exit code 1.
    Warning,
    /// Exit code 2.
    Critical,
}

impl Status {
    /// All statuses, in ascending order.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Unknown, Self::Warning, Self::Critical];

    /// Returns the exit code of the plugin guidelines, 0 to 3.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        u8::try_from(ServiceState::from(self).exit_code()).expect("exit codes are 0 to 3")
    }
}

impl From<Status> for ServiceState {
    fn from(status: Status) -> Self {
        match status {
            Status::Ok => Self::Ok,
            Status::Unknown => Self::Unknown,
            Status::Warning => Self::Warning,
            Status::Critical => Self::Critical,
        }
    }
}

impl fmt::Display for Status {
    /// Writes the name from the plugin guidelines, such as `OK`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ServiceState::from(*self).fmt(f)
    }
}

/// Error for a text that is not a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a status; write ok, warning, critical or unknown, or its number 0 to 3")]
pub struct StatusError;

impl FromStr for Status {
    type Err = StatusError;

    /// Parses a status name in any case, or an exit code.
    fn from_str(text: &str) -> Result<Self, StatusError> {
        Self::ALL
            .into_iter()
            .find(|status| {
                text.eq_ignore_ascii_case(&status.to_string())
                    || text == status.exit_code().to_string()
            })
            .ok_or(StatusError)
    }
}

/// Maximum number of connections that one peer may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// Number of connections, rounded to hundredths, so that the number shown is
    /// the number that was compared.
    pub connections: f64,
    /// Calculation that the limit results from.
    pub basis: Basis,
    /// `true` if the calculated value is below the configured floor, and the limit is
    /// the floor.
    pub is_floor: bool,
}

impl Limit {
    /// Returns whether `connections` is above the limit. A count equal to the limit
    /// does not exceed it.
    #[must_use]
    pub fn is_exceeded_by(&self, connections: u64) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
        let connections = connections as f64;
        connections > self.connections
    }

    /// Returns how many of `counts` are above the limit; they are sorted, highest first.
    #[must_use]
    pub fn n_over(&self, counts: &[u64]) -> usize {
        counts.partition_point(|&connections| self.is_exceeded_by(connections))
    }
}

/// Calculation that a limit results from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Basis {
    /// A number that the administrator chose.
    Fixed,
    /// A multiple of the standard deviation.
    Stddev {
        /// Number of standard deviations.
        multiplier: f64,
        /// Population standard deviation, in connections.
        stddev: f64,
    },
    /// A lognormal model of the connection counts of the other addresses.
    Lognormal {
        /// Probability that the top address exceeds the limit in normal traffic.
        false_alarm_rate: f64,
        /// Number of addresses in the model: all except the top address and
        /// `excluded_outliers`.
        n_others: u64,
        /// Number of connections of a typical address: the center of the model.
        center: f64,
        /// Logarithm of the limit divided by the center, per unit of normal score.
        scale: f64,
        /// Number of addresses that, in addition to the top address, are excluded from
        /// the model as outliers.
        excluded_outliers: u64,
        /// `true` if the limit is the lower one, which the stddev rule must confirm.
        is_confirmed: bool,
    },
}

/// Reason for a verdict other than OK.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reason {
    /// A peer has more connections than the rule's limit.
    Limit,
    /// A metric violates `--warning`.
    Warning(MetricViolation),
    /// A metric violates `--critical`.
    Critical(MetricViolation),
}

/// A metric that is outside a range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MetricViolation {
    /// The metric.
    pub metric: Metric,
    /// Value of the metric.
    pub value: f64,
    /// Position of the value relative to the range.
    pub violation: RangeViolation,
}

/// Reason for judging a sample without a previous sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstSampleReason {
    /// The history has no sample.
    NoHistory,
    /// The previous sample is older than allowed.
    TooOld {
        /// Age of the previous sample in seconds.
        age_secs: u64,
    },
    /// The time of the previous sample is in the future, because a clock was changed.
    InFuture {
        /// Seconds by which the previous sample is ahead.
        ahead_secs: u64,
    },
}

/// Result of judging one sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Status of the worst reason; OK without a reason.
    pub status: Status,
    /// Reasons for the status, worst first.
    pub reasons: Vec<Reason>,
    /// Rank, from 0, of the peer that the status is about: the busiest of the peers that decide
    /// the status.
    pub rank: usize,
    /// Reason why no previous sample was used; `None` if one was.
    pub first_sample: Option<FirstSampleReason>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_is_above_ok_and_below_warning() {
        let mut sorted = [Status::Critical, Status::Unknown, Status::Ok, Status::Warning];
        sorted.sort();
        assert_eq!(sorted, Status::ALL);
        assert_eq!(Status::Unknown.max(Status::Ok), Status::Unknown);
        assert_eq!(Status::Unknown.max(Status::Warning), Status::Warning);
    }

    #[test]
    fn exit_codes_and_names_follow_the_guidelines() {
        let found = Status::ALL.map(|status| format!("{} {status}", status.exit_code()));
        assert_eq!(found, ["0 OK", "3 UNKNOWN", "1 WARNING", "2 CRITICAL"]);
    }

    #[test]
    fn status_names_and_exit_codes_parse() {
        assert_eq!("critical".parse(), Ok(Status::Critical));
        assert_eq!("OK".parse(), Ok(Status::Ok));
        assert_eq!("3".parse(), Ok(Status::Unknown));
        assert_eq!("".parse::<Status>(), Err(StatusError));
        assert_eq!("4".parse::<Status>(), Err(StatusError));
    }
}
