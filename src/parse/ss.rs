//! Rows of `ss`: `[Netid] [State] Recv-Q Send-Q Local:Port Peer:Port [more]`.
//!
//! `ss` leaves out the Netid where there is one family only, and the State where
//! one state was asked for. Neither is told in the row, so both are found by
//! what stands there.
use crate::model::connection::Connection;

use super::{
    detect::{self, Table},
    endpoint::{colon, decimal},
    reader::Problem,
    row::{Faulty, Row, fields},
    state_name,
};

/// The families of ss(8) that are not TCP; `raw` and `icmp6` among them have
/// ports of a kind.
const OTHER: [&[u8]; 21] = [
    b"udp", b"raw", b"icmp6", b"ip", b"ipv6", b"u_str", b"u_dgr", b"u_seq", b"nl", b"p_raw",
    b"p_dgr", b"sctp", b"dccp", b"mptcp", b"v_str", b"v_dgr", b"ti_rd", b"ti_sq", b"ti_st",
    b"ti_dg", b"xdp",
];

/// Which columns a listing has, as far as its heading tells.
#[derive(Debug, Default)]
pub(super) struct Columns {
    state: Option<bool>,
}

impl Columns {
    /// The columns that a heading names.
    pub(super) fn of_heading(line: &[u8]) -> Self {
        Self { state: Some(fields(line).any(|word| word == b"State")) }
    }

    /// Whether rows have a state; where no heading tells, they most often do.
    pub(super) fn have_state(&self) -> bool {
        self.state.unwrap_or(true)
    }

    /// Reads a row, or a line that goes on from one.
    pub(super) fn row<'a>(&self, line: &'a [u8]) -> Result<Row, Faulty<'a>> {
        // With -i, -m or -e a second line may follow, which begins with a blank.
        // So does a listing that somebody indented, and one of another kind.
        if line.first().is_some_and(u8::is_ascii_whitespace) {
            match detect::row(line.trim_ascii_start()) {
                None => return Ok(Row::Continuation),
                Some(Table::Ss) => {}
                Some(_) => return Err((Problem::Row, line)),
            }
        }
        let mut fields = fields(line);
        let mut next = || fields.next().ok_or((Problem::MissingField, line));
        let mut word = next()?;
        // States are in capitals, queues are numbers.
        let may_be_other = word[0].is_ascii_lowercase() && OTHER.contains(&word);
        if may_be_other || word.starts_with(b"???") {
            return Ok(Row::Other);
        }
        if word == b"tcp" {
            word = next()?;
        }
        // Without a heading, the row tells.
        let has_state = self.state.unwrap_or(!word[0].is_ascii_digit());
        let tcp_state = if has_state {
            let state = state_name::tcp_state(word).ok_or((Problem::TcpState, word))?;
            word = next()?;
            Some(state)
        } else {
            None
        };
        for queue in [word, next()?] {
            decimal(queue).ok_or((Problem::Number, queue))?;
        }
        let (local, peer) = (next()?, next()?);
        Ok(Row::Connection(Connection {
            local: colon(local).map_err(|problem| (problem, local))?,
            peer: colon(peer).map_err(|problem| (problem, peer))?,
            tcp_state,
            peer_cut: None,
        }))
    }
}
