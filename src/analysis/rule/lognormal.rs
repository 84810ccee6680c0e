//! The limit for the top address that follows from the counts of the others,
//! on the logarithm of the counts.
use libm::{exp, expm1, log, log1p};

use super::normal::exceeded_with;

/// What the others say of the top one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reach {
    /// What the most connections of one address stay under.
    pub connections: f64,
    /// The upper median of those that it follows from.
    pub median: u64,
    /// How far the limit is above the median: in logarithms, over the normal
    /// score of the highest.
    pub scale: f64,
    /// How many addresses beside the top one were set aside, as offenders too.
    pub set_aside: usize,
}

/// One address in so many may offend, and a lone one always.
const ONE_IN: usize = 6;
/// Which part of the others is taken for the tail...
const TAIL: f64 = 0.35;
/// ... and at least so many, or else all down to the median.
const LEAST_TAIL: usize = 20;
/// How far apart the ranks are that stand for the tail, as a ratio.
const RANK_RATIO: f64 = 1.3;
/// From this rank on it is the line's misfit that weighs, not chance.
const MISFIT_RANK: f64 = 24.0;
/// Connections come in bunches of 1 to 4, each as likely; the mean of their
/// squares over their mean is 3.
const BUNCH: f64 = 3.0;
/// More than this the bunches never make of the floor, however small counts are.
const MOST_BUNCHED: f64 = 0.9;
/// So few others tell as much of the floor as is known without them.
const FEW: f64 = 18.0;
/// The floor of the scale is between these.
const LEAST_FLOOR: f64 = 0.2;
const MOST_FLOOR: f64 = 1.0;
/// What one browser opens to a host name stands for others that are not there.
const BROWSER: u64 = 6;
/// More connections than any table of sockets holds.
const MOST: f64 = 1e9;

/// The limit that the highest of `counts` stays under with probability 1 −
/// `false_alarm_rate`, as far as their others tell.
///
/// `counts` come highest first. The highest itself has no say in its limit.
/// `None` where there are none; `false_alarm_rate` is above 0 and below 1.
///
/// # The formula
///
/// Counts of connections are skewed, and multiply rather than add up, so they
/// are taken for lognormal: ln x = μ + σz. The largest of n such values stays
/// under μ + σz₁ with probability 1 − α where Φ(z₁)ⁿ = 1 − α, that is
///
/// > z₁ = Φ⁻¹((1 − α)^(1/n))
///
/// which grows with n as the largest value does (about as √(2 ln n)). μ and σ
/// are those of a straight line through the upper part of the others' normal
/// probability plot: ln of the i-th highest of m against its normal score
/// Φ⁻¹(1 − (i − ⅜)/(m + ¼)). Each rank weighs as i/(i + 24): the logarithm of
/// the i-th highest value scatters with a variance of the order 1/i, and no
/// line fits better than so.
///
/// Why the upper part, and not the median and the MAD of Iglewicz and Hoaglin:
/// counts tie (most addresses of many a server have 1, and the MAD is 0), and
/// a public site is lone browsers below and gateways above. What its top may
/// be is told by what is next to it, not by the browsers.
///
/// # The floor of the scale
///
/// The limit is not below that of another line, which goes through the median
/// c of the m others with the scale
///
/// > min(√(3/c), 0.9) · √(1 + 18/(m + 18)), between 0.2 and 1
///
/// Connections come in bunches, since a browser opens several at once; even
/// addresses that are all alike then scatter as a compound Poisson variable
/// does, in logarithms by √(b/c), with b the bunches' mean square over their
/// mean. So few browsers are not taken for a sign that nobody has a gateway,
/// and the even pools of twelve proxies are even. The fewer the others are, the
/// less they tell of what else may come. Without the floor, 45 % of the clean
/// samples of a public site with 30 addresses are over, and with it 3 %; what it
/// costs is offenders of 50 among browsers (docs/detection.md).
///
/// # Masking
///
/// Several offenders would hide one another in any mean and, where they are a
/// sixth, in the upper quantiles. So the line is first drawn without the
/// highest sixth. Then, from the inside out, these are held against the limit
/// that follows from all below them. The first that is over is an offender,
/// with all above it, and its limit is the answer. One that is not over
/// belongs to the others from then on: a tail that climbs step by step is
/// heavy, one that jumps is an attack.
///
/// # One, two, three
///
/// A lone address is held against one browser's 6 connections. Two have a
/// median, and the floor of the scale; from three on there is a line.
///
/// # Sources
///
/// - B. Iglewicz and D. Hoaglin, How to Detect and Handle Outliers, 1993;
///   NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.5.17: scores from
///   robust figures, and why those from mean and standard deviation fail.
/// - H. A. David and H. N. Nagaraja, Order Statistics, 2003: extreme values of
///   the normal distribution. G. Blom, Statistical Estimates and Transformed
///   Beta-Variables, 1958: the normal scores.
/// - NIST/SEMATECH e-Handbook, 1.3.3.21: the normal probability plot.
/// - L. Davies and U. Gather, The Identification of Multiple Outliers, JASA 88
///   (1993): testing from the inside out.
#[must_use]
pub fn reach(counts: &[u64], false_alarm_rate: f64) -> Option<Reach> {
    let inner = match counts.len() {
        0 => return None,
        n => (n / ONE_IN).max(1) - 1,
    };
    let of = |rank: usize| {
        let others = &counts[rank + 1..];
        let others = if others.is_empty() { &[BROWSER] } else { others };
        Reach { set_aside: rank, ..of_others(others, false_alarm_rate) }
    };
    let over = (1..=inner)
        .rev()
        // Among equals the last one tells for all.
        .filter(|&rank| counts[rank] > counts[rank + 1])
        .map(|rank| (rank, of(rank)))
        .find(|&(rank, reach)| float(counts[rank]) > reach.connections);
    Some(over.map_or_else(|| of(0), |(_, reach)| reach))
}

/// What one more address stays under, beside `others`: one or more of them.
fn of_others(others: &[u64], false_alarm_rate: f64) -> Reach {
    let n = others.len();
    let median = others[n - 1 - n / 2];
    let bunched = (BUNCH / float(median)).sqrt().min(MOST_BUNCHED);
    let few = (1.0 + FEW / (float(n as u64) + FEW)).sqrt();
    let floor = (bunched * few).clamp(LEAST_FLOOR, MOST_FLOOR);

    let highest = highest_score(n + 1, false_alarm_rate);
    let by_line = Line::through(others).at(highest) - ln(median);
    // Where false alarms are welcome the score can be below 0.
    let above_median = by_line.max(floor * highest).max(0.0);
    let logarithm = (ln(median) + above_median).min(log(MOST));
    Reach {
        connections: exp(logarithm),
        median,
        scale: if highest > 0.0 { above_median / highest } else { 0.0 },
        set_aside: 0,
    }
}

/// The normal score that the highest of `n` stays under with probability 1 −
/// `false_alarm_rate`: Φ⁻¹((1 − α)^(1/n)), by way of its distance from 1, which
/// a float has room for.
fn highest_score(n: usize, false_alarm_rate: f64) -> f64 {
    exceeded_with(-expm1(log1p(-false_alarm_rate) / float(n as u64)))
}

/// Where the `rank`-th highest of `n` normal values is about, by Blom.
fn score(rank: usize, n: usize) -> f64 {
    exceeded_with((float(rank as u64) - 0.375) / (float(n as u64) + 0.25))
}

/// Logarithms of counts as a line over their normal scores.
struct Line {
    score: f64,
    logarithm: f64,
    slope: f64,
}

impl Line {
    /// The weighted least squares line through the tail of `others`.
    fn through(others: &[u64]) -> Self {
        let points: Vec<_> = ranks(others.len())
            .map(|rank| {
                let weight = float(rank as u64) / (float(rank as u64) + MISFIT_RANK);
                (weight, score(rank, others.len()), ln(others[rank - 1]))
            })
            .collect();
        let weights: f64 = points.iter().map(|(weight, ..)| weight).sum();
        let mean = |of: &dyn Fn(f64, f64) -> f64| {
            points.iter().map(|&(weight, x, y)| weight * of(x, y)).sum::<f64>() / weights
        };
        let (score, logarithm) = (mean(&|x, _| x), mean(&|_, y| y));
        let spread = mean(&|x, _| (x - score).powi(2));
        let slope = match points.len() {
            1 => 0.0,
            _ => mean(&|x, y| (x - score) * (y - logarithm)) / spread,
        };
        Self { score, logarithm, slope }
    }

    fn at(&self, score: f64) -> f64 {
        self.logarithm + self.slope * (score - self.score)
    }
}

/// The ranks that stand for the tail of `n` values, from 1 on: a few dozen
/// whatever `n` is, each a third above the one before.
fn ranks(n: usize) -> impl Iterator<Item = usize> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below n")]
    let share = (float(n as u64) * TAIL) as usize;
    let last = share.max(LEAST_TAIL).min(n / 2 + 1).min(n);
    let mut exact = 1.0;
    let mut before = 0;
    std::iter::from_fn(move || {
        while before < last {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below n")]
            let rank = (f64::round(exact) as usize).min(last);
            exact *= RANK_RATIO;
            if rank > before {
                before = rank;
                return Some(rank);
            }
        }
        None
    })
}

/// The logarithm of a count; nobody on the list has none, and 0 is taken for 1.
fn ln(count: u64) -> f64 {
    log(float(count.max(1)))
}

#[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 connections")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATE: f64 = 0.01;

    fn of(counts: &[u64]) -> Reach {
        let mut counts = counts.to_vec();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        reach(&counts, RATE).expect("there are counts")
    }

    /// The limit, and how many are set aside beside the top one.
    #[track_caller]
    fn check(counts: &[u64], expected: &str) {
        let Reach { connections, set_aside, .. } = of(counts);
        assert_eq!(format!("{connections:.1} {set_aside}"), expected);
    }

    /// `n` times `count`.
    fn times(n: usize, count: u64) -> Vec<u64> {
        vec![count; n]
    }

    #[test]
    fn none_one_two_and_three() {
        assert_eq!(reach(&[], RATE), None);
        check(&[1], "76.1 0");
        check(&[1, 1], "13.1 0");
        check(&[1, 6], "13.1 0");
        check(&[1, 1, 1], "15.1 0");
        check(&[1, 12, 6], "151.0 0");
    }

    #[test]
    fn even_counts_have_room() {
        check(&times(12, 1), "23.2 0");
        check(&times(12, 200), "375.0 0");
        check(&times(1000, 12), "103.1 0");
    }

    #[test]
    fn the_top_count_has_no_say() {
        let others: Vec<_> = (1..=40).collect();
        let with = |top| of(&[&others[..], &[top]].concat());
        assert_eq!(with(40), with(1_000_000));
    }

    #[test]
    fn the_limit_grows_with_the_number_of_addresses() {
        let limits = [10, 100, 1000, 10_000].map(|n| of(&times(n, 3)).connections);
        assert!(limits.is_sorted_by(|a, b| a < b), "{limits:?}");
    }

    #[test]
    fn fewer_false_alarms_need_a_higher_limit() {
        let counts: Vec<_> = (1..=40).rev().collect();
        let limits = [0.999, 0.5, 0.1, 0.01, 1e-3, 1e-6, 1e-12]
            .map(|rate| reach(&counts, rate).expect("there are counts").connections);
        assert!(limits.is_sorted_by(|a, b| a < b), "{limits:?}");
    }

    /// Counts that lie on the very line of a lognormal distribution.
    fn quantiles(n: usize, centre: f64, scale: f64) -> Vec<u64> {
        (1..=n).map(|rank| (centre.ln() + scale * score(rank, n)).exp().round() as u64).collect()
    }

    #[test]
    fn a_lognormal_crowd_has_the_limit_of_the_formula() {
        let (n, centre, scale) = (1001, 10_000.0, 0.8);
        let others = quantiles(n - 1, centre, scale);
        let found = of(&[&[1_000_000], &others[..]].concat());
        // Φ⁻¹(0.99^(1/1001)), by Python's statistics.NormalDist.
        let formula = centre * (scale * 4.263_993_927_790_619_f64).exp();
        assert!((found.connections / formula - 1.0).abs() < 0.01, "{found:?} {formula}");
        assert!((found.scale - scale).abs() < 0.01, "{found:?}");
    }

    #[test]
    fn a_tail_that_climbs_is_no_attack() {
        // Each a third above the one before: nobody is set aside.
        let tail = [400, 300, 225, 170, 127, 95, 71, 53, 40, 30, 22, 17, 12, 9];
        let found = of(&[&tail[..], &times(86, 4)].concat());
        assert!(found.connections > 400.0 && found.set_aside == 0, "{found:?}");
    }

    #[test]
    fn a_million_addresses() {
        let counts: Vec<_> = (0..1_000_000u64).map(|at| 1 + 1_000_000 / (at + 1)).collect();
        let Reach { connections, .. } = reach(&counts, RATE).expect("there are counts");
        assert!(connections.is_finite() && connections > 1.0, "{connections}");
    }

    prop_compose! {
        /// From one address to some hundreds, of all sizes.
        fn crowd()(exponents in prop::collection::vec(0.0..20.0f64, 1..400)) -> Vec<u64> {
            let mut counts: Vec<_> = exponents.iter().map(|x| x.exp() as u64).collect();
            counts.sort_unstable_by(|a, b| b.cmp(a));
            counts
        }
    }

    proptest! {
        #[test]
        fn it_is_a_number(counts in crowd(), exponent in -300.0..-1e-9f64) {
            let found = reach(&counts, 10f64.powf(exponent)).expect("there are counts");
            prop_assert!(found.connections.is_finite() && found.connections > 0.0, "{:?}", found);
            prop_assert!(found.connections <= MOST * 1.000_001);
            prop_assert!(found.scale.is_finite(), "{:?}", found);
            prop_assert!(found.set_aside <= counts.len() / ONE_IN);
        }

        #[test]
        fn over_stays_over(counts in crowd(), more in 0..1_000_000u64) {
            let mut higher = counts.clone();
            higher[0] += more;
            prop_assert_eq!(reach(&counts, RATE), reach(&higher, RATE));
        }

        /// From a median of 200 on the floor of the scale is the same for all,
        /// so that nothing in the formula knows how large a count is.
        #[test]
        fn twice_the_counts_is_twice_the_limit(
            exponents in prop::collection::vec(5.3..11.0f64, 1..300),
            times in 2..50u64,
        ) {
            let counts: Vec<_> = exponents.iter().map(|x| x.exp().ceil() as u64).collect();
            let multiplied: Vec<_> = counts.iter().map(|count| count * times).collect();
            let (found, scaled) = (of(&counts), of(&multiplied));
            if found.connections < MOST / 100.0 && counts.len() > 1 {
                let ratio = scaled.connections / found.connections / times as f64;
                prop_assert!((ratio - 1.0).abs() < 1e-9, "{:?} {:?}", found, scaled);
                prop_assert_eq!(found.set_aside, scaled.set_aside);
            }
        }

        /// A sixth of the addresses may offend, of any size that is out of the
        /// others' reach: the limit stays as if there were none but one.
        #[test]
        fn offenders_do_not_hide_one_another(
            browsers in prop::collection::vec(1..=12u64, 5..300),
            share in 0.0..1.0f64,
            sizes in prop::collection::vec(400..100_000u64, 60),
        ) {
            let most = (browsers.len() / (ONE_IN - 1)).min(sizes.len());
            let n = 1 + (share * (most - 1) as f64) as usize;
            let offenders = &sizes[..n];
            let found = of(&[offenders, &browsers[..]].concat());
            prop_assert!(found.connections < 400.0, "{:?}", found);
        }
    }
}
