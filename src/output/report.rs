//! The result of one run as values, which the other modules of this layer render.
use crate::{
    alert_log::entry::Alert,
    analysis::{
        filter::Skipped,
        history::{AlertState, PreviousSample, Sample},
        rule::{self, JudgeConfig},
    },
    model::{
        namespace::Namespace,
        verdict::{Reason, Status, Verdict},
    },
    parse::TableKind,
};

/// Number of listed peers if neither `--top` nor `-vvv` is set.
pub const DEFAULT_LISTED_PEERS: usize = 10;

/// The result of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The samples with their verdicts, one per aggregation; never empty.
    pub views: Vec<View>,
    /// Connections that were not counted.
    pub skipped: Skipped,
    /// The kind of the entries that were counted.
    pub table: TableKind,
    /// True if only connections to the host were selected.
    pub is_inbound: bool,
    /// The configuration that the samples were judged by.
    pub judge_config: JudgeConfig,
    /// Number of the busiest peers that are judged; `None` for all.
    pub n_judged: Option<usize>,
    /// Failures during the run: each makes the status at least UNKNOWN.
    pub problems: Vec<Trouble>,
    /// True if exactly the selected connections were counted; any problem then
    /// concerns the state file, the log or a mail.
    pub complete: bool,
    /// True if connections were counted that should have been skipped. The top
    /// peer is then not reliable, and the status is UNKNOWN at most.
    pub unreliable: bool,
    /// Remarks that do not change the status.
    pub notes: Vec<String>,
    /// Details of the run, shown with `-vv`.
    pub details: Vec<String>,
    /// The connections of each server; empty unless several were checked.
    pub servers: Vec<(String, u64)>,
    /// The connections of each network namespace, busiest first; empty unless
    /// `--netns` is set.
    pub namespaces: Vec<(Namespace, u64)>,
    /// Alerts for the recipients, one for each view that is critical by its
    /// limit.
    pub alerts: Vec<Alert>,
}

impl Report {
    /// Returns the view for the status line: the first one with the worst status.
    #[must_use]
    pub fn worst_view(&self) -> &View {
        let worst = self.views.iter().rev().max_by_key(|view| view.verdict.status);
        worst.expect("a report has at least one view")
    }

    /// Returns the number of peers to list.
    pub(super) fn n_listed(&self, view: &View, verbosity: Verbosity) -> usize {
        let all = view.sample.top.len();
        match verbosity {
            Verbosity::Everything => all,
            _ => all.min(self.n_judged.unwrap_or(DEFAULT_LISTED_PEERS)),
        }
    }

    /// Returns the status of the run.
    #[must_use]
    pub fn status(&self) -> Status {
        let status = self.worst_view().verdict.status;
        if self.unreliable {
            Status::Unknown
        } else if self.problems.is_empty() {
            status
        } else {
            status.max(Status::Unknown)
        }
    }

    /// Returns the views that alerts are sent for: those that are critical by
    /// their limit. A critical fixed threshold alone sends no alert.
    pub fn alerting_views(&self) -> impl Iterator<Item = &View> {
        let views = self.views.iter().filter(|_| !self.unreliable);
        views.filter(|view| rule::is_alert(&view.verdict, &self.judge_config))
    }

    /// Returns the alert state that decides about mails.
    #[must_use]
    pub fn alert_state(&self) -> AlertState {
        let is_over_limit = |view: &View| view.verdict.reasons.contains(&Reason::Limit);
        let alerts: Vec<_> =
            self.alerting_views().filter_map(|view| view.sample.top_address()).collect();
        match alerts[..] {
            // An incomplete sample may lack the connections of an offender.
            [] if self.views.iter().any(is_over_limit) || !self.problems.is_empty() => {
                AlertState::Indeterminate
            }
            [] => AlertState::Clear,
            _ => AlertState::Alerting(alerts),
        }
    }
}

/// A sample with one aggregation, and its verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// The connections per peer.
    pub sample: Sample,
    /// The verdict on the sample.
    pub verdict: Verdict,
    /// The previous sample; `None` if none is on record.
    pub previous: Option<PreviousSample>,
}

/// A failure that did not end the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The failed action, its object and the cause, on one line.
    pub message: String,
    /// The suggested remedy.
    pub hint: Option<String>,
}

/// The amount of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// The status line, and an explanation if the status is not OK.
    Terse,
    /// The top addresses and the derivation of the limit as well.
    Addresses,
    /// The details of the run as well.
    Details,
    /// Every address as well.
    Everything,
}

impl Verbosity {
    /// Returns the level for `n` times `-v`.
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

/// Rounds `number` to hundredths, the precision of every output format.
pub(super) fn round_to_hundredths(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}
