//! Samples in which no count can exceed a multiple of the standard deviation.

/// Returns the smallest number of addresses among which a single one can exceed
/// `times` standard deviations. Among fewer addresses it cannot, however far it is
/// above the others.
///
/// The more connections one of n addresses has, the closer its count divided by
/// the population standard deviation of all n comes to n/√(n − 1), *from above*: a
/// uniform listing, whose deviation is 0, exceeds every multiple, and a flood
/// exceeds no more than that. So a flood is missed as long as n ≤ times × √(n − 1),
/// which is a quadratic in n. Several busy addresses exceed even less.
#[must_use]
pub fn min_addresses(times: f64) -> u64 {
    // n² − t²n + t² = 0; its greater root is where n/√(n − 1) reaches t again.
    let square = times * times;
    let discriminant = square * square - 4.0 * square;
    if discriminant < 0.0 {
        return 0; // Below 2 any number of addresses is enough.
    }
    let greater_root = f64::midpoint(square, discriminant.sqrt());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    let root = greater_root.floor() as u64;
    root.saturating_add(1)
}

#[cfg(test)]
mod tests {
    use crate::analysis::summary::Summary;

    use super::*;

    #[test]
    fn five_deviations_need_24_addresses() {
        assert_eq!(min_addresses(5.0), 24);
    }

    /// Two deviations are the least that depend on the number of addresses.
    #[test]
    fn fewer_than_two_deviations_need_no_number_of_addresses() {
        assert_eq!(min_addresses(2.0), 3);
        assert_eq!(min_addresses(1.99), 0);
    }

    #[test]
    fn minimum_matches_the_deviation_of_real_counts() {
        let exceeds = |addresses: usize, times: f64| {
            let mut counts = vec![1; addresses];
            counts[0] = 1_000_000_000;
            let summary = Summary::new(&counts, None);
            summary.max as f64 > times * summary.stddev
        };
        for times in [2.6, 3.0, 4.0, 5.0, 6.0, 10.0] {
            let minimum = usize::try_from(min_addresses(times)).expect("small");
            assert!(exceeds(minimum, times), "{times}");
            assert!(!exceeds(minimum - 1, times), "{times}");
        }
    }
}
