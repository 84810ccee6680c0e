//! Time as this host's clocks on the wall show it: by `TZ`, or by
//! `/etc/localtime`.
use chrono::{DateTime, FixedOffset, Local, NaiveDateTime, TimeZone};

/// The zone of this host.
#[must_use]
pub fn zone() -> Local {
    Local
}

/// A moment, given in seconds since 1970-01-01 UTC, here.
#[must_use]
pub fn at(seconds: i64) -> DateTime<FixedOffset> {
    // A time that no calendar has is that of a log that somebody made up.
    let moment = DateTime::from_timestamp(seconds, 0).unwrap_or(DateTime::UNIX_EPOCH);
    Local.from_utc_datetime(&moment.naive_utc()).fixed_offset()
}

/// When the clocks of `zone` show `local`: the first time and the last, which
/// differ in the hour that comes twice in autumn. Never, where they leap over it.
pub fn moments(
    zone: &impl TimeZone,
    local: &NaiveDateTime,
) -> Option<(DateTime<FixedOffset>, DateTime<FixedOffset>)> {
    let found = zone.from_local_datetime(local).map(|it| it.fixed_offset());
    // Which of two is the earlier, chrono does not tell reliably.
    let (one, other) = (found.earliest()?, found.latest()?);
    Some((one.min(other), one.max(other)))
}
