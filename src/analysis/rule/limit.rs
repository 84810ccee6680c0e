//! The limit of a rule, and the calculation that it results from.
use super::{
    Rule,
    lognormal::{self, LognormalLimit, Support},
    round_to_hundredths,
    stddev::min_addresses,
};
use crate::{
    analysis::summary::Summary,
    model::verdict::{Basis, Limit},
};

/// Returns the limit of `rule`, in connections. Only a fixed limit can be below `floor`.
///
/// `counts` has the counts of all peers, highest first; `summary` has the statistics of the
/// judged peers.
#[must_use]
pub fn limit_of(rule: Rule, counts: &[u64], summary: &Summary, floor: f64) -> Limit {
    let (connections, basis) = match rule {
        Rule::Fixed(connections) => {
            let connections = round_to_hundredths(connections);
            return Limit { connections, basis: Basis::Fixed, is_floor: false };
        }
        Rule::Stddev(multiplier) => stddev_limit(multiplier, summary),
        Rule::Lognormal { false_alarm_rate } => {
            lognormal_limit(counts, false_alarm_rate, Support::None)
        }
        Rule::Auto { multiplier, false_alarm_rate } => {
            auto_limit(counts, summary, multiplier, false_alarm_rate)
        }
    };
    // Round before comparing, so that the output never shows "28 connections, over 28".
    let connections = round_to_hundredths(connections);
    let is_floor = connections < floor || connections <= 0.0;
    Limit { connections: if is_floor { floor } else { connections }, basis, is_floor }
}

fn stddev_limit(multiplier: f64, summary: &Summary) -> (f64, Basis) {
    let stddev = summary.stddev;
    (multiplier * stddev, Basis::Stddev { multiplier, stddev })
}

fn lognormal_limit(counts: &[u64], false_alarm_rate: f64, support: Support) -> (f64, Basis) {
    let limit = lognormal::limit(counts, false_alarm_rate, support).unwrap_or(LognormalLimit {
        connections: 0.0,
        center: 0.0,
        scale: 0.0,
        excluded_outliers: 0,
    });
    let basis = Basis::Lognormal {
        false_alarm_rate,
        n_others: counts.len().saturating_sub(1 + limit.excluded_outliers) as u64,
        center: limit.center,
        scale: limit.scale,
        excluded_outliers: limit.excluded_outliers as u64,
        is_confirmed: support == Support::Stddev,
    };
    (limit.connections, basis)
}

/// Returns the limit of the rule `auto`: min(L, max(N σ, L′)).
///
/// L is the lognormal limit. L′ is a lower lognormal limit, for counts that are also above N
/// standard deviations: two rules that agree are stronger evidence than one. If there are too
/// few addresses for a single one to exceed N standard deviations, L alone is the limit.
fn auto_limit(
    counts: &[u64],
    summary: &Summary,
    multiplier: f64,
    false_alarm_rate: f64,
) -> (f64, Basis) {
    let alone = lognormal_limit(counts, false_alarm_rate, Support::None);
    let stddev = stddev_limit(multiplier, summary);
    if summary.n_peers < min_addresses(multiplier) || stddev.0 >= alone.0 {
        return alone;
    }
    let confirmed = lognormal_limit(counts, false_alarm_rate, Support::Stddev);
    let both = if stddev.0 > confirmed.0 { stddev } else { confirmed };
    if both.0 < alone.0 { both } else { alone }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: f64 = 0.015;

    fn limit(rule: Rule, counts: &[u64]) -> f64 {
        limit_of(rule, counts, &Summary::new(counts, None), 10.0).connections
    }

    /// Returns the limits of `auto`, `stddev` and `lognormal` for one address with `top`
    /// connections and `others` more with `count` each.
    fn limits(top: u64, others: usize, count: u64) -> [f64; 3] {
        let counts = [&[top][..], &vec![count; others]].concat();
        [
            Rule::Auto { multiplier: 5.0, false_alarm_rate: RATE },
            Rule::Stddev(5.0),
            Rule::Lognormal { false_alarm_rate: RATE },
        ]
        .map(|rule| limit(rule, &counts))
    }

    #[test]
    fn auto_is_lognormal_below_24_addresses() {
        let [auto, stddev, lognormal] = limits(20, 22, 1);
        assert!(stddev < auto && auto == lognormal, "{auto} {stddev} {lognormal}");
        let [auto, stddev, lognormal] = limits(20, 23, 1);
        assert!(auto == stddev && stddev < lognormal, "{auto} {stddev} {lognormal}");
    }

    #[test]
    fn auto_needs_both_rules_below_the_lognormal_limit() {
        // The standard deviation decides, ...
        assert_eq!(limits(30, 99, 1).map(f64::round), [14.0, 14.0, 33.0]);
        // ... the confirmed limit, ...
        assert_eq!(limits(13, 99, 12).map(f64::round), [44.0, 10.0, 84.0]);
        // ... or the lognormal limit alone, however large the standard deviation is.
        assert_eq!(limits(5000, 99, 1).map(f64::round), [33.0, 2487.0, 33.0]);
    }

    #[test]
    fn fixed_limit_ignores_counts_and_floor() {
        for counts in [&[][..], &[7], &[900, 1, 1]] {
            assert_eq!(limit(Rule::Fixed(3.5), counts), 3.5);
            assert_eq!(limit(Rule::Fixed(19.996), counts), 20.0);
        }
    }

    #[test]
    fn limit_of_auto_is_not_below_the_floor() {
        let counts = [vec![3], vec![1; 99]].concat();
        let rule = Rule::Auto { multiplier: 5.0, false_alarm_rate: RATE };
        let found = limit_of(rule, &counts, &Summary::new(&counts, None), 12.0);
        assert_eq!((found.connections, found.is_floor), (12.0, true));
    }
}
