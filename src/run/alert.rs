//! Tells of an alert those who asked to be told.
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::{
    alert_log::entry::{Alert, Format},
    analysis::tally::Peer,
    notify::{journald, syslog},
    output::{Report, Trouble, View},
    storage::log_file,
    sys::local_time,
};

use super::{
    error::trouble,
    mail::{MailOrder, mail},
    saved_state::Memory,
};

/// How long daemons that are busy are waited for, over all the alerts of a run.
const PATIENCE: Duration = Duration::from_secs(1);

/// Who is told of an alert.
#[derive(Clone, Debug, Default)]
pub struct Alerts {
    /// The log that gets a line.
    pub log: Option<Log>,
    /// What is mailed, and to whom.
    pub mail: Option<MailOrder>,
}

/// A log, and how a line of it is written.
#[derive(Clone, Debug)]
pub struct Log {
    /// Where it goes.
    pub sink: Sink,
    /// As what.
    pub format: Format,
}

/// Where a line of the log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    /// To the end of a file.
    File(PathBuf),
    /// To the syslog daemon of this host.
    Syslog,
    /// To systemd's journal.
    Journal,
}

/// The alerts of a sample: one for each view that is one.
pub(super) fn alerts(report: &Report, servers: &[String]) -> Vec<Alert> {
    let mut alerts: Vec<Alert> = Vec::new();
    for View { sample, verdict, .. } in report.alerting() {
        // By several lengths of prefixes, one address can be several peers.
        let is_news = |peer: &&Peer| alerts.iter().all(|it| it.entry.network != peer.network);
        let Some(peer) = sample.top.first().filter(is_news) else {
            continue;
        };
        let when = local_time::at(i64::try_from(sample.when).unwrap_or(i64::MAX));
        let held_against = (verdict.limit.connections, verdict.row);
        alerts.push(Alert::new(when, peer, servers, held_against));
    }
    alerts
}

/// Tells everybody who asked to be told, and adds to `report` what came of it.
pub(super) fn tell(told: &Alerts, memory: &Memory, deadline: Instant, report: &mut Report) {
    if let Some(log) = &told.log {
        let outcome = match (&log.sink, &report.alerts[..]) {
            (Sink::File(path), []) => {
                log_file::probe(path, deadline).map_err(|error| trouble(&error, error.advice()))
            }
            (_, alerts) => write_all(log, alerts, deadline),
        };
        let trouble = outcome.err();
        report.troubles.extend(trouble);
    }
    if let Some(order) = &told.mail {
        mail(order, memory, report);
    }
}

/// Writes all of `alerts` that can be, and gives the first thing that failed.
fn write_all(log: &Log, alerts: &[Alert], deadline: Instant) -> Result<(), Trouble> {
    let mut until = match log.sink {
        Sink::File(_) => deadline,
        Sink::Syslog | Sink::Journal => deadline.min(Instant::now() + PATIENCE),
    };
    let mut outcome = Ok(());
    for alert in alerts {
        let written = write(log, alert, until);
        if written.is_err() {
            // What hangs now hangs for the next one, too.
            until = Instant::now();
        }
        outcome = outcome.and(written);
    }
    outcome
}

fn write(Log { sink, format }: &Log, alert: &Alert, until: Instant) -> Result<(), Trouble> {
    // A socket takes no time for all the time there is.
    let patience = || until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    match sink {
        Sink::File(path) => log_file::append(path, &alert.line(*format), until)
            .map_err(|error| trouble(&error, error.advice())),
        Sink::Syslog => syslog::send(&alert.message(*format), alert.entry.when, patience())
            .map_err(|error| trouble(&error, error.advice())),
        Sink::Journal => journald::send(&fields(alert, *format), patience())
            .map_err(|error| trouble(&error, error.advice())),
    }
}

/// What the journal is told, by field.
fn fields(alert: &Alert, format: Format) -> Vec<(&'static str, String)> {
    let Alert { entry, limit, samples, peer } = alert;
    let ports: Vec<_> = peer.ports.iter().map(|(port, n)| format!("{port}:{n}")).collect();
    let states: Vec<_> = peer
        .states
        .iter()
        .map(|(state, n)| format!("{}:{n}", state.map_or("-", |state| state.name())))
        .collect();
    let mut fields = vec![
        ("MESSAGE", alert.message(format)),
        // By this one, journalctl finds alerts whatever they are called.
        ("MESSAGE_ID", "5b5f6c2ad7a94c1f8f0e4c7b1f3a9d26".to_owned()),
        ("PRIORITY", "4".to_owned()),
        ("SYSLOG_FACILITY", "3".to_owned()),
        ("SYSLOG_IDENTIFIER", syslog::TAG.to_owned()),
        ("TOPIP_TIME", entry.when.to_rfc3339()),
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
