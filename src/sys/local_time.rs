//! Time as this host's clocks on the wall show it: by `TZ`, or by
//! `/etc/localtime`.
use chrono::{DateTime, FixedOffset, Local, TimeZone};

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
