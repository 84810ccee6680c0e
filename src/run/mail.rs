//! Sends the mail about an alert, and about its end.
use std::time::{Duration, Instant};

use crate::{
    analysis::history::{AlertState, MailHistory, PendingMail},
    notify::mail::{Delivery, Envelope, MailError, SendMail, Transport},
    output::{self, Email, Report, Trouble},
    storage::state_file::{MailLock, StateFile, StateFileError},
};

use super::{
    error::{error_chain, problem_with_hint},
    saved_state::SavedState,
};

/// Extra time after the deadline to save that a mail was sent: an unsaved mail would
/// be sent again.
const SAVE_TIME: Duration = Duration::from_millis(250);

/// Settings of the alert mail.
#[derive(Clone, Debug)]
pub struct MailConfig {
    /// Sender and recipients.
    pub envelope: Envelope,
    /// SMTP server or sendmail program.
    pub transport: Transport,
    /// Name of the checked system in the subject and the body.
    pub host: String,
    /// Minimum time between two mails about the same address.
    pub remind_after: Duration,
    /// Send a mail when the alert is over, too.
    pub notify_recovery: bool,
    /// Time limit for sending.
    pub deadline: Instant,
    /// Function that sends the mail.
    pub send_mail: SendMail,
}

/// Sends the pending mail, if any, and adds the outcome to `report`.
///
/// The sample is already saved and the state file unlocked, so a slow mail server
/// does not block other runs.
pub(super) fn send_pending_mail(
    config: &MailConfig,
    saved_state: &SavedState,
    report: &mut Report,
) {
    let Some(pending) = pending_mail(config, &saved_state.mail_history, report) else {
        report.details.extend(recently_sent_note(config, &saved_state.mail_history, report));
        return;
    };
    if saved_state.is_writable {
        send_with_lock(config, saved_state, report);
    } else {
        // Without a state file, sent mails cannot be recorded. A repeated mail is
        // better than a missing one.
        send(
            config,
            pending,
            &saved_state.mail_history,
            "It is sent again at the next sample.",
            report,
        );
    }
}

fn send_with_lock(config: &MailConfig, saved_state: &SavedState, report: &mut Report) {
    let (_lock, mail_history) = match lock_and_load(config, saved_state) {
        Ok(locked) => locked,
        Err(error) => return report.problems.push(not_sent_problem(&error, error.hint())),
    };
    let Some(pending) = pending_mail(config, &mail_history, report) else {
        report.details.push("Mail: another run has just sent it.".to_owned());
        return;
    };
    let resend_note = match pending {
        PendingMail::Alert(_) => "It is not sent again before --remind.",
        PendingMail::Recovery => "It is not sent again.",
    };
    if send(config, pending, &mail_history, resend_note, report)
        && let Err(error) = record_sent(config, saved_state, pending, report)
    {
        let message = format!("cannot put on record that a mail was sent: {}", error_chain(&error));
        let hint = format!("{} The next sample mails it again.", error.hint());
        report.problems.push(Trouble { message, hint: Some(hint) });
    }
}

/// Returns a note if the alert is not mailed because a recent mail was about the same
/// address.
fn recently_sent_note(
    config: &MailConfig,
    mail_history: &MailHistory,
    report: &Report,
) -> Option<String> {
    let AlertState::Alerting(networks) = report.alert_state() else { return None };
    let (network, sent_alert) = networks.iter().find_map(|network| {
        let mut sent_alerts = mail_history.0.iter().rev();
        Some((network, sent_alerts.find(|sent_alert| sent_alert.network == *network)?))
    })?;
    let ago = sample_time(report).saturating_sub(sent_alert.timestamp);
    let remind_after = output::format_duration(config.remind_after.as_secs());
    Some(format!("Mail: about {network} sent {ago} s ago already; again after {remind_after}"))
}

fn pending_mail(
    config: &MailConfig,
    mail_history: &MailHistory,
    report: &Report,
) -> Option<PendingMail> {
    mail_history.pending_mail(
        &report.alert_state(),
        sample_time(report),
        config.remind_after,
        config.notify_recovery,
    )
}

fn sample_time(report: &Report) -> u64 {
    report.worst_view().sample.timestamp
}

fn open_state_file(
    saved_state: &SavedState,
    deadline: Instant,
) -> Result<StateFile, StateFileError> {
    StateFile::open(&saved_state.location, saved_state.servers.clone(), deadline)
}

/// Waits until no other run is sending mail, then loads the mails that other runs
/// have recorded.
///
/// # Errors
///
/// Returns an error if the lock or the state file is not available before the
/// deadline.
fn lock_and_load(
    config: &MailConfig,
    saved_state: &SavedState,
) -> Result<(MailLock, MailHistory), StateFileError> {
    let locked = MailLock::acquire(&saved_state.location, config.deadline)?;
    Ok((locked, open_state_file(saved_state, config.deadline)?.load()?.mail_history))
}

/// Saves that a mail was sent. Keeps the samples that other runs have saved
/// meanwhile.
///
/// # Errors
///
/// Returns an error if the state file cannot be opened, read or written.
fn record_sent(
    config: &MailConfig,
    saved_state: &SavedState,
    pending: PendingMail,
    report: &Report,
) -> Result<(), StateFileError> {
    let file = open_state_file(saved_state, config.deadline + SAVE_TIME)?;
    let mut loaded = file.load()?;
    loaded.mail_history.record(pending, sample_time(report));
    let saved_records = loaded.records;
    let records = if saved_records.is_empty() { &saved_state.records } else { &saved_records };
    file.save(records, &loaded.mail_history)
}

fn not_sent_problem(error: &(dyn std::error::Error + 'static), hint: String) -> Trouble {
    let Trouble { message, hint } = problem_with_hint(error, hint);
    Trouble {
        message: format!("mail not sent: {message}"),
        hint: hint.map(|hint| format!("{hint} It is tried again at the next sample.")),
    }
}

/// Returns the problem of a mail that the server may have accepted. Such a mail
/// counts as sent: one duplicate is acceptable, but a slow server would otherwise get
/// the mail again at every sample.
fn unconfirmed_problem(error: &MailError, resend_note: &str) -> Trouble {
    Trouble {
        message: format!("mail perhaps not sent: {}", error_chain(error)),
        hint: Some(format!("{} {resend_note}", error.hint())),
    }
}

/// Sends the mail and reports the outcome. Returns whether a recipient got it or may
/// have got it; `resend_note` states when it is sent again.
fn send(
    config: &MailConfig,
    pending: PendingMail,
    mail_history: &MailHistory,
    resend_note: &str,
    report: &mut Report,
) -> bool {
    let email = compose_email(config, pending, mail_history, report);
    let MailConfig { transport, envelope, deadline, send_mail, .. } = config;
    match send_mail(transport, envelope, &email, sample_time(report), *deadline) {
        Ok(delivery) => {
            report.details.push(sent_note(&email, envelope, &delivery));
            report.problems.extend(delivery.refused.into_iter().map(refused_problem));
            true
        }
        Err(error @ MailError::Unconfirmed(_)) => {
            report.problems.push(unconfirmed_problem(&error, resend_note));
            true
        }
        Err(error) => {
            report.problems.push(not_sent_problem(&error, error.hint()));
            false
        }
    }
}

fn compose_email(
    config: &MailConfig,
    pending: PendingMail,
    mail_history: &MailHistory,
    report: &Report,
) -> Email {
    let PendingMail::Alert(network) = pending else {
        return output::recovery_email(report, mail_history, &config.host);
    };
    let view = report.alerting_views().find(|view| view.sample.top_address() == Some(network));
    output::alert_email(report, view.unwrap_or_else(|| report.worst_view()), &config.host)
}

/// Returns the note that a mail was sent, with the recipients that were not refused.
fn sent_note(email: &Email, envelope: &Envelope, delivery: &Delivery) -> String {
    let is_refused = |to: &String| delivery.refused.iter().any(|(refused, _)| refused == to);
    let to = envelope.to.iter().map(ToString::to_string).filter(|to| !is_refused(to));
    let to = to.collect::<Vec<_>>().join(", ");
    format!("Mail: {} sent to {to} by {}", email.subject, delivery.route)
}

fn refused_problem((to, reply): (String, String)) -> Trouble {
    Trouble {
        message: format!("mail to {to} was refused: {reply}"),
        hint: Some("The others have got it. See the log of the mail server.".to_owned()),
    }
}
