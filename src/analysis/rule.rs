//! Judges a sample by its configuration and by the previous sample.
use std::time::Duration;

use super::{sample::Sample, summary::Summary, tally::Peer};
use crate::model::{
    metric::{Metric, MetricRange},
    verdict::{Limit, MetricViolation, Reason, Status, Verdict},
};

mod limit;
mod lognormal;
mod normal;
mod stddev;

pub use limit::limit_of;
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
    /// Number of consecutive samples over the limit from which on a peer is critical; 1 or more.
    pub consecutive: u32,
    /// Maximum age of the previous sample; `None`: no limit.
    pub max_age: Option<Duration>,
    /// Ranges of metrics outside which the status is WARNING.
    pub warning: Vec<MetricRange>,
    /// Ranges of metrics outside which the status is CRITICAL.
    pub critical: Vec<MetricRange>,
}

impl JudgeConfig {
    /// Returns the configuration for the view with this index. The ranges apply to
    /// the first view only, whose metrics are those of the perfdata.
    #[must_use]
    pub fn for_view(&self, index: usize) -> Self {
        if index == 0 {
            self.clone()
        } else {
            Self { warning: Vec::new(), critical: Vec::new(), ..self.clone() }
        }
    }

    /// Returns whether alerts are sent about `peer`: it was over the limit in enough
    /// consecutive samples. The ranges do not matter.
    #[must_use]
    pub fn is_alert(&self, peer: &Peer) -> bool {
        peer.over.is_some_and(|streak| streak.consecutive >= self.consecutive)
    }
}

/// A rule that determines the limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// This multiple of the standard deviation of the judged peers.
    Stddev(f64),
    /// A count that the top peer is not expected to exceed, estimated from all other peers.
    Lognormal {
        /// Probability that a clean sample exceeds the limit; above 0 and below 1.
        false_alarm_rate: f64,
    },
    /// This number of connections, regardless of the counts. The floor does not apply.
    Fixed(f64),
    /// The lognormal limit, or a lower limit that the standard deviation confirms if there
    /// are enough addresses for that.
    Auto {
        /// Number of standard deviations.
        multiplier: f64,
        /// As for the lognormal rule.
        false_alarm_rate: f64,
    },
}

/// Returns the limits of both rules: first the limit that decides the status, then the limit
/// that is reported only.
#[must_use]
pub fn limits(counts: &[u64], summary: &Summary, config: &JudgeConfig) -> (Limit, Limit) {
    let JudgeConfig { rule, other_rule, floor, .. } = *config;
    (limit_of(rule, counts, summary, floor), limit_of(other_rule, counts, summary, floor))
}

/// Judges `sample`, whose peers over the limit are marked.
///
/// A peer over the limit is a warning at once, and critical if it was over the limit in
/// [`JudgeConfig::consecutive`] consecutive samples. The ranges apply at once.
#[must_use]
pub fn judge(sample: &Sample, config: &JudgeConfig) -> Verdict {
    let mut reasons = Vec::new();
    let first_critical = sample.top.iter().position(|peer| config.is_alert(peer));
    if first_critical.is_some() {
        reasons.push((Status::Critical, Reason::Limit));
    } else if sample.n_over > 0 {
        reasons.push((Status::Warning, Reason::Limit));
    }
    for violation in violations(sample, &config.critical) {
        reasons.push((Status::Critical, Reason::Critical(violation)));
    }
    for violation in violations(sample, &config.warning) {
        reasons.push((Status::Warning, Reason::Warning(violation)));
    }
    // The sort is stable, so the limit comes first among reasons with equal status.
    reasons.sort_by_key(|&(status, _)| std::cmp::Reverse(status));
    let rank = match reasons.first() {
        Some((_, Reason::Limit)) => {
            first_critical.or_else(|| sample.top.iter().position(|peer| peer.over.is_some()))
        }
        // The maximum is the count of an attributable peer.
        Some((_, Reason::Warning(it) | Reason::Critical(it))) if it.metric == Metric::Max => {
            sample.top.iter().position(|peer| sample.is_attributable(peer))
        }
        _ => None,
    };
    Verdict {
        status: reasons.first().map_or(Status::Ok, |&(status, _)| status),
        reasons: reasons.into_iter().map(|(_, reason)| reason).collect(),
        rank: rank.unwrap_or(0),
        first_sample: None,
    }
}

/// Returns the metrics of `sample` that are outside `ranges`; an empty list if the sample
/// counts connections that should have been excluded.
fn violations(sample: &Sample, ranges: &[MetricRange]) -> Vec<MetricViolation> {
    let mut violations = Vec::new();
    if sample.is_unreliable {
        return violations;
    }
    for &MetricRange { metric, range } in ranges {
        let value = round_to_hundredths(sample.metric(metric));
        if let Some(violation) = range.violation(value) {
            violations.push(MetricViolation { metric, value, violation });
        }
    }
    violations
}

fn round_to_hundredths(connections: f64) -> f64 {
    (connections * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> JudgeConfig {
        JudgeConfig {
            rule: Rule::Stddev(5.0),
            other_rule: Rule::Lognormal { false_alarm_rate: 0.01 },
            floor: 10.0,
            consecutive: 2,
            max_age: Some(Duration::from_secs(3600)),
            warning: Vec::new(),
            critical: Vec::new(),
        }
    }

    /// Returns the limit for these counts, and whether it is the floor.
    fn limit_with_floor(counts: &[u64], floor: f64) -> (f64, bool) {
        let config = JudgeConfig { floor, ..config() };
        let (limit, _) = limits(counts, &Summary::new(counts, None), &config);
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
    fn limit_is_rounded_before_it_is_judged() {
        assert_eq!(limit_with_floor(&[9, 8, 6, 5], 0.0), (7.91, false));
    }

    #[test]
    fn ranges_apply_to_the_first_view_only() {
        let ranges = JudgeConfig {
            warning: vec!["5".parse().expect("a range")],
            critical: vec!["8".parse().expect("a range")],
            ..config()
        };
        assert_eq!(ranges.for_view(0), ranges);
        assert_eq!(ranges.for_view(1), config());
        assert_eq!(ranges.for_view(2), config());
    }
}
