//! Rows of `ss`: `[Netid] [State] [Recv-Q Send-Q] Local:Port Peer:Port [more]`.
//!
//! `ss` omits the Netid if it lists one family only, the State if it lists one state only,
//! and the queues with `-Q`. The columns are detected by the heading, or else by the words
//! of the row.
use crate::model::connection::{Connection, TcpState};

use super::{
    detect::{self, Table},
    endpoint::{parse_decimal, parse_with_colon},
    error::RowErrorKind,
    row::{Fields, RowError, RowKind, fields},
    state_name,
};

/// Netids of ss(8) that are not TCP. The rows of some, such as `raw` and `icmp6`, have
/// ports as well.
const OTHER_NETIDS: [&[u8]; 21] = [
    b"udp", b"raw", b"icmp6", b"ip", b"ipv6", b"u_str", b"u_dgr", b"u_seq", b"nl", b"p_raw",
    b"p_dgr", b"sctp", b"dccp", b"mptcp", b"v_str", b"v_dgr", b"ti_rd", b"ti_sq", b"ti_st",
    b"ti_dg", b"xdp",
];

/// Optional columns of a listing, as far as its heading shows them.
#[derive(Debug, Default)]
pub(super) struct SsColumns {
    /// `None` without a heading.
    has_state: Option<bool>,
    /// `None` without a heading.
    has_queues: Option<bool>,
}

impl SsColumns {
    /// Creates the columns that a heading names.
    pub(super) fn from_heading(line: &[u8]) -> Self {
        // Some versions print no blank between the first two columns: "StateRecv-Q".
        Self {
            has_state: Some(fields(line).any(|word| word.starts_with(b"State"))),
            has_queues: Some(fields(line).any(|word| word.ends_with(b"Recv-Q"))),
        }
    }

    /// Parses a row or a continuation line.
    pub(super) fn parse_row<'a>(
        &self,
        line: &'a [u8],
        connection: &mut Connection,
    ) -> Result<RowKind, RowError<'a>> {
        // With -i, -m or -e a row may have a second line, which starts with a blank. The
        // rows of an indented listing, or of another table, start with a blank as well.
        if line.first().is_some_and(u8::is_ascii_whitespace) {
            match detect::detect_row(line.trim_ascii_start()) {
                None => return Ok(RowKind::Continuation),
                Some(Table::Ss) => {}
                Some(_) => return Err((RowErrorKind::UnrecognizedRow, line)),
            }
        }
        let mut fields = fields(line);
        let mut word = fields.next_field()?;
        // Netids are in lower case, states in upper case, and queues are numbers.
        let is_other = word[0].is_ascii_lowercase() && OTHER_NETIDS.contains(&word);
        if is_other || word.starts_with(b"???") {
            return Ok(RowKind::Other);
        }
        if word == b"tcp" {
            word = fields.next_field()?;
        }
        // Without a heading, a row without a state starts with a number.
        let has_state = self.has_state.unwrap_or(!word[0].is_ascii_digit());
        let mut row = RowKind::Connection;
        connection.tcp_state = None;
        if has_state {
            row = self.parse_state_and_queues(word, &mut fields, connection)?;
        } else if self.has_queues == Some(false) {
            fields = fields_without_netid(line);
        } else {
            parse_decimal(word).ok_or((RowErrorKind::InvalidNumber, word))?;
            fields.skip_number()?;
        }
        if !fields.read_usual_endpoints(connection) {
            let (local, peer) = (fields.next_field()?, fields.next_field()?);
            parse_with_colon(local, &mut connection.local).map_err(|kind| (kind, local))?;
            parse_with_colon(peer, &mut connection.peer).map_err(|kind| (kind, peer))?;
        }
        connection.peer_truncated = None;
        if self.has_state.is_none()
            && !has_state
            && fields.next().is_some_and(|word| state_name::tcp_state(word).is_some())
        {
            // The state is last, so the row is from another tool and has lost its beginning.
            return Err((RowErrorKind::UnrecognizedRow, line));
        }
        if matches!(row, RowKind::UnknownState) && connection.peer.ip().is_unspecified() {
            connection.tcp_state = Some(TcpState::Listen);
        }
        Ok(row)
    }

    /// Parses the columns up to the addresses. `word` is the first of them.
    #[inline]
    fn parse_state_and_queues<'a>(
        &self,
        word: &'a [u8],
        fields: &mut Fields<'a>,
        connection: &mut Connection,
    ) -> Result<RowKind, RowError<'a>> {
        let mut row = RowKind::Connection;
        let mut has_queues = self.has_queues;
        connection.tcp_state = state_name::tcp_state(word);
        if connection.tcp_state.is_none() {
            connection.tcp_state = state_name::tcp_state_with_queue(word);
            if connection.tcp_state.is_some() {
                fields.skip_number()?;
                return Ok(row);
            }
            if !state_name::may_be_state(word) {
                return Err((RowErrorKind::UnknownTcpState, word));
            }
            row = RowKind::UnknownState;
            // Without a heading, any two words could be a state and an address.
            has_queues = Some(has_queues.unwrap_or(true));
        }
        if has_queues.unwrap_or_else(|| fields.has_number_next()) {
            fields.skip_number()?;
            fields.skip_number()?;
        }
        Ok(row)
    }
}

/// Returns the words of a line after the Netid.
fn fields_without_netid(line: &[u8]) -> Fields<'_> {
    let all = fields(line);
    let mut rest = all;
    if rest.next() == Some(b"tcp") { rest } else { all }
}
