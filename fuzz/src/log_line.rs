//! Lines of the log, in any of its formats.
use chrono::{FixedOffset, Offset, TimeZone, Utc};
use topip::{
    alert_log::{
        entry::{Alert, Entry, Format},
        parse::Clock,
    },
    analysis::tally::Peer,
};

/// What is read of a line can be written again in every format, and then means
/// the same.
pub fn check(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let zones = [Utc.fix(), FixedOffset::east_opt(5 * 3600 + 1800).expect("half an hour")];
    for zone in zones {
        let mut clock = Clock::new(zone);
        for line in text.split('\n') {
            let Ok(entry) = clock.parse(line) else { continue };
            there_and_back(&entry, line);
        }
    }
}

fn there_and_back(entry: &Entry, line: &str) {
    let zone = *entry.when.offset();
    let alert = Alert {
        entry: entry.clone(),
        limit: 10.0,
        samples: 2,
        peer: Peer {
            network: entry.network,
            addresses: 1,
            connections: entry.connections,
            ports: vec![(443, entry.connections)],
            states: vec![(None, entry.connections)],
            label: None,
            first_on_top: None,
        },
    };
    for format in [Format::Classic, Format::Rfc3339, Format::Json] {
        let written = alert.line(format);
        assert!(!written.contains(char::is_control), "{written:?}");
        let read = Clock::new(zone).parse(&written);
        let read = read.unwrap_or_else(|error| panic!("{error}: {written:?} of {line:?}"));
        // Parts of a second are not written.
        assert_eq!(read.when.timestamp(), entry.when.timestamp(), "{written:?} of {line:?}");
        let Entry { network, connections, ref servers, .. } = read;
        assert_eq!(
            (network, connections, servers),
            (entry.network, entry.connections, &entry.servers),
            "{written:?} of {line:?}"
        );
        assert_eq!(zone.offset_from_utc_datetime(&read.when.naive_utc()), zone);
    }
}
