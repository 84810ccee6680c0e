//! What one run has to say, as values; the modules below put it into words.
use crate::{
    alert_log::entry::Alert,
    analysis::{
        filter::LeftOut,
        history::{Previous, Sample, Standing},
        rule::{self, Rule},
    },
    model::{
        namespace::Namespace,
        verdict::{Reason, Status, Verdict},
    },
    parse::Subject,
};

/// How many peers are named unless all are asked for.
pub const LISTED: usize = 10;

/// What one run has to say.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// What was counted and what came of it, for each way to tell peers apart;
    /// there is one at least.
    pub views: Vec<View>,
    /// What did not count.
    pub left_out: LeftOut,
    /// What was counted.
    pub subject: Subject,
    /// Whether only connections to the host were asked for.
    pub is_inbound: bool,
    /// What the sample was held against.
    pub rule: Rule,
    /// How many of the top peers are judged; `None`: all.
    pub judged: Option<usize>,
    /// What could not be seen or kept: each makes the outcome at least UNKNOWN.
    pub troubles: Vec<Trouble>,
    /// Whether all that was to be counted was, and no more: what went wrong, if
    /// anything did, is about the state file, the log or a mail.
    pub is_whole: bool,
    /// Whether connections counted that should not have: then nobody can be
    /// blamed, and the outcome is UNKNOWN at the worst.
    pub is_doubtful: bool,
    /// What is worth telling all the same.
    pub notes: Vec<String>,
    /// How it was done.
    pub details: Vec<String>,
    /// How many connections each server has, where several were looked at.
    pub shares: Vec<(String, u64)>,
    /// How many each network namespace has, where some were asked for; the
    /// busiest first.
    pub namespaces: Vec<(Namespace, u64)>,
    /// What whoever asked to be alerted was told: an alert for each view that is
    /// critical by its trigger.
    pub alerts: Vec<Alert>,
}

impl Report {
    /// The view that the answer is about: the first of the worst.
    #[must_use]
    pub fn worst(&self) -> &View {
        let worst = self.views.iter().rev().max_by_key(|view| view.verdict.status);
        worst.expect("there is a view")
    }

    /// How many peers are named.
    pub(super) fn listed(&self, view: &View, verbosity: Verbosity) -> usize {
        let all = view.sample.top.len();
        match verbosity {
            Verbosity::Everything => all,
            _ => all.min(self.judged.unwrap_or(LISTED)),
        }
    }

    /// The outcome of the run.
    #[must_use]
    pub fn status(&self) -> Status {
        let status = self.worst().verdict.status;
        match self.troubles.is_empty() {
            _ if self.is_doubtful => Status::Unknown,
            true => status,
            false => status.max(Status::Unknown),
        }
    }

    /// The views that alerts go out for: where the trigger is critical, which is
    /// not where a fixed threshold is.
    pub fn alerting(&self) -> impl Iterator<Item = &View> {
        let views = self.views.iter().filter(|_| !self.is_doubtful);
        views.filter(|view| rule::is_alert(&view.verdict, &self.rule))
    }

    /// How it stands to alerts.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let is_over = |view: &View| view.verdict.reasons.contains(&Reason::Trigger);
        let alerts: Vec<_> = self.alerting().filter_map(|view| view.sample.on_top()).collect();
        match alerts[..] {
            // What was not seen whole may have hidden whom it is about.
            [] if self.views.iter().any(is_over) || !self.troubles.is_empty() => Standing::Between,
            [] => Standing::Quiet,
            _ => Standing::Alert(alerts),
        }
    }
}

/// A sample by one way to tell peers apart, judged.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// What was counted.
    pub sample: Sample,
    /// What came of it.
    pub verdict: Verdict,
    /// What was on record of the sample before it.
    pub earlier: Option<Previous>,
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

/// To hundredths, as every form of report shows numbers.
pub(super) fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}
