//! Counts to the figures that describe them.

/// The figures of a sample, over the counts of the top addresses.
///
/// All are 0 where nothing was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Summary {
    /// How many peers the figures are about.
    pub addresses: u64,
    /// Connections per address, the arithmetic mean.
    pub avg: f64,
    /// Their *population* standard deviation: divided by n, not by n − 1.
    pub stddev: f64,
    /// The fewest that an address has.
    pub min: u64,
    /// The most that an address has.
    pub max: u64,
    /// The element `len / 2` of the ascending list, so that an even number of
    /// counts has its upper median, which is one of them.
    pub med: u64,
}

impl Summary {
    /// Describes the `top` highest of `counts`, which come highest first; all
    /// of them where `top` is `None`.
    #[must_use]
    pub fn of(counts: &[u64], top: Option<usize>) -> Self {
        let counts = &counts[..top.unwrap_or(usize::MAX).min(counts.len())];
        let (Some(&max), Some(&min)) = (counts.first(), counts.last()) else {
            return Self::default();
        };
        #[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 connections")]
        let float = |n: u64| n as f64;
        let n = float(counts.len() as u64);
        let avg = float(counts.iter().sum()) / n;
        let squares: f64 = counts.iter().map(|&count| (float(count) - avg).powi(2)).sum();
        Self {
            addresses: counts.len() as u64,
            avg,
            stddev: (squares / n).sqrt(),
            min,
            max,
            // Highest first, so element len / 2 of the ascending list is this.
            med: counts[counts.len() - 1 - counts.len() / 2],
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(counts: &[u64], top: Option<usize>) -> Summary {
        let mut counts = counts.to_vec();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        Summary::of(&counts, top)
    }

    #[track_caller]
    fn check(counts: &[u64], med: u64, avg: f64, stddev: f64) {
        let found = of(counts, None);
        assert_eq!(found.med, med);
        assert!((found.avg - avg).abs() < 1e-12, "{found:?}");
        assert!((found.stddev - stddev).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn the_reference_values() {
        check(&[5, 6, 8, 9], 8, 7.0, 1.581_138_830_084_189_8);
        check(&[1000, 1006, 1008, 1014], 1008, 1007.0, 5.0);
        check(
            &[1, 3, 4, 5, 18, 16, 4, 3, 3, 5, 13],
            4,
            6.818_181_818_181_818,
            5.621_681_757_723_748,
        );
        check(
            &[1, 3, 4, 5, 18, 16, 4, 3, 3, 5, 13, 14, 5, 6, 7, 8, 7, 6, 6, 7, 5, 6, 4, 14, 7],
            6,
            7.08,
            4.325_921_867_070_647,
        );
    }

    #[test]
    fn none_and_one() {
        assert_eq!(of(&[], None), Summary::default());
        assert_eq!(
            of(&[7], Some(3)),
            Summary { addresses: 1, avg: 7.0, stddev: 0.0, min: 7, max: 7, med: 7 }
        );
    }

    #[test]
    fn only_the_top_ones_count() {
        assert_eq!(of(&[1, 9, 1, 5], Some(2)), of(&[9, 5], None));
    }

    proptest! {
        #[test]
        fn it_is_what_a_naive_computation_gives(
            counts in prop::collection::vec(1..1_000_000u64, 1..200),
            top in 1..250usize,
        ) {
            let found = of(&counts, Some(top));
            let mut sorted = counts;
            sorted.sort_unstable();
            let sorted = &sorted[sorted.len().saturating_sub(top)..];
            // By moments instead of by differences, so that it is another way.
            let n = sorted.len() as f64;
            let sum: u64 = sorted.iter().sum();
            let squares: u64 = sorted.iter().map(|count| count * count).sum();
            let avg = sum as f64 / n;
            let variance = (squares as f64 - sum as f64 * avg) / n;
            prop_assert_eq!(found.addresses, sorted.len() as u64);
            prop_assert_eq!(found.med, sorted[sorted.len() / 2]);
            prop_assert_eq!(found.min, sorted[0]);
            prop_assert_eq!(found.max, *sorted.last().expect("not empty"));
            prop_assert!((found.avg - avg).abs() <= avg * 1e-12);
            prop_assert!((found.stddev.powi(2) - variance).abs() <= avg.powi(2).max(variance) * 1e-9);
        }
    }
}
