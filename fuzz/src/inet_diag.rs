//! sock_diag dumps from the kernel.
use std::io::{BufReader, Cursor};

use topip::{
    model::connection::Connection,
    parse::{
        self,
        capture::{ByteOrder, Capture, CaptureFormat},
        netlink,
    },
};

/// Returns the parse result, formatted, and the connections of a dump that is read in
/// chunks of `capacity` bytes.
fn read(dump: &[u8], byte_order: ByteOrder, capacity: usize) -> (String, Vec<Connection>) {
    let mut connections = Vec::new();
    let capture = Capture::new(
        CaptureFormat::InetDiag,
        "the dump",
        Some(byte_order),
        Box::new(BufReader::with_capacity(capacity, Cursor::new(dump.to_vec()))),
    );
    let outcome = parse::read(capture, &mut |connection: &Connection| {
        connections.push(*connection);
        true
    });
    (format!("{outcome:?}"), connections)
}

/// Checks that a dump yields no more sockets than fit into its bytes, that the chunk size
/// does not matter, and that a dump that begins with an error message yields no sockets.
pub fn check(dump: &[u8]) {
    for byte_order in [ByteOrder::Little, ByteOrder::Big] {
        let (outcome, connections) = read(dump, byte_order, 65536);
        for capacity in [1, 100] {
            let (chunked_outcome, chunked_connections) = read(dump, byte_order, capacity);
            assert_eq!(connections, chunked_connections, "the chunk size does not matter");
            assert!(is_same_outcome(&outcome, &chunked_outcome), "{outcome}, {chunked_outcome}");
        }
        assert!(connections.len() <= dump.len() / 88, "a socket takes 16 and 72 bytes");
        assert!(connections.iter().all(|it| it.peer_truncated.is_none() && it.tcp_state.is_some()));
    }
    if netlink::refusal(dump).is_some() {
        let (outcome, connections) = read(dump, ByteOrder::NATIVE, 65536);
        assert!(connections.is_empty(), "an error message has no sockets");
        assert!(outcome.starts_with("Err("), "{outcome}");
    }
}

/// Returns whether both outcomes are equal. A dump that ends within a message may fail with
/// another error if the rest was read later.
fn is_same_outcome(left: &str, right: &str) -> bool {
    left == right || (left.starts_with("Err(") && right.starts_with("Err("))
}
