//! The record of mailed alerts, and the decision to send a mail.
use std::{collections::BTreeSet, time::Duration};

use super::{MAX_RECORDED_OVER, MAX_VIEWS};
use crate::model::peer_id::PeerId;

/// Maximum number of peers on record: all peers that the alerts of one sample can be about.
/// If the peers change often, a mail can be repeated before the reminder time, but untrusted
/// peers cannot make the state file larger than this.
pub const MAX_SENT_ALERTS: usize = MAX_VIEWS * MAX_RECORDED_OVER;

/// Maximum time in seconds between the sample of this run and a later sample of an overlapping
/// run that sent its mail first. The samples of overlapping runs differ by at most the
/// duration of one run.
const MAX_OVERLAP_SECONDS: u64 = 60;

/// The mailed alerts since the last recovery mail: one for each peer, latest last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailHistory(pub Vec<SentAlert>);

/// An alert that was mailed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentAlert {
    /// The peer that the alert was about.
    pub id: PeerId,
    /// Time of the latest mail about the peer, in seconds since 1970-01-01 UTC.
    pub timestamp: u64,
}

/// The peers of a sample that mails are about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertState {
    /// Peers that alerts are sent about, each once.
    pub alerting: Vec<PeerId>,
    /// Peers over the limit.
    pub over: BTreeSet<PeerId>,
    /// True if the sample is complete, so that no peer other than `over` is over the limit.
    pub is_complete: bool,
}

/// A mail that has not been sent yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PendingMail {
    /// Peers that the mail is an alert about; empty in a mail about recovered peers only.
    pub alerts: Vec<PeerId>,
    /// Peers of earlier mails that are no longer over the limit.
    pub recovered: Vec<PeerId>,
}

impl MailHistory {
    /// Returns the mail to send at `now`. It is an alert about all alerting peers if at least
    /// one of them was not mailed within `remind`. It also names the recovered peers if
    /// `recovery` is true and the sample is complete.
    #[must_use]
    pub fn pending_mail(
        &self,
        state: &AlertState,
        now: u64,
        remind: Duration,
        recovery: bool,
    ) -> Option<PendingMail> {
        let mut mail = PendingMail::default();
        let recent = self.recently_mailed(now, remind);
        if state.alerting.iter().any(|id| !recent.contains(id)) {
            mail.alerts.clone_from(&state.alerting);
        }
        if recovery && state.is_complete {
            let mailed = self.0.iter().map(|alert| &alert.id);
            mail.recovered = mailed.filter(|id| !state.over.contains(id)).cloned().collect();
        }
        if mail == PendingMail::default() { None } else { Some(mail) }
    }

    /// Returns the peers of mails that were sent within `remind` before `now`.
    fn recently_mailed(&self, now: u64, remind: Duration) -> BTreeSet<&PeerId> {
        let mut ids = BTreeSet::new();
        for alert in &self.0 {
            if is_recent(alert.timestamp, now, remind.as_secs()) {
                ids.insert(&alert.id);
            }
        }
        ids
    }

    /// Records that `mail` was sent at `now`. Removes its recovered peers, so that a later
    /// alert about them is mailed at once.
    pub fn record(&mut self, mail: &PendingMail, now: u64) {
        let replaced: BTreeSet<_> = mail.alerts.iter().chain(&mail.recovered).collect();
        self.0.retain(|alert| !replaced.contains(&alert.id));
        self.0.extend(mail.alerts.iter().map(|id| SentAlert { id: id.clone(), timestamp: now }));
        let n_surplus = self.0.len().saturating_sub(MAX_SENT_ALERTS);
        self.0.drain(..n_surplus);
    }
}

/// Returns whether a mail at `timestamp` is less than `remind` seconds old.
///
/// A time in the future means that an overlapping run sent the mail, or that the clock was set
/// back. A clock that was set back must not suppress mails.
fn is_recent(timestamp: u64, now: u64, remind: u64) -> bool {
    match now.checked_sub(timestamp) {
        Some(age) => age < remind,
        None => timestamp - now < remind.min(MAX_OVERLAP_SECONDS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn id(host: u8) -> PeerId {
        format!("203.0.113.{host}").parse().unwrap()
    }

    fn history(sent: &[(u8, u64)]) -> MailHistory {
        MailHistory(
            sent.iter().map(|&(host, timestamp)| SentAlert { id: id(host), timestamp }).collect(),
        )
    }

    fn ids(hosts: &[u8]) -> Vec<PeerId> {
        hosts.iter().map(|&host| id(host)).collect()
    }

    /// Returns the state of a complete sample whose peers over the limit all alert.
    fn alert(hosts: &[u8]) -> AlertState {
        let alerting = ids(hosts);
        AlertState { over: alerting.iter().cloned().collect(), alerting, is_complete: true }
    }

    /// Checks the mail at the time 10,000: the hosts of its alert, and the recovered hosts.
    #[track_caller]
    fn check(
        sent: &[(u8, u64)],
        state: &AlertState,
        remind: Duration,
        alerts: &[u8],
        recovered: &[u8],
    ) {
        let mail = history(sent).pending_mail(state, 10_000, remind, true);
        let expected = PendingMail { alerts: ids(alerts), recovered: ids(recovered) };
        assert_eq!(mail.unwrap_or_default(), expected);
    }

    #[test]
    fn same_address_is_mailed_again_after_the_reminder_time() {
        let seven = alert(&[7]);
        check(&[], &seven, HOUR, &[7], &[]);
        check(&[(7, 10_000)], &seven, HOUR, &[], &[]);
        check(&[(7, 6_401)], &seven, HOUR, &[], &[]);
        check(&[(7, 6_400)], &seven, HOUR, &[7], &[]);
    }

    #[test]
    fn mail_is_about_all_alerting_peers_if_one_is_due() {
        check(&[], &alert(&[7, 8]), HOUR, &[7, 8], &[]);
        check(&[(7, 9_999)], &alert(&[7, 8]), HOUR, &[7, 8], &[]);
        check(&[(7, 9_999), (8, 9_999)], &alert(&[7, 8]), HOUR, &[], &[]);
        check(&[(7, 6_000), (8, 9_999)], &alert(&[7, 8]), HOUR, &[7, 8], &[]);
    }

    #[test]
    fn zero_reminder_time_mails_every_alert() {
        check(&[(7, 10_000)], &alert(&[7]), Duration::ZERO, &[7], &[]);
    }

    #[test]
    fn clock_set_back_does_not_suppress_mails() {
        for timestamp in [10_060, 13_599, 13_600, u64::MAX] {
            check(&[(7, timestamp)], &alert(&[7]), HOUR, &[7], &[]);
        }
        check(&[(7, 10_010)], &alert(&[7]), Duration::from_secs(10), &[7], &[]);
        check(&[(7, 10_001)], &alert(&[7]), Duration::ZERO, &[7], &[]);
    }

    #[test]
    fn mail_of_an_overlapping_run_counts_as_recent() {
        check(&[(7, 10_001)], &alert(&[7]), HOUR, &[], &[]);
        check(&[(7, 10_059)], &alert(&[7]), HOUR, &[], &[]);
    }

    #[test]
    fn recovery_is_mailed_per_peer() {
        let sent = [(7, 9_999), (8, 9_999)];
        check(&sent, &alert(&[]), HOUR, &[], &[7, 8]);
        check(&sent, &alert(&[8]), HOUR, &[], &[7]);
        check(&sent, &alert(&[8, 9]), HOUR, &[8, 9], &[7]);
        check(&[], &alert(&[]), HOUR, &[], &[]);
        // Over the limit, but not yet in enough samples.
        let warning = AlertState { alerting: Vec::new(), ..alert(&[8]) };
        check(&sent, &warning, HOUR, &[], &[7]);
        let incomplete = AlertState { is_complete: false, ..alert(&[]) };
        check(&sent, &incomplete, HOUR, &[], &[]);
        assert_eq!(history(&sent).pending_mail(&alert(&[]), 10_000, HOUR, false), None);
    }

    #[test]
    fn recovered_peer_is_removed_from_the_record() {
        let mut mail_history = history(&[(7, 9_000), (8, 9_000)]);
        let mail = PendingMail { alerts: ids(&[9]), recovered: ids(&[7]) };
        mail_history.record(&mail, 10_000);
        assert_eq!(mail_history, history(&[(8, 9_000), (9, 10_000)]));
    }

    #[test]
    fn number_of_recorded_alerts_is_bounded() {
        let mut mail_history = MailHistory::default();
        for high in 0..=255u8 {
            let id = |low| format!("198.51.{high}.{low}").parse().unwrap();
            let mail = PendingMail { alerts: (0..30).map(id).collect(), recovered: vec![] };
            mail_history.record(&mail, u64::from(high));
        }
        assert_eq!(mail_history.0.len(), MAX_SENT_ALERTS);
        let last = SentAlert { id: "198.51.255.29".parse().unwrap(), timestamp: 255 };
        assert_eq!(mail_history.0.last(), Some(&last));
    }
}
