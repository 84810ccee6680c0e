//! Rows of Solaris and illumos: `Local Remote Swind Send-Q Rwind Recv-Q State [If]`.
use crate::model::connection::Connection;

use super::{
    endpoint::{parse_decimal, parse_with_dot},
    error::RowErrorKind,
    row::{ParsedRow, RowError, fields},
    state_name,
};

/// Parses a row of a `TCP:` section.
pub(super) fn parse_row(line: &[u8]) -> Result<ParsedRow, RowError<'_>> {
    let mut fields = fields(line);
    let mut next = || fields.next().ok_or((RowErrorKind::MissingField, line));
    let (local, peer) = (next()?, next()?);
    for window_or_queue in [next()?, next()?, next()?, next()?] {
        parse_decimal(window_or_queue).ok_or((RowErrorKind::InvalidNumber, window_or_queue))?;
    }
    let word = next()?;
    Ok(ParsedRow::Connection(Connection {
        local: parse_with_dot(local).map_err(|kind| (kind, local))?,
        peer: parse_with_dot(peer).map_err(|kind| (kind, peer))?,
        tcp_state: Some(state_name::tcp_state(word).ok_or((RowErrorKind::UnknownTcpState, word))?),
        peer_known_bits: None,
    }))
}
