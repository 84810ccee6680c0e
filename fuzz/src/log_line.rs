//! Lines of the alert log, in each format.
use chrono::{FixedOffset, Offset, TimeZone, Utc};
use topip::{
    alert_log::{
        entry::{Alert, LineFormat, LogEntry},
        parse::LogLineParser,
    },
    analysis::{operator::Operator, tally::Peer},
    model::peer_id::PeerId,
};

/// Checks that a parsed line can be written in every format and parses back to the same
/// entry.
pub fn check(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let zones = [Utc.fix(), FixedOffset::east_opt(5 * 3600 + 1800).expect("half an hour")];
    for zone in zones {
        let mut parser = LogLineParser::new(zone);
        for line in text.split('\n') {
            let Ok(entry) = parser.parse(line) else { continue };
            assert_round_trip(&entry, line);
        }
    }
}

fn assert_round_trip(entry: &LogEntry, line: &str) {
    let zone = *entry.timestamp.offset();
    let alert = Alert {
        entry: entry.clone(),
        limit: 10.0,
        consecutive: 2,
        peer: Peer {
            id: PeerId::Network(entry.network),
            truncated: None,
            addresses: 1,
            connections: entry.connections,
            local_addresses: Vec::new(),
            ports: vec![(443, entry.connections)],
            tcp_states: vec![(None, entry.connections)],
            label: None,
            operator: Operator::default(),
            first_on_top: None,
            over: None,
        },
    };
    for format in [LineFormat::Classic, LineFormat::Rfc3339, LineFormat::Json] {
        let formatted = alert.line(format);
        assert!(!formatted.contains(char::is_control), "{formatted:?}");
        let parsed = LogLineParser::new(zone).parse(&formatted);
        let parsed = parsed.unwrap_or_else(|error| panic!("{error}: {formatted:?} of {line:?}"));
        // Fractions of a second are not written.
        assert_eq!(
            parsed.timestamp.timestamp(),
            entry.timestamp.timestamp(),
            "{formatted:?} of {line:?}"
        );
        let LogEntry { network, connections, ref servers, .. } = parsed;
        assert_eq!(
            (network, connections, servers),
            (entry.network, entry.connections, &entry.servers),
            "{formatted:?} of {line:?}"
        );
        assert_eq!(zone.offset_from_utc_datetime(&parsed.timestamp.naive_utc()), zone);
    }
}
