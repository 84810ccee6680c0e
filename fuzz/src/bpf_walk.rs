//! Walks of the hash table by the BPF program.
use std::io::{BufReader, Cursor};

use topip::{
    model::connection::Connection,
    parse::{
        self,
        bpf_walk::{MAGIC, RECORD_BYTES},
        capture::{ByteOrder, Capture, CaptureFormat},
    },
};

/// Returns the parse result, formatted, and the connections of a walk that is read in
/// chunks of `capacity` bytes.
fn read(walk: &[u8], byte_order: ByteOrder, capacity: usize) -> (String, Vec<Connection>) {
    let mut connections = Vec::new();
    let capture = Capture::new(
        CaptureFormat::BpfWalk,
        "the walk",
        Some(byte_order),
        Box::new(BufReader::with_capacity(capacity, Cursor::new(walk.to_vec()))),
    );
    let outcome = parse::read(capture, &mut |connection: &Connection| {
        connections.push(*connection);
        true
    });
    (format!("{outcome:?}"), connections)
}

/// Checks that a walk yields no more sockets than fit into its bytes, that the chunk size
/// does not matter, and that only a walk with a head and a last slice is complete.
pub fn check(walk: &[u8]) {
    for byte_order in [ByteOrder::Little, ByteOrder::Big] {
        let (outcome, connections) = read(walk, byte_order, 65536);
        for capacity in [1, 100] {
            let (chunked_outcome, chunked_connections) = read(walk, byte_order, capacity);
            assert_eq!(outcome, chunked_outcome, "the chunk size does not matter");
            assert_eq!(connections, chunked_connections, "the chunk size does not matter");
        }
        assert!(connections.len() <= walk.len() / RECORD_BYTES, "a socket takes a record");
        assert!(connections.iter().all(|it| it.peer_truncated.is_none() && it.tcp_state.is_some()));
        if outcome.starts_with("Ok(") {
            assert!(walk.starts_with(&MAGIC), "a walk has a head");
            assert_eq!(walk.len() % RECORD_BYTES, 0, "a walk has whole records");
            assert_eq!(walk[walk.len() - 3], 0, "a walk ends with the end of a slice");
        }
    }
}
