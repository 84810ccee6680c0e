//! The result of one run as values, which the other modules of this layer render.
use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use crate::{
    alert_log::{
        entry::{Alert, LogRecord, OmittedAlerts},
        group_alert::GroupAlert,
    },
    analysis::view::View,
    analysis::{
        history::{AlertState, MAX_RECORDED_OVER},
        note::Note,
        observation::Observation,
        rule::JudgeConfig,
        tally::Peer,
    },
    model::{
        connection::TcpState, peer_id::PeerId, problem::Problem, protocol::Protocol,
        verdict::Status,
    },
    parse::TableKind,
};

use super::noun::Noun;

/// Number of listed peers if neither `--top` nor `-vvv` is set.
pub const DEFAULT_LISTED_PEERS: usize = 10;

/// Maximum number of alerts of one run that are logged: an attack from a million addresses
/// must not fill the disk.
pub const MAX_LOGGED_ALERTS: usize = 100;

/// The result of one run.
#[derive(Debug)]
pub struct Report {
    /// The samples with their verdicts, one per aggregation; never empty.
    pub views: Vec<View>,
    /// Connections in each TCP state, most frequent first; empty unless they were requested.
    pub tcp_states: Vec<(Option<TcpState>, u64)>,
    /// Everything else that was observed; its tally is empty.
    pub observation: Observation,
    /// Counted protocols.
    pub protocol: Protocol,
    /// `true` if only connections to the host were selected.
    pub is_inbound: bool,
    /// The configuration by which the samples were judged.
    pub judge_config: JudgeConfig,
    /// Number of the busiest peers that are judged; `None` for all.
    pub n_judged: Option<usize>,
    /// Failures after sampling: of the state file, the log, the mail or the alert program.
    pub problems: Vec<Problem>,
    /// Facts that the default output shows, in addition to those of the observation.
    pub notes: Vec<Note>,
    /// Path of the state file; `None` if it could not be loaded.
    pub state_file: Option<PathBuf>,
    /// Alerts for the log and the alert program, one for each peer that is critical by its
    /// limit, up to a maximum.
    pub alerts: Vec<Alert>,
    /// Alerts about groups for the log, up to a maximum.
    pub group_alerts: Vec<GroupAlert>,
    /// Number of alerts beyond that maximum.
    pub n_omitted_alerts: usize,
    /// Record of the alerts without a line in the log.
    pub omitted_alerts: Option<OmittedAlerts>,
    /// The mail that was sent, or the reason that none was sent.
    pub mail: Option<MailDetail>,
    /// The program that the alerts were passed on to.
    pub passed_on: Option<PassedOn>,
}

/// Alerts that were passed on to a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOn {
    /// Path of the program.
    pub program: PathBuf,
    /// Number of alerts.
    pub n_alerts: usize,
}

/// The outcome of a pending mail, if it is not a problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailDetail {
    /// Another run has sent the mail meanwhile.
    SentByOtherRun,
    /// A recent mail was about the same peer.
    RecentlySent {
        /// The peer.
        id: PeerId,
        /// Age of that mail, in seconds.
        seconds_ago: u64,
        /// Minimum time between two mails about a peer.
        remind_after: Duration,
    },
    /// The mail was sent.
    Sent {
        /// Subject of the mail.
        subject: String,
        /// Recipients that were not refused.
        to: Vec<String>,
        /// Mail server or program.
        route: String,
    },
}

impl Report {
    /// Returns all failures: each makes the status at least UNKNOWN.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.observation.problems.iter().chain(&self.problems)
    }

    /// Returns `true` if no connections are missing from the counts.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.observation.problems.is_empty()
    }

    /// Returns the facts that the default output shows.
    pub fn notes(&self) -> impl Iterator<Item = &Note> {
        self.observation.notes.iter().chain(&self.notes)
    }

    /// Returns the kind of the entries that were counted.
    #[must_use]
    pub fn table_kind(&self) -> TableKind {
        self.observation.parse_stats.table_kind()
    }

    /// Returns the noun for what was counted.
    pub(super) fn noun(&self) -> Noun {
        Noun::new(self.protocol)
    }

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
        if self.problems().next().is_none() { status } else { status.max(Status::Unknown) }
    }

    /// Returns the peers about which alerts are sent: those that are critical by the
    /// limit. A violation of only `--critical` does not send an alert.
    pub fn alerting_peers(&self) -> impl Iterator<Item = (&View, &Peer)> {
        self.views.iter().flat_map(|view| {
            let peers = view.sample.peers_over();
            let alerting = peers.filter(|peer| self.judge_config.is_alert(peer));
            alerting.take(MAX_RECORDED_OVER).map(move |peer| (view, peer))
        })
    }

    /// Returns the records for the log.
    pub fn log_records(&self) -> impl Iterator<Item = LogRecord<'_>> {
        let omitted = self.omitted_alerts.iter().map(LogRecord::Omitted);
        let groups = self.group_alerts.iter().map(LogRecord::Group);
        let alerts = self.alerts.iter().take(MAX_LOGGED_ALERTS).map(LogRecord::Alert);
        alerts.chain(groups).chain(omitted)
    }

    /// Returns the peers that determine which mails are sent.
    #[must_use]
    pub fn alert_state(&self) -> AlertState {
        let mut state = AlertState { is_complete: true, ..AlertState::default() };
        for View { sample, .. } in &self.views {
            state.over.extend(sample.peers_over().map(|peer| peer.id.clone()));
            state.is_complete &= sample.n_over == sample.peers_over().count();
        }
        let mut seen = BTreeSet::new();
        for (_, peer) in self.alerting_peers() {
            if seen.insert(&peer.id) {
                state.alerting.push(peer.id.clone());
            }
        }
        // An incomplete sample may lack the connections of an offender.
        state.is_complete &= self.problems().next().is_none();
        state
    }
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
