//! Rows of Windows: `TCP 192.0.2.10:3389 203.0.113.7:51514 ESTABLISHED [PID]`.
use crate::model::connection::Connection;

use super::{
    endpoint::parse_with_colon,
    error::RowErrorKind,
    row::{RowError, RowKind, fields, set_tcp_state},
};

/// Parses a row.
pub(super) fn parse_row<'a>(
    line: &'a [u8],
    connection: &mut Connection,
) -> Result<RowKind, RowError<'a>> {
    let mut fields = fields(line);
    match fields.next_field()? {
        b"TCP" => {}
        b"UDP" => return Ok(RowKind::Other),
        _ => return Err((RowErrorKind::UnrecognizedRow, line)),
    }
    let (local, peer, word) = (fields.next_field()?, fields.next_field()?, fields.next_field()?);
    parse_with_colon(local, &mut connection.local).map_err(|kind| (kind, local))?;
    parse_with_colon(peer, &mut connection.peer).map_err(|kind| (kind, peer))?;
    connection.peer_truncated = None;
    set_tcp_state(connection, word)
}
