//! The limit for the top address that follows from the counts of the others,
//! computed on the logarithms of the counts.
use libm::{exp, expm1, log, log1p};

use super::normal::upper_quantile;

/// The limit for the top address, and the figures that it follows from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LognormalLimit {
    /// Limit for the connections of the top address.
    pub connections: f64,
    /// Upper median of the counts that the limit follows from.
    pub median: u64,
    /// Distance of the limit from the median: in logarithms, divided by the normal
    /// score of the highest value.
    pub scale: f64,
    /// Number of addresses, in addition to the top one, that are excluded as
    /// offenders.
    pub excluded_outliers: usize,
}

/// One in this many addresses may be an offender; the top address always may.
const OUTLIER_DIVISOR: usize = 6;
/// Part of the others that is the tail, ...
const TAIL_SHARE: f64 = 0.35;
/// ... which has at least this many ranks, or else all down to the median.
const MIN_TAIL_RANKS: usize = 20;
/// Ratio of one rank that represents the tail to the rank before it.
const RANK_RATIO: f64 = 1.3;
/// Rank from which the misfit of the line weighs more than chance.
const MISFIT_RANK: f64 = 24.0;
/// Mean square of the sizes of bunches, divided by their mean size: connections
/// come in bunches of 1 to 4, all equally likely.
const BUNCH_DISPERSION: f64 = 3.0;
/// Maximum that bunches contribute to the floor, however small the counts are.
const MAX_BUNCH_SCALE: f64 = 0.9;
/// Sample size at which data and prior weigh the same.
const PRIOR_SAMPLE_SIZE: f64 = 18.0;
/// Minimum of the floor of the scale.
const MIN_SCALE_FLOOR: f64 = 0.2;
/// Maximum of the floor of the scale.
const MAX_SCALE_FLOOR: f64 = 1.0;
/// Connections that one browser opens to a host name. They replace the others
/// where there are none.
const BROWSER_CONNECTIONS: u64 = 6;
/// Maximum of the limit: more connections than a table of sockets holds.
const MAX_LIMIT: f64 = 1e9;

/// Returns the limit that the highest of `counts` does not exceed with
/// probability 1 − `false_alarm_rate`, as estimated from the other counts.
///
/// `counts` are sorted, highest first. The highest count itself does not affect
/// its limit. Returns `None` where `counts` is empty; `false_alarm_rate` is above 0
/// and below 1.
///
/// # The formula
///
/// Counts of connections are skewed, and multiply rather than add up, so they
/// are modeled as lognormal: ln x = μ + σz. The largest of n such values stays
/// under μ + σz₁ with probability 1 − α where Φ(z₁)ⁿ = 1 − α, that is
///
/// > z₁ = Φ⁻¹((1 − α)^(1/n))
///
/// which grows with n as the largest value does (about as √(2 ln n)). μ and σ
/// are those of a straight line through the upper part of the others' normal
/// probability plot: ln of the i-th highest of m against its normal score
/// Φ⁻¹(1 − (i − ⅜)/(m + ¼)). Each rank has the weight i/(i + 24): the logarithm of
/// the i-th highest value scatters with a variance of the order 1/i, and no
/// line fits better than that.
///
/// The line uses the upper part, and not the median and the MAD of Iglewicz and
/// Hoaglin, because counts tie (most addresses of many servers have 1, and the MAD
/// is 0), and because a public site has single browsers in its lower part and
/// gateways in its upper part. The values next to the top predict the top; the
/// browsers do not.
///
/// # The floor of the scale
///
/// The limit is not below that of a second line, which goes through the median
/// c of the m others with the scale
///
/// > min(√(3/c), 0.9) · √(1 + 18/(m + 18)), between 0.2 and 1
///
/// Connections come in bunches, because a browser opens several at once. So even
/// identical addresses scatter as a compound Poisson variable does, in logarithms
/// by √(b/c), where b is the mean square of the bunches divided by their mean. The
/// floor keeps a few browsers from being read as evidence that no client is behind
/// a gateway, and keeps uniform pools of twelve proxies uniform. A smaller sample
/// says less about other clients that may connect. Without the floor, 45 % of the
/// clean samples of a public site with 30 addresses exceed the limit, and with it
/// 3 %; its cost is missed offenders with 50 connections among browsers
/// (docs/detection.md).
///
/// # Masking
///
/// Several offenders would hide one another in any mean and, where they are a
/// sixth, in the upper quantiles. So the line is first fitted without the
/// highest sixth. Then each value of that sixth, from the inside out, is compared
/// with the limit that follows from all values below it. The first value over its
/// limit is an offender, as are all above it, and its limit is the result. A value
/// that is not over its limit counts as one of the others from then on: a tail that
/// climbs step by step is heavy, one that jumps is an attack.
///
/// # Samples of one, two and three
///
/// A single address is compared with one browser's 6 connections. Two have a
/// median, and the floor of the scale; from three on there is a line.
///
/// # Sources
///
/// - B. Iglewicz and D. Hoaglin, How to Detect and Handle Outliers, 1993;
///   NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.5.17: scores from
///   robust figures, and the failure of scores from mean and standard deviation.
/// - H. A. David and H. N. Nagaraja, Order Statistics, 2003: extreme values of
///   the normal distribution. G. Blom, Statistical Estimates and Transformed
///   Beta-Variables, 1958: the normal scores.
/// - NIST/SEMATECH e-Handbook, 1.3.3.21: the normal probability plot.
/// - L. Davies and U. Gather, The Identification of Multiple Outliers, JASA 88
///   (1993): testing from the inside out.
#[must_use]
pub fn limit(counts: &[u64], false_alarm_rate: f64) -> Option<LognormalLimit> {
    let n_suspects = match counts.len() {
        0 => return None,
        n => (n / OUTLIER_DIVISOR).max(1) - 1,
    };
    let limit_below = |rank: usize| {
        let others = &counts[rank + 1..];
        let others = if others.is_empty() { &[BROWSER_CONNECTIONS] } else { others };
        LognormalLimit { excluded_outliers: rank, ..limit_for_others(others, false_alarm_rate) }
    };
    let exceeded = (1..=n_suspects)
        .rev()
        // Of equal counts only the last one is compared: the result is the same.
        .filter(|&rank| counts[rank] > counts[rank + 1])
        .map(|rank| (rank, limit_below(rank)))
        .find(|&(rank, limit)| float(counts[rank]) > limit.connections);
    Some(exceeded.map_or_else(|| limit_below(0), |(_, limit)| limit))
}

/// Returns the limit for one address in addition to `others`, which is not empty.
fn limit_for_others(others: &[u64], false_alarm_rate: f64) -> LognormalLimit {
    let n = others.len();
    let median = others[n - 1 - n / 2];
    let bunch_scale = (BUNCH_DISPERSION / float(median)).sqrt().min(MAX_BUNCH_SCALE);
    let prior_factor = (1.0 + PRIOR_SAMPLE_SIZE / (float(n as u64) + PRIOR_SAMPLE_SIZE)).sqrt();
    let scale_floor = (bunch_scale * prior_factor).clamp(MIN_SCALE_FLOOR, MAX_SCALE_FLOOR);

    let highest = highest_score(n + 1, false_alarm_rate);
    let line_above_median = FittedLine::fit(others).value_at(highest) - ln(median);
    // With a high false alarm rate the score can be below 0.
    let above_median = line_above_median.max(scale_floor * highest).max(0.0);
    let logarithm = (ln(median) + above_median).min(log(MAX_LIMIT));
    LognormalLimit {
        connections: exp(logarithm),
        median,
        scale: if highest > 0.0 { above_median / highest } else { 0.0 },
        excluded_outliers: 0,
    }
}

/// Returns the normal score that the highest of `n` values does not exceed with
/// probability 1 − `false_alarm_rate`: Φ⁻¹((1 − α)^(1/n)). Computed from its
/// distance from 1, because a float has more precision near 0.
fn highest_score(n: usize, false_alarm_rate: f64) -> f64 {
    upper_quantile(-expm1(log1p(-false_alarm_rate) / float(n as u64)))
}

/// Returns the approximate position of the `rank`-th highest of `n` normal values,
/// by Blom's formula.
fn score(rank: usize, n: usize) -> f64 {
    upper_quantile((float(rank as u64) - 0.375) / (float(n as u64) + 0.25))
}

/// Logarithms of counts as a straight line over their normal scores.
struct FittedLine {
    mean_score: f64,
    mean_logarithm: f64,
    slope: f64,
}

impl FittedLine {
    /// Returns the weighted least squares line through the tail of `others`.
    fn fit(others: &[u64]) -> Self {
        let points: Vec<_> = tail_ranks(others.len())
            .map(|rank| {
                let weight = float(rank as u64) / (float(rank as u64) + MISFIT_RANK);
                (weight, score(rank, others.len()), ln(others[rank - 1]))
            })
            .collect();
        let weight_sum: f64 = points.iter().map(|(weight, ..)| weight).sum();
        let weighted_mean = |value: &dyn Fn(f64, f64) -> f64| {
            points.iter().map(|&(weight, x, y)| weight * value(x, y)).sum::<f64>() / weight_sum
        };
        let mean_score = weighted_mean(&|x, _| x);
        let mean_logarithm = weighted_mean(&|_, y| y);
        let variance = weighted_mean(&|x, _| (x - mean_score).powi(2));
        let slope = if points.len() == 1 {
            0.0
        } else {
            weighted_mean(&|x, y| (x - mean_score) * (y - mean_logarithm)) / variance
        };
        Self { mean_score, mean_logarithm, slope }
    }

    fn value_at(&self, score: f64) -> f64 {
        self.mean_logarithm + self.slope * (score - self.mean_score)
    }
}

/// Returns the ranks that represent the tail of `n` values, starting at 1: a few
/// dozen whatever `n` is, each a third above the one before.
fn tail_ranks(n: usize) -> impl Iterator<Item = usize> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below n")]
    let tail_share = (float(n as u64) * TAIL_SHARE) as usize;
    let last = tail_share.max(MIN_TAIL_RANKS).min(n / 2 + 1).min(n);
    let mut next = 1.0;
    let mut previous = 0;
    std::iter::from_fn(move || {
        while previous < last {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below n")]
            let rank = (f64::round(next) as usize).min(last);
            next *= RANK_RATIO;
            if rank > previous {
                previous = rank;
                return Some(rank);
            }
        }
        None
    })
}

/// Returns the logarithm of a count. A listed address has at least 1 connection;
/// 0 is taken as 1.
fn ln(count: u64) -> f64 {
    log(float(count.max(1)))
}

#[expect(clippy::cast_precision_loss, reason = "no host has 2^53 connections")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATE: f64 = 0.01;

    fn limit_of_unsorted(counts: &[u64]) -> LognormalLimit {
        let mut counts = counts.to_vec();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        limit(&counts, RATE).expect("there are counts")
    }

    /// Compares the limit and the number of excluded outliers with `expected`.
    #[track_caller]
    fn check(counts: &[u64], expected: &str) {
        let LognormalLimit { connections, excluded_outliers, .. } = limit_of_unsorted(counts);
        assert_eq!(format!("{connections:.1} {excluded_outliers}"), expected);
    }

    /// Returns `count`, `n` times.
    fn repeated(n: usize, count: u64) -> Vec<u64> {
        vec![count; n]
    }

    #[test]
    fn samples_of_up_to_three_addresses_have_a_limit() {
        assert_eq!(limit(&[], RATE), None);
        check(&[1], "76.1 0");
        check(&[1, 1], "13.1 0");
        check(&[1, 6], "13.1 0");
        check(&[1, 1, 1], "15.1 0");
        check(&[1, 12, 6], "151.0 0");
    }

    #[test]
    fn limit_is_above_uniform_counts() {
        check(&repeated(12, 1), "23.2 0");
        check(&repeated(12, 200), "375.0 0");
        check(&repeated(1000, 12), "103.1 0");
    }

    #[test]
    fn top_count_does_not_affect_its_limit() {
        let others: Vec<_> = (1..=40).collect();
        let limit_with_top = |top| limit_of_unsorted(&[&others[..], &[top]].concat());
        assert_eq!(limit_with_top(40), limit_with_top(1_000_000));
    }

    #[test]
    fn limit_grows_with_the_number_of_addresses() {
        let limits =
            [10, 100, 1000, 10_000].map(|n| limit_of_unsorted(&repeated(n, 3)).connections);
        assert!(limits.is_sorted_by(|a, b| a < b), "{limits:?}");
    }

    #[test]
    fn lower_false_alarm_rate_raises_the_limit() {
        let counts: Vec<_> = (1..=40).rev().collect();
        let limits = [0.999, 0.5, 0.1, 0.01, 1e-3, 1e-6, 1e-12]
            .map(|rate| limit(&counts, rate).expect("there are counts").connections);
        assert!(limits.is_sorted_by(|a, b| a < b), "{limits:?}");
    }

    /// Returns the quantiles of a lognormal distribution as counts.
    fn quantiles(n: usize, median: f64, scale: f64) -> Vec<u64> {
        (1..=n).map(|rank| (median.ln() + scale * score(rank, n)).exp().round() as u64).collect()
    }

    #[test]
    fn lognormal_counts_have_the_limit_of_the_formula() {
        let (n, median, scale) = (1001, 10_000.0, 0.8);
        let others = quantiles(n - 1, median, scale);
        let found = limit_of_unsorted(&[&[1_000_000], &others[..]].concat());
        // Φ⁻¹(0.99^(1/1001)), by Python's statistics.NormalDist.
        let formula = median * (scale * 4.263_993_927_790_619_f64).exp();
        assert!((found.connections / formula - 1.0).abs() < 0.01, "{found:?} {formula}");
        assert!((found.scale - scale).abs() < 0.01, "{found:?}");
    }

    #[test]
    fn steadily_climbing_tail_is_not_excluded() {
        // Each count is a third above the next one: no address is excluded.
        let tail = [400, 300, 225, 170, 127, 95, 71, 53, 40, 30, 22, 17, 12, 9];
        let found = limit_of_unsorted(&[&tail[..], &repeated(86, 4)].concat());
        assert!(found.connections > 400.0 && found.excluded_outliers == 0, "{found:?}");
    }

    #[test]
    fn limit_of_a_million_addresses_is_finite() {
        let counts: Vec<_> = (0..1_000_000u64).map(|index| 1 + 1_000_000 / (index + 1)).collect();
        let LognormalLimit { connections, .. } = limit(&counts, RATE).expect("there are counts");
        assert!(connections.is_finite() && connections > 1.0, "{connections}");
    }

    prop_compose! {
        /// Counts of one to some hundred addresses, of all sizes.
        fn sorted_counts()(exponents in prop::collection::vec(0.0..20.0f64, 1..400)) -> Vec<u64> {
            let mut counts: Vec<_> = exponents.iter().map(|x| x.exp() as u64).collect();
            counts.sort_unstable_by(|a, b| b.cmp(a));
            counts
        }
    }

    proptest! {
        #[test]
        fn limit_is_a_positive_finite_number(counts in sorted_counts(), exponent in -300.0..-1e-9f64) {
            let found = limit(&counts, 10f64.powf(exponent)).expect("there are counts");
            prop_assert!(found.connections.is_finite() && found.connections > 0.0, "{:?}", found);
            prop_assert!(found.connections <= MAX_LIMIT * 1.000_001);
            prop_assert!(found.scale.is_finite(), "{:?}", found);
            prop_assert!(found.excluded_outliers <= counts.len() / OUTLIER_DIVISOR);
        }

        #[test]
        fn raising_the_top_count_keeps_the_limit(counts in sorted_counts(), more in 0..1_000_000u64) {
            let mut higher = counts.clone();
            higher[0] += more;
            prop_assert_eq!(limit(&counts, RATE), limit(&higher, RATE));
        }

        /// From a median of 200 on, the floor of the scale is constant, so that
        /// the formula does not depend on the size of the counts.
        #[test]
        fn limit_is_proportional_to_large_counts(
            exponents in prop::collection::vec(5.3..11.0f64, 1..300),
            factor in 2..50u64,
        ) {
            let counts: Vec<_> = exponents.iter().map(|x| x.exp().ceil() as u64).collect();
            let multiplied: Vec<_> = counts.iter().map(|count| count * factor).collect();
            let (found, scaled) = (limit_of_unsorted(&counts), limit_of_unsorted(&multiplied));
            if found.connections < MAX_LIMIT / 100.0 && counts.len() > 1 {
                let ratio = scaled.connections / found.connections / factor as f64;
                prop_assert!((ratio - 1.0).abs() < 1e-9, "{:?} {:?}", found, scaled);
                prop_assert_eq!(found.excluded_outliers, scaled.excluded_outliers);
            }
        }

        /// A sixth of the addresses may be offenders with any count above the limit
        /// of the others: the limit stays as low as with a single offender.
        #[test]
        fn offenders_do_not_hide_one_another(
            browsers in prop::collection::vec(1..=12u64, 5..300),
            share in 0.0..1.0f64,
            sizes in prop::collection::vec(400..100_000u64, 60),
        ) {
            let max_offenders = (browsers.len() / (OUTLIER_DIVISOR - 1)).min(sizes.len());
            let n = 1 + (share * (max_offenders - 1) as f64) as usize;
            let offenders = &sizes[..n];
            let found = limit_of_unsorted(&[offenders, &browsers[..]].concat());
            prop_assert!(found.connections < 400.0, "{:?}", found);
        }
    }
}
