//! Spans of time as people write them: `90`, `90s`, `10m`, `2h`, `7d`.
use std::time::Duration;

/// Reads a span of time in whole seconds, minutes, hours or days; without a
/// unit it is seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let (digits, seconds) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 60 * 60),
        Some((at, 'd')) => (&text[..at], 24 * 60 * 60),
        _ => (text, 1),
    };
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: Option<u64> = is_number.then(|| digits.parse().ok()).flatten();
    number
        .and_then(|number| number.checked_mul(seconds))
        // A hundred years: what is added to it must not overflow.
        .filter(|&seconds| seconds <= 100 * 366 * 24 * 60 * 60)
        .map(Duration::from_secs)
        .ok_or_else(|| "not a span of time; write 90, 90s, 10m, 2h or 7d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
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
