//! Rows of Solaris and illumos: `Local Remote Swind Send-Q Rwind Recv-Q State [If]`.
use crate::model::connection::Connection;

use super::{
    endpoint::{decimal, dot},
    reader::Problem,
    row::{Faulty, Row, fields},
    state_name,
};

/// Reads a row of one of its `TCP:` sections.
pub(super) fn row(line: &[u8]) -> Result<Row, Faulty<'_>> {
    let mut fields = fields(line);
    let mut next = || fields.next().ok_or((Problem::MissingField, line));
    let (local, peer) = (next()?, next()?);
    for window_or_queue in [next()?, next()?, next()?, next()?] {
        decimal(window_or_queue).ok_or((Problem::Number, window_or_queue))?;
    }
    let word = next()?;
    Ok(Row::Connection(Connection {
        local: dot(local).map_err(|problem| (problem, local))?,
        peer: dot(peer).map_err(|problem| (problem, peer))?,
        tcp_state: Some(state_name::tcp_state(word).ok_or((Problem::TcpState, word))?),
        peer_cut: None,
    }))
}
