//! Descriptive statistics of the counts of a sample.

/// Statistics of the counts of the busiest peers.
///
/// All values are 0 if nothing was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Summary {
    /// Number of peers that the statistics include.
    pub n_peers: u64,
    /// Arithmetic mean of the connections per peer.
    pub avg: f64,
    /// *Population* standard deviation of the counts: divided by n, not by n − 1.
    pub stddev: f64,
    /// Smallest count.
    pub min: u64,
    /// Largest count.
    pub max: u64,
    /// Element `len / 2` of the ascending list: the upper median, which is one of
    /// the counts.
    pub median: u64,
}

impl Summary {
    /// Returns the statistics of the `max_peers` highest of `counts`, which are
    /// sorted, highest first; of all of them if `max_peers` is `None`.
    #[must_use]
    pub fn new(counts: &[u64], max_peers: Option<usize>) -> Self {
        let counts = &counts[..max_peers.unwrap_or(usize::MAX).min(counts.len())];
        let (Some(&max), Some(&min)) = (counts.first(), counts.last()) else {
            return Self::default();
        };
        #[expect(clippy::cast_precision_loss, reason = "no host has 2^53 connections")]
        let float = |n: u64| n as f64;
        let n = float(counts.len() as u64);
        let avg = float(counts.iter().sum()) / n;
        let square_sum: f64 = counts.iter().map(|&count| (float(count) - avg).powi(2)).sum();
        Self {
            n_peers: counts.len() as u64,
            avg,
            stddev: (square_sum / n).sqrt(),
            min,
            max,
            // The list is descending: this is element len / 2 of the ascending list.
            median: counts[counts.len() - 1 - counts.len() / 2],
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn summary_of_unsorted(counts: &[u64], max_peers: Option<usize>) -> Summary {
        let mut counts = counts.to_vec();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        Summary::new(&counts, max_peers)
    }

    #[track_caller]
    fn check(counts: &[u64], median: u64, avg: f64, stddev: f64) {
        let found = summary_of_unsorted(counts, None);
        assert_eq!(found.median, median);
        assert!((found.avg - avg).abs() < 1e-12, "{found:?}");
        assert!((found.stddev - stddev).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn statistics_match_reference_values() {
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
    fn empty_and_single_counts_have_a_summary() {
        assert_eq!(summary_of_unsorted(&[], None), Summary::default());
        assert_eq!(
            summary_of_unsorted(&[7], Some(3)),
            Summary { n_peers: 1, avg: 7.0, stddev: 0.0, min: 7, max: 7, median: 7 }
        );
    }

    #[test]
    fn only_the_highest_counts_are_included() {
        assert_eq!(summary_of_unsorted(&[1, 9, 1, 5], Some(2)), summary_of_unsorted(&[9, 5], None));
    }

    proptest! {
        #[test]
        fn statistics_match_a_naive_computation(
            counts in prop::collection::vec(1..1_000_000u64, 1..200),
            max_peers in 1..250usize,
        ) {
            let found = summary_of_unsorted(&counts, Some(max_peers));
            let mut sorted = counts;
            sorted.sort_unstable();
            let sorted = &sorted[sorted.len().saturating_sub(max_peers)..];
            // Computed from moments instead of differences, to be independent of the code.
            let n = sorted.len() as f64;
            let sum: u64 = sorted.iter().sum();
            let squares: u64 = sorted.iter().map(|count| count * count).sum();
            let avg = sum as f64 / n;
            let variance = (squares as f64 - sum as f64 * avg) / n;
            prop_assert_eq!(found.n_peers, sorted.len() as u64);
            prop_assert_eq!(found.median, sorted[sorted.len() / 2]);
            prop_assert_eq!(found.min, sorted[0]);
            prop_assert_eq!(found.max, *sorted.last().expect("not empty"));
            prop_assert!((found.avg - avg).abs() <= avg * 1e-12);
            prop_assert!((found.stddev.powi(2) - variance).abs() <= avg.powi(2).max(variance) * 1e-9);
        }
    }
}
