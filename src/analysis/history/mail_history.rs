//! What is remembered of alerts that were mailed, and whether a mail is due.
use std::time::Duration;

use crate::model::network::Network;

/// How many peers are remembered. Who has more than that may be told of one
/// again before its time, and a file that a stranger could swell stays small.
const LONGEST: usize = 20;

/// How much later than this sample, in seconds, another run may have taken its
/// own and mailed first: runs that overlap are no longer apart than one takes.
const OVERLAP: u64 = 60;

/// The alerts that were mailed, and that no closing mail has followed: one for
/// each peer, the latest last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mails(pub Vec<Mailed>);

/// An alert that was mailed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mailed {
    /// Whom it was about.
    pub network: Network,
    /// When the latest mail about it went, in seconds since 1970-01-01 UTC.
    pub when: u64,
}

/// How a sample stands to alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is one, about these.
    Alert(Vec<Network>),
    /// It is none, and is not quiet either: over the limit for the first time,
    /// or not seen whole.
    Between,
    /// Nobody is over the limit.
    Quiet,
}

/// A mail that is to go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// An alert about this one.
    Alert(Network),
    /// The closing mail.
    Recovery,
}

impl Mails {
    /// Which mail is due at `now`, where the same peer is told of again only
    /// after `remind`, and where `recovery` says whether the end is told of.
    #[must_use]
    pub fn due(
        &self,
        standing: &Standing,
        now: u64,
        remind: Duration,
        recovery: bool,
    ) -> Option<Due> {
        match standing {
            Standing::Alert(networks) => {
                // A mail from the future is another run's, or of a clock that was
                // put back, by which nobody should be silenced.
                let is_recent = |when: u64| match now.checked_sub(when) {
                    Some(ago) => ago < remind.as_secs(),
                    None => when - now < remind.as_secs().min(OVERLAP),
                };
                let is_told = |network: Network| {
                    let mut about = self.0.iter().filter(|mailed| mailed.network == network);
                    about.any(|mailed| is_recent(mailed.when))
                };
                let untold = networks.iter().copied().find(|&network| !is_told(network));
                untold.map(Due::Alert)
            }
            Standing::Quiet if recovery && !self.0.is_empty() => Some(Due::Recovery),
            Standing::Between | Standing::Quiet => None,
        }
    }

    /// Takes down that a mail went out at `now`.
    ///
    /// The closing mail ends all that it closes: what comes after it is news,
    /// and is mailed at once.
    pub fn note(&mut self, due: Due, now: u64) {
        match due {
            Due::Recovery => self.0.clear(),
            Due::Alert(network) => {
                self.0.retain(|mailed| mailed.network != network);
                self.0.push(Mailed { network, when: now });
                let surplus = self.0.len().saturating_sub(LONGEST);
                self.0.drain(..surplus);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn network(host: u8) -> Network {
        format!("203.0.113.{host}").parse().unwrap()
    }

    fn mails(mails: &[(u8, u64)]) -> Mails {
        Mails(mails.iter().map(|&(host, when)| Mailed { network: network(host), when }).collect())
    }

    fn alert(hosts: &[u8]) -> Standing {
        Standing::Alert(hosts.iter().map(|&host| network(host)).collect())
    }

    #[track_caller]
    fn check(told: &[(u8, u64)], standing: &Standing, remind: Duration, expected: Option<Due>) {
        assert_eq!(mails(told).due(standing, 10_000, remind, true), expected);
    }

    #[test]
    fn the_same_address_again_only_after_the_reminder_time() {
        let seven = alert(&[7]);
        let due = Some(Due::Alert(network(7)));
        check(&[], &seven, HOUR, due);
        check(&[(7, 10_000)], &seven, HOUR, None);
        check(&[(7, 6_401)], &seven, HOUR, None);
        check(&[(7, 6_400)], &seven, HOUR, due);
        check(&[(8, 9_999)], &seven, HOUR, due);
        check(&[(7, 9_000), (8, 9_999)], &seven, HOUR, None);
    }

    #[test]
    fn one_after_the_other_is_told_of() {
        check(&[], &alert(&[7, 8]), HOUR, Some(Due::Alert(network(7))));
        check(&[(7, 9_999)], &alert(&[7, 8]), HOUR, Some(Due::Alert(network(8))));
        check(&[(7, 9_999), (8, 9_999)], &alert(&[7, 8]), HOUR, None);
    }

    #[test]
    fn without_a_reminder_time_every_alert_is_mailed() {
        check(&[(7, 10_000)], &alert(&[7]), Duration::ZERO, Some(Due::Alert(network(7))));
    }

    #[test]
    fn a_clock_that_was_put_back_silences_nobody() {
        let due = Some(Due::Alert(network(7)));
        for when in [10_060, 13_599, 13_600, u64::MAX] {
            check(&[(7, when)], &alert(&[7]), HOUR, due);
        }
        check(&[(7, 10_010)], &alert(&[7]), Duration::from_secs(10), due);
        check(&[(7, 10_001)], &alert(&[7]), Duration::ZERO, due);
    }

    #[test]
    fn a_run_that_overlaps_may_have_mailed_a_later_sample() {
        check(&[(7, 10_001)], &alert(&[7]), HOUR, None);
        check(&[(7, 10_059)], &alert(&[7]), HOUR, None);
    }

    #[test]
    fn what_was_mailed_is_closed_once() {
        check(&[(7, 10_000)], &Standing::Quiet, HOUR, Some(Due::Recovery));
        check(&[(7, 10_000)], &Standing::Between, HOUR, None);
        check(&[], &Standing::Quiet, HOUR, None);
        assert_eq!(mails(&[(7, 10_000)]).due(&Standing::Quiet, 10_000, HOUR, false), None);
        let mut told = mails(&[(7, 9_000), (8, 9_000)]);
        told.note(Due::Recovery, 10_000);
        assert_eq!(told, Mails::default());
    }

    #[test]
    fn what_is_remembered_stays_small() {
        let mut mails = Mails::default();
        for host in 0..=255 {
            mails.note(Due::Alert(network(host)), u64::from(host));
            mails.note(Due::Alert(network(200)), u64::from(host));
        }
        assert_eq!(mails.0.len(), LONGEST);
        assert_eq!(mails.0.last(), Some(&Mailed { network: network(200), when: 255 }));
    }
}
