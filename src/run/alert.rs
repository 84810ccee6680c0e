//! Sends notifications about an alert: a log line and a mail.
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::{
    alert_log::entry::{Alert, LineFormat},
    analysis::view::View,
    model::problem::{Hints, Problem},
    notify::{journald, syslog},
    output::Report,
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

/// Alert log and mail, each if configured.
#[derive(Clone, Debug, Default)]
pub struct NotifyConfig {
    /// The log that receives one line per alert.
    pub log: Option<LogConfig>,
    /// Mail settings.
    pub mail: Option<MailConfig>,
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

/// Returns the alerts of a sample, at most one per view.
pub(super) fn alerts(report: &Report, servers: &[String]) -> Vec<Alert> {
    let mut alerts: Vec<Alert> = Vec::new();
    for View { sample, verdict, .. } in report.alerting_views() {
        let Some(peer) = sample.top.first() else {
            continue;
        };
        // With several prefix lengths, one address can be the top peer of several
        // views.
        if alerts.iter().any(|alert| alert.entry.network == peer.network) {
            continue;
        }
        let timestamp =
            local_time::from_timestamp(i64::try_from(sample.timestamp).unwrap_or(i64::MAX));
        let limit_and_samples = (verdict.limit.connections, verdict.consecutive);
        alerts.push(Alert::new(timestamp, peer, servers, limit_and_samples));
    }
    alerts
}

/// Writes the log and sends the mail, and adds the outcome to `report`.
pub(super) fn notify(config: &CheckConfig, saved_state: &SavedState, report: &mut Report) {
    if let Some(log) = &config.notify.log {
        let outcome = match (&log.sink, &report.alerts[..]) {
            (Sink::File(path), []) => {
                log_file::probe(path, config.deadline).map_err(|error| error.to_problem())
            }
            (_, alerts) => write_all(log, alerts, config.deadline),
        };
        report.problems.extend(outcome.err());
    }
    if let Some(mail) = &config.notify.mail {
        let state_file = StateFileId { location: &config.state_location, servers: &config.servers };
        send_pending_mail(mail, &state_file, saved_state, report);
    }
}

/// Writes as many of `alerts` as possible.
///
/// # Errors
///
/// Returns the first failure.
fn write_all(log: &LogConfig, alerts: &[Alert], deadline: Instant) -> Result<(), Problem> {
    let mut write_deadline = match log.sink {
        Sink::File(_) => deadline,
        Sink::Syslog | Sink::Journal => deadline.min(Instant::now() + DAEMON_TIMEOUT),
    };
    let mut outcome = Ok(());
    for alert in alerts {
        let result = write(log, alert, write_deadline);
        if result.is_err() {
            // A sink that timed out once would time out again: give the remaining
            // alerts no more time.
            write_deadline = Instant::now();
        }
        outcome = outcome.and(result);
    }
    outcome
}

fn write(
    LogConfig { sink, format }: &LogConfig,
    alert: &Alert,
    write_deadline: Instant,
) -> Result<(), Problem> {
    // A socket treats a zero timeout as no timeout, so wait at least 1 ms.
    let timeout =
        write_deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    match sink {
        Sink::File(path) => log_file::append(path, &alert.line(*format), write_deadline)
            .map_err(|error| error.to_problem()),
        Sink::Syslog => syslog::send(&alert.message(*format), alert.entry.timestamp, timeout)
            .map_err(|error| error.to_problem()),
        Sink::Journal => journald::send(&journal_fields(alert, *format), timeout)
            .map_err(|error| error.to_problem()),
    }
}

/// Returns the journal fields of an alert.
fn journal_fields(alert: &Alert, format: LineFormat) -> Vec<(&'static str, String)> {
    let Alert { entry, limit, consecutive: samples, peer } = alert;
    let ports: Vec<_> = peer.ports.iter().map(|(port, n)| format!("{port}:{n}")).collect();
    let states: Vec<_> = peer
        .tcp_states
        .iter()
        .map(|(state, n)| format!("{}:{n}", state.map_or("-", |state| state.name())))
        .collect();
    let mut fields = vec![
        ("MESSAGE", alert.message(format)),
        // journalctl finds all alerts by this identifier, whatever their other fields
        // are.
        ("MESSAGE_ID", "5b5f6c2ad7a94c1f8f0e4c7b1f3a9d26".to_owned()),
        ("PRIORITY", "4".to_owned()),
        ("SYSLOG_FACILITY", "3".to_owned()),
        ("SYSLOG_IDENTIFIER", syslog::TAG.to_owned()),
        ("TOPIP_TIME", entry.timestamp.to_rfc3339()),
        ("TOPIP_ADDRESS", entry.network.to_string()),
        ("TOPIP_CONNECTIONS", entry.connections.to_string()),
        ("TOPIP_LIMIT", limit.to_string()),
        ("TOPIP_SAMPLES", samples.to_string()),
        ("TOPIP_PORTS", ports.join(",")),
        ("TOPIP_STATES", states.join(",")),
    ];
    fields.extend(entry.servers.iter().map(|server| ("TOPIP_SERVER", server.clone())));
    fields
}
