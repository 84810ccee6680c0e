//! What the readers of every dialect make of a line.
use crate::connection::Connection;

use super::Problem;

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
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}
