//! What the readers of every dialect make of a line.
use std::iter;

use crate::model::connection::Connection;

use super::reader::Problem;

/// What a row is.
#[derive(Debug)]
pub(super) enum Row {
    Connection(Connection),
    /// Something known that is no TCP connection.
    Other,
    /// More of the row before it.
    Continuation,
}

/// What is wrong with a row, and the part of it that is.
pub(super) type Faulty<'a> = (Problem, &'a [u8]);

/// The words of a line.
pub(super) fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = line;
    // To split at every blank and leave out what is empty takes twice as long
    // where columns are padded.
    iter::from_fn(move || {
        let begin = rest.iter().position(|byte| !byte.is_ascii_whitespace())?;
        let word = &rest[begin..];
        let end = word.iter().position(u8::is_ascii_whitespace).unwrap_or(word.len());
        (_, rest) = word.split_at(end);
        Some(&word[..end])
    })
}

/// A row in words, for tests of its readers.
#[cfg(test)]
pub(super) fn told(row: Result<Row, Faulty<'_>>) -> String {
    match row {
        Ok(Row::Connection(it)) => {
            format!("{:?} {} {}", it.tcp_state.expect("it tells"), it.local, it.peer)
        }
        Ok(_) => "no connection".to_owned(),
        Err((problem, text)) => format!("{problem}: {}", String::from_utf8_lossy(text)),
    }
}
