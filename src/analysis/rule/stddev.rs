//! Samples in which a single offender cannot exceed a multiple of the standard deviation.

/// Returns the smallest number of addresses among which a single one can exceed
/// `times` standard deviations. Among fewer addresses it cannot, however far it is
/// above the others.
///
/// The more connections one of n addresses has, the closer the quotient of its count and
/// the population standard deviation of all n counts is to n/√(n − 1). The quotient
/// approaches this value *from above*: in a uniform listing the deviation is 0 and every
/// multiple is exceeded, and in a flood no multiple above n/√(n − 1) is exceeded. So a flood
/// is missed if n ≤ times × √(n − 1), which is a quadratic inequality in n. With several
/// busy addresses, the quotient is even smaller.
#[must_use]
pub fn min_addresses(times: f64) -> u64 {
    // The greater root of n² − t²n + t² = 0 is the n from which n/√(n − 1) exceeds t again.
    let square = times * times;
    let discriminant = square * square - 4.0 * square;
    if discriminant < 0.0 {
        return 0; // Below 2, any number of addresses is enough.
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

    /// Two deviations are the smallest multiple for which the number of addresses matters.
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
