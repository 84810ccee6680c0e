//! Sends notifications about an alert: a log line, a mail, and a run of a program.
use std::{
    cmp::Reverse,
    collections::BTreeSet,
    path::PathBuf,
    time::{Duration, Instant},
};

use chrono::{DateTime, FixedOffset};

use crate::{
    alert_log::{
        entry::{Alert, LineFormat, LogEntry, LogRecord, OmittedAlerts},
        group_alert::GroupAlert,
    },
    analysis::{
        protection::{ProtectedPeer, Protection},
        sample::Sample,
        tally::Peer,
        view::View,
    },
    model::{
        network::Network,
        peer_id::PeerId,
        problem::{Hints, Problem},
    },
    notify::{alert_program, journald, syslog},
    output::{self, MAX_LOGGED_ALERTS, PassedOn, Report},
    storage::{log_file, state_file::StateFileId},
    sys::local_time,
};

use super::{
    check::CheckConfig,
    mail::{MailConfig, send_pending_mail},
    saved_state::SavedState,
};

/// Maximum time to wait for busy log daemons, over all alerts of a run.
const DAEMON_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum number of alerts of one run that are sent.
const MAX_ALERTS: usize = 1000;

/// Alert log, mail and program, each if configured.
#[derive(Clone, Debug, Default)]
pub struct NotifyConfig {
    /// The log that receives one line per alert.
    pub log: Option<LogConfig>,
    /// Networks about which the log and the program must not get alerts.
    pub never_log: Vec<Network>,
    /// Mail settings.
    pub mail: Option<MailConfig>,
    /// Program that the alerts are passed on to.
    pub program: Option<ProgramConfig>,
}

/// A program that reads the alerts of a run from its standard input.
#[derive(Clone, Debug)]
pub struct ProgramConfig {
    /// Absolute path.
    pub path: PathBuf,
    /// Time limit for the program.
    pub deadline: Instant,
}

impl NotifyConfig {
    /// Returns whether the report names the peers that are protected from being logged. An
    /// event handler reads these names in the report, even if nothing is logged.
    pub(super) fn names_protected_peers(&self) -> bool {
        self.log.is_some() || self.program.is_some() || !self.never_log.is_empty()
    }
}

/// An alert log: its destination and its line format.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// Destination of the lines.
    pub sink: Sink,
    /// Format of a line.
    pub format: LineFormat,
}

/// Destination of log lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    /// A file, to which lines are appended.
    File(PathBuf),
    /// The syslog daemon of this host.
    Syslog,
    /// The systemd journal.
    Journal,
}

/// The alerts of a run.
#[derive(Default)]
pub(super) struct Alerts {
    /// Alerts for the log and the program, at most [`MAX_ALERTS`]. The log gets the first
    /// [`MAX_LOGGED_ALERTS`].
    pub(super) sent: Vec<Alert>,
    /// Alerts about groups for the log and the program, at most [`MAX_LOGGED_ALERTS`].
    pub(super) groups: Vec<GroupAlert>,
    /// Number of alerts beyond the maximum.
    pub(super) n_omitted: usize,
    /// Record of the alerts without a line in the log.
    pub(super) not_logged: Option<OmittedAlerts>,
    /// The peers that are protected from being logged.
    pub(super) protected: Vec<ProtectedPeer>,
}

/// Returns the alerts of a run.
pub(super) fn alerts(report: &Report, servers: &[String], protection: &Protection) -> Alerts {
    let mut alerts = Alerts::default();
    let mut ids = BTreeSet::new();
    let mut alerting: Vec<_> = report.alerting_peers().collect();
    if alerting.len() > MAX_LOGGED_ALERTS {
        // A later view may have larger peers than an earlier one.
        alerting.sort_by_key(|(_, peer)| Reverse(peer.connections));
    }
    for &(view, peer) in &alerting {
        // With several prefix lengths, one address can be a peer of several views.
        if !ids.insert(&peer.id) {
            continue;
        }
        match &peer.id {
            PeerId::Network(network) => match protection.reason(*network) {
                Some(reason) => {
                    alerts.protected.push(ProtectedPeer { network: *network, reason });
                }
                None => alerts.add_network(*network, (view, peer), servers),
            },
            PeerId::Group(group) => {
                let group_alert = || {
                    let limit = view.sample.limit.connections;
                    let (time, group) = (sample_time(&view.sample), (group, peer, limit));
                    let logged = logged_peers(report, protection);
                    GroupAlert::new(time, group, logged, servers)
                };
                alerts.add_group(group_alert);
            }
        }
    }
    let n_unrecorded = match report.judge_config.consecutive {
        1 if alerts.n_omitted > 0 || alerts.sent.len() > MAX_LOGGED_ALERTS => {
            report.views.iter().map(View::n_unrecorded).sum()
        }
        // A peer without a record counts as over the limit for the first time.
        _ => 0,
    };
    alerts.n_omitted += n_unrecorded;
    let n_not_logged = alerts.n_omitted + alerts.sent.len().saturating_sub(MAX_LOGGED_ALERTS);
    if let (1.., Some((view, _))) = (n_not_logged, alerting.first()) {
        let timestamp = sample_time(&view.sample);
        alerts.not_logged = Some(OmittedAlerts::new(timestamp, n_not_logged, servers));
    }
    alerts
}

/// Returns the peers of the first view that alert and are not protected.
fn logged_peers<'a>(report: &'a Report, protection: &Protection) -> impl Iterator<Item = &'a Peer> {
    let peers = report.views[0].sample.peers_over();
    let is_logged = |peer: &&Peer| {
        let is_protected = |network| protection.reason(network).is_some();
        report.judge_config.is_alert(peer) && !peer.id.network().is_some_and(is_protected)
    };
    peers.filter(is_logged)
}

impl Alerts {
    /// Adds an alert about an address or network, or counts it if there are too many.
    fn add_network(&mut self, network: Network, (view, peer): (&View, &Peer), servers: &[String]) {
        if self.sent.len() >= MAX_ALERTS {
            self.n_omitted += 1;
            return;
        }
        let entry = LogEntry::new(sample_time(&view.sample), network, peer.connections, servers);
        let consecutive = peer.over.map_or(1, |streak| streak.consecutive);
        self.sent.push(Alert::new(entry, peer, (view.sample.limit.connections, consecutive)));
    }

    /// Adds an alert about a group, or counts it if there are too many.
    fn add_group(&mut self, group_alert: impl FnOnce() -> GroupAlert) {
        if self.groups.len() >= MAX_LOGGED_ALERTS {
            self.n_omitted += 1;
        } else {
            self.groups.push(group_alert());
        }
    }
}

/// Returns the local time of a sample.
fn sample_time(sample: &Sample) -> DateTime<FixedOffset> {
    local_time::from_timestamp(i64::try_from(sample.timestamp).unwrap_or(i64::MAX))
}

/// Writes the log, sends the mail and runs the program, and adds the outcome to `report`.
pub(super) fn notify(config: &CheckConfig, saved_state: &SavedState, report: &mut Report) {
    if let Some(log) = &config.notify.log {
        let records: Vec<_> = report.log_records().collect();
        let outcome = match (&log.sink, &records[..]) {
            (Sink::File(path), []) => {
                log_file::probe(path, config.deadline).map_err(|error| error.to_problem())
            }
            (_, records) => write_all(log, records, config.deadline),
        };
        report.problems.extend(outcome.err());
    }
    if let Some(mail) = &config.notify.mail {
        let state_file = StateFileId { location: &config.state_location, servers: &config.servers };
        send_pending_mail(mail, &state_file, saved_state, report);
    }
    if let Some(program) = &config.notify.program {
        pass_on(program, &config.servers, report);
    }
}

/// Runs the program if there are alerts. Without alerts, tests whether the program can be run:
/// an administrator should learn about a missing program before an attack.
fn pass_on(
    ProgramConfig { path, deadline }: &ProgramConfig,
    servers: &[String],
    report: &mut Report,
) {
    let n_alerts = report.alerts.len() + report.group_alerts.len();
    let result = if n_alerts == 0 {
        alert_program::probe(path)
    } else {
        let input = output::render_offenders(report, servers).into_bytes();
        alert_program::run(path, input, *deadline)
    };
    match result {
        Ok(()) if n_alerts == 0 => {}
        Ok(()) => {
            report.passed_on = Some(PassedOn { program: path.clone(), n_alerts });
        }
        Err(error) => {
            let Problem { message, hints } = error.to_problem();
            let message = format!("program of `--exec`: {message}");
            report.problems.push(Problem { message, hints });
        }
    }
}

/// Writes as many of `records` as possible.
///
/// # Errors
///
/// Returns the first failure.
fn write_all(log: &LogConfig, records: &[LogRecord<'_>], deadline: Instant) -> Result<(), Problem> {
    let mut write_deadline = match log.sink {
        Sink::File(_) => deadline,
        Sink::Syslog | Sink::Journal => deadline.min(Instant::now() + DAEMON_TIMEOUT),
    };
    let mut outcome = Ok(());
    for &record in records {
        let result = write(log, record, write_deadline);
        if result.is_err() {
            // A sink that timed out once would time out again: give the remaining
            // records no more time.
            write_deadline = Instant::now();
        }
        outcome = outcome.and(result);
    }
    outcome
}

fn write(
    LogConfig { sink, format }: &LogConfig,
    record: LogRecord<'_>,
    write_deadline: Instant,
) -> Result<(), Problem> {
    // A socket treats a zero timeout as no timeout, so wait at least 1 ms.
    let timeout =
        write_deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    match sink {
        Sink::File(path) => log_file::append(path, &record.line(*format), write_deadline)
            .map_err(|error| error.to_problem()),
        Sink::Syslog => syslog::send(&record.message(*format), record.timestamp(), timeout)
            .map_err(|error| error.to_problem()),
        Sink::Journal => journald::send(&journal_fields(record, *format), timeout)
            .map_err(|error| error.to_problem()),
    }
}

/// Returns the journal fields of a record.
fn journal_fields(record: LogRecord<'_>, format: LineFormat) -> Vec<(&'static str, String)> {
    let mut fields = vec![
        ("MESSAGE", record.message(format)),
        // journalctl finds all records by this identifier, whatever their other fields
        // are.
        ("MESSAGE_ID", "5b5f6c2ad7a94c1f8f0e4c7b1f3a9d26".to_owned()),
        ("PRIORITY", "4".to_owned()),
        ("SYSLOG_FACILITY", "3".to_owned()),
        ("SYSLOG_IDENTIFIER", syslog::TAG.to_owned()),
        ("TOPIP_TIME", record.timestamp().to_rfc3339()),
    ];
    let servers = match record {
        LogRecord::Alert(alert) => {
            fields.extend(alert_fields(alert));
            &alert.entry.servers
        }
        LogRecord::Group(alert) => {
            fields.extend(group_alert_fields(alert));
            &alert.servers
        }
        LogRecord::Omitted(omitted) => {
            fields.push(("TOPIP_OMITTED", omitted.count.to_string()));
            &omitted.servers
        }
    };
    fields.extend(servers.iter().map(|server| ("TOPIP_SERVER", server.clone())));
    fields
}

/// Returns the journal fields of an alert about one peer.
fn alert_fields(alert: &Alert) -> [(&'static str, String); 6] {
    let Alert { entry, limit, consecutive, peer } = alert;
    let [ports, states] = port_and_state_lists(peer);
    [
        ("TOPIP_ADDRESS", entry.network.to_string()),
        ("TOPIP_CONNECTIONS", entry.connections.to_string()),
        ("TOPIP_LIMIT", limit.to_string()),
        ("TOPIP_SAMPLES", consecutive.to_string()),
        ("TOPIP_PORTS", ports),
        ("TOPIP_STATES", states),
    ]
}

/// Returns the journal fields of an alert about a group.
fn group_alert_fields(alert: &GroupAlert) -> [(&'static str, String); 6] {
    let GroupAlert { peer, limit, consecutive, .. } = alert;
    let [ports, states] = port_and_state_lists(peer);
    [
        ("TOPIP_GROUP", peer.name()),
        ("TOPIP_CONNECTIONS", peer.connections.to_string()),
        ("TOPIP_LIMIT", limit.to_string()),
        ("TOPIP_SAMPLES", consecutive.to_string()),
        ("TOPIP_PORTS", ports),
        ("TOPIP_STATES", states),
    ]
}

/// Returns the connections of a peer by port and by TCP state.
fn port_and_state_lists(peer: &Peer) -> [String; 2] {
    let ports: Vec<_> = peer.ports.iter().map(|(port, n)| format!("{port}:{n}")).collect();
    let states: Vec<_> = peer
        .tcp_states
        .iter()
        .map(|(state, n)| format!("{}:{n}", state.map_or("-", |state| state.name())))
        .collect();
    [ports.join(","), states.join(",")]
}
