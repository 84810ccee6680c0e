//! Result types and field splitting that the row parsers of all dialects share.
//!
//! A row parser takes the words of a row from left to right with [`Fields`], and writes into
//! the connection that its caller passes. Returning a connection through several functions
//! would copy it in each of them, which takes longer than parsing its addresses.
use crate::model::connection::{Connection, TcpState};

use super::{
    endpoint::{MAX_DIGITS, split_endpoint},
    error::RowErrorKind,
    state_name,
};

/// Kind of a successfully parsed row.
#[derive(Clone, Copy, Debug)]
pub(super) enum RowKind {
    Connection,
    /// Connection or listening socket whose TCP state has an unknown name.
    UnknownState,
    /// Recognized row that is not a TCP connection.
    Other,
    /// Continuation of the previous row.
    Continuation,
}

/// Reason why a row could not be parsed, and the invalid part of the row.
pub(super) type RowError<'a> = (RowErrorKind, &'a [u8]);

/// Sets the TCP state of a connection to the state that `word` names. If the name is in an
/// unknown language, the socket is a listening socket if it does not have a peer.
///
/// # Errors
///
/// Returns an error if the word cannot be the name of a state: a column is missing.
#[inline]
pub(super) fn set_tcp_state<'a>(
    connection: &mut Connection,
    word: &'a [u8],
) -> Result<RowKind, RowError<'a>> {
    connection.tcp_state = state_name::tcp_state(word);
    if connection.tcp_state.is_some() {
        return Ok(RowKind::Connection);
    }
    set_unusual_tcp_state(connection, word)
}

#[cold]
pub(super) fn set_unusual_tcp_state<'a>(
    connection: &mut Connection,
    word: &'a [u8],
) -> Result<RowKind, RowError<'a>> {
    connection.tcp_state = state_name::joined_tcp_state(word);
    if connection.tcp_state.is_some() {
        return Ok(RowKind::Connection);
    }
    if !state_name::may_be_state(word) {
        return Err((RowErrorKind::UnknownTcpState, word));
    }
    if connection.peer.ip().is_unspecified() && connection.peer_truncated.is_none() {
        connection.tcp_state = Some(TcpState::Listen);
    }
    Ok(RowKind::UnknownState)
}

/// Iterator over the words of a line.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    line: &'a [u8],
    rest: &'a [u8],
}

/// Returns the words of a line.
pub(super) fn fields(line: &[u8]) -> Fields<'_> {
    Fields { line, rest: line }
}

impl<'a> Fields<'a> {
    /// Returns the next word.
    ///
    /// # Errors
    ///
    /// Returns an error if the line has no more words.
    pub(super) fn next_field(&mut self) -> Result<&'a [u8], RowError<'a>> {
        self.next().ok_or((RowErrorKind::MissingField, self.line))
    }

    /// Returns true if the line has no more words.
    #[inline]
    pub(super) fn is_at_end(&self) -> bool {
        skip_blanks(self.rest).is_empty()
    }

    /// Returns true if the next word is a number.
    pub(super) fn has_number_next(&self) -> bool {
        let mut fields = *self;
        fields.skip_number().is_ok()
    }

    /// Skips a number, such as the length of a queue.
    ///
    /// # Errors
    ///
    /// Returns an error if the next word is not a number.
    #[inline]
    pub(super) fn skip_number(&mut self) -> Result<(), RowError<'a>> {
        let text = skip_blanks(self.rest);
        let mut rest = text;
        while let [b'0'..=b'9', after @ ..] = rest {
            rest = after;
        }
        let n_digits = text.len() - rest.len();
        if (1..=MAX_DIGITS).contains(&n_digits) && starts_with_blank(rest) {
            self.rest = rest;
            return Ok(());
        }
        let word = self.next_field()?;
        Err((RowErrorKind::InvalidNumber, word))
    }

    /// Reads both endpoints of a connection if they are in the notation of `split_endpoint`,
    /// as nearly all are. Returns false if they are not, and reads nothing.
    #[inline]
    pub(super) fn read_usual_endpoints(&mut self, connection: &mut Connection) -> bool {
        let mut rest = self.rest;
        for endpoint in [&mut connection.local, &mut connection.peer] {
            match split_endpoint(skip_blanks(rest), endpoint) {
                Some(after) if starts_with_blank(after) => rest = after,
                _ => return false,
            }
        }
        self.rest = rest;
        true
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let text = skip_blanks(self.rest);
        let length = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
        let (word, rest) = text.split_at(length);
        self.rest = rest;
        if word.is_empty() { None } else { Some(word) }
    }
}

/// Returns `text` without the blanks at its start.
#[inline]
fn skip_blanks(text: &[u8]) -> &[u8] {
    let mut rest = text;
    // A third of a padded row is spaces, so spaces are skipped eight at a time.
    while let Some(bytes) = rest.first_chunk() {
        let differences = u64::from_le_bytes(*bytes) ^ u64::from_le_bytes(*b"        ");
        let n_spaces = differences.trailing_zeros() / 8;
        rest = &rest[n_spaces as usize..];
        if n_spaces < 8 {
            break;
        }
    }
    rest.trim_ascii_start()
}

/// Returns true at the end of a word.
#[inline]
fn starts_with_blank(rest: &[u8]) -> bool {
    rest.first().is_none_or(u8::is_ascii_whitespace)
}

/// Renders a parsed row for the tests of the row parsers.
#[cfg(test)]
pub(super) fn render_row<'a>(
    parse_row: impl FnOnce(&mut Connection) -> Result<RowKind, RowError<'a>>,
) -> String {
    let mut connection = Connection::UNSPECIFIED;
    match parse_row(&mut connection) {
        Ok(RowKind::Connection) => {
            let tcp_state = connection.tcp_state.expect("every row in the tests has a state");
            format!("{tcp_state:?} {} {}", connection.local, connection.peer)
        }
        Ok(_) => "no connection".to_owned(),
        Err((kind, text)) => format!("{kind}: {}", String::from_utf8_lossy(text)),
    }
}
