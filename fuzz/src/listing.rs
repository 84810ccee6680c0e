//! Listings of every dialect, and the detection of the dialect.
use std::io::{BufReader, Cursor};

use topip::{
    model::{connection::Connection, protocol::Protocol},
    parse::{
        self, ParseError, ParseStats, UnreadableRow,
        capture::{ByteOrder, Capture, CaptureFormat},
    },
};

/// Parses a text in chunks of `capacity` bytes.
fn read(
    text: &[u8],
    byte_order: Option<ByteOrder>,
    capacity: usize,
) -> (Result<ParseStats, ParseError>, Vec<Connection>) {
    let mut connections = Vec::new();
    let capture = Capture::new(
        CaptureFormat::Listing,
        "the listing",
        byte_order,
        Box::new(BufReader::with_capacity(capacity, Cursor::new(text.to_vec()))),
    );
    let stats = parse::read_protocol(capture, Protocol::All, &mut |connection: &Connection| {
        connections.push(*connection);
        connection.is_connected()
    });
    (stats, connections)
}

/// Checks that each line is at most one of row, other line or unreadable row, and that the
/// chunk size does not matter.
pub fn check(text: &[u8]) {
    for byte_order in [None, Some(ByteOrder::Little), Some(ByteOrder::Big)] {
        let (stats, connections) = read(text, byte_order, 65536);
        let (chunked_stats, chunked_connections) = read(text, byte_order, 7);
        assert_eq!(connections, chunked_connections, "the chunk size does not matter");
        assert_eq!(
            format!("{stats:?}"),
            format!("{chunked_stats:?}"),
            "the chunk size does not matter"
        );
        if let Ok(stats) = stats {
            assert_counts_add_up(&stats, &connections, text);
            assert!(
                byte_order.is_none() || stats.assumed_byte_order.is_none(),
                "a known byte order is not assumed"
            );
        }
    }
}

fn assert_counts_add_up(stats: &ParseStats, connections: &[Connection], text: &[u8]) {
    let n_lines = text.split(|&byte| byte == b'\n').count() as u64;
    let n_connected = connections.iter().filter(|it| it.is_connected()).count() as u64;
    assert_eq!(stats.n_rows, connections.len() as u64, "each row is reported once");
    assert!(stats.n_rows + stats.n_other + stats.n_unreadable <= n_lines, "{stats:?}");
    assert!(stats.n_truncated <= n_connected, "{stats:?}");
    assert_eq!(stats.n_truncated > 0, stats.first_truncated_line.is_some(), "{stats:?}");
    assert_eq!(stats.n_unreadable > 0, stats.first_unreadable.is_some(), "{stats:?}");
    let is_line = |line: u64| (1..=n_lines).contains(&line);
    assert!(stats.first_truncated_line.is_none_or(is_line), "{stats:?}");
    if let Some(UnreadableRow { line, text, .. }) = &stats.first_unreadable {
        // A byte that is not a letter is quoted as a replacement character of three bytes.
        assert!(
            is_line(*line) && text.len() <= 3 * UnreadableRow::MAX_QUOTED_BYTES + 3,
            "{stats:?}"
        );
    }
    for connection in connections {
        assert!(
            connection.peer_truncated.is_none_or(|it| it.n_known_bits <= 128),
            "{connection:?}"
        );
    }
}
