//! What one run has to say, as values; the modules below put it into words.
use crate::{
    filter::LeftOut,
    history::Sample,
    rule::Rule,
    verdict::{Status, Verdict},
};

mod clean;
mod nagios;
mod reading;
mod sentence;

pub use nagios::{LISTED, failure, nagios};
pub use reading::{assumed, cut, looked_at, unreadable, untold};
pub use sentence::left_out;

/// What one run has to say.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// What was counted.
    pub sample: Sample,
    /// What did not count.
    pub left_out: LeftOut,
    /// What the sample was held against.
    pub rule: Rule,
    /// How many of the top addresses are judged; `None`: all.
    pub judged: Option<usize>,
    /// What came of it.
    pub verdict: Verdict,
    /// What could not be seen or kept: each makes the outcome at least UNKNOWN.
    pub troubles: Vec<Trouble>,
    /// What is worth telling all the same.
    pub notes: Vec<String>,
    /// How it was done.
    pub details: Vec<String>,
    /// How many connections each server has, where several were looked at.
    pub shares: Vec<(String, u64)>,
}

impl Report {
    /// The outcome of the run.
    #[must_use]
    pub fn status(&self) -> Status {
        match self.troubles.is_empty() {
            true => self.verdict.status,
            false => self.verdict.status.max(Status::Unknown),
        }
    }
}

/// Something that went wrong and did not end the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What failed, on what, and why; on one line.
    pub problem: String,
    /// What to do about it.
    pub advice: Option<String>,
}

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// The status line, and what explains a status that is not OK.
    Terse,
    /// The top addresses as well, and how the rule came to its limit.
    Addresses,
    /// How it was done as well.
    Details,
    /// Every address.
    Everything,
}

impl Verbosity {
    /// The level of so many `-v`.
    #[must_use]
    pub fn from_count(n: u8) -> Self {
        match n {
            0 => Self::Terse,
            1 => Self::Addresses,
            2 => Self::Details,
            _ => Self::Everything,
        }
    }
}
