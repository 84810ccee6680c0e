//! Judges a sample by its configuration and by the previous sample.
use std::time::Duration;

use super::{history::History, sample::Sample};
use crate::model::{
    range::Range,
    verdict::{Basis, FirstSampleReason, Limit, Reason, Status, Verdict},
};

mod lognormal;
mod normal;
mod stddev;

pub use stddev::min_addresses;

/// The limits that a sample is compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgeConfig {
    /// The rule that determines the limit.
    pub rule: Rule,
    /// The rule whose limit is reported only, and does not affect the status.
    pub other_rule: Rule,
    /// Minimum of the limit, in connections.
    pub floor: f64,
    /// Number of consecutive samples with the same address on top from which on an
    /// exceeded limit is critical; 1 or more.
    pub consecutive: u32,
    /// Maximum age of the previous sample; `None`: no limit.
    pub max_age: Option<Duration>,
    /// Range of the top count outside which the status is WARNING.
    pub warning: Option<Range>,
    /// Range of the top count outside which the status is CRITICAL.
    pub critical: Option<Range>,
}

impl JudgeConfig {
    /// Returns the configuration for the view with this index. The ranges apply to
    /// the first view only, whose top count is the `max` of the perfdata.
    #[must_use]
    pub fn for_view(&self, index: usize) -> Self {
        if index == 0 {
            self.clone()
        } else {
            Self { warning: None, critical: None, ..self.clone() }
        }
    }
}

/// A rule that determines the limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// This multiple of the standard deviation of the judged peers.
    Stddev(f64),
    /// The count that the top peer does not exceed, as estimated from all other peers.
    Lognormal {
        /// Probability that a clean sample exceeds the limit; above 0 and below 1.
        false_alarm_rate: f64,
    },
}

/// Judges `sample`.
///
/// A count over the limit is a warning at once, and critical if the same address
/// has been on top in [`JudgeConfig::consecutive`] consecutive samples; its count in
/// the earlier samples does not matter. The ranges apply at once.
#[must_use]
pub fn judge(sample: &Sample, history: &History, config: &JudgeConfig) -> Verdict {
    let limit = limit_for_rule(sample, config.rule, config.floor);
    let (consecutive, first_sample) = consecutive_samples(sample, history, config.max_age);
    #[expect(clippy::cast_precision_loss, reason = "no host has 2^53 connections")]
    let max = sample.summary.max as f64;

    let mut reasons = Vec::new();
    if limit.is_exceeded_by(sample.summary.max) {
        let status =
            if consecutive >= config.consecutive { Status::Critical } else { Status::Warning };
        reasons.push((status, Reason::Limit));
    }
    if let Some(violation) = config.critical.and_then(|range| range.violation(max)) {
        reasons.push((Status::Critical, Reason::Critical(violation)));
    }
    if let Some(violation) = config.warning.and_then(|range| range.violation(max)) {
        reasons.push((Status::Warning, Reason::Warning(violation)));
    }
    // The sort is stable: of reasons with equal status the limit comes first.
    reasons.sort_by_key(|&(status, _)| std::cmp::Reverse(status));
    Verdict {
        status: reasons.first().map_or(Status::Ok, |&(status, _)| status),
        limit,
        other_limit: limit_for_rule(sample, config.other_rule, config.floor),
        consecutive,
        first_sample,
        reasons: reasons.into_iter().map(|(_, reason)| reason).collect(),
    }
}

/// Returns whether the verdict is an alert: the limit is exceeded in enough
/// consecutive samples. The ranges do not matter.
#[must_use]
pub fn is_alert(verdict: &Verdict, config: &JudgeConfig) -> bool {
    verdict.reasons.contains(&Reason::Limit) && verdict.consecutive >= config.consecutive
}

/// Returns the limit of `rule`, not below the floor.
fn limit_for_rule(sample: &Sample, rule: Rule, floor: f64) -> Limit {
    let (connections, basis) = match rule {
        Rule::Stddev(multiplier) => {
            let stddev = sample.summary.stddev;
            (multiplier * stddev, Basis::Stddev { multiplier, stddev })
        }
        Rule::Lognormal { false_alarm_rate } => {
            lognormal_limit(&sample.peer_counts, false_alarm_rate)
        }
    };
    // Rounded before it is judged, so that the output never says "28 connections,
    // over 28".
    let connections = (connections * 100.0).round() / 100.0;
    let is_floor = connections < floor || connections <= 0.0;
    Limit { connections: if is_floor { floor } else { connections }, basis, is_floor }
}

/// Returns the limit of the lognormal rule, in connections, and its basis.
fn lognormal_limit(counts: &[u64], false_alarm_rate: f64) -> (f64, Basis) {
    let limit = lognormal::limit(counts, false_alarm_rate);
    let excluded_outliers = limit.map_or(0, |limit| limit.excluded_outliers);
    let basis = Basis::Lognormal {
        false_alarm_rate,
        n_others: counts.len().saturating_sub(1 + excluded_outliers) as u64,
        median: limit.map_or(0, |limit| limit.median),
        scale: limit.map_or(0.0, |limit| limit.scale),
        excluded_outliers: excluded_outliers as u64,
    };
    (limit.map_or(0.0, |limit| limit.connections), basis)
}

/// Returns the number of consecutive samples with the same address on top, and the
/// reason if the previous sample does not count.
fn consecutive_samples(
    sample: &Sample,
    history: &History,
    max_age: Option<Duration>,
) -> (u32, Option<FirstSampleReason>) {
    let this_sample_only = u32::from(sample.top_address().is_some());
    let Some(previous) = &history.previous else {
        return (this_sample_only, Some(FirstSampleReason::NoHistory));
    };
    let Some(age) = sample.timestamp.checked_sub(previous.timestamp) else {
        let ahead = previous.timestamp - sample.timestamp;
        return (this_sample_only, Some(FirstSampleReason::InFuture { ahead_secs: ahead }));
    };
    if max_age.is_some_and(|max_age| age > max_age.as_secs()) {
        return (this_sample_only, Some(FirstSampleReason::TooOld { age_secs: age }));
    }
    if sample.top_address().is_some() && sample.top_address() == previous.top_address {
        (previous.consecutive.saturating_add(1), None)
    } else {
        (this_sample_only, None)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use crate::{
        analysis::{
            history::PreviousSample,
            tally::{Aggregation, Tally},
        },
        model::connection::Connection,
    };

    use super::*;

    /// Returns a sample with these counts, of which the first belongs to 192.0.2.`top`.
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
                    peer_known_bits: None,
                });
            }
        }
        Sample::new(&tally.finish(), when, Aggregation::PER_ADDRESS, None, 1)
    }

    fn config() -> JudgeConfig {
        JudgeConfig {
            rule: Rule::Stddev(5.0),
            other_rule: Rule::Lognormal { false_alarm_rate: 0.01 },
            floor: 10.0,
            consecutive: 2,
            max_age: Some(Duration::from_secs(3600)),
            warning: None,
            critical: None,
        }
    }

    /// Judges the samples in order, each with the history of those before it.
    #[track_caller]
    fn check(config: &JudgeConfig, samples: &[Sample], expected: &str) {
        let mut history = History::default();
        let mut found = Vec::new();
        for sample in samples {
            let verdict = judge(sample, &history, config);
            found.push(format!("{} {}", verdict.status, verdict.consecutive));
            history.previous = Some(PreviousSample::new(sample, &history, verdict.consecutive));
        }
        assert_eq!(found.join(", "), expected);
    }

    /// Returns the counts of fifty addresses, one far above the others.
    fn flood(top: u64) -> Vec<u64> {
        let mut counts = vec![1; 50];
        counts[0] = top;
        counts
    }

    #[test]
    fn same_address_over_limit_twice_is_critical() {
        check(
            &config(),
            &[sample(0, 1, &flood(300)), sample(60, 1, &flood(300)), sample(120, 1, &flood(300))],
            "WARNING 1, CRITICAL 2, CRITICAL 3",
        );
    }

    #[test]
    fn count_of_earlier_sample_does_not_matter() {
        check(
            &config(),
            &[sample(0, 1, &flood(300)), sample(60, 1, &flood(301)), sample(60, 1, &flood(17))],
            "WARNING 1, CRITICAL 2, CRITICAL 3",
        );
        check(&config(), &[sample(0, 1, &[3, 2]), sample(1, 1, &flood(300))], "OK 1, CRITICAL 2");
    }

    #[test]
    fn different_top_address_restarts_the_count() {
        check(
            &config(),
            &[sample(0, 1, &flood(300)), sample(60, 2, &flood(300)), sample(120, 2, &flood(300))],
            "WARNING 1, WARNING 1, CRITICAL 2",
        );
    }

    #[test]
    fn empty_sample_restarts_the_count() {
        check(
            &config(),
            &[sample(0, 1, &flood(300)), sample(60, 1, &[]), sample(120, 1, &flood(300))],
            "WARNING 1, OK 0, WARNING 1",
        );
    }

    #[test]
    fn old_or_future_sample_is_ignored() {
        let twice = |first, second| [sample(first, 1, &flood(300)), sample(second, 1, &flood(300))];
        check(&config(), &twice(0, 3600), "WARNING 1, CRITICAL 2");
        check(&config(), &twice(0, 3601), "WARNING 1, WARNING 1");
        check(&config(), &twice(100, 99), "WARNING 1, WARNING 1");
        check(&config(), &twice(99, 99), "WARNING 1, CRITICAL 2");
        let unlimited_age = JudgeConfig { max_age: None, ..config() };
        check(&unlimited_age, &twice(0, 1_000_000_000), "WARNING 1, CRITICAL 2");
        check(&unlimited_age, &twice(100, 99), "WARNING 1, WARNING 1");
    }

    #[test]
    fn alert_needs_the_configured_number_of_samples() {
        let samples: Vec<_> = (0..4).map(|n| sample(n, 1, &flood(300))).collect();
        let config_with = |consecutive| JudgeConfig { consecutive, ..config() };
        check(&config_with(1), &samples[..2], "CRITICAL 1, CRITICAL 2");
        check(&config_with(4), &samples, "WARNING 1, WARNING 2, WARNING 3, CRITICAL 4");
    }

    #[test]
    fn count_at_the_limit_is_ok() {
        // The standard deviation is 0, so the floor of 10 is the limit.
        check(&config(), &[sample(0, 1, &[10, 10]), sample(0, 2, &[11, 11])], "OK 1, WARNING 1");
        let without_floor = JudgeConfig { floor: 0.0, ..config() };
        check(&without_floor, &[sample(0, 1, &[1, 1, 1, 1]), sample(0, 2, &[])], "WARNING 1, OK 0");
    }

    #[test]
    fn ranges_apply_at_once_and_the_worst_status_wins() {
        let with_ranges = |warning: &str, critical: &str| JudgeConfig {
            warning: Some(warning.parse().expect("a range")),
            critical: Some(critical.parse().expect("a range")),
            ..config()
        };
        check(&with_ranges("5", "8"), &[sample(0, 1, &[8, 1])], "WARNING 1");
        check(&with_ranges("5", "8"), &[sample(0, 1, &[9, 1])], "CRITICAL 1");
        check(&with_ranges("500", "800"), &[sample(0, 1, &flood(300))], "WARNING 1");
        // A range can also have a lower bound.
        check(&with_ranges("1:", "0:"), &[sample(0, 1, &[])], "WARNING 0");
        let verdict =
            judge(&sample(0, 1, &flood(300)), &History::default(), &with_ranges("5", "8"));
        assert_eq!(verdict.status, Status::Critical);
        assert!(matches!(
            verdict.reasons[..],
            [Reason::Critical(_), Reason::Limit, Reason::Warning(_)]
        ));
    }

    /// Returns the limit of a sample with these counts, and whether it is the floor.
    fn limit_with_floor(counts: &[u64], floor: f64) -> (f64, bool) {
        let config = JudgeConfig { floor, ..config() };
        let limit = judge(&sample(0, 1, counts), &History::default(), &config).limit;
        (limit.connections, limit.is_floor)
    }

    #[test]
    fn floor_replaces_only_lower_limits() {
        // The standard deviation is 2, so the limit is 10.
        assert_eq!(limit_with_floor(&[5, 1], 9.99), (10.0, false));
        assert_eq!(limit_with_floor(&[5, 1], 10.0), (10.0, false));
        assert_eq!(limit_with_floor(&[5, 1], 10.01), (10.01, true));
        // A limit of 0 has no basis.
        assert_eq!(limit_with_floor(&[1, 1], 0.0), (0.0, true));
    }

    #[test]
    fn reason_for_a_first_sample_has_the_distance_in_time() {
        let first = sample(5000, 1, &[1]);
        let previous = PreviousSample::new(&first, &History::default(), 1);
        let history = History { previous: Some(previous) };
        let reason = |when| judge(&sample(when, 1, &[1]), &history, &config()).first_sample;
        assert_eq!(reason(4999), Some(FirstSampleReason::InFuture { ahead_secs: 1 }));
        assert_eq!(reason(0), Some(FirstSampleReason::InFuture { ahead_secs: 5000 }));
        assert_eq!(reason(5000), None);
        assert_eq!(reason(8600), None);
        assert_eq!(reason(8601), Some(FirstSampleReason::TooOld { age_secs: 3601 }));
        let without_history = judge(&first, &History::default(), &config());
        assert_eq!(without_history.first_sample, Some(FirstSampleReason::NoHistory));
    }

    #[test]
    fn ranges_apply_to_the_first_view_only() {
        let ranges = JudgeConfig {
            warning: Some("5".parse().expect("a range")),
            critical: Some("8".parse().expect("a range")),
            ..config()
        };
        assert_eq!(ranges.for_view(0), ranges);
        assert_eq!(ranges.for_view(1), config());
        assert_eq!(ranges.for_view(2), config());
    }

    #[test]
    fn limit_is_rounded_before_it_is_judged() {
        let verdict = judge(
            &sample(0, 1, &[9, 8, 6, 5]),
            &History::default(),
            &JudgeConfig { floor: 0.0, ..config() },
        );
        assert_eq!(verdict.limit.connections, 7.91);
    }
}
