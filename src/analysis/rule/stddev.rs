//! Where a multiple of the standard deviation is out of reach.

/// Among how many addresses a lone one can exceed `times` standard deviations
/// however far it is above the others.
///
/// The more one of n addresses has, the closer its count over the population
/// standard deviation of all n comes to n/√(n − 1), *from above*: an even
/// listing, which has no deviation, exceeds anything, and a flood exceeds no
/// more than that. So a flood is missed as long as n ≤ times × √(n − 1), which
/// is a quadratic in n. Several busy addresses exceed still less.
#[must_use]
pub fn least_addresses(times: f64) -> u64 {
    // n² − t²n + t² = 0; its greater root is where n/√(n − 1) reaches t again.
    let square = times * times;
    let discriminant = square * square - 4.0 * square;
    if discriminant < 0.0 {
        return 0; // Below 2 any number of addresses will do.
    }
    let root = f64::midpoint(square, discriminant.sqrt());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    let least = root.floor() as u64;
    least.saturating_add(1)
}

#[cfg(test)]
mod tests {
    use crate::analysis::summary::Summary;

    use super::*;

    #[test]
    fn five_deviations_are_out_of_reach_below_24_addresses() {
        assert_eq!(least_addresses(5.0), 24);
        assert_eq!(least_addresses(1.9), 0);
    }

    #[test]
    fn the_ceiling_is_the_one_that_real_counts_meet() {
        let exceeds = |addresses: usize, times: f64| {
            let mut counts = vec![1; addresses];
            counts[0] = 1_000_000_000;
            let summary = Summary::of(&counts, None);
            summary.max as f64 > times * summary.stddev
        };
        for times in [2.6, 3.0, 4.0, 5.0, 6.0, 10.0] {
            let least = usize::try_from(least_addresses(times)).expect("small");
            assert!(exceeds(least, times), "{times}");
            assert!(!exceeds(least - 1, times), "{times}");
        }
    }
}
