//! Lines of any format, as somebody may have cut, mixed or written them.
use std::borrow::Cow;

use chrono::{DateTime, Days, FixedOffset, NaiveDateTime, TimeDelta, TimeZone};
use serde::Deserialize;

use crate::model::network::Network;

use super::entry::{Entry, HERE, is_in_name};

/// How far lines of runs that overlap may be out of order.
const DISORDER: TimeDelta = TimeDelta::minutes(10);

/// Why a line is none of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Not of any format.
    #[error("not a line of the log")]
    Form,
    /// The time is none.
    #[error("its time cannot be read")]
    Time,
    /// The count is none.
    #[error("its number of connections cannot be read")]
    Count,
    /// The address is none.
    #[error("its address cannot be read")]
    Address,
    /// The servers are none.
    #[error("its servers cannot be read")]
    Servers,
}

/// Reads the lines of one file, in their order.
///
/// Local time without an offset tells the hour that comes twice in autumn only
/// by what came before. It is taken for the first of the two unless that would
/// be well before the line above it.
#[derive(Clone, Debug)]
pub struct Clock<Z> {
    zone: Z,
    last: Option<DateTime<FixedOffset>>,
}

/// What is read of a line in JSON; the rest may be whatever it likes.
#[derive(Deserialize)]
struct Json<'a> {
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    address: Cow<'a, str>,
    connections: u64,
    #[serde(default)]
    servers: Vec<String>,
}

impl<Z: TimeZone> Clock<Z> {
    /// Reads local time as that of `zone`.
    pub fn new(zone: Z) -> Self {
        Self { zone, last: None }
    }

    /// What a line tells, in whichever format.
    ///
    /// # Errors
    ///
    /// Where it is not one that was written whole.
    pub fn parse(&mut self, line: &str) -> Result<Entry, LineError> {
        let entry = if line.starts_with('{') { json(line) } else { self.plain(line) }?;
        self.last = Some(entry.when);
        Ok(entry)
    }

    /// `TIME - N connections from ADDRESS[ on SERVER[,SERVER]]`
    fn plain(&self, line: &str) -> Result<Entry, LineError> {
        let (time, rest) = line.split_once(" - ").ok_or(LineError::Form)?;
        let (count, rest) = rest.split_once(" connections from ").ok_or(LineError::Form)?;
        let (address, servers) = match rest.split_once(" on ") {
            None => (rest, Vec::new()),
            Some((address, names)) => (address, servers(names.split(','))?),
        };
        let is_digits = count.bytes().all(|byte| byte.is_ascii_digit());
        let connections = count.parse().ok().filter(|_| is_digits).ok_or(LineError::Count)?;
        let when = match time.as_bytes().first() {
            Some(b'0'..=b'9') => rfc3339(time)?,
            _ => self.local(time)?,
        };
        Ok(Entry { when, network: network(address)?, connections, servers })
    }

    /// Local time as asctime(3) writes it.
    fn local(&self, text: &str) -> Result<DateTime<FixedOffset>, LineError> {
        let form = "%a %b %e %H:%M:%S %Y";
        // A year with a sign or more digits than four would be taken, too.
        let is_number = |year: &str| year.len() == 4 && year.bytes().all(|it| it.is_ascii_digit());
        let is_year = text.rsplit(' ').next().is_some_and(is_number);
        let naive = NaiveDateTime::parse_from_str(text, form).ok().filter(|_| is_year);
        let naive = naive.ok_or(LineError::Time)?;
        let is_late = |it| self.last.is_none_or(|last| it + DISORDER >= last);
        match moments(&self.zone, &naive) {
            Some((first, _)) if is_late(first) => Ok(first),
            Some((_, last)) => Ok(last),
            None => self.leapt(naive).ok_or(LineError::Time),
        }
    }

    /// A time that the clocks leapt over in spring, by the clock of the day
    /// before: somebody wrote it whose zone is not this one.
    fn leapt(&self, naive: NaiveDateTime) -> Option<DateTime<FixedOffset>> {
        let day = Days::new(1);
        let (before, _) = moments(&self.zone, &naive.checked_sub_days(day)?)?;
        before.checked_add_days(day)
    }
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

fn rfc3339(text: &str) -> Result<DateTime<FixedOffset>, LineError> {
    DateTime::parse_from_rfc3339(text).map_err(|_| LineError::Time)
}

fn network(text: &str) -> Result<Network, LineError> {
    // What stands between blanks is not what a program wrote.
    let is_tidy = !text.contains(char::is_whitespace);
    text.parse().ok().filter(|_| is_tidy).ok_or(LineError::Address)
}

fn servers<'a>(names: impl Iterator<Item = &'a str>) -> Result<Vec<String>, LineError> {
    let names: Vec<_> = names.map(ToOwned::to_owned).collect();
    // No server's name begins with a hyphen, and a spreadsheet would reckon with it.
    let is_name =
        |name: &String| !name.is_empty() && !name.starts_with('-') && name.chars().all(is_in_name);
    match &names[..] {
        [only] if only == HERE => Ok(Vec::new()),
        _ if names.iter().all(is_name) => Ok(names),
        _ => Err(LineError::Servers),
    }
}

fn json(line: &str) -> Result<Entry, LineError> {
    let json: Json = serde_json::from_str(line).map_err(|_| LineError::Form)?;
    Ok(Entry {
        when: rfc3339(&json.time)?,
        network: network(&json.address)?,
        connections: json.connections,
        servers: servers(json.servers.iter().map(String::as_str))?,
    })
}

#[cfg(test)]
mod tests {
    use chrono::{MappedLocalTime, NaiveDate, Offset, Utc};
    use proptest::prelude::*;

    use crate::{
        alert_log::entry::{Alert, Format},
        analysis::tally::Peer,
        model::connection::TcpState,
    };

    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let found = match Clock::new(Utc).parse(line) {
            Ok(Entry { when, network, connections, servers }) => {
                format!("{} {connections} {network} {servers:?}", when.to_rfc3339())
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn lines_of_every_format() {
        check(
            "Wed Nov 28 23:40:34 2007 - 152 connections from 203.0.113.7",
            "2007-11-28T23:40:34+00:00 152 203.0.113.7 []",
        );
        check(
            "Sun Nov  4 01:02:03 2007 - 1 connections from 2001:db8::/64 on web1,[web2]:2222",
            "2007-11-04T01:02:03+00:00 1 2001:db8::/64 [\"web1\", \"[web2]:2222\"]",
        );
        check(
            "2007-11-28T23:40:34-05:00 - 152 connections from 203.0.113.0/24 on web1",
            "2007-11-28T23:40:34-05:00 152 203.0.113.0/24 [\"web1\"]",
        );
        check(
            "{\"servers\":[\"localhost\"],\"connections\":7,\"new\":[{}],\"address\":\"192.0.2.1\",\
             \"time\":\"2007-11-28T23:40:34Z\"}",
            "2007-11-28T23:40:34+00:00 7 192.0.2.1 []",
        );
    }

    #[test]
    fn damaged_lines() {
        check("", "not a line of the log");
        check("Wed Nov 28 23:40:34 2007 - 152 connect", "not a line of the log");
        let wrong = "its time cannot be read";
        check("Thu Nov 28 23:40:34 2007 - 1 connections from 192.0.2.1", wrong);
        check("Sun Nov  4 01:30:30 +102007 - 1 connections from 192.0.2.1", wrong);
        check("2007-11-28T23:40:34 - 1 connections from 192.0.2.1", wrong);
        check("2007-13-28T23:40:34Z - 1 connections from 192.0.2.1", wrong);
        let wrong = "its number of connections cannot be read";
        check("2007-11-28T23:40:34Z - +1 connections from 192.0.2.1", wrong);
        check("2007-11-28T23:40:34Z -  connections from 192.0.2.1", wrong);
        check("2007-11-28T23:40:34Z - 18446744073709551616 connections from 192.0.2.1", wrong);
        let wrong = "its address cannot be read";
        check("2007-11-28T23:40:34Z - 1 connections from web1", wrong);
        check("2007-11-28T23:40:34Z - 1 connections from 192.0.2.1 ", wrong);
        check("2007-11-28T23:40:34Z - 1 connections from 192.0.2.12007-11-28T", wrong);
        let wrong = "its servers cannot be read";
        check("2007-11-28T23:40:34Z - 1 connections from 192.0.2.1 on ", wrong);
        check("2007-11-28T23:40:34Z - 1 connections from 192.0.2.1 on a b", wrong);
        check("2007-11-28T23:40:34Z - 1 connections from 192.0.2.1 on =a", wrong);
        check("{\"time\":\"2007-11-28T23:40:34Z\"", "not a line of the log");
        check("{\"time\":1,\"address\":\"192.0.2.1\",\"connections\":1}", "not a line of the log");
    }

    /// A zone whose clocks go one hour back at 3 on November 4, and one hour on
    /// at 2 on March 11.
    #[derive(Clone, Debug)]
    struct Zone;

    impl TimeZone for Zone {
        type Offset = FixedOffset;

        fn from_offset(_: &FixedOffset) -> Self {
            Self
        }

        fn offset_from_local_date(&self, _: &NaiveDate) -> MappedLocalTime<FixedOffset> {
            unreachable!("chrono asks for moments")
        }

        fn offset_from_local_datetime(&self, at: &NaiveDateTime) -> MappedLocalTime<FixedOffset> {
            let first = |text: &str| -> NaiveDateTime { text.parse().expect("a time") };
            let hour = |text| (first(text)..first(text) + TimeDelta::hours(1)).contains(at);
            let (summer, winter) = (offset(2), offset(1));
            if hour("2007-03-11T02:00:00") {
                MappedLocalTime::None
            } else if hour("2007-11-04T02:00:00") {
                MappedLocalTime::Ambiguous(summer, winter)
            } else if (first("2007-03-11T03:00:00")..first("2007-11-04T02:00:00")).contains(at) {
                MappedLocalTime::Single(summer)
            } else {
                MappedLocalTime::Single(winter)
            }
        }

        fn offset_from_utc_date(&self, _: &NaiveDate) -> FixedOffset {
            unreachable!("nobody asks")
        }

        fn offset_from_utc_datetime(&self, _: &NaiveDateTime) -> FixedOffset {
            unreachable!("nobody asks")
        }
    }

    fn offset(hours: i32) -> FixedOffset {
        FixedOffset::east_opt(hours * 3600).expect("a few hours")
    }

    #[test]
    fn the_hour_that_comes_twice() {
        let mut clock = Clock::new(Zone);
        let mut read = |time| {
            let line = format!("{time} - 1 connections from 192.0.2.1");
            clock.parse(&line).expect("a line").when.to_rfc3339()
        };
        assert_eq!(read("Sun Nov  4 02:10:00 2007"), "2007-11-04T02:10:00+02:00");
        assert_eq!(read("Sun Nov  4 02:50:00 2007"), "2007-11-04T02:50:00+02:00");
        assert_eq!(read("Sun Nov  4 02:49:59 2007"), "2007-11-04T02:49:59+02:00");
        assert_eq!(read("Sun Nov  4 02:10:00 2007"), "2007-11-04T02:10:00+01:00");
        assert_eq!(read("Sun Nov  4 02:50:00 2007"), "2007-11-04T02:50:00+01:00");
        assert_eq!(read("Sun Nov  4 03:00:00 2007"), "2007-11-04T03:00:00+01:00");
    }

    #[test]
    fn the_hour_that_never_was() {
        let line = "Sun Mar 11 02:30:00 2007 - 1 connections from 192.0.2.1";
        let entry = Clock::new(Zone).parse(line).expect("a line");
        assert_eq!(entry.when.to_rfc3339(), "2007-03-11T02:30:00+01:00");
    }

    prop_compose! {
        fn alerts()(
            seconds in 0..4_000_000_000_i64,
            minutes in -720..840_i32,
            bits in any::<u128>(),
            is_v4 in any::<bool>(),
            length in 8..=128_u8,
            connections in any::<u64>(),
            servers in prop::collection::vec("[a-zé0-9][-.:%a-z0-9]{0,20}", 0..3),
            limit in 0..1_000_000_u32,
            samples in any::<u32>(),
            port in any::<u16>(),
            label in prop::option::of("\\PC{0,20}"),
        ) -> Alert {
            let address = match is_v4 {
                true => std::net::IpAddr::from((bits as u32).to_be_bytes()),
                false => std::net::IpAddr::from(bits.to_be_bytes()),
            };
            let length = if is_v4 { length.min(32) } else { length };
            let network = Network::of(address, length);
            let zone = FixedOffset::east_opt(minutes * 60).expect("less than a day");
            let when = zone.timestamp_opt(seconds, 0).single().expect("a time");
            let servers = if servers == [HERE] { Vec::new() } else { servers };
            Alert {
                entry: Entry { when, network, connections, servers },
                limit: f64::from(limit) / 100.0,
                samples,
                peer: Peer {
                    network,
                    addresses: connections,
                    connections,
                    ports: vec![(port, connections)],
                    states: vec![(Some(TcpState::SynRecv), connections), (None, 1)],
                    label,
                    first_on_top: None,
                },
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(alert in alerts()) {
            for format in [Format::Classic, Format::Rfc3339, Format::Json] {
                let mut clock = Clock::new(alert.entry.when.offset().fix());
                let line = alert.line(format);
                prop_assert_eq!(clock.parse(&line), Ok(alert.entry.clone()), "{}", line);
                // Cut anywhere, it is no other line. (An address may be.)
                let cut = line.chars().count() / 2;
                let cut: String = line.chars().take(cut.min(30)).collect();
                prop_assert!(clock.parse(&cut).is_err(), "{}", cut);
            }
        }

        #[test]
        fn no_line_is_too_wild(line in "\\PC*", bytes in "[ -~]{0,100}") {
            let mut clock = Clock::new(Utc);
            let _ = clock.parse(&line);
            let _ = clock.parse(&format!("{{{bytes}"));
            let _ = clock.parse(&format!("Wed Nov 28 23:40:34 2007 - {bytes}"));
        }
    }
}
