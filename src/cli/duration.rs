//! Durations in option values: `90`, `90s`, `10m`, `2h`, `7d`.
use std::time::Duration;

/// Parses a duration in whole seconds, minutes, hours or days. The default unit is
/// seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let (digits, unit_seconds) = match text.char_indices().last() {
        Some((index, 's')) => (&text[..index], 1),
        Some((index, 'm')) => (&text[..index], 60),
        Some((index, 'h')) => (&text[..index], 60 * 60),
        Some((index, 'd')) => (&text[..index], 24 * 60 * 60),
        _ => (text, 1),
    };
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: Option<u64> = if is_number { digits.parse().ok() } else { None };
    number
        .and_then(|number| number.checked_mul(unit_seconds))
        // At most 100 years, so that adding the duration to a time does not overflow.
        .filter(|&unit_seconds| unit_seconds <= 100 * 366 * 24 * 60 * 60)
        .map(Duration::from_secs)
        .ok_or_else(|| "not a duration; write 90, 90s, 10m, 2h or 7d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_durations_are_read_and_others_rejected() {
        for (text, seconds) in
            [("0", 0), ("90", 90), ("90s", 90), ("10m", 600), ("2h", 7200), ("7d", 604_800)]
        {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)));
        }
        for text in [
            "",
            "s",
            "-1",
            "1.5h",
            "1 h",
            "h1",
            "5ä",
            "1w",
            "99999999999999999999",
            "18446744073709551615d",
        ] {
            assert!(duration(text).is_err(), "{text:?}");
        }
    }
}
