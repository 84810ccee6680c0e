//! Sends the mails about an alert and about its end.
use std::time::{Duration, Instant};

use crate::{
    analysis::history::{AlertState, MailHistory, PendingMail, PreviousSample},
    model::problem::{Hints, Problem},
    notify::mail::{Delivery, Envelope, MailError, SendMail, Transport},
    output::{self, Email, MailDetail, Report},
    storage::state_file::StateFileId,
};

use super::saved_state::SavedState;

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
    /// `true` to send a mail when the alert ends, too.
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
    state_file: &StateFileId<'_>,
    saved_state: &SavedState,
    report: &mut Report,
) {
    let mail_history = &saved_state.state.mail_history;
    let Some(pending) = pending_mail(config, mail_history, report) else {
        report.mail = recently_sent(config, mail_history, report);
        return;
    };
    if saved_state.is_writable() {
        send_with_lock(config, state_file, &saved_state.state.records, report);
    } else {
        // Without a state file, sent mails cannot be recorded. A repeated mail is
        // better than a missing one.
        let resend_note = "The mail is sent again at the next sample.";
        send(config, &pending, mail_history, resend_note, report);
    }
}

fn send_with_lock(
    config: &MailConfig,
    state_file: &StateFileId<'_>,
    own_records: &[PreviousSample],
    report: &mut Report,
) {
    let (_lock, mail_history) = match state_file.lock_mail(config.deadline) {
        Ok(locked) => locked,
        Err(error) => return report.problems.push(not_sent(error.to_problem())),
    };
    let Some(pending) = pending_mail(config, &mail_history, report) else {
        report.mail = Some(MailDetail::SentByOtherRun);
        return;
    };
    let resend_note = if pending.alerts.is_empty() {
        "The mail is not sent again."
    } else {
        "The mail is not sent again before `--remind`."
    };
    if !send(config, &pending, &mail_history, resend_note, report) {
        return;
    }
    let sent = (&pending, sample_time(report));
    if let Err(error) = state_file.record_mail(sent, own_records, config.deadline + SAVE_TIME) {
        report.problems.push(extended(
            error.to_problem(),
            "cannot record that a mail was sent",
            "The mail is sent again at the next sample.",
        ));
    }
}

/// Returns the recent mail about the same address that prevents another mail about the
/// alert.
fn recently_sent(
    config: &MailConfig,
    mail_history: &MailHistory,
    report: &Report,
) -> Option<MailDetail> {
    let AlertState { alerting, .. } = report.alert_state();
    let (id, sent_alert) = alerting.into_iter().find_map(|id| {
        let mut sent_alerts = mail_history.0.iter().rev();
        let sent_alert = sent_alerts.find(|sent_alert| sent_alert.id == id)?;
        Some((id, sent_alert))
    })?;
    Some(MailDetail::RecentlySent {
        id,
        seconds_ago: sample_time(report).saturating_sub(sent_alert.timestamp),
        remind_after: config.remind_after,
    })
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

/// Returns the problem with a prefix to its message and a sentence after its hints.
fn extended(problem: Problem, prefix: &str, sentence: &str) -> Problem {
    let hints = [problem.hints, vec![sentence.to_owned()]].concat();
    Problem::new(format!("{prefix}: {}", problem.message), hints.join(" "))
}

fn not_sent(problem: Problem) -> Problem {
    extended(problem, "mail not sent", "The mail is tried again at the next sample.")
}

/// Sends the mail and reports the outcome. Returns whether a recipient got the mail or may
/// have got it. `resend_note` states when the mail is sent again.
fn send(
    config: &MailConfig,
    pending: &PendingMail,
    mail_history: &MailHistory,
    resend_note: &str,
    report: &mut Report,
) -> bool {
    let email = compose_email(config, pending, mail_history, report);
    let MailConfig { transport, envelope, deadline, send_mail, .. } = config;
    match send_mail(transport, envelope, &email, sample_time(report), *deadline) {
        Ok(delivery) => {
            report.mail = Some(sent_detail(email, envelope, &delivery));
            report.problems.extend(delivery.refused.into_iter().map(refused_problem));
            true
        }
        // The server may have accepted the mail. It counts as sent: one duplicate is
        // acceptable, but a slow server would get the mail again at every sample.
        Err(error @ MailError::Unconfirmed(_)) => {
            let problem = extended(error.to_problem(), "mail perhaps not sent", resend_note);
            report.problems.push(problem);
            true
        }
        Err(error) => {
            report.problems.push(not_sent(error.to_problem()));
            false
        }
    }
}

fn compose_email(
    config: &MailConfig,
    pending: &PendingMail,
    mail_history: &MailHistory,
    report: &Report,
) -> Email {
    if pending.alerts.is_empty() {
        output::recovery_email(report, pending, mail_history, &config.host)
    } else {
        output::alert_email(report, pending, &config.host)
    }
}

/// Returns the mail that was sent, with the recipients that were not refused.
fn sent_detail(email: Email, envelope: &Envelope, delivery: &Delivery) -> MailDetail {
    let mut to: Vec<_> = envelope.to.iter().map(ToString::to_string).collect();
    to.retain(|to| delivery.refused.iter().all(|(refused, _)| refused != to));
    MailDetail::Sent { subject: email.subject, to, route: delivery.route.clone() }
}

fn refused_problem((to, reply): (String, String)) -> Problem {
    Problem::new(
        format!("mail to {to} was refused: {reply}"),
        "The other recipients got the mail. See the log of the mail server.",
    )
}
