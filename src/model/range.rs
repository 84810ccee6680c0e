//! Threshold ranges of the Monitoring Plugins guidelines: `[@]start:end`.
//!
//! The [Monitoring Plugins Development Guidelines][g] define the format in
//! "Threshold and ranges". They do not mention an empty start (`:10`), but the C
//! plugins read it as 0.
//!
//! [g]: https://www.monitoring-plugins.org/doc/guidelines.html#THRESHOLDFORMAT
use std::{fmt, str::FromStr};

/// A range of acceptable values, or with `@` a range of values to alert on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    start: f64,
    end: f64,
    alert_inside: bool,
}

/// Position of a value that violates a range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RangeViolation {
    /// Above the end of the range; holds the end.
    Above(f64),
    /// Below the start of the range; holds the start.
    Below(f64),
    /// Inside an `@` range; holds start and end.
    Inside(f64, f64),
}

/// Error for a text that is not a range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// The text does not have the format of a range.
    #[error("not a range; write [@][start:]end, such as 50 or 10:50")]
    Syntax,
    /// The start is above the end.
    #[error("the start of the range (default: 0) is above its end")]
    Order,
    /// The shell has replaced `~` with a home directory.
    #[error("the shell has replaced ~ with a directory; put the range in quotes")]
    Tilde,
}

impl Range {
    /// Returns how `value` violates the range, or `None` if it does not. Start and
    /// end belong to the range.
    #[must_use]
    pub fn violation(&self, value: f64) -> Option<RangeViolation> {
        if self.alert_inside {
            let is_inside = self.start <= value && value <= self.end;
            return if is_inside {
                Some(RangeViolation::Inside(self.start, self.end))
            } else {
                None
            };
        }
        if value > self.end {
            Some(RangeViolation::Above(self.end))
        } else if value < self.start {
            Some(RangeViolation::Below(self.start))
        } else {
            None
        }
    }
}

impl FromStr for Range {
    type Err = RangeError;

    /// Accepts surrounding whitespace, because configuration templates produce it.
    fn from_str(text: &str) -> Result<Self, RangeError> {
        let text = text.trim();
        let (alert_inside, bounds) = match text.strip_prefix('@') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if bounds.contains('/') {
            return Err(RangeError::Tilde);
        }
        let (start, end) = match bounds.split_once(':') {
            None => (0.0, number(bounds)?),
            Some(("", "")) => return Err(RangeError::Syntax),
            Some((start, end)) => (
                match start {
                    "~" => f64::NEG_INFINITY,
                    "" => 0.0,
                    _ => number(start)?,
                },
                match end {
                    "" => f64::INFINITY,
                    _ => number(end)?,
                },
            ),
        };
        if start > end {
            return Err(RangeError::Order);
        }
        Ok(Self { start, end, alert_inside })
    }
}

/// Parses a plain decimal number. Rust's parser also accepts `inf`, `nan` and `1e3`,
/// which consumers of perfdata do not.
fn number(text: &str) -> Result<f64, RangeError> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && digits.bytes().any(|byte| byte.is_ascii_digit());
    // An f64 represents 15 decimal digits exactly.
    if !is_plain || digits.len() > 15 {
        return Err(RangeError::Syntax);
    }
    text.parse().map_err(|_| RangeError::Syntax)
}

impl fmt::Display for Range {
    /// Writes the shortest form: `0:10` is written as `10`, because Icinga 2 drops a threshold
    /// that contains anything but a number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.alert_inside {
            f.write_str("@")?;
        }
        if self.start == f64::NEG_INFINITY {
            f.write_str("~:")?;
        } else if self.start != 0.0 || self.end == f64::INFINITY {
            write!(f, "{}:", self.start)?;
        }
        if self.end != f64::INFINITY {
            write!(f, "{}", self.end)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, values: &[f64], expected: &str) {
        let found = match text.parse::<Range>() {
            Ok(range) => {
                let results: Vec<_> = values
                    .iter()
                    .map(|&value| match range.violation(value) {
                        Some(_) => "alert",
                        None => "fine",
                    })
                    .collect();
                format!("{range} {}", results.join(" "))
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn guideline_examples_alert_as_documented() {
        check("10", &[-1.0, 0.0, 10.0, 10.1], "10 alert fine fine alert");
        check("10:", &[9.9, 10.0, 1e9], "10: alert fine fine");
        check("~:10", &[-1e9, 10.0, 10.1], "~:10 fine fine alert");
        check("10:20", &[9.9, 10.0, 20.0, 20.1], "10:20 alert fine fine alert");
        check("@10:20", &[9.9, 10.0, 20.0, 20.1], "@10:20 fine alert alert fine");
    }

    #[test]
    fn other_spellings_are_accepted() {
        check("0:10", &[10.0], "10 fine");
        check(":10", &[10.0, -1.0], "10 fine alert");
        check("0:", &[1e9, -1.0], "0: fine alert");
        check("@10", &[0.0, 11.0], "@10 alert fine");
        check("-10:-5.5", &[-7.0, 0.0], "-10:-5.5 fine alert");
        check("@~:-5", &[-7.0, 0.0], "@~:-5 alert fine");
        check("10:10", &[10.0, 11.0], "10:10 fine alert");
        check("00.50", &[0.4], "0.5 fine");
    }

    const SYNTAX: &str = "not a range; write [@][start:]end, such as 50 or 10:50";

    #[test]
    fn numbers_have_at_most_15_digits() {
        check("999999999999999", &[1e15 - 1.0, 1e15], "999999999999999 fine alert");
        check("-999999999999999:", &[1.0 - 1e15, -1e15], "-999999999999999: fine alert");
        check("1000000000000000", &[], SYNTAX);
        check("-1000000000000000:", &[], SYNTAX);
    }

    #[test]
    fn malformed_ranges_are_rejected() {
        for text in [
            "",
            "@",
            ":",
            "@:",
            "abc",
            "nan",
            "inf",
            "~",
            "~:",
            "1e3",
            "50;",
            "1:2:3",
            "1,5",
            "5 0",
            "+5",
            "--5",
            "5%",
            "0x10",
            "1.2.3",
            ".",
            "-",
            "9999999999999999",
        ] {
            // "~:" accepts every value: a threshold that never alerts.
            if text == "~:" {
                check(text, &[0.0], "~: fine");
            } else {
                check(text, &[], SYNTAX);
            }
        }
        check("5:1", &[], "the start of the range (default: 0) is above its end");
        check(
            "/root:30",
            &[],
            "the shell has replaced ~ with a directory; put the range in quotes",
        );
    }

    proptest::proptest! {
        #[test]
        fn formatted_ranges_parse_back(start in -1e6..1e6f64, width in 0.0..1e6f64, alert_inside: bool) {
            let (start, width) = ((start * 100.0).round() / 100.0, (width * 100.0).round() / 100.0);
            let range = Range { start, end: ((start + width) * 100.0).round() / 100.0, alert_inside };
            assert_eq!(range.to_string().parse(), Ok(range));
        }
    }
}
