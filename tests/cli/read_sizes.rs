//! The sizes of the reads of a listing do not change the result.
use std::{
    fs,
    io::{self, BufRead, Cursor, Read},
    sync::LazyLock,
};

use proptest::{prelude::*, sample::Index};
use topip::{
    model::connection::Connection,
    parse::{
        self,
        capture::{ByteOrder, Capture, CaptureFormat},
    },
};

use super::fixtures::listings;

/// A reader that returns a few bytes at a time: less than a row.
struct SmallReads(Cursor<Vec<u8>>);

impl SmallReads {
    const MAX_READ: usize = 23;
}

impl Read for SmallReads {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(Self::MAX_READ);
        self.0.read(&mut buffer[..length])
    }
}

impl BufRead for SmallReads {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let rest = self.0.fill_buf()?;
        Ok(&rest[..rest.len().min(Self::MAX_READ)])
    }

    fn consume(&mut self, amount: usize) {
        self.0.consume(amount);
    }
}

/// Parses a listing and returns its connections in order, and the formatted result.
fn parse_all(bytes: Box<dyn BufRead + Send>, byte_order: ByteOrder) -> (Vec<Connection>, String) {
    // An explicit byte order keeps the reader from looking ahead for it.
    let capture = Capture::new(CaptureFormat::Listing, "a listing", Some(byte_order), bytes);
    let mut connections = Vec::new();
    let reading = parse::read(capture, &mut |connection: &Connection| {
        connections.push(*connection);
        connection.is_connected()
    });
    (connections, format!("{reading:?}"))
}

#[track_caller]
fn assert_read_sizes_do_not_matter(text: &[u8]) {
    for byte_order in [ByteOrder::Little, ByteOrder::Big] {
        let (found, end) = parse_all(Box::new(Cursor::new(text.to_vec())), byte_order);
        let (expected, expected_end) =
            parse_all(Box::new(SmallReads(Cursor::new(text.to_vec()))), byte_order);
        let mut pairs = found.iter().zip(&expected);
        assert_eq!(pairs.find(|(found, expected)| found != expected), None);
        assert_eq!((found.len(), end), (expected.len(), expected_end));
    }
}

static LISTINGS: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| listings().into_iter().map(|path| fs::read(path).unwrap()).collect());

#[test]
fn read_sizes_do_not_matter_for_fixtures() {
    for listing in &*LISTINGS {
        assert_read_sizes_do_not_matter(listing);
        assert_read_sizes_do_not_matter(&listing.repeat(3));
        assert_read_sizes_do_not_matter(
            &String::from_utf8_lossy(listing).replace('\n', "\r\n").into_bytes(),
        );
        assert_read_sizes_do_not_matter(listing.trim_ascii_end());
    }
}

/// A random modification of a listing: position, kind and byte.
type Damage = (Index, u8, u8);

fn apply_damage(text: &mut Vec<u8>, (position, kind, byte): Damage) {
    if text.is_empty() {
        return;
    }
    let position = position.index(text.len());
    let end_of_line = position + text[position..].iter().position(|&it| it == b'\n').unwrap_or(0);
    match kind {
        0 => text[position] = byte,
        1 => text.insert(position, byte),
        2 => drop(text.remove(position)),
        3 => drop(text.splice(end_of_line..end_of_line, *b" users: IPv4")),
        4 => text.insert(end_of_line, byte),
        5 => drop(text.splice(position..position, [b' '; 9])),
        6 => drop(text.splice(position..position, *b"0000")),
        // Repeat the rest of the line.
        _ => drop(text.splice(end_of_line..end_of_line, text[position..end_of_line].to_vec())),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn read_sizes_do_not_matter_for_damaged_listings(
        first in any::<Index>(),
        second in any::<Index>(),
        damages in prop::collection::vec(
            (
                any::<Index>(),
                0..8_u8,
                prop::sample::select(b" \t\r\n\x0C:.[]%*-0123456789abfABFGItcpT6\xFF".as_slice()),
            ),
            0..40,
        ),
    ) {
        let mut text = [&LISTINGS[first.index(LISTINGS.len())][..], &LISTINGS[second.index(LISTINGS.len())]].concat();
        damages.into_iter().for_each(|it| apply_damage(&mut text, it));
        assert_read_sizes_do_not_matter(&text);
    }
}
