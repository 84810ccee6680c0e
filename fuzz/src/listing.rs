//! Every dialect and the recogniser: text that says it is a listing.
use std::io::{BufReader, Cursor};

use topip::{
    model::connection::Connection,
    parse::{
        self, ParseError, Reading, Unreadable,
        capture::{ByteOrder, Capture, Format},
    },
};

/// What is made of a text in chunks of `capacity` bytes.
fn read(
    text: &[u8],
    byte_order: Option<ByteOrder>,
    capacity: usize,
) -> (Result<Reading, ParseError>, Vec<Connection>) {
    let mut connections = Vec::new();
    let capture = Capture {
        format: Format::Listing,
        origin: "the listing".to_owned(),
        byte_order,
        own: None,
        addresses: None,
        how: Vec::new(),
        bytes: Box::new(BufReader::with_capacity(capacity, Cursor::new(text.to_vec()))),
    };
    let reading = parse::read(capture, &mut |connection: &Connection| {
        connections.push(*connection);
        connection.is_connected()
    });
    (reading, connections)
}

/// Each line is a row, or none, or unreadable, and no row counts twice; how the
/// text is cut into reads has no say.
pub fn check(text: &[u8]) {
    for byte_order in [None, Some(ByteOrder::Little), Some(ByteOrder::Big)] {
        let (reading, connections) = read(text, byte_order, 65536);
        let (chunked, same) = read(text, byte_order, 7);
        assert_eq!(connections, same, "chunks have no say");
        assert_eq!(format!("{reading:?}"), format!("{chunked:?}"), "chunks have no say");
        if let Ok(reading) = reading {
            adds_up(&reading, &connections, text);
            assert!(byte_order.is_none() || reading.assumed.is_none(), "what is told is known");
        }
    }
}

fn adds_up(reading: &Reading, connections: &[Connection], text: &[u8]) {
    let n_lines = text.split(|&byte| byte == b'\n').count() as u64;
    let n_connected = connections.iter().filter(|it| it.is_connected()).count() as u64;
    assert_eq!(reading.rows, connections.len() as u64, "each row is given once");
    assert!(reading.rows + reading.other + reading.unreadable <= n_lines, "{reading:?}");
    assert!(reading.cut <= n_connected, "{reading:?}");
    assert_eq!(reading.cut > 0, reading.first_cut.is_some(), "{reading:?}");
    assert_eq!(reading.unreadable > 0, reading.first_unreadable.is_some(), "{reading:?}");
    let is_line = |line: u64| (1..=n_lines).contains(&line);
    assert!(reading.first_cut.is_none_or(is_line), "{reading:?}");
    if let Some(Unreadable { line, text, .. }) = &reading.first_unreadable {
        // A byte that is no letter is quoted by a mark of three.
        assert!(is_line(*line) && text.len() <= 3 * Unreadable::QUOTED, "{reading:?}");
    }
    for connection in connections {
        assert!(connection.peer_cut.is_none_or(|bits| bits <= 128), "{connection:?}");
    }
}
