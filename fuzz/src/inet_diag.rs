//! The kernel's answers by sock_diag.
use std::io::{BufReader, Cursor};

use topip::{
    model::connection::Connection,
    parse::{
        self,
        capture::{ByteOrder, Capture, Format},
        netlink,
    },
};

/// How a dump ends, and what was in it, in chunks of `capacity` bytes.
fn read(dump: &[u8], byte_order: ByteOrder, capacity: usize) -> (String, Vec<Connection>) {
    let mut connections = Vec::new();
    let capture = Capture {
        format: Format::InetDiag,
        origin: "the dump".to_owned(),
        byte_order: Some(byte_order),
        own: None,
        addresses: None,
        how: Vec::new(),
        bytes: Box::new(BufReader::with_capacity(capacity, Cursor::new(dump.to_vec()))),
    };
    let end = parse::read(capture, &mut |connection: &Connection| {
        connections.push(*connection);
        true
    });
    (format!("{end:?}"), connections)
}

/// No dump has more sockets than it has room for, how it is cut into datagrams
/// has no say, and what begins with a refusal is none that can be read.
pub fn check(dump: &[u8]) {
    for byte_order in [ByteOrder::Little, ByteOrder::Big] {
        let (end, connections) = read(dump, byte_order, 65536);
        for capacity in [1, 100] {
            let (other_end, same) = read(dump, byte_order, capacity);
            assert_eq!(connections, same, "datagrams have no say");
            assert!(ends_alike(&end, &other_end), "{end}, {other_end}");
        }
        assert!(connections.len() <= dump.len() / 88, "a socket takes 16 and 72 bytes");
        assert!(connections.iter().all(|it| it.peer_cut.is_none() && it.tcp_state.is_some()));
    }
    if netlink::refusal(dump).is_some() {
        let (end, connections) = read(dump, ByteOrder::NATIVE, 65536);
        assert!(connections.is_empty(), "a refusal has no sockets");
        assert!(end.starts_with("Err("), "{end}");
    }
}

/// A dump that breaks off within a message does so by an error of its own where
/// the rest was waited for.
fn ends_alike(one: &str, other: &str) -> bool {
    one == other || (one.starts_with("Err(") && other.starts_with("Err("))
}
