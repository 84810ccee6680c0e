//! The limit for the top address that follows from the counts of the others,
//! computed on the logarithms of the counts.
use libm::{exp, expm1, log, log1p};

use super::{normal::upper_quantile, round_to_hundredths};

/// The limit for the top address, and the values that it is calculated from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LognormalLimit {
    /// Limit for the connections of the top address, rounded to hundredths.
    pub connections: f64,
    /// Number of connections of a typical address: the center of the model.
    pub center: f64,
    /// Logarithm of the limit divided by the center, per unit of the highest value's normal
    /// score.
    pub scale: f64,
    /// Number of addresses that are excluded as offenders, in addition to the top address.
    pub excluded_outliers: usize,
}

/// Evidence from another rule that a count is over the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// No evidence from another rule.
    None,
    /// The count is also over the limit of the stddev rule.
    Stddev,
}

impl Support {
    /// Returns the share of the scale's floor that remains for any slope of the tail.
    fn floor_share(self) -> f64 {
        match self {
            Self::None => 1.0,
            Self::Stddev => CONFIRMED_FLOOR_SHARE,
        }
    }
}

/// Number of addresses per possible offender. The top address always may be one.
const OUTLIER_DIVISOR: usize = 6;
/// Maximum number of offenders among few addresses, if that is less than half of the
/// addresses.
const MIN_OUTLIERS: usize = 3;
/// Share of the other addresses that forms the tail.
const TAIL_SHARE: f64 = 0.35;
/// Minimum number of ranks in the tail, as long as the tail does not reach below the median.
const MIN_TAIL_RANKS: usize = 20;
/// Ratio of each rank that represents the tail to the previous one.
const RANK_RATIO: f64 = 1.3;
/// Rank from which the misfit of the line is larger than the random scatter.
const MISFIT_RANK: f64 = 24.0;
/// Mean square of the sizes of bunches, divided by their mean size, for bunches of 1 to 4
/// connections that are equally likely.
const BUNCH_DISPERSION: f64 = 3.0;
/// Maximum contribution of bunches to the floor of the scale.
const MAX_BUNCH_SCALE: f64 = 0.9;
/// Sample size at which data and prior weigh the same in the floor of the scale.
const PRIOR_SAMPLE_SIZE: f64 = 18.0;
/// Number of others at which their slope and the prior slope weigh the same.
const PRIOR_SLOPE_SIZE: f64 = 8.0;
/// Minimum share of the scale's floor that remains if the stddev rule confirms the limit.
const CONFIRMED_FLOOR_SHARE: f64 = 2.0 / 3.0;
/// Factor by which the tail's slope is multiplied to get the floor of a confirmed limit's
/// scale.
const CONFIRMED_SLOPE_FACTOR: f64 = 1.3;
/// Minimum of the floor of the scale.
const MIN_SCALE_FLOOR: f64 = 0.2;
/// Maximum of the floor of the scale.
const MAX_SCALE_FLOOR: f64 = 1.0;
/// Number of connections of one browser, which is added to the addresses for the center.
const BROWSER_CONNECTIONS: f64 = 5.0;
/// Maximum of the limit: more connections than a table of sockets holds.
const MAX_LIMIT: f64 = 1e9;

/// Returns the limit that the highest of `counts` does not exceed with probability
/// 1 − `false_alarm_rate`, estimated from the other counts.
///
/// `counts` are sorted, highest first. The highest count itself does not affect
/// its limit. Returns `None` if `counts` is empty. `false_alarm_rate` is above 0 and
/// below 1.
///
/// # The formula
///
/// Counts of connections are skewed, and their causes multiply instead of adding up, so
/// they are modeled as lognormal: ln x = μ + σz. The largest of n such values stays
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
/// # The center
///
/// Most hosts have few clients, and the median of few counts is unreliable. So one browser
/// with 5 connections is added to the addresses, unless that lowers the center:
///
/// > ln c = max(ln median, (m ln median + ln 5)/(m + 1))
///
/// With no other address, c is 5.
///
/// # The floor of the scale
///
/// The limit is not below that of a second line, which goes through the center
/// c of the m others with the scale
///
/// > s = min(√(3/c), 0.9) · √(1 + 18/(m + 18)), between 0.2 and 1
///
/// Connections come in bunches, because a browser opens several at once. So even
/// identical addresses scatter like a compound Poisson variable: in logarithms by √(b/c),
/// where b is the mean square of the bunches divided by their mean. Without the floor, a
/// few browsers would be evidence that no client is behind a gateway, and small
/// differences in a uniform pool of twelve proxies would be outliers. A smaller sample is
/// weaker evidence about other clients that may connect. Without the floor, 45 % of the
/// clean samples of a public site with 30 addresses exceed the limit, and with it
/// 3 %; its cost is missed offenders with 50 connections among browsers
/// (docs/detection.md).
///
/// # The slope for few addresses
///
/// The slope of the line through the tail of a few addresses is mostly random: with other
/// addresses that have 10, 1 and 1 connections, it allows 1,184. So a slope b above s is
/// shrunk towards s, as if 8 more addresses had the slope s, and the limit is 68.69:
///
/// > σ = (m b + 8 min(b, s))/(m + 8)
///
/// The 8, and the browser's 5 connections, were chosen on recorded crowds
/// (docs/detection.md).
///
/// # The confirmed limit
///
/// If a count is also over the limit of the stddev rule ([`Support::Stddev`]), less evidence
/// is enough. The floor of the scale then follows the slope b of the line through the tail
/// if b is smaller, but it keeps at least two thirds of s:
///
/// > s′ = clamp(1.3 b, ⅔ s, s)
///
/// 1.3 and ⅔ were chosen on recorded crowds too.
///
/// # Masking
///
/// Several offenders would hide one another in any mean and, if they are a sixth of the
/// addresses, in the upper quantiles. So the line is first fitted without the highest
/// sixth; with few addresses, without the highest three if these are less than half. Then
/// each of the omitted values, the lowest first, is compared with the limit that follows
/// from all values below it. The first value over its limit is an offender, as are all
/// values above it, and its limit is the result. A value that is not over its limit is
/// treated as one of the others for the next comparison: a tail that rises step by step is
/// heavy, and a tail that jumps is an attack. Equal counts are compared one by one, as if
/// they differed slightly. Each limit is rounded before the comparison, because
/// e^(ln 400) is below 400 in floating point.
///
/// # Samples of one, two and three addresses
///
/// A single address is compared with the prior alone. With two addresses, the limit
/// follows from the median and the floor of the scale. A line needs three addresses.
///
/// # Sources
///
/// - B. Iglewicz and D. Hoaglin, How to Detect and Handle Outliers, 1993;
///   NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.5.17: scores from
///   robust statistics, and the failure of scores from mean and standard deviation.
/// - H. A. David and H. N. Nagaraja, Order Statistics, 2003: extreme values of
///   the normal distribution. G. Blom, Statistical Estimates and Transformed
///   Beta-Variables, 1958: the normal scores.
/// - NIST/SEMATECH e-Handbook, 1.3.3.21: the normal probability plot.
/// - L. Davies and U. Gather, The Identification of Multiple Outliers, JASA 88
///   (1993): testing from the inside out.
/// - B. Efron and C. Morris, Stein's Estimation Rule and Its Competitors, JASA 68
///   (1973): shrinkage of estimates from few values towards a common value.
#[must_use]
pub fn limit(counts: &[u64], false_alarm_rate: f64, support: Support) -> Option<LognormalLimit> {
    if counts.is_empty() {
        return None;
    }
    for rank in (0..n_compared(counts, false_alarm_rate, support)).rev() {
        let limit = Others::new(&counts[rank + 1..], false_alarm_rate, support).limit();
        if rank == 0 || float(counts[rank]) > limit.connections {
            return Some(LognormalLimit { excluded_outliers: rank, ..limit });
        }
    }
    None
}

/// Returns the maximum number of offenders among `n` addresses.
fn max_offenders(n: usize) -> usize {
    let few = (n.saturating_sub(1) / 2).min(MIN_OUTLIERS);
    (n / OUTLIER_DIVISOR).max(few).max(1)
}

/// The addresses from which the limit for one more address is calculated.
struct Others<'a> {
    /// Connections per address, highest first.
    counts: &'a [u64],
    /// Logarithm of the center.
    ln_center: f64,
    /// Floor of the scale.
    scale_floor: f64,
    /// Normal score of the highest value, at the false alarm rate.
    highest_score: f64,
    support: Support,
}

impl<'a> Others<'a> {
    fn new(counts: &'a [u64], false_alarm_rate: f64, support: Support) -> Self {
        let ln_center = ln_center(counts);
        Self {
            counts,
            ln_center,
            scale_floor: scale_floor(ln_center, counts.len()),
            highest_score: highest_score(counts.len() + 1, false_alarm_rate),
            support,
        }
    }

    /// Returns the limit for one address in addition to these.
    fn limit(&self) -> LognormalLimit {
        // With a high false alarm rate the score can be below 0.
        let above_center = self.above_center().max(0.0);
        let logarithm = (self.ln_center + above_center).min(log(MAX_LIMIT));
        let scale = if self.highest_score > 0.0 { above_center / self.highest_score } else { 0.0 };
        LognormalLimit {
            connections: round_to_hundredths(exp(logarithm)),
            center: exp(self.ln_center),
            scale,
            excluded_outliers: 0,
        }
    }

    /// Returns the distance of the limit from the center, in logarithms.
    fn above_center(&self) -> f64 {
        if self.counts.is_empty() {
            return self.scale_floor * self.highest_score;
        }
        let mut line = FittedLine::fit(self.counts);
        let scale_floor = match self.support {
            Support::None => self.scale_floor,
            Support::Stddev => (CONFIRMED_SLOPE_FACTOR * line.slope)
                .clamp(self.support.floor_share() * self.scale_floor, self.scale_floor),
        };
        let n = float(self.counts.len() as u64);
        let prior_slope = line.slope.min(scale_floor);
        line.slope = (n * line.slope + PRIOR_SLOPE_SIZE * prior_slope) / (n + PRIOR_SLOPE_SIZE);
        let line_above_center = line.value_at(self.highest_score) - self.ln_center;
        line_above_center.max(scale_floor * self.highest_score)
    }
}

/// Returns the logarithm of the center of `counts`.
fn ln_center(counts: &[u64]) -> f64 {
    let ln_browser = log(BROWSER_CONNECTIONS);
    if counts.is_empty() {
        return ln_browser;
    }
    let n = float(counts.len() as u64);
    let ln_median = ln(median(counts));
    ln_median.max((n * ln_median + ln_browser) / (n + 1.0))
}

/// Returns the upper median of `counts`, which are sorted and not empty.
fn median(counts: &[u64]) -> u64 {
    counts[counts.len() - 1 - counts.len() / 2]
}

/// Returns the floor of the scale for `n` other addresses with this center.
fn scale_floor(ln_center: f64, n: usize) -> f64 {
    let bunch_scale = (BUNCH_DISPERSION / exp(ln_center)).sqrt().min(MAX_BUNCH_SCALE);
    let prior_factor = (1.0 + PRIOR_SAMPLE_SIZE / (float(n as u64) + PRIOR_SAMPLE_SIZE)).sqrt();
    (bunch_scale * prior_factor).clamp(MIN_SCALE_FLOOR, MAX_SCALE_FLOOR)
}

/// Returns the number of the highest `counts` that must be compared with a limit of their own:
/// the top count, and the suspects that are not below every possible limit.
///
/// In a crowd of a million addresses, a sixth are suspects, and fitting a line for each takes
/// half a second. No limit is below the limit that results from the lowest center, score and
/// floor of the scale. The center and the score are lowest for the fewest others, and the floor
/// is lowest for the most others with the highest center.
fn n_compared(counts: &[u64], false_alarm_rate: f64, support: Support) -> usize {
    let suspects = &counts[..max_offenders(counts.len())];
    let fewest_others = &counts[suspects.len()..];
    if fewest_others.is_empty() {
        return suspects.len();
    }
    let lowest_score = highest_score(fewest_others.len() + 1, false_alarm_rate).max(0.0);
    let highest_center = ln(median(&counts[1..])).max(log(BROWSER_CONNECTIONS));
    let lowest_floor = support.floor_share() * scale_floor(highest_center, counts.len() - 1);
    let lowest_limit = exp(ln(median(fewest_others)) + lowest_floor * lowest_score);
    suspects.partition_point(|&count| float(count) > lowest_limit).max(1)
}

/// Returns the normal score that the highest of `n` values does not exceed with
/// probability 1 − `false_alarm_rate`: Φ⁻¹((1 − α)^(1/n)). The calculation uses the distance
/// of the power from 1, because floats are more precise near 0.
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

/// Returns the ranks that represent the tail of `n` values, starting at 1. Each rank is about
/// a third above the previous one, so there are only a few dozen, even for a large `n`.
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

/// Returns the logarithm of a count. A count of 0 is treated as 1; a listed address has at
/// least 1 connection.
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

    const RATE: f64 = 0.015;

    fn sorted(counts: &[u64]) -> Vec<u64> {
        let mut counts = counts.to_vec();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        counts
    }

    fn limit_of_unsorted(counts: &[u64]) -> LognormalLimit {
        limit(&sorted(counts), RATE, Support::None).expect("there are counts")
    }

    /// Returns the limit for one address in addition to `others`.
    fn limit_beside(others: &[u64]) -> f64 {
        Others::new(&sorted(others), RATE, Support::None).limit().connections
    }

    /// Compares the limit and the number of excluded outliers with `expected`.
    #[track_caller]
    fn check(counts: &[u64], expected: &str) {
        let LognormalLimit { connections, excluded_outliers, .. } = limit_of_unsorted(counts);
        assert_eq!(format!("{connections:.2} {excluded_outliers}"), expected);
    }

    /// Returns `count`, `n` times.
    fn repeated(n: usize, count: u64) -> Vec<u64> {
        vec![count; n]
    }

    /// The expected values were computed with mpmath, at 50 digits.
    #[test]
    fn limits_of_few_addresses_match_mpmath() {
        assert_eq!(limit(&[], RATE, Support::None), None);
        check(&[1], "43.80 0");
        check(&[75], "43.80 0");
        check(&[1, 1], "25.42 0");
        check(&[14, 1], "25.42 0");
        check(&[1, 6], "25.42 0");
        check(&[1, 1, 1], "22.43 0");
        check(&[10, 1, 1], "22.43 0");
        check(&[1, 12, 6], "73.75 0");
        check(&[210, 200], "325.23 0");
        check(&[400, 11, 3, 1, 1, 1], "67.01 0");
        check(&repeated(12, 1), "23.46 0");
        check(&repeated(12, 200), "365.98 0");
        check(&repeated(1000, 12), "98.41 0");
    }

    #[test]
    fn equal_offenders_are_excluded_like_nearly_equal_ones() {
        check(&[&[400; 3][..], &[1; 9]].concat(), "22.80 2");
        check(&[&[402, 401, 400][..], &[1; 9]].concat(), "22.80 2");
        // The second of three equal counts is over its limit, the third one is not.
        check(&[&[584; 3][..], &[117; 4], &[2, 1, 1, 1]].concat(), "413.39 1");
        check(&[&[300; 3][..], &[1; 6]].concat(), "21.85 2");
    }

    /// e^(ln 400) is 399.9999999999999 as a float.
    #[test]
    fn limit_is_rounded_before_it_is_compared() {
        let uniform = repeated(20, 400);
        let others = Others { scale_floor: 0.0, ..Others::new(&uniform, RATE, Support::None) };
        assert_eq!(others.limit().connections, 400.0);
    }

    /// Returns the limit before it is rounded.
    fn exact_limit(counts: &[u64], support: Support) -> f64 {
        let counts = sorted(counts);
        let limit = limit(&counts, RATE, support).expect("there are counts");
        let others = Others::new(&counts[limit.excluded_outliers + 1..], RATE, support);
        exp(others.ln_center + others.above_center())
    }

    /// Compares the limit and the confirmed limit of `n` addresses, of which each has
    /// `count(index, n)` connections.
    #[track_caller]
    fn check_exact(n: u64, count: fn(u64, u64) -> u64, expected: f64, expected_confirmed: f64) {
        let counts: Vec<_> = (1..=n).map(|index| count(index, n)).collect();
        let is_close = |found: f64, expected: f64| (found / expected - 1.0).abs() < 1e-11;
        let found = exact_limit(&counts, Support::None);
        assert!(is_close(found, expected), "{found}");
        let confirmed = exact_limit(&counts, Support::Stddev);
        assert!(is_close(confirmed, expected_confirmed), "{confirmed}");
    }

    /// The expected values were computed with mpmath, at 50 digits.
    #[test]
    fn limits_of_large_crowds_match_mpmath() {
        check_exact(100, |_, _| 1, 33.425_944_749_990_4, 10.432_435_156_628_95);
        check_exact(1000, |_, _| 1, 44.223_845_957_379_87, 12.512_305_197_720_1);
        let harmonic = |index, _| 1 + 2000 / index;
        check_exact(100, harmonic, 3_959.155_927_008_303, 3_959.155_927_008_303);
        check_exact(1000, harmonic, 3_976.219_006_612_814, 3_976.219_006_612_814);
        let square = |index, n| 1 + index * index / n;
        check_exact(100, square, 236.183_494_915_155_8, 236.183_494_915_155_8);
        check_exact(1000, square, 2_123.716_947_692_778, 2_123.716_947_692_778);
        let browsers = |index, _| 1 + 7 * index % 12;
        check_exact(100, browsers, 93.345_386_885_439_97, 37.392_025_408_696_08);
        check_exact(1000, browsers, 117.639_169_738_297_3, 43.626_635_091_078_1);
        let proxies = |index, _| 200 + index % 10;
        check_exact(100, proxies, 420.226_055_970_369_5, 330.267_146_321_387);
        check_exact(1000, proxies, 469.876_454_885_949_1, 355.794_457_219_886_9);
    }

    /// Returns the limit by definition: each suspect is compared with its own limit.
    fn limit_by_definition(counts: &[u64], rate: f64, support: Support) -> LognormalLimit {
        let limit_below = |rank: usize| Others::new(&counts[rank + 1..], rate, support).limit();
        for rank in (1..max_offenders(counts.len())).rev() {
            if float(counts[rank]) > limit_below(rank).connections {
                return LognormalLimit { excluded_outliers: rank, ..limit_below(rank) };
            }
        }
        limit_below(0)
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
            .map(|rate| limit(&counts, rate, Support::None).expect("there are counts").connections);
        assert!(limits.is_sorted_by(|a, b| a < b), "{limits:?}");
    }

    /// Returns the quantiles of a lognormal distribution as counts.
    fn quantiles(n: usize, median: f64, scale: f64) -> Vec<u64> {
        (1..=n).map(|rank| (median.ln() + scale * score(rank, n)).exp().round() as u64).collect()
    }

    #[test]
    fn lognormal_counts_have_the_limit_of_the_formula() {
        let (n, median, scale) = (10_001, 10_000.0, 0.8);
        let others = quantiles(n - 1, median, scale);
        let found = limit_of_unsorted(&[&[1_000_000], &others[..]].concat());
        // Φ⁻¹(0.985^(1/10001)), by Python's statistics.NormalDist.
        let formula = median * (scale * 4.669_290_117_006_937_f64).exp();
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
        let LognormalLimit { connections, .. } =
            limit(&counts, RATE, Support::None).expect("there are counts");
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

    prop_compose! {
        /// Counts with ties: each address has one of a few counts.
        fn tied_counts()(
            sizes in prop::collection::vec(0.0..9.0f64, 1..6),
            choices in prop::collection::vec(any::<prop::sample::Index>(), 1..200),
        ) -> Vec<u64> {
            let counts: Vec<_> = choices.iter().map(|at| at.get(&sizes).exp() as u64).collect();
            sorted(&counts)
        }
    }

    fn any_support() -> impl Strategy<Value = Support> {
        prop_oneof![Just(Support::None), Just(Support::Stddev)]
    }

    proptest! {
        #[test]
        fn limit_is_that_of_the_definition(
            counts in prop_oneof![sorted_counts(), tied_counts()],
            rate in prop_oneof![Just(RATE), 1e-9..0.999f64],
            support in any_support(),
        ) {
            let expected = limit_by_definition(&counts, rate, support);
            prop_assert_eq!(limit(&counts, rate, support), Some(expected));
        }

        /// Support lowers a limit, but never its distance from the center by more than a third.
        #[test]
        fn confirmed_limit_is_lower(others in prop_oneof![sorted_counts(), tied_counts()]) {
            let alone = Others::new(&others, RATE, Support::None);
            let confirmed = Others::new(&others, RATE, Support::Stddev).above_center();
            prop_assert!(confirmed <= alone.above_center());
            prop_assert!(confirmed >= alone.above_center() * CONFIRMED_FLOOR_SHARE * 0.999_999);
        }

        #[test]
        fn limit_is_a_positive_finite_number(
            counts in sorted_counts(),
            exponent in -300.0..-1e-9f64,
            support in any_support(),
        ) {
            let found = limit(&counts, 10f64.powf(exponent), support).expect("there are counts");
            prop_assert!(found.connections.is_finite() && found.connections > 0.0, "{:?}", found);
            prop_assert!(found.connections <= MAX_LIMIT * 1.000_001);
            prop_assert!(found.scale.is_finite(), "{:?}", found);
            prop_assert!(found.excluded_outliers < max_offenders(counts.len()));
        }

        #[test]
        fn raising_the_top_count_keeps_the_limit(counts in sorted_counts(), more in 0..1_000_000u64) {
            let mut higher = counts.clone();
            higher[0] += more;
            prop_assert_eq!(limit(&counts, RATE, Support::None), limit(&higher, RATE, Support::None));
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
                let unrounded = (exact_limit(&counts, Support::None), exact_limit(&multiplied, Support::None));
                let ratio = unrounded.1 / unrounded.0 / factor as f64;
                prop_assert!((ratio - 1.0).abs() < 1e-9, "{:?} {:?}", found, scaled);
                prop_assert_eq!(found.excluded_outliers, scaled.excluded_outliers);
            }
        }

        /// Up to the maximum number of offenders, with any counts above the limit that follows
        /// from the others alone, do not raise that limit.
        #[test]
        fn offenders_do_not_hide_one_another(
            browsers in prop::collection::vec(1..=12u64, 1..300),
            share in 0.0..1.0f64,
            excesses in prop::collection::vec(1..100_000u64, 60),
        ) {
            let alone = limit_beside(&browsers);
            let fitting = |n: &usize| *n <= max_offenders(browsers.len() + n);
            let most = (1..=excesses.len()).filter(fitting).max().expect("one always fits");
            let n = 1 + (share * (most - 1) as f64) as usize;
            let offenders: Vec<_> = excesses[..n].iter().map(|more| alone as u64 + more).collect();
            let found = limit_of_unsorted(&[&offenders[..], &browsers].concat());
            prop_assert!(found.connections <= alone, "{:?} {}", found, alone);
        }

        /// As long as no other address is excluded, the limit is a smooth function of the
        /// counts: multiplying a count by a factor changes the limit by at most about the third
        /// power of the factor, which is the weight of the highest of two others.
        #[test]
        fn one_more_connection_does_not_make_the_limit_jump(
            exponents in prop::collection::vec(0.0..9.0f64, 1..300),
            at in any::<prop::sample::Index>(),
        ) {
            let counts: Vec<_> = exponents.iter().map(|x| x.exp() as u64).collect();
            let mut more = counts.clone();
            let count = at.index(counts.len());
            more[count] += 1;
            let factor = (more[count] as f64 / counts[count] as f64).powf(3.1);
            let ratio = limit_beside(&more) / limit_beside(&counts);
            prop_assert!(ratio < factor * 1.001 && ratio > 0.999 / factor, "{} {}", ratio, factor);
        }
    }

    /// Adding an address with the same count changes the limit only slightly.
    #[test]
    fn one_more_address_does_not_make_the_limit_jump() {
        for count in [1, 2, 5, 12] {
            let limits: Vec<_> = (0..1500).map(|n| limit_beside(&repeated(n, count))).collect();
            for (n, pair) in limits.windows(2).enumerate() {
                let ratio = (pair[1] / pair[0]).max(pair[0] / pair[1]);
                let allowed = [1.75, 1.2].get(n).copied().unwrap_or(1.12);
                assert!(ratio < allowed, "{n} addresses with {count}: {pair:?}");
            }
        }
    }

    #[test]
    fn number_of_addresses_is_zero_to_a_million() {
        for n in [0, 1, 2, 3, 10, 100, 1000, 10_000, 100_000, 1_000_000] {
            let spread: Vec<_> = (0..n as u64).map(|index| 1 + index * 7919 % 13).collect();
            for counts in [repeated(n, 1), repeated(n, 300), sorted(&spread)] {
                let found = limit(&counts, RATE, Support::None);
                assert_eq!(found.is_some(), n > 0);
                let connections = found.map_or(20.0, |found| found.connections);
                assert!((8.0..1500.0).contains(&connections), "{n}: {connections}");
            }
        }
    }
}
