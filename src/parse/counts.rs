//! Parser for counts by address, as `sort | uniq -c` prints them.
//!
//! A row is `COUNT ADDRESS`, with or without leading blanks. Counts by address do not have
//! ports, states and directions.
use std::num::NonZeroU32;

use crate::model::connection::Connection;

use super::{
    endpoint::{parse_address, parse_decimal},
    error::RowErrorKind,
    row::{RowError, RowKind, fields},
};

/// Words that headings have in the column of the peer. `awk '{print $5}'` prints them,
/// and `uniq -c` counts them like addresses.
const HEADING_WORDS: [&[u8]; 6] =
    [b"Address", b"Address:Port", b"Foreign", b"Peer", b"servers)", b"and"];

/// Returns true if a line has the form of a row: a number and any second word.
pub(super) fn is_row(line: &[u8]) -> bool {
    let mut fields = fields(line);
    fields.skip_number().is_ok() && fields.next().is_some() && fields.is_at_end()
}

/// Parses a row. A count of 0 is not a connection.
pub(super) fn parse_row<'a>(
    line: &'a [u8],
    connection: &mut Connection,
) -> Result<RowKind, RowError<'a>> {
    let mut fields = fields(line);
    let number = fields.next_field()?;
    let count = parse_decimal(number).and_then(|count| u32::try_from(count).ok());
    let count = count.ok_or((RowErrorKind::InvalidNumber, number))?;
    let word = fields.next_field()?;
    if !fields.is_at_end() {
        return Err((RowErrorKind::UnrecognizedRow, line));
    }
    if HEADING_WORDS.contains(&word) {
        return Ok(RowKind::Continuation);
    }
    let address = parse_address(word).map_err(|_| (RowErrorKind::InvalidAddress, word))?;
    let Some(count) = NonZeroU32::new(count) else {
        return Ok(RowKind::Continuation);
    };
    *connection = Connection { count: Some(count), ..Connection::UNSPECIFIED };
    connection.peer.set_ip(address);
    Ok(RowKind::Connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let mut connection = Connection::UNSPECIFIED;
        let found = match parse_row(line.as_bytes(), &mut connection) {
            Ok(RowKind::Connection) => {
                format!("{} {}", connection.n_connections(), connection.peer.ip())
            }
            Ok(_) => "no connection".to_owned(),
            Err((kind, text)) => format!("{kind}: {}", String::from_utf8_lossy(text)),
        };
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn rows_are_parsed() {
        check("    152 203.0.113.7", "152 203.0.113.7");
        check("7\t2001:db8::7", "7 2001:db8::7");
        check("7 ::ffff:192.0.2.1", "7 ::ffff:192.0.2.1");
        check("7 [2001:db8::7]", "7 2001:db8::7");
        check("7 fe80::1%eth0", "7 fe80::1");
        check("4294967295 192.0.2.1", "4294967295 192.0.2.1");
        check("0 192.0.2.1", "no connection");
        check("      1 Address", "no connection");
        check("      1 servers)", "no connection");
    }

    #[test]
    fn malformed_rows_are_rejected() {
        for (line, expected) in [
            ("      3 ", "incomplete row:       3 "),
            ("4294967296 192.0.2.1", "not a number: 4294967296"),
            ("-1 192.0.2.1", "not a number: -1"),
            ("3 web1.example.com", "not an address: web1.example.com"),
            ("3 192.0.2.1:443", "not an address: 192.0.2.1:443"),
            ("3 192.0.2.256", "not an address: 192.0.2.256"),
            ("3 192.0.2.1 443", "not a row of a socket table: 3 192.0.2.1 443"),
        ] {
            check(line, expected);
        }
    }
}
