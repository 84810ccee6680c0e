//! Judges a sample by what is asked for and by what came before it.
use std::time::Duration;

use super::history::{History, Sample};
use crate::model::{
    range::Range,
    verdict::{Basis, FirstSample, Limit, Reason, Status, Verdict},
};

mod lognormal;
mod normal;
mod stddev;

pub use stddev::least_addresses;

/// What a sample is held against.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// How the limit is found.
    pub trigger: Trigger,
    /// How it might be found instead: this limit is told, and not judged.
    pub beside: Trigger,
    /// The least that the limit may be, in connections.
    pub floor: f64,
    /// In how many samples on end an address must be on top for the trigger to
    /// be critical; 1 or more.
    pub consecutive: u32,
    /// How old the previous sample may be; `None`: as old as it likes.
    pub max_age: Option<Duration>,
    /// What the top count should be in, or be a warning.
    pub warning: Option<Range>,
    /// What the top count should be in, or be critical.
    pub critical: Option<Range>,
}

impl Rule {
    /// The rule for the `nth` of several ways to tell peers apart: the ranges are
    /// about the first, whose count is the `max` of the perfdata.
    #[must_use]
    pub fn of_view(&self, nth: usize) -> Self {
        match nth {
            0 => self.clone(),
            _ => Self { warning: None, critical: None, ..self.clone() },
        }
    }
}

/// How the limit is found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Trigger {
    /// So many times the standard deviation of the addresses that are judged.
    Stddev(f64),
    /// What the top address stays under, going by all others.
    Lognormal {
        /// ... but for so many of all samples; above 0 and below 1.
        false_alarm_rate: f64,
    },
}

/// Judges `sample`.
///
/// The trigger is a warning at once, and critical where the same address has
/// been on top in [`Rule::consecutive`] samples on end; its count in the
/// earlier ones does not matter. The ranges hold at once.
#[must_use]
pub fn judge(sample: &Sample, history: &History, rule: &Rule) -> Verdict {
    let limit = limit(sample, rule.trigger, rule.floor);
    let (row, first) = row(sample, history, rule.max_age);
    #[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 connections")]
    let max = sample.summary.max as f64;

    let over = limit.is_exceeded_by(sample.summary.max);
    let trigger = match over {
        false => Status::Ok,
        true if row >= rule.consecutive => Status::Critical,
        true => Status::Warning,
    };
    let critical = rule.critical.and_then(|range| range.alert(max));
    let warning = rule.warning.and_then(|range| range.alert(max));
    let mut reasons: Vec<_> = [
        over.then_some((trigger, Reason::Trigger)),
        critical.map(|alert| (Status::Critical, Reason::Critical(alert))),
        warning.map(|alert| (Status::Warning, Reason::Warning(alert))),
    ]
    .into_iter()
    .flatten()
    .collect();
    // Stable: among equals the trigger is named before the ranges.
    reasons.sort_by_key(|&(status, _)| std::cmp::Reverse(status));
    Verdict {
        status: reasons.first().map_or(Status::Ok, |&(status, _)| status),
        limit,
        beside: self::limit(sample, rule.beside, rule.floor),
        row,
        first,
        reasons: reasons.into_iter().map(|(_, reason)| reason).collect(),
    }
}

/// Whether somebody is to be alerted: whether the trigger is critical, be a
/// range so or not.
#[must_use]
pub fn is_alert(verdict: &Verdict, rule: &Rule) -> bool {
    verdict.reasons.contains(&Reason::Trigger) && verdict.row >= rule.consecutive
}

/// The trigger's limit, not below the floor.
fn limit(sample: &Sample, trigger: Trigger, floor: f64) -> Limit {
    let (connections, basis) = match trigger {
        Trigger::Stddev(times) => {
            let stddev = sample.summary.stddev;
            (times * stddev, Basis::Stddev { times, stddev })
        }
        Trigger::Lognormal { false_alarm_rate } => lognormal(&sample.counts, false_alarm_rate),
    };
    // What is shown is what is judged: "28 connections, over 28" helps nobody.
    let connections = (connections * 100.0).round() / 100.0;
    let is_floor = connections < floor || connections <= 0.0;
    Limit { connections: if is_floor { floor } else { connections }, basis, is_floor }
}

fn lognormal(counts: &[u64], false_alarm_rate: f64) -> (f64, Basis) {
    let reach = lognormal::reach(counts, false_alarm_rate);
    let set_aside = reach.map_or(0, |reach| reach.set_aside);
    let basis = Basis::Lognormal {
        false_alarm_rate,
        others: counts.len().saturating_sub(1 + set_aside) as u64,
        median: reach.map_or(0, |reach| reach.median),
        scale: reach.map_or(0.0, |reach| reach.scale),
        set_aside: set_aside as u64,
    };
    (reach.map_or(0.0, |reach| reach.connections), basis)
}

/// In how many samples on end the top address has been on top, and why the
/// previous sample does not count, where it does not.
fn row(
    sample: &Sample,
    history: &History,
    max_age: Option<Duration>,
) -> (u32, Option<FirstSample>) {
    let alone = u32::from(sample.on_top().is_some());
    let Some(previous) = &history.previous else {
        return (alone, Some(FirstSample::NoHistory));
    };
    let Some(age) = sample.when.checked_sub(previous.when) else {
        let ahead = previous.when - sample.when;
        return (alone, Some(FirstSample::InFuture { ahead }));
    };
    if max_age.is_some_and(|max_age| age > max_age.as_secs()) {
        return (alone, Some(FirstSample::TooOld { age }));
    }
    if sample.on_top().is_some() && sample.on_top() == previous.on_top {
        (previous.row.saturating_add(1), None)
    } else {
        (alone, None)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use crate::{
        analysis::{
            history::Previous,
            tally::{Grain, Tally},
        },
        model::connection::Connection,
    };

    use super::*;

    /// A sample with these counts: the first belongs to 192.0.2.`top`.
    fn sample(when: u64, top: u8, counts: &[u64]) -> Sample {
        let first = Ipv4Addr::new(192, 0, 2, top);
        let others = (1..).map(|host| Ipv4Addr::new(198, 51, 100, host));
        let mut tally = Tally::default();
        for (&count, peer) in counts.iter().zip(std::iter::once(first).chain(others)) {
            for port in 1..=count {
                tally.add(&Connection {
                    local: SocketAddr::new([192, 0, 2, 250].into(), 443),
                    peer: SocketAddr::new(peer.into(), port as u16),
                    tcp_state: None,
                    peer_cut: None,
                });
            }
        }
        Sample::of(&tally.finish(), when, Grain::ADDRESSES, None, 1)
    }

    fn rule() -> Rule {
        Rule {
            trigger: Trigger::Stddev(5.0),
            beside: Trigger::Lognormal { false_alarm_rate: 0.01 },
            floor: 10.0,
            consecutive: 2,
            max_age: Some(Duration::from_secs(3600)),
            warning: None,
            critical: None,
        }
    }

    /// Judges one sample after the other, each with what was kept of the last.
    #[track_caller]
    fn check(rule: &Rule, samples: &[Sample], expected: &str) {
        let mut history = History::default();
        let mut found = Vec::new();
        for sample in samples {
            let verdict = judge(sample, &history, rule);
            found.push(format!("{} {}", verdict.status, verdict.row));
            history.previous = Some(Previous::of(sample, &history, verdict.row));
        }
        assert_eq!(found.join(", "), expected);
    }

    /// Fifty addresses, one far above the others.
    fn flood(top: u64) -> Vec<u64> {
        let mut counts = vec![1; 50];
        counts[0] = top;
        counts
    }

    #[test]
    fn the_same_address_twice_is_critical() {
        check(
            &rule(),
            &[sample(0, 1, &flood(300)), sample(60, 1, &flood(300)), sample(120, 1, &flood(300))],
            "WARNING 1, CRITICAL 2, CRITICAL 3",
        );
    }

    #[test]
    fn the_count_of_the_earlier_sample_does_not_matter() {
        check(
            &rule(),
            &[sample(0, 1, &flood(300)), sample(60, 1, &flood(301)), sample(60, 1, &flood(17))],
            "WARNING 1, CRITICAL 2, CRITICAL 3",
        );
        check(&rule(), &[sample(0, 1, &[3, 2]), sample(1, 1, &flood(300))], "OK 1, CRITICAL 2");
    }

    #[test]
    fn another_address_on_top_starts_anew() {
        check(
            &rule(),
            &[sample(0, 1, &flood(300)), sample(60, 2, &flood(300)), sample(120, 2, &flood(300))],
            "WARNING 1, WARNING 1, CRITICAL 2",
        );
    }

    #[test]
    fn a_quiet_sample_breaks_the_row() {
        check(
            &rule(),
            &[sample(0, 1, &flood(300)), sample(60, 1, &[]), sample(120, 1, &flood(300))],
            "WARNING 1, OK 0, WARNING 1",
        );
    }

    #[test]
    fn an_old_or_future_sample_is_none() {
        let twice = |first, second| [sample(first, 1, &flood(300)), sample(second, 1, &flood(300))];
        check(&rule(), &twice(0, 3600), "WARNING 1, CRITICAL 2");
        check(&rule(), &twice(0, 3601), "WARNING 1, WARNING 1");
        check(&rule(), &twice(100, 99), "WARNING 1, WARNING 1");
        check(&rule(), &twice(99, 99), "WARNING 1, CRITICAL 2");
        let ageless = Rule { max_age: None, ..rule() };
        check(&ageless, &twice(0, 1_000_000_000), "WARNING 1, CRITICAL 2");
        check(&ageless, &twice(100, 99), "WARNING 1, WARNING 1");
    }

    #[test]
    fn consecutive_says_how_many() {
        let samples: Vec<_> = (0..4).map(|n| sample(n, 1, &flood(300))).collect();
        let of = |consecutive| Rule { consecutive, ..rule() };
        check(&of(1), &samples[..2], "CRITICAL 1, CRITICAL 2");
        check(&of(4), &samples, "WARNING 1, WARNING 2, WARNING 3, CRITICAL 4");
    }

    #[test]
    fn the_limit_is_over_not_at() {
        // The floor: nine connections each, no deviation.
        check(&rule(), &[sample(0, 1, &[10, 10]), sample(0, 2, &[11, 11])], "OK 1, WARNING 1");
        let bare = Rule { floor: 0.0, ..rule() };
        check(&bare, &[sample(0, 1, &[1, 1, 1, 1]), sample(0, 2, &[])], "WARNING 1, OK 0");
    }

    #[test]
    fn ranges_hold_at_once_and_the_worse_outcome_wins() {
        let ranged = |warning: &str, critical: &str| Rule {
            warning: Some(warning.parse().expect("a range")),
            critical: Some(critical.parse().expect("a range")),
            ..rule()
        };
        check(&ranged("5", "8"), &[sample(0, 1, &[8, 1])], "WARNING 1");
        check(&ranged("5", "8"), &[sample(0, 1, &[9, 1])], "CRITICAL 1");
        check(&ranged("500", "800"), &[sample(0, 1, &flood(300))], "WARNING 1");
        // Too few is worth a threshold too.
        check(&ranged("1:", "0:"), &[sample(0, 1, &[])], "WARNING 0");
        let verdict = judge(&sample(0, 1, &flood(300)), &History::default(), &ranged("5", "8"));
        assert_eq!(verdict.status, Status::Critical);
        assert!(matches!(
            verdict.reasons[..],
            [Reason::Critical(_), Reason::Trigger, Reason::Warning(_)]
        ));
    }

    #[test]
    fn the_limit_that_is_shown_is_the_one_that_is_judged() {
        let verdict = judge(
            &sample(0, 1, &[9, 8, 6, 5]),
            &History::default(),
            &Rule { floor: 0.0, ..rule() },
        );
        assert_eq!(verdict.limit.connections, 7.91);
    }
}
