//! Rows of Windows: `TCP 192.0.2.10:3389 203.0.113.7:51514 ESTABLISHED [PID]`.
use crate::model::connection::Connection;

use super::{
    endpoint::colon,
    reader::Problem,
    row::{Faulty, Row, fields},
    state_name,
};

/// Reads a row.
pub(super) fn row(line: &[u8]) -> Result<Row, Faulty<'_>> {
    let mut fields = fields(line);
    let mut next = || fields.next().ok_or((Problem::MissingField, line));
    match next()? {
        b"TCP" => {}
        b"UDP" => return Ok(Row::Other),
        _ => return Err((Problem::Row, line)),
    }
    let (local, peer, word) = (next()?, next()?, next()?);
    Ok(Row::Connection(Connection {
        local: colon(local).map_err(|problem| (problem, local))?,
        peer: colon(peer).map_err(|problem| (problem, peer))?,
        tcp_state: Some(state_name::tcp_state(word).ok_or((Problem::TcpState, word))?),
        peer_cut: None,
    }))
}
