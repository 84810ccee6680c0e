//! What the judging of a sample comes to.
use std::{fmt, str::FromStr};

use nagiosplugin::ServiceState;

use super::range::Alert;

/// The outcome that Nagios knows.
///
/// The order is the one in which outcomes win when several meet. No standard
/// gives one; ours puts what could not be seen below what was seen, and above
/// OK: only a sample that was judged may be OK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Nothing to report; exit code 0.
    Ok,
    /// Something could not be seen; exit code 3.
    Unknown,
    /// Exit code 1.
    Warning,
    /// Exit code 2.
    Critical,
}

impl Status {
    /// Every status, in the order in which they win.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Unknown, Self::Warning, Self::Critical];

    /// The exit code of the plugin guidelines, 0 to 3.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        u8::try_from(ServiceState::from(self).exit_code()).expect("it is one of 0 to 3")
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
    /// The word of the plugin guidelines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ServiceState::from(*self).fmt(f)
    }
}

/// A word that is no status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a status; write ok, warning, critical or unknown, or its number 0 to 3")]
pub struct StatusError;

impl FromStr for Status {
    type Err = StatusError;

    /// Takes a word in any case, or an exit code.
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

/// How many connections one address may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// Connections, rounded to hundredths: the number that is shown is the
    /// number that was judged.
    pub connections: f64,
    /// What it follows from.
    pub basis: Basis,
    /// Whether what follows from that is less, and the limit is the floor.
    pub is_floor: bool,
}

impl Limit {
    /// Whether so many connections are over it; at the limit they are not.
    #[must_use]
    pub fn is_exceeded_by(&self, connections: u64) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 connections")]
        let connections = connections as f64;
        connections > self.connections
    }
}

/// What a limit follows from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Basis {
    /// A multiple of the standard deviation.
    Stddev {
        /// How many of them.
        times: f64,
        /// Population standard deviation, in connections.
        stddev: f64,
    },
    /// The counts of the other addresses, as lognormal ones.
    Lognormal {
        /// How likely the top one is above the limit all the same.
        false_alarm_rate: f64,
        /// How many other addresses there are that are not set aside.
        others: u64,
        /// Their upper median.
        median: u64,
        /// How the limit is above that: in logarithms, over normal scores.
        scale: f64,
        /// How many addresses beside the top one are set aside, as offenders.
        set_aside: u64,
    },
}

/// Why a verdict is not OK.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reason {
    /// The top address has more connections than the rule's limit.
    Trigger,
    /// The top address's count is outside `--warning`.
    Warning(Alert),
    /// The top address's count is outside `--critical`.
    Critical(Alert),
}

/// Why a sample has no predecessor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstSample {
    /// None is on record.
    NoHistory,
    /// The one on record is older than allowed.
    TooOld {
        /// Its age in seconds.
        age: u64,
    },
    /// The one on record lies in the future: some clock was changed.
    InFuture {
        /// By how many seconds.
        ahead: u64,
    },
}

/// The outcome of one sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The worst of all reasons, OK without one.
    pub status: Status,
    /// The limit that the top address was held against.
    pub limit: Limit,
    /// The limit of the rule that was not asked for.
    pub beside: Limit,
    /// In how many samples on end the top address has been on top, this one
    /// included; 0 when nobody is.
    pub row: u32,
    /// Whether there was an earlier sample, and if not, why.
    pub first: Option<FirstSample>,
    /// What was found, the worst first.
    pub reasons: Vec<Reason>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_beats_what_could_not_be_seen() {
        let mut sorted = [Status::Critical, Status::Unknown, Status::Ok, Status::Warning];
        sorted.sort();
        assert_eq!(sorted, Status::ALL);
        assert_eq!(Status::Unknown.max(Status::Ok), Status::Unknown);
        assert_eq!(Status::Unknown.max(Status::Warning), Status::Warning);
    }

    #[test]
    fn codes_and_words_are_those_of_the_guidelines() {
        let found = Status::ALL.map(|status| format!("{} {status}", status.exit_code()));
        assert_eq!(found, ["0 OK", "3 UNKNOWN", "1 WARNING", "2 CRITICAL"]);
    }

    #[test]
    fn words_and_codes_are_read() {
        assert_eq!("critical".parse(), Ok(Status::Critical));
        assert_eq!("OK".parse(), Ok(Status::Ok));
        assert_eq!("3".parse(), Ok(Status::Unknown));
        assert_eq!("".parse::<Status>(), Err(StatusError));
        assert_eq!("4".parse::<Status>(), Err(StatusError));
    }
}
