//! Result types and field splitting that the row parsers of all dialects share.
use std::iter;

use crate::model::connection::Connection;

use super::error::RowErrorKind;

/// Successfully parsed row.
#[derive(Debug)]
pub(super) enum ParsedRow {
    Connection(Connection),
    /// Recognized row that is not a TCP connection.
    Other,
    /// Continuation of the previous row.
    Continuation,
}

/// Reason why a row could not be parsed, and the invalid part of the row.
pub(super) type RowError<'a> = (RowErrorKind, &'a [u8]);

/// Returns the words of a line.
pub(super) fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = line;
    // Splitting at every blank and skipping empty words takes twice as long for padded
    // columns.
    iter::from_fn(move || {
        let start = rest.iter().position(|byte| !byte.is_ascii_whitespace())?;
        let word = &rest[start..];
        let end = word.iter().position(u8::is_ascii_whitespace).unwrap_or(word.len());
        (_, rest) = word.split_at(end);
        Some(&word[..end])
    })
}

/// Renders a parsed row for the tests of the row parsers.
#[cfg(test)]
pub(super) fn render_row(row: Result<ParsedRow, RowError<'_>>) -> String {
    match row {
        Ok(ParsedRow::Connection(connection)) => {
            let tcp_state = connection.tcp_state.expect("every row in the tests has a state");
            format!("{tcp_state:?} {} {}", connection.local, connection.peer)
        }
        Ok(_) => "no connection".to_owned(),
        Err((kind, text)) => format!("{kind}: {}", String::from_utf8_lossy(text)),
    }
}
