//! Local time of this host, from `TZ` or `/etc/localtime`.
use chrono::{DateTime, FixedOffset, Local, TimeZone};

/// Returns the time zone of this host.
#[must_use]
pub fn time_zone() -> Local {
    Local
}

/// Returns the local time of a Unix timestamp in seconds.
#[must_use]
pub fn from_timestamp(seconds: i64) -> DateTime<FixedOffset> {
    // A timestamp outside the calendar's range can come only from a forged log.
    let time = DateTime::from_timestamp(seconds, 0).unwrap_or(DateTime::UNIX_EPOCH);
    Local.from_utc_datetime(&time.naive_utc()).fixed_offset()
}
