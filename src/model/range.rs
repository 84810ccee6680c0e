//! Thresholds as the Monitoring Plugins guidelines write them: `[@]start:end`.
//!
//! The form is given in the [Monitoring Plugins Development Guidelines][g],
//! "Threshold and ranges". An empty start (`:10`) is in no document, but the C
//! plugins take it as 0, and so do people.
//!
//! [g]: https://www.monitoring-plugins.org/doc/guidelines.html#THRESHOLDFORMAT
use std::{fmt, str::FromStr};

/// A range of values that are fine, or with `@` of values that are not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    start: f64,
    end: f64,
    inside: bool,
}

/// On which side of a range a value fell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Alert {
    /// Above the end, which is given.
    Over(f64),
    /// Below the start, which is given.
    Under(f64),
    /// Between the two ends of an `@` range.
    Inside(f64, f64),
}

/// Why a text is no range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Not of the form at all.
    #[error("not a range; write [@][start:]end, such as 50 or 10:50")]
    Form,
    /// The two ends are in the wrong order.
    #[error("its start, 0 where none is given, is above its end")]
    Order,
    /// The shell put a home folder where a `~` was.
    #[error("the shell has put a folder in place of the ~; put the range in quotes")]
    Tilde,
}

impl Range {
    /// Whether `value` is to be reported, and how it lies. Both ends belong to
    /// the range.
    #[must_use]
    pub fn alert(&self, value: f64) -> Option<Alert> {
        if self.inside {
            let inside = self.start <= value && value <= self.end;
            return inside.then_some(Alert::Inside(self.start, self.end));
        }
        if value > self.end {
            Some(Alert::Over(self.end))
        } else if value < self.start {
            Some(Alert::Under(self.start))
        } else {
            None
        }
    }
}

impl FromStr for Range {
    type Err = RangeError;

    /// Blanks around it are no mistake: they come from templates.
    fn from_str(text: &str) -> Result<Self, RangeError> {
        let text = text.trim();
        let (inside, bounds) = match text.strip_prefix('@') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if bounds.contains('/') {
            return Err(RangeError::Tilde);
        }
        let (start, end) = match bounds.split_once(':') {
            None => (0.0, number(bounds)?),
            Some(("", "")) => return Err(RangeError::Form),
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
        Ok(Self { start, end, inside })
    }
}

/// A plain decimal. Rust would take `inf`, `nan` and `1e3` too, which no
/// receiver of perfdata does.
fn number(text: &str) -> Result<f64, RangeError> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && digits.bytes().any(|byte| byte.is_ascii_digit());
    // 15 digits are what a float holds exactly.
    if !plain || digits.len() > 15 {
        return Err(RangeError::Form);
    }
    text.parse().map_err(|_| RangeError::Form)
}

impl fmt::Display for Range {
    /// As short as it can be written: Icinga 2 drops a threshold that has
    /// anything but a number in it, so `0:10` is written `10`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.inside {
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
                let alerts: Vec<_> = values
                    .iter()
                    .map(|&value| match range.alert(value) {
                        Some(_) => "alert",
                        None => "fine",
                    })
                    .collect();
                format!("{range} {}", alerts.join(" "))
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn the_examples_of_the_guidelines() {
        check("10", &[-1.0, 0.0, 10.0, 10.1], "10 alert fine fine alert");
        check("10:", &[9.9, 10.0, 1e9], "10: alert fine fine");
        check("~:10", &[-1e9, 10.0, 10.1], "~:10 fine fine alert");
        check("10:20", &[9.9, 10.0, 20.0, 20.1], "10:20 alert fine fine alert");
        check("@10:20", &[9.9, 10.0, 20.0, 20.1], "@10:20 fine alert alert fine");
    }

    #[test]
    fn other_spellings() {
        check("0:10", &[10.0], "10 fine");
        check(":10", &[10.0, -1.0], "10 fine alert");
        check("0:", &[1e9, -1.0], "0: fine alert");
        check("@10", &[0.0, 11.0], "@10 alert fine");
        check("-10:-5.5", &[-7.0, 0.0], "-10:-5.5 fine alert");
        check("@~:-5", &[-7.0, 0.0], "@~:-5 alert fine");
        check("10:10", &[10.0, 11.0], "10:10 fine alert");
        check("00.50", &[0.4], "0.5 fine");
    }

    #[test]
    fn what_is_no_range() {
        const FORM: &str = "not a range; write [@][start:]end, such as 50 or 10:50";
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
            // "~:" says that every value is fine: a threshold that never speaks.
            if text == "~:" {
                check(text, &[0.0], "~: fine");
            } else {
                check(text, &[], FORM);
            }
        }
        check("5:1", &[], "its start, 0 where none is given, is above its end");
        check(
            "/root:30",
            &[],
            "the shell has put a folder in place of the ~; put the range in quotes",
        );
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_reads_back(start in -1e6..1e6f64, width in 0.0..1e6f64, inside: bool) {
            let (start, width) = ((start * 100.0).round() / 100.0, (width * 100.0).round() / 100.0);
            let range = Range { start, end: ((start + width) * 100.0).round() / 100.0, inside };
            assert_eq!(range.to_string().parse(), Ok(range));
        }
    }
}
