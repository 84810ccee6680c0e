//! Rows of Solaris and illumos: `Local Remote Swind Send-Q Rwind Recv-Q State [If]`.
use crate::model::connection::Connection;

use super::{
    endpoint::parse_with_dot,
    error::RowErrorKind,
    row::{RowError, RowKind, fields},
    state_name,
};

/// Parses a row of a `TCP:` section.
pub(super) fn parse_row<'a>(
    line: &'a [u8],
    connection: &mut Connection,
) -> Result<RowKind, RowError<'a>> {
    let mut fields = fields(line);
    let (local, peer) = (fields.next_field()?, fields.next_field()?);
    // Windows and queues.
    for _ in 0..4 {
        fields.skip_number()?;
    }
    let word = fields.next_field()?;
    parse_with_dot(local, &mut connection.local).map_err(|kind| (kind, local))?;
    parse_with_dot(peer, &mut connection.peer).map_err(|kind| (kind, peer))?;
    connection.tcp_state =
        Some(state_name::tcp_state(word).ok_or((RowErrorKind::UnknownTcpState, word))?);
    connection.peer_truncated = None;
    Ok(RowKind::Connection)
}
