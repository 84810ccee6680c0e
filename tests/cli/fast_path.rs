//! The rows of a long listing are read at one look where they are ordinary. What
//! comes of a listing is the same where none of them is, and each is looked at
//! closely.
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
        capture::{ByteOrder, Capture, Format},
    },
};

use super::fixtures::listings;

/// Bytes that come a few at a time: fewer than what is looked at for a row.
struct Drip(Cursor<Vec<u8>>);

impl Drip {
    const DROP: usize = 64;
}

impl Read for Drip {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(Self::DROP);
        self.0.read(&mut buffer[..length])
    }
}

impl BufRead for Drip {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let rest = self.0.fill_buf()?;
        Ok(&rest[..rest.len().min(Self::DROP)])
    }

    fn consume(&mut self, amount: usize) {
        self.0.consume(amount);
    }
}

/// All that comes of a listing: its connections in their order, and how the reading
/// ended.
fn outcome(bytes: Box<dyn BufRead + Send>, byte_order: ByteOrder) -> (Vec<Connection>, String) {
    let capture = Capture {
        format: Format::Listing,
        origin: "a listing".to_owned(),
        // Told, so that nobody looks ahead for it.
        byte_order: Some(byte_order),
        own: None,
        addresses: None,
        how: Vec::new(),
        bytes,
    };
    let mut connections = Vec::new();
    let reading = parse::read(capture, &mut |connection: &Connection| {
        connections.push(*connection);
        connection.is_connected()
    });
    (connections, format!("{reading:?}"))
}

#[track_caller]
fn check(text: &[u8]) {
    for byte_order in [ByteOrder::Little, ByteOrder::Big] {
        let (found, end) = outcome(Box::new(Cursor::new(text.to_vec())), byte_order);
        let (expected, expected_end) =
            outcome(Box::new(Drip(Cursor::new(text.to_vec()))), byte_order);
        let mut pairs = found.iter().zip(&expected);
        assert_eq!(pairs.find(|(found, expected)| found != expected), None);
        assert_eq!((found.len(), end), (expected.len(), expected_end));
    }
}

static LISTINGS: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| listings().into_iter().map(|path| fs::read(path).unwrap()).collect());

#[test]
fn every_listing_comes_to_the_same() {
    for listing in &*LISTINGS {
        check(listing);
        check(&listing.repeat(3));
        check(&String::from_utf8_lossy(listing).replace('\n', "\r\n").into_bytes());
        check(listing.trim_ascii_end());
    }
}

/// A slip of whoever wrote a listing: where, what of, and which byte.
type Slip = (Index, u8, u8);

fn slip(text: &mut Vec<u8>, (at, what, byte): Slip) {
    if text.is_empty() {
        return;
    }
    let at = at.index(text.len());
    let end_of_line = at + text[at..].iter().position(|&it| it == b'\n').unwrap_or(0);
    match what {
        0 => text[at] = byte,
        1 => text.insert(at, byte),
        2 => drop(text.remove(at)),
        3 => drop(text.splice(end_of_line..end_of_line, *b" users: IPv4")),
        4 => text.insert(end_of_line, byte),
        5 => drop(text.splice(at..at, [b' '; 9])),
        6 => drop(text.splice(at..at, *b"0000")),
        // A line, or what is left of it, once more.
        _ => drop(text.splice(end_of_line..end_of_line, text[at..end_of_line].to_vec())),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_listing_with_slips_comes_to_the_same(
        first in any::<Index>(),
        second in any::<Index>(),
        slips in prop::collection::vec(
            (
                any::<Index>(),
                0..8_u8,
                prop::sample::select(b" \t\r\n\x0C:.[]%*-0123456789abfABFGItcpT6\xFF".as_slice()),
            ),
            0..40,
        ),
    ) {
        let mut text = [&LISTINGS[first.index(LISTINGS.len())][..], &LISTINGS[second.index(LISTINGS.len())]].concat();
        slips.into_iter().for_each(|it| slip(&mut text, it));
        check(&text);
    }
}
