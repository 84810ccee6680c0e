//! The ticks of a time axis, at round local times.
use chrono::{DateTime, FixedOffset};

use crate::alert_log::time_line::Axis;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// Times between two ticks, in seconds.
const STEPS: [i64; 13] = [
    300,
    900,
    1800,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    7 * DAY,
    14 * DAY,
    28 * DAY,
];
/// Maximum number of ticks.
const MAX_TICKS: i64 = 8;

/// A labeled time on the axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tick {
    /// Seconds since the start of the axis.
    pub(super) seconds: i64,
    /// Time of day, or date.
    pub(super) label: String,
}

/// Returns the length of the axis in seconds.
pub(super) fn axis_seconds(axis: Axis) -> i64 {
    axis.n_columns * axis.column_seconds
}

/// Returns ticks at round local times: times of day, or the start of a day.
pub(super) fn ticks(axis: Axis, to_local: &dyn Fn(i64) -> DateTime<FixedOffset>) -> Vec<Tick> {
    let step = step(axis_seconds(axis));
    let utc_offset = |time: i64| i64::from(to_local(time).offset().local_minus_utc());
    let mut local_time = (axis.start + utc_offset(axis.start) - 1).div_euclid(step) * step;
    let mut ticks = Vec::new();
    loop {
        local_time += step;
        // The offset may have changed since the start of the axis.
        let time = local_time - utc_offset(local_time - utc_offset(axis.start));
        let seconds = time - axis.start;
        if seconds >= axis_seconds(axis) {
            return ticks;
        }
        if seconds >= 0 {
            ticks.push(Tick { seconds, label: label(to_local(time), step) });
        }
    }
}

fn step(axis_seconds: i64) -> i64 {
    let fits = |step: i64| axis_seconds / step <= MAX_TICKS;
    STEPS.into_iter().find(|&step| fits(step)).unwrap_or(axis_seconds / MAX_TICKS)
}

fn label(time: DateTime<FixedOffset>, step: i64) -> String {
    let time_of_day = time.format("%H:%M").to_string();
    if step >= DAY {
        time.format("%Y-%m-%d").to_string()
    } else if time_of_day == "00:00" {
        time.format("%m-%d").to_string()
    } else {
        time_of_day
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Local time of a zone whose clocks go back from UTC+2 to UTC+1 on 2026-10-25 01:00 UTC.
    fn to_local(seconds: i64) -> DateTime<FixedOffset> {
        let change = DateTime::parse_from_rfc3339("2026-10-25T01:00:00Z").expect("a time");
        let hours = if seconds < change.timestamp() { 2 } else { 1 };
        let zone = FixedOffset::east_opt(hours * 3600).expect("a few hours");
        DateTime::from_timestamp(seconds, 0).unwrap_or_default().with_timezone(&zone)
    }

    fn labels(start: &str, column_seconds: i64, n_columns: i64) -> Vec<String> {
        let start = DateTime::parse_from_rfc3339(start).expect("a time").timestamp();
        let axis = Axis { start, column_seconds, n_columns };
        let ticks = ticks(axis, &to_local);
        ticks.iter().map(|tick| format!("{} {}", tick.seconds, tick.label)).collect()
    }

    #[test]
    fn ticks_are_at_round_local_times() {
        assert_eq!(
            labels("2026-10-23T20:00:00+02:00", 60, 480),
            [
                "0 20:00",
                "3600 21:00",
                "7200 22:00",
                "10800 23:00",
                "14400 10-24",
                "18000 01:00",
                "21600 02:00",
                "25200 03:00"
            ]
        );
        assert_eq!(labels("2026-10-23T20:00:00+02:00", 60, 7).concat(), "0 20:00300 20:05");
        assert_eq!(
            labels("2026-10-24T12:00:00+02:00", 1800, 5 * 48),
            [
                "43200 2026-10-25",
                "133200 2026-10-26",
                "219600 2026-10-27",
                "306000 2026-10-28",
                "392400 2026-10-29"
            ]
        );
    }

    #[test]
    fn any_axis_has_few_ticks() {
        for shift in 0..45 {
            let axis = Axis { start: -(1 << 42), column_seconds: 60, n_columns: 1 << shift };
            let axis = Axis {
                n_columns: axis.n_columns.min(500),
                column_seconds: 60 << (shift / 2),
                ..axis
            };
            assert!(ticks(axis, &to_local).len() <= 10, "{axis:?}");
        }
    }
}
