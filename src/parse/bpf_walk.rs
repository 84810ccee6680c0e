//! Parser for the records of `packaging/bpf/topip.bpf.c`, a program that walks the
//! kernel's hash table of TCP sockets.
//!
//! All records have 24 bytes. Numbers are in the byte order of the host, ports of peers
//! and addresses in network byte order.
//!
//! | record | bytes | contents |
//! |---|---|---|
//! | head, once | 0, 8, 12, 16, 20 | `topipbpf`, version, bytes of a record, buckets of the table, 0 |
//! | local address | 0, 16, 20, 21, 22 | address, 0, 0, family, 0 |
//! | socket | 0, 16, 18, 20, 21, 22 | address of the peer, local port, port of the peer, TCP state, family, 0 |
//! | end of a slice | 0, 4, 8, 12, 16, 20, 22 | number of the slice, of its sockets, first bucket, bucket after the last, 0, 0 for state and family, version |
//!
//! A local address is that of the following sockets of its family in the slice. The kernel
//! returns a slice completely or not at all. The slices together must cover the table.
use std::{
    io::{self, BufRead},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use crate::model::connection::{Connection, TcpState};

use super::{
    capture::ByteOrder,
    dialect::Dialect,
    error::ParseError,
    netlink::{AF_INET, AF_INET6},
    stats::ParseStats,
};

/// Version of the format.
pub const VERSION: u32 = 1;
/// Size of a record.
pub const RECORD_BYTES: usize = 24;
/// First bytes of a walk.
pub const MAGIC: [u8; 8] = *b"topipbpf";
/// Maximum number of records in a slice before its end, which the kernel's buffer of 32 KiB
/// limits.
const MAX_SLICE_RECORDS: u32 = 1364;
/// Local addresses of the two families at the start of a slice.
const UNSPECIFIED: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];

type Record = [u8; RECORD_BYTES];

/// Reason why the bytes are not a complete walk of the hash table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalkError {
    /// The bytes do not begin as a walk does.
    #[error("not a list of sockets of the BPF program")]
    Format,
    /// The program is of another version of topip.
    #[error("the BPF program writes version {0} of the format, not {VERSION}")]
    Version(u32),
    /// The record is neither a socket nor the end of a slice.
    #[error("a record has the address family {0}")]
    Family(u8),
    /// The number is not a TCP state.
    #[error("a record has the TCP state {0}")]
    TcpState(u8),
    /// A slice is missing, is listed twice, or has another number of sockets than it says.
    #[error("slice {0} is not complete")]
    Slice(u32),
    /// The bytes end before the last slice, or the program cannot walk a table this small.
    #[error("only {n_walked} of {n_buckets} buckets were listed")]
    Incomplete {
        /// Number of buckets of the complete slices.
        n_walked: u32,
        /// Number of buckets of the table.
        n_buckets: u32,
    },
}

/// Reads a walk to its end and calls `on_connection` with each connection.
///
/// # Errors
///
/// Returns an error if the source fails, or if the bytes are not a complete walk.
pub(super) fn read(
    mut bytes: impl BufRead,
    origin: &str,
    byte_order: ByteOrder,
    on_connection: &mut impl FnMut(&Connection) -> bool,
) -> Result<ParseStats, ParseError> {
    let read_error = |source| ParseError::Read { origin: origin.to_owned(), source };
    let walk_error = |problem| ParseError::Walk { origin: origin.to_owned(), problem };
    let mut head = [0; RECORD_BYTES];
    read_split_record(&mut bytes, &mut head).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => walk_error(WalkError::Format),
        _ => read_error(error),
    })?;
    let mut walk = Walk::new(&head, byte_order).map_err(walk_error)?;
    loop {
        let chunk = bytes.fill_buf().map_err(read_error)?;
        let n_chunk = chunk.len();
        for record in chunk.chunks_exact(RECORD_BYTES) {
            let record = record.first_chunk().expect("a chunk has the length of a record");
            walk.read_record(record, on_connection).map_err(walk_error)?;
        }
        bytes.consume(n_chunk - n_chunk % RECORD_BYTES);
        if n_chunk == 0 {
            break;
        }
        if n_chunk < RECORD_BYTES {
            let mut record = [0; RECORD_BYTES];
            read_split_record(&mut bytes, &mut record).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => walk_error(WalkError::Slice(walk.n_slices)),
                _ => read_error(error),
            })?;
            walk.read_record(&record, on_connection).map_err(walk_error)?;
        }
    }
    walk.finish().map_err(walk_error)?;
    Ok(ParseStats { dialects: vec![Dialect::BpfWalk], ..ParseStats::default() })
}

/// Reads a record that may be in several chunks. The kernel never splits one, but a buffer
/// of a file can end anywhere.
fn read_split_record(bytes: &mut impl BufRead, record: &mut Record) -> io::Result<()> {
    bytes.read_exact(record)
}

/// The slices that were read.
struct Walk {
    byte_order: ByteOrder,
    n_buckets: u32,
    n_slices: u32,
    /// Number of buckets of the complete slices.
    n_walked: u32,
    /// Number of sockets of the current slice so far.
    n_sockets: u32,
    /// Number of records of the current slice so far.
    n_records: u32,
    /// Local addresses of the next sockets in the current slice, IPv4 and IPv6.
    local: [IpAddr; 2],
}

impl Walk {
    fn new(head: &Record, byte_order: ByteOrder) -> Result<Self, WalkError> {
        if head[..8] != MAGIC {
            return Err(WalkError::Format);
        }
        let version = number(head, 8, byte_order);
        if version != VERSION {
            return Err(WalkError::Version(version));
        }
        if number(head, 12, byte_order) as usize != RECORD_BYTES {
            return Err(WalkError::Format);
        }
        let n_buckets = number(head, 16, byte_order);
        Ok(Self {
            byte_order,
            n_buckets,
            n_slices: 0,
            n_walked: 0,
            n_sockets: 0,
            n_records: 0,
            local: UNSPECIFIED,
        })
    }

    fn read_record(
        &mut self,
        record: &Record,
        on_connection: &mut impl FnMut(&Connection) -> bool,
    ) -> Result<(), WalkError> {
        let address = match record[21] {
            0 => return self.end_slice(record),
            AF_INET => v4_address(record),
            AF_INET6 => v6_address(record),
            family => return Err(WalkError::Family(family)),
        };
        self.n_records += 1;
        if self.n_records > MAX_SLICE_RECORDS {
            return Err(WalkError::Slice(self.n_slices));
        }
        let local = &mut self.local[usize::from(address.is_ipv6())];
        if record[20] == 0 {
            *local = address;
            return Ok(());
        }
        self.n_sockets += 1;
        on_connection(&connection(record, self.byte_order, *local, address)?);
        Ok(())
    }

    /// Requires the next slice, with the sockets that were read. An empty slice would be an
    /// endless walk.
    fn end_slice(&mut self, record: &Record) -> Result<(), WalkError> {
        let [slice, n_sockets, first_bucket, end_bucket] =
            [0, 4, 8, 12].map(|offset| number(record, offset, self.byte_order));
        let is_next = slice == self.n_slices && first_bucket == self.n_walked;
        let is_within_table = first_bucket < end_bucket && end_bucket <= self.n_buckets;
        if !is_next || !is_within_table || n_sockets != self.n_sockets {
            return Err(WalkError::Slice(self.n_slices));
        }
        self.n_slices += 1;
        self.n_walked = end_bucket;
        self.n_sockets = 0;
        self.n_records = 0;
        self.local = UNSPECIFIED;
        Ok(())
    }

    fn finish(self) -> Result<(), WalkError> {
        let Self { n_buckets, n_walked, n_records, .. } = self;
        if n_records > 0 {
            return Err(WalkError::Slice(self.n_slices));
        }
        if n_walked < n_buckets || n_buckets == 0 {
            return Err(WalkError::Incomplete { n_walked, n_buckets });
        }
        Ok(())
    }
}

/// Parses a socket whose addresses are known. Both addresses have the same form, also for an
/// IPv4 peer of a dual-stack socket.
fn connection(
    record: &Record,
    byte_order: ByteOrder,
    local: IpAddr,
    peer: IpAddr,
) -> Result<Connection, WalkError> {
    let tcp_state =
        TcpState::from_kernel_number(record[20]).ok_or(WalkError::TcpState(record[20]))?;
    Ok(Connection {
        local: SocketAddr::new(local, byte_order.u16([record[16], record[17]])),
        peer: SocketAddr::new(peer, u16::from_be_bytes([record[18], record[19]])),
        tcp_state: Some(tcp_state),
        ..Connection::UNSPECIFIED
    })
}

/// Returns the address of a record with IPv4, which is in the last four of 16 bytes.
fn v4_address(record: &Record) -> IpAddr {
    let [.., a, b, c, d] = *record.first_chunk::<16>().expect("a record has 24 bytes");
    IpAddr::from([a, b, c, d])
}

fn v6_address(record: &Record) -> IpAddr {
    IpAddr::from(*record.first_chunk::<16>().expect("a record has 24 bytes"))
}

fn number(record: &Record, offset: usize, byte_order: ByteOrder) -> u32 {
    byte_order.u32(record, offset).expect("a record has 24 bytes")
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Cursor};

    use super::*;

    fn head(version: u32, n_buckets: u32) -> Vec<u8> {
        let numbers = [version, 24, n_buckets, 0].map(u32::to_ne_bytes).concat();
        [&MAGIC[..], &numbers].concat()
    }

    fn socket(tcp_state: u8, family: u8) -> Vec<u8> {
        let peer = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 203, 0, 113, 7];
        let ports = [443u16.to_ne_bytes(), 50000u16.to_be_bytes()].concat();
        [&peer[..], &ports, &[tcp_state, family, 0, 0]].concat()
    }

    fn local_address(address: &str, family: u8) -> Vec<u8> {
        let octets = match address.parse().unwrap() {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => address.octets(),
        };
        [&octets[..], &[0, 0, 0, 0, 0, family, 0, 0]].concat()
    }

    fn slice_end(slice: u32, n_sockets: u32, first_bucket: u32, end_bucket: u32) -> Vec<u8> {
        let numbers = [slice, n_sockets, first_bucket, end_bucket, 0].map(u32::to_ne_bytes);
        [&numbers.concat()[..], &[0, 0, 1, 0]].concat()
    }

    /// Returns the peers with their states, or the error.
    fn walk(records: &[Vec<u8>], capacity: usize) -> Result<Vec<String>, String> {
        let mut found = Vec::new();
        let bytes = BufReader::with_capacity(capacity, Cursor::new(records.concat()));
        let stats = read(bytes, "walk", ByteOrder::NATIVE, &mut |it: &Connection| {
            let tcp_state = it.tcp_state.map_or("-", TcpState::name);
            found.push(format!("{} {} {tcp_state}", it.local, it.peer));
            true
        });
        match stats {
            Ok(_) => Ok(found),
            Err(ParseError::Walk { problem, .. }) => Err(problem.to_string()),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn sockets_of_all_slices_are_read_in_chunks_of_any_size() {
        let records = [
            head(1, 96),
            socket(1, AF_INET),
            local_address("192.0.2.1", AF_INET),
            local_address("2001:db8::1", AF_INET6),
            socket(1, AF_INET),
            socket(12, AF_INET6),
            local_address("::ffff:192.0.2.2", AF_INET6),
            socket(12, AF_INET6),
            slice_end(0, 4, 0, 32),
            slice_end(1, 0, 32, 64),
            socket(12, AF_INET6),
            local_address("203.0.113.7", AF_INET),
            socket(1, AF_INET),
            slice_end(2, 2, 64, 96),
        ];
        let expected = [
            "0.0.0.0:443 203.0.113.7:50000 ESTABLISHED",
            "192.0.2.1:443 203.0.113.7:50000 ESTABLISHED",
            "[2001:db8::1]:443 [::ffff:203.0.113.7]:50000 SYN_RECV",
            "[::ffff:192.0.2.2]:443 [::ffff:203.0.113.7]:50000 SYN_RECV",
            "[::]:443 [::ffff:203.0.113.7]:50000 SYN_RECV",
            "203.0.113.7:443 203.0.113.7:50000 ESTABLISHED",
        ];
        for capacity in [1, 23, 24, 25, 32768] {
            assert_eq!(walk(&records, capacity).unwrap(), expected, "{capacity}");
        }
    }

    #[test]
    fn incomplete_or_foreign_walks_are_errors() {
        let v4 = || socket(1, AF_INET);
        let rows = |records: &[Vec<u8>]| walk(records, 32768).unwrap_err();
        for (records, expected) in [
            (vec![], "not a list of sockets of the BPF program"),
            (vec![v4()], "not a list of sockets of the BPF program"),
            (vec![head(2, 32)], "the BPF program writes version 2 of the format, not 1"),
            (vec![head(1, 32)], "only 0 of 32 buckets were listed"),
            // A table with fewer buckets than are walked at the same time.
            (vec![head(1, 16)], "only 0 of 16 buckets were listed"),
            (vec![head(1, 0)], "only 0 of 0 buckets were listed"),
            (vec![head(1, 64), slice_end(0, 0, 0, 32)], "only 32 of 64 buckets were listed"),
            (vec![head(1, 32), v4(), slice_end(0, 2, 0, 32)], "slice 0 is not complete"),
            (vec![head(1, 32), v4()], "slice 0 is not complete"),
            (vec![head(1, 32), v4()[..20].to_vec()], "slice 0 is not complete"),
            (vec![head(1, 32), slice_end(1, 0, 0, 32)], "slice 0 is not complete"),
            (vec![head(1, 64), slice_end(0, 0, 32, 64)], "slice 0 is not complete"),
            (vec![head(1, 64), slice_end(0, 0, 0, 0)], "slice 0 is not complete"),
            (vec![head(1, 32), slice_end(0, 0, 0, 64)], "slice 0 is not complete"),
            (
                vec![head(1, 64), slice_end(0, 0, 0, 32), slice_end(0, 0, 0, 32)],
                "slice 1 is not complete",
            ),
            (vec![head(1, 32), socket(1, 7)], "a record has the address family 7"),
            (vec![head(1, 32), socket(13, AF_INET)], "a record has the TCP state 13"),
            (vec![head(1, 32), local_address("192.0.2.1", AF_INET)], "slice 0 is not complete"),
            ([vec![head(1, 32)], vec![v4(); 1365]].concat(), "slice 0 is not complete"),
            (
                [vec![head(1, 32)], vec![local_address("192.0.2.1", AF_INET); 1365]].concat(),
                "slice 0 is not complete",
            ),
        ] {
            assert_eq!(rows(&records), expected);
        }
    }
}
