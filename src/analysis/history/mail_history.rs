//! The record of mailed alerts, and the decision whether a mail is to be sent.
use std::time::Duration;

use crate::model::network::Network;

/// Maximum number of peers on record. With more peers, a mail may be repeated before
/// the reminder time; but untrusted peers cannot make the state file large.
const MAX_SENT_ALERTS: usize = 20;

/// Maximum time in seconds by which an overlapping run, which sent its mail first, may
/// have taken its sample after this one: samples of overlapping runs are no further
/// apart than the duration of one run.
const MAX_OVERLAP_SECONDS: u64 = 60;

/// The mailed alerts since the last recovery mail: one for each peer, latest last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailHistory(pub Vec<SentAlert>);

/// An alert that was mailed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentAlert {
    /// The peer that the alert was about.
    pub network: Network,
    /// Time of the latest mail about the peer, in seconds since 1970-01-01 UTC.
    pub timestamp: u64,
}

/// The relation of a sample to alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlertState {
    /// The sample is an alert about these peers.
    Alerting(Vec<Network>),
    /// The sample is neither an alert nor clear: over the limit for the first time,
    /// or incomplete.
    Indeterminate,
    /// No peer is over the limit.
    Clear,
}

/// A mail that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PendingMail {
    /// An alert about this peer.
    Alert(Network),
    /// The mail that reports the end of all alerts.
    Recovery,
}

impl MailHistory {
    /// Returns the mail that is to be sent at `now`. A mail about the same peer is
    /// repeated only after `remind`; the end of alerts is mailed if `recovery` is true.
    #[must_use]
    pub fn pending_mail(
        &self,
        alert_state: &AlertState,
        now: u64,
        remind: Duration,
        recovery: bool,
    ) -> Option<PendingMail> {
        match alert_state {
            AlertState::Alerting(networks) => {
                let mut networks = networks.iter().copied();
                let network = networks.find(|&network| !self.was_mailed(network, now, remind));
                network.map(PendingMail::Alert)
            }
            AlertState::Clear if recovery && !self.0.is_empty() => Some(PendingMail::Recovery),
            AlertState::Indeterminate | AlertState::Clear => None,
        }
    }

    /// Returns whether a mail about the peer was sent within `remind` before `now`.
    fn was_mailed(&self, network: Network, now: u64, remind: Duration) -> bool {
        let mut alerts = self.0.iter().filter(|alert| alert.network == network);
        alerts.any(|alert| is_recent(alert.timestamp, now, remind.as_secs()))
    }

    /// Records that a mail was sent at `now`.
    ///
    /// The recovery mail clears the record, so that every later alert is mailed at
    /// once.
    pub fn record(&mut self, mail: PendingMail, now: u64) {
        match mail {
            PendingMail::Recovery => self.0.clear(),
            PendingMail::Alert(network) => {
                self.0.retain(|alert| alert.network != network);
                self.0.push(SentAlert { network, timestamp: now });
                let n_surplus = self.0.len().saturating_sub(MAX_SENT_ALERTS);
                self.0.drain(..n_surplus);
            }
        }
    }
}

/// Returns whether a mail at `timestamp` is less than `remind` seconds old.
///
/// A mail with a time in the future was sent by another run, or the clock was set back,
/// which must not suppress mails.
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

    fn network(host: u8) -> Network {
        format!("203.0.113.{host}").parse().unwrap()
    }

    fn history(sent: &[(u8, u64)]) -> MailHistory {
        MailHistory(
            sent.iter()
                .map(|&(host, timestamp)| SentAlert { network: network(host), timestamp })
                .collect(),
        )
    }

    fn alert(hosts: &[u8]) -> AlertState {
        AlertState::Alerting(hosts.iter().map(|&host| network(host)).collect())
    }

    #[track_caller]
    fn check(
        sent: &[(u8, u64)],
        alert_state: &AlertState,
        remind: Duration,
        expected: Option<PendingMail>,
    ) {
        assert_eq!(history(sent).pending_mail(alert_state, 10_000, remind, true), expected);
    }

    #[test]
    fn same_address_is_mailed_again_after_the_reminder_time() {
        let seven = alert(&[7]);
        let expected_mail = Some(PendingMail::Alert(network(7)));
        check(&[], &seven, HOUR, expected_mail);
        check(&[(7, 10_000)], &seven, HOUR, None);
        check(&[(7, 6_401)], &seven, HOUR, None);
        check(&[(7, 6_400)], &seven, HOUR, expected_mail);
        check(&[(8, 9_999)], &seven, HOUR, expected_mail);
        check(&[(7, 9_000), (8, 9_999)], &seven, HOUR, None);
    }

    #[test]
    fn first_peer_without_a_recent_mail_is_mailed() {
        check(&[], &alert(&[7, 8]), HOUR, Some(PendingMail::Alert(network(7))));
        check(&[(7, 9_999)], &alert(&[7, 8]), HOUR, Some(PendingMail::Alert(network(8))));
        check(&[(7, 9_999), (8, 9_999)], &alert(&[7, 8]), HOUR, None);
    }

    #[test]
    fn zero_reminder_time_mails_every_alert() {
        check(&[(7, 10_000)], &alert(&[7]), Duration::ZERO, Some(PendingMail::Alert(network(7))));
    }

    #[test]
    fn clock_set_back_does_not_suppress_mails() {
        let expected_mail = Some(PendingMail::Alert(network(7)));
        for timestamp in [10_060, 13_599, 13_600, u64::MAX] {
            check(&[(7, timestamp)], &alert(&[7]), HOUR, expected_mail);
        }
        check(&[(7, 10_010)], &alert(&[7]), Duration::from_secs(10), expected_mail);
        check(&[(7, 10_001)], &alert(&[7]), Duration::ZERO, expected_mail);
    }

    #[test]
    fn mail_of_an_overlapping_run_counts_as_recent() {
        check(&[(7, 10_001)], &alert(&[7]), HOUR, None);
        check(&[(7, 10_059)], &alert(&[7]), HOUR, None);
    }

    #[test]
    fn recovery_is_mailed_once() {
        check(&[(7, 10_000)], &AlertState::Clear, HOUR, Some(PendingMail::Recovery));
        check(&[(7, 10_000)], &AlertState::Indeterminate, HOUR, None);
        check(&[], &AlertState::Clear, HOUR, None);
        assert_eq!(
            history(&[(7, 10_000)]).pending_mail(&AlertState::Clear, 10_000, HOUR, false),
            None
        );
        let mut mail_history = history(&[(7, 9_000), (8, 9_000)]);
        mail_history.record(PendingMail::Recovery, 10_000);
        assert_eq!(mail_history, MailHistory::default());
    }

    #[test]
    fn number_of_recorded_alerts_is_bounded() {
        let mut mail_history = MailHistory::default();
        for host in 0..=255 {
            mail_history.record(PendingMail::Alert(network(host)), u64::from(host));
            mail_history.record(PendingMail::Alert(network(200)), u64::from(host));
        }
        assert_eq!(mail_history.0.len(), MAX_SENT_ALERTS);
        assert_eq!(
            mail_history.0.last(),
            Some(&SentAlert { network: network(200), timestamp: 255 })
        );
    }
}
