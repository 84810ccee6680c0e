//! Parses log lines of any format, which may be truncated, mixed or written by other
//! programs.
use std::borrow::Cow;

use chrono::{DateTime, Days, FixedOffset, NaiveDateTime, TimeDelta, TimeZone};
use serde::{Deserialize, de::IgnoredAny};

use crate::model::network::Network;

use super::{
    entry::{LOCALHOST, LogEntry, OMITTED_ALERTS, is_server_name_char},
    group_alert::OF_GROUP,
};

/// Maximum time by which lines of overlapping runs may be out of order.
const MAX_DISORDER: TimeDelta = TimeDelta::minutes(10);

/// Reason why a line is not a line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The line has none of the formats.
    #[error("not an alert log line")]
    Format,
    /// The time cannot be parsed.
    #[error("cannot parse the time")]
    Time,
    /// The count cannot be parsed.
    #[error("cannot parse the number of connections")]
    Count,
    /// The address cannot be parsed.
    #[error("cannot parse the address")]
    Address,
    /// The list of servers cannot be parsed.
    #[error("cannot parse the servers")]
    Servers,
}

/// Parser for the lines of one file, in their order.
///
/// Local time without an offset is ambiguous in the hour that occurs twice in autumn.
/// The parser takes the earlier of the two times, unless that is more than `MAX_DISORDER`
/// before the time of the previous line.
#[derive(Clone, Debug)]
pub struct LogLineParser<Z> {
    time_zone: Z,
    previous: Option<DateTime<FixedOffset>>,
}

/// The fields that are read from a line in JSON; other fields are ignored.
#[derive(Deserialize)]
struct JsonEntry<'a> {
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    address: Cow<'a, str>,
    connections: u64,
    #[serde(default)]
    servers: Vec<String>,
}

/// The fields of a line in JSON that is not about one peer.
#[derive(Deserialize)]
struct JsonOtherRecord {
    omitted: Option<u64>,
    group: Option<IgnoredAny>,
    address: Option<IgnoredAny>,
}

/// Returns whether a line of the log is not about one address or network, but about a group or
/// about omitted alerts.
#[must_use]
pub fn is_other_record(line: &str) -> bool {
    if line.starts_with('{') {
        let object = serde_json::from_str::<JsonOtherRecord>(line);
        return object
            .is_ok_and(|it| it.omitted.is_some() || it.group.is_some() && it.address.is_none());
    }
    let Some((_, message)) = line.split_once(" - ") else { return false };
    let n_digits = message.bytes().take_while(u8::is_ascii_digit).count();
    let rest = &message[n_digits..];
    n_digits > 0 && (is_group_alert(rest) || is_omitted_alerts(rest))
}

/// Returns whether `text` is an alert about a group, with or without servers.
fn is_group_alert(text: &str) -> bool {
    let Some(text) = text.strip_prefix(OF_GROUP) else { return false };
    let text = match text.rsplit_once(" on ") {
        Some((text, names)) if parse_servers(names.split(',')).is_ok() => text,
        _ => text,
    };
    text.ends_with(" address") || text.ends_with(" addresses")
}

/// Returns whether `text` is about omitted alerts, with or without servers.
fn is_omitted_alerts(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(OMITTED_ALERTS) else { return false };
    let names = rest.strip_prefix(" on ");
    rest.is_empty() || names.is_some_and(|names| parse_servers(names.split(',')).is_ok())
}

impl<Z: TimeZone> LogLineParser<Z> {
    /// Creates a parser that interprets local times as times of `time_zone`.
    pub fn new(time_zone: Z) -> Self {
        Self { time_zone, previous: None }
    }

    /// Parses a line of any format.
    ///
    /// # Errors
    ///
    /// Returns an error if the line is not a complete line of the log.
    pub fn parse(&mut self, line: &str) -> Result<LogEntry, LineError> {
        let entry = if line.starts_with('{') { parse_json(line) } else { self.parse_text(line) }?;
        self.previous = Some(entry.timestamp);
        Ok(entry)
    }

    /// Parses `TIME - N connections from ADDRESS[ on SERVER[,SERVER]]`.
    fn parse_text(&self, line: &str) -> Result<LogEntry, LineError> {
        let (time, rest) = line.split_once(" - ").ok_or(LineError::Format)?;
        let (count, rest) = rest.split_once(" connections from ").ok_or(LineError::Format)?;
        let (address, servers) = match rest.split_once(" on ") {
            None => (rest, Vec::new()),
            Some((address, names)) => (address, parse_servers(names.split(','))?),
        };
        if !count.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(LineError::Count);
        }
        let connections = count.parse().map_err(|_| LineError::Count)?;
        let timestamp = match time.as_bytes().first() {
            Some(b'0'..=b'9') => parse_rfc3339(time)?,
            _ => self.parse_local_time(time)?,
        };
        Ok(LogEntry { timestamp, network: parse_network(address)?, connections, servers })
    }

    /// Parses local time in the format of asctime(3).
    fn parse_local_time(&self, text: &str) -> Result<DateTime<FixedOffset>, LineError> {
        let format = "%a %b %e %H:%M:%S %Y";
        // chrono also accepts a year with a sign or with more than four digits.
        let year = text.rsplit(' ').next().unwrap_or_default();
        if year.len() != 4 || !year.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(LineError::Time);
        }
        let local = NaiveDateTime::parse_from_str(text, format).map_err(|_| LineError::Time)?;
        let Some((earliest, latest)) = local_instants(&self.time_zone, &local) else {
            return self.resolve_skipped_time(local).ok_or(LineError::Time);
        };
        let is_in_order = self.previous.is_none_or(|previous| earliest + MAX_DISORDER >= previous);
        Ok(if is_in_order { earliest } else { latest })
    }

    /// Returns the instant of a local time that the clocks skipped in spring, with the UTC
    /// offset of the day before. Such a line was written in another time zone.
    fn resolve_skipped_time(&self, local: NaiveDateTime) -> Option<DateTime<FixedOffset>> {
        let one_day = Days::new(1);
        let (day_before, _) = local_instants(&self.time_zone, &local.checked_sub_days(one_day)?)?;
        day_before.checked_add_days(one_day)
    }
}

/// Returns the earliest and the latest instant at which clocks in `zone` show `local`.
/// The two differ in the hour that occurs twice in autumn. Returns `None` if the clocks
/// skip the time in spring.
pub fn local_instants(
    zone: &impl TimeZone,
    local: &NaiveDateTime,
) -> Option<(DateTime<FixedOffset>, DateTime<FixedOffset>)> {
    let instants = zone.from_local_datetime(local).map(|it| it.fixed_offset());
    // chrono does not reliably order the two instants.
    let (first, second) = (instants.earliest()?, instants.latest()?);
    Some((first.min(second), first.max(second)))
}

fn parse_rfc3339(text: &str) -> Result<DateTime<FixedOffset>, LineError> {
    DateTime::parse_from_rfc3339(text).map_err(|_| LineError::Time)
}

fn parse_network(text: &str) -> Result<Network, LineError> {
    // topip does not write an address with whitespace.
    if text.contains(char::is_whitespace) {
        return Err(LineError::Address);
    }
    text.parse().map_err(|_| LineError::Address)
}

fn parse_servers<'a>(names: impl Iterator<Item = &'a str>) -> Result<Vec<String>, LineError> {
    let names: Vec<_> = names.map(ToOwned::to_owned).collect();
    match &names[..] {
        [only] if only == LOCALHOST => Ok(Vec::new()),
        _ if names.iter().all(|name| is_server_name(name)) => Ok(names),
        _ => Err(LineError::Servers),
    }
}

/// Returns whether `name` can be a server name. It does not begin with a hyphen, which a
/// spreadsheet would take as the start of a formula.
fn is_server_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('-') && name.chars().all(is_server_name_char)
}

fn parse_json(line: &str) -> Result<LogEntry, LineError> {
    let json: JsonEntry = serde_json::from_str(line).map_err(|_| LineError::Format)?;
    Ok(LogEntry {
        timestamp: parse_rfc3339(&json.time)?,
        network: parse_network(&json.address)?,
        connections: json.connections,
        servers: parse_servers(json.servers.iter().map(String::as_str))?,
    })
}

#[cfg(test)]
mod tests {
    use chrono::{MappedLocalTime, NaiveDate, Offset, Utc};
    use proptest::prelude::*;

    use crate::{
        alert_log::entry::{Alert, LineFormat},
        analysis::{operator::Operator, tally::Peer},
        model::{connection::TcpState, peer_id::PeerId},
    };

    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let found = match LogLineParser::new(Utc).parse(line) {
            Ok(LogEntry { timestamp, network, connections, servers }) => {
                format!("{} {connections} {network} {servers:?}", timestamp.to_rfc3339())
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn lines_of_every_format_are_parsed() {
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
    fn records_that_are_not_about_one_peer_are_recognized() {
        let is_other =
            |message: &str| is_other_record(&format!("2007-11-28T23:40:34Z - {message}"));
        assert!(is_other("9 more over the limit are not listed"));
        assert!(is_other("9 more over the limit are not listed on web1,web2"));
        assert!(!is_other("9 more over the limit are not listed x"));
        assert!(!is_other("more over the limit are not listed"));
        assert!(is_other("9 connections of AS64500 Example Net: 9 other addresses"));
        assert!(is_other("9 connections of label a: 1 address on web1"));
        assert!(!is_other(
            "9 connections of AS64500 Ex2026-11-01T00:00:00Z - 4 connections from 192.0.2.1"
        ));
        assert!(!is_other("9 connections from 192.0.2.1"));
        let json = |address: &str| format!("{{\"group\":\"AS64500\",\"address\":{address}}}");
        assert!(is_other_record(&json("null")) && !is_other_record(&json("\"192.0.2.1\"")));
    }

    #[test]
    fn malformed_lines_are_rejected() {
        check("", "not an alert log line");
        check("Wed Nov 28 23:40:34 2007 - 152 connect", "not an alert log line");
        let wrong = "cannot parse the time";
        check("Thu Nov 28 23:40:34 2007 - 1 connections from 192.0.2.1", wrong);
        check("Sun Nov  4 01:30:30 +102007 - 1 connections from 192.0.2.1", wrong);
        check("2007-11-28T23:40:34 - 1 connections from 192.0.2.1", wrong);
        check("2007-13-28T23:40:34Z - 1 connections from 192.0.2.1", wrong);
        let wrong = "cannot parse the number of connections";
        check("2007-11-28T23:40:34Z - +1 connections from 192.0.2.1", wrong);
        check("2007-11-28T23:40:34Z -  connections from 192.0.2.1", wrong);
        check("2007-11-28T23:40:34Z - 18446744073709551616 connections from 192.0.2.1", wrong);
        let wrong = "cannot parse the address";
        check("2007-11-28T23:40:34Z - 1 connections from web1", wrong);
        check("2007-11-28T23:40:34Z - 1 connections from 192.0.2.1 ", wrong);
        check("2007-11-28T23:40:34Z - 1 connections from 192.0.2.12007-11-28T", wrong);
        let wrong = "cannot parse the servers";
        check("2007-11-28T23:40:34Z - 1 connections from 192.0.2.1 on ", wrong);
        check("2007-11-28T23:40:34Z - 1 connections from 192.0.2.1 on a b", wrong);
        check("2007-11-28T23:40:34Z - 1 connections from 192.0.2.1 on =a", wrong);
        check("{\"time\":\"2007-11-28T23:40:34Z\"", "not an alert log line");
        check("{\"time\":1,\"address\":\"192.0.2.1\",\"connections\":1}", "not an alert log line");
    }

    /// A time zone whose clocks go back one hour at 3:00 on November 4, and forward one
    /// hour at 2:00 on March 11.
    #[derive(Clone, Debug)]
    struct Zone;

    impl TimeZone for Zone {
        type Offset = FixedOffset;

        fn from_offset(_: &FixedOffset) -> Self {
            Self
        }

        fn offset_from_local_date(&self, _: &NaiveDate) -> MappedLocalTime<FixedOffset> {
            unreachable!("chrono asks for times of day")
        }

        fn offset_from_local_datetime(&self, at: &NaiveDateTime) -> MappedLocalTime<FixedOffset> {
            let time = |text: &str| -> NaiveDateTime { text.parse().expect("a time") };
            let is_hour_from = |text| (time(text)..time(text) + TimeDelta::hours(1)).contains(at);
            let (summer, winter) = (offset(2), offset(1));
            if is_hour_from("2007-03-11T02:00:00") {
                MappedLocalTime::None
            } else if is_hour_from("2007-11-04T02:00:00") {
                MappedLocalTime::Ambiguous(summer, winter)
            } else if (time("2007-03-11T03:00:00")..time("2007-11-04T02:00:00")).contains(at) {
                MappedLocalTime::Single(summer)
            } else {
                MappedLocalTime::Single(winter)
            }
        }

        fn offset_from_utc_date(&self, _: &NaiveDate) -> FixedOffset {
            unreachable!("not called by the parser")
        }

        fn offset_from_utc_datetime(&self, _: &NaiveDateTime) -> FixedOffset {
            unreachable!("not called by the parser")
        }
    }

    fn offset(hours: i32) -> FixedOffset {
        FixedOffset::east_opt(hours * 3600).expect("a few hours")
    }

    #[test]
    fn repeated_hour_is_resolved_by_the_previous_line() {
        let mut parser = LogLineParser::new(Zone);
        let mut read = |time| {
            let line = format!("{time} - 1 connections from 192.0.2.1");
            parser.parse(&line).expect("a line").timestamp.to_rfc3339()
        };
        assert_eq!(read("Sun Nov  4 02:10:00 2007"), "2007-11-04T02:10:00+02:00");
        assert_eq!(read("Sun Nov  4 02:50:00 2007"), "2007-11-04T02:50:00+02:00");
        assert_eq!(read("Sun Nov  4 02:49:59 2007"), "2007-11-04T02:49:59+02:00");
        assert_eq!(read("Sun Nov  4 02:10:00 2007"), "2007-11-04T02:10:00+01:00");
        assert_eq!(read("Sun Nov  4 02:50:00 2007"), "2007-11-04T02:50:00+01:00");
        assert_eq!(read("Sun Nov  4 03:00:00 2007"), "2007-11-04T03:00:00+01:00");
    }

    #[test]
    fn skipped_hour_has_the_offset_of_the_day_before() {
        let line = "Sun Mar 11 02:30:00 2007 - 1 connections from 192.0.2.1";
        let entry = LogLineParser::new(Zone).parse(line).expect("a line");
        assert_eq!(entry.timestamp.to_rfc3339(), "2007-03-11T02:30:00+01:00");
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
            consecutive in any::<u32>(),
            port in any::<u16>(),
            label in prop::option::of("\\PC{0,20}"),
        ) -> Alert {
            let address = if is_v4 {
                std::net::IpAddr::from((bits as u32).to_be_bytes())
            } else {
                std::net::IpAddr::from(bits.to_be_bytes())
            };
            let length = if is_v4 { length.min(32) } else { length };
            let network = Network::new(address, length);
            let zone = FixedOffset::east_opt(minutes * 60).expect("less than a day");
            let timestamp = zone.timestamp_opt(seconds, 0).single().expect("a time");
            let servers = if servers == [LOCALHOST] { Vec::new() } else { servers };
            Alert {
                entry: LogEntry { timestamp, network, connections, servers },
                limit: f64::from(limit) / 100.0,
                consecutive,
                peer: Peer {
                    id: PeerId::Network(network),
                    truncated: None,
                    addresses: connections,
                    connections,
                    local_addresses: Vec::new(),
                    ports: vec![(port, connections)],
                    tcp_states: vec![(Some(TcpState::SynRecv), connections), (None, 1)],
                    label,
                    operator: Operator::default(),
                    first_on_top: None,
                    over: None,
                },
            }
        }
    }

    proptest! {
        #[test]
        fn written_lines_are_parsed(alert in alerts()) {
            for format in [LineFormat::Classic, LineFormat::Rfc3339, LineFormat::Json] {
                let mut parser = LogLineParser::new(alert.entry.timestamp.offset().fix());
                let line = alert.line(format);
                prop_assert_eq!(parser.parse(&line), Ok(alert.entry.clone()), "{}", line);
                // A truncated line is not a valid line, unless only the address is cut.
                let length = (line.chars().count() / 2).min(30);
                let truncated: String = line.chars().take(length).collect();
                prop_assert!(parser.parse(&truncated).is_err(), "{}", truncated);
            }
        }

        /// Each part of a line in turn is replaced with arbitrary text; the error names the
        /// part.
        #[test]
        fn arbitrary_parts_are_rejected(line in "\\PC*", part in "[ -~]{0,100}") {
            for text in [format!(" {line} "), format!(" {part} ")] {
                prop_assume!(!text.contains(" - ") && !text.contains(" connections "));
            }
            prop_assume!(part.parse::<u64>().is_err() && part.parse::<Network>().is_err());
            prop_assume!(!part.starts_with('{'));
            let parse = |line: &str| LogLineParser::new(Utc).parse(line);
            prop_assert_eq!(parse(&line), Err(LineError::Format));
            prop_assert_eq!(parse(&format!("{{{part}")), Err(LineError::Format));
            let time = "Wed Nov 28 23:40:34 2007";
            prop_assert_eq!(parse(&format!("{time} - {part}")), Err(LineError::Format));
            let line = format!("{part} - 1 connections from 192.0.2.1");
            prop_assert_eq!(parse(&line), Err(LineError::Time));
            let line = format!("{time} - {part} connections from 192.0.2.1");
            prop_assert_eq!(parse(&line), Err(LineError::Count));
            let line = format!("{time} - 1 connections from {part}");
            prop_assert!(matches!(parse(&line), Err(LineError::Address | LineError::Servers)));
            let line = format!("{time} - 1 connections from 192.0.2.1 on {part} {part}");
            prop_assert_eq!(parse(&line), Err(LineError::Servers));
        }
    }
}
