//! Mails an alert, and its end.
use std::time::{Duration, Instant};

use crate::{
    analysis::history::{Due, Mails, Standing},
    notify::mail::{Delivered, Envelope, MailError, Post, Transport},
    output::{self, Letter, Report, Trouble},
    storage::state_file::{MailTurn, StateFile, StateFileError},
};

use super::{
    error::{chain, trouble},
    saved_state::Memory,
};

/// How long it may take to put on record that a mail went out: what is not on
/// record is mailed again.
const RECORDING: Duration = Duration::from_millis(250);

/// What is to be mailed, and to whom.
#[derive(Clone, Debug)]
pub struct MailOrder {
    /// From whom, and to whom.
    pub envelope: Envelope,
    /// How it leaves this machine.
    pub transport: Transport,
    /// What an administrator calls what is looked at.
    pub host: String,
    /// How long the same address is not mailed about again.
    pub remind: Duration,
    /// Whether the end is mailed too.
    pub recovery: bool,
    /// Until when it may take.
    pub deadline: Instant,
    /// By what it is sent.
    pub post: Post,
}

/// Sends the mail that is due, if one is, and adds to `report` what came of it.
///
/// The sample is on record by now and the state file free, so that a slow mail
/// server holds up nobody's samples.
pub(super) fn mail(order: &MailOrder, memory: &Memory, report: &mut Report) {
    let Some(due) = due(order, &memory.mails, report) else {
        report.details.extend(held_back(order, &memory.mails, report));
        return;
    };
    if memory.is_kept {
        mail_in_turn(order, memory, report);
    } else {
        // Told too often is better than not at all.
        send(order, due, &memory.mails, "It is sent again at the next sample.", report);
    }
}

fn mail_in_turn(order: &MailOrder, memory: &Memory, report: &mut Report) {
    let (_turn, mails) = match take_turn(order, memory) {
        Ok(turn) => turn,
        Err(error) => return report.troubles.push(not_sent(&error, error.advice())),
    };
    let Some(due) = due(order, &mails, report) else {
        report.details.push("Mail: another run has just sent it.".to_owned());
        return;
    };
    let again = match due {
        Due::Alert(_) => "It is not sent again before --remind.",
        Due::Recovery => "It is not sent again.",
    };
    if send(order, due, &mails, again, report)
        && let Err(error) = record(order, memory, due, report)
    {
        let problem = format!("cannot put on record that a mail was sent: {}", chain(&error));
        let advice = format!("{} The next sample mails it again.", error.advice());
        report.troubles.push(Trouble { problem, advice: Some(advice) });
    }
}

/// Why there is no mail of an alert.
fn held_back(order: &MailOrder, mails: &Mails, report: &Report) -> Option<String> {
    let Standing::Alert(networks) = report.standing() else { return None };
    let (network, mailed) = networks.iter().find_map(|network| {
        let mut about = mails.0.iter().rev();
        Some((network, about.find(|mailed| mailed.network == *network)?))
    })?;
    let ago = when(report).saturating_sub(mailed.when);
    let remind = output::span(order.remind.as_secs());
    Some(format!("Mail: about {network} sent {ago} s ago already; again after {remind}"))
}

fn due(order: &MailOrder, mails: &Mails, report: &Report) -> Option<Due> {
    mails.due(&report.standing(), when(report), order.remind, order.recovery)
}

fn when(report: &Report) -> u64 {
    report.worst().sample.when
}

fn open(memory: &Memory, deadline: Instant) -> Result<StateFile, StateFileError> {
    StateFile::open(&memory.place, memory.servers.clone(), deadline)
}

/// Waits until no other run sends, and reads what those have sent.
fn take_turn(order: &MailOrder, memory: &Memory) -> Result<(MailTurn, Mails), StateFileError> {
    let turn = MailTurn::wait(&memory.place, order.deadline)?;
    Ok((turn, open(memory, order.deadline)?.load()?.mails))
}

/// Puts on record that a mail went out, beside the samples that other runs have
/// left meanwhile.
fn record(
    order: &MailOrder,
    memory: &Memory,
    due: Due,
    report: &Report,
) -> Result<(), StateFileError> {
    let file = open(memory, order.deadline + RECORDING)?;
    let mut loaded = file.load()?;
    loaded.mails.note(due, when(report));
    let kept = loaded.records;
    let records = if kept.is_empty() { &memory.records } else { &kept };
    file.save(records, &loaded.mails)
}

fn not_sent(error: &(dyn std::error::Error + 'static), advice: String) -> Trouble {
    let Trouble { problem, advice } = trouble(error, advice);
    Trouble {
        problem: format!("mail not sent: {problem}"),
        advice: advice.map(|advice| format!("{advice} It is tried again at the next sample.")),
    }
}

/// A mail that the server may have taken. Who is told twice can live with it;
/// who is told at every sample, by a server that is merely slow, cannot.
fn perhaps_sent(error: &MailError, again: &str) -> Trouble {
    Trouble {
        problem: format!("mail perhaps not sent: {}", chain(error)),
        advice: Some(format!("{} {again}", error.advice())),
    }
}

/// Whether somebody got it, or may have; `again` says when he gets it again.
fn send(order: &MailOrder, due: Due, mails: &Mails, again: &str, report: &mut Report) -> bool {
    let letter = letter(order, due, mails, report);
    let MailOrder { transport, envelope, deadline, post, .. } = order;
    match post(transport, envelope, &letter, when(report), *deadline) {
        Ok(delivered) => {
            report.details.push(told(&letter, envelope, &delivered));
            report.troubles.extend(delivered.refused.into_iter().map(refused));
            true
        }
        Err(error @ MailError::Unconfirmed(_)) => {
            report.troubles.push(perhaps_sent(&error, again));
            true
        }
        Err(error) => {
            report.troubles.push(not_sent(&error, error.advice()));
            false
        }
    }
}

fn letter(order: &MailOrder, due: Due, mails: &Mails, report: &Report) -> Letter {
    let Due::Alert(network) = due else { return output::recovery(report, mails, &order.host) };
    let view = report.alerting().find(|view| view.sample.on_top() == Some(network));
    output::alert(report, view.unwrap_or_else(|| report.worst()), &order.host)
}

/// Who got it.
fn told(letter: &Letter, envelope: &Envelope, delivered: &Delivered) -> String {
    let is_refused = |to: &String| delivered.refused.iter().any(|(refused, _)| refused == to);
    let to = envelope.to.iter().map(ToString::to_string).filter(|to| !is_refused(to));
    let to = to.collect::<Vec<_>>().join(", ");
    format!("Mail: {} sent to {to} by {}", letter.subject, delivered.how)
}

fn refused((to, reply): (String, String)) -> Trouble {
    Trouble {
        problem: format!("mail to {to} was refused: {reply}"),
        advice: Some("The others have got it. See the log of the mail server.".to_owned()),
    }
}
