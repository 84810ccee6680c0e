//! Rows of Windows: `TCP 192.0.2.10:3389 203.0.113.7:51514 ESTABLISHED [PID]`.
use crate::model::connection::Connection;

use super::{
    endpoint::parse_with_colon,
    error::RowErrorKind,
    row::{ParsedRow, RowError, fields},
    state_name,
};

/// Parses a row.
pub(super) fn parse_row(line: &[u8]) -> Result<ParsedRow, RowError<'_>> {
    let mut fields = fields(line);
    let mut next = || fields.next().ok_or((RowErrorKind::MissingField, line));
    match next()? {
        b"TCP" => {}
        b"UDP" => return Ok(ParsedRow::Other),
        _ => return Err((RowErrorKind::UnrecognizedRow, line)),
    }
    let (local, peer, word) = (next()?, next()?, next()?);
    Ok(ParsedRow::Connection(Connection {
        local: parse_with_colon(local).map_err(|kind| (kind, local))?,
        peer: parse_with_colon(peer).map_err(|kind| (kind, peer))?,
        tcp_state: Some(state_name::tcp_state(word).ok_or((RowErrorKind::UnknownTcpState, word))?),
        peer_known_bits: None,
    }))
}
