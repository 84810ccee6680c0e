//! Rows of `ss`: `[Netid] [State] Recv-Q Send-Q Local:Port Peer:Port [more]`.
//!
//! `ss` omits the Netid if it lists one family only, and the State if it lists one
//! state only. Both columns are detected by the words of the row.
use crate::model::connection::Connection;

use super::{
    detect::{self, Table},
    endpoint::{parse_decimal, parse_with_colon},
    error::RowErrorKind,
    row::{ParsedRow, RowError, fields},
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
}

impl SsColumns {
    /// Creates the columns that a heading names.
    pub(super) fn from_heading(line: &[u8]) -> Self {
        Self { has_state: Some(fields(line).any(|word| word == b"State")) }
    }

    /// Returns true if rows have a state, which is assumed without a heading.
    pub(super) fn has_state(&self) -> bool {
        self.has_state.unwrap_or(true)
    }

    /// Parses a row or a continuation line.
    pub(super) fn parse_row<'a>(&self, line: &'a [u8]) -> Result<ParsedRow, RowError<'a>> {
        // With -i, -m or -e a row may have a second line, which starts with a blank. The
        // rows of an indented listing, or of another table, start with a blank as well.
        if line.first().is_some_and(u8::is_ascii_whitespace) {
            match detect::detect_row(line.trim_ascii_start()) {
                None => return Ok(ParsedRow::Continuation),
                Some(Table::Ss) => {}
                Some(_) => return Err((RowErrorKind::UnrecognizedRow, line)),
            }
        }
        let mut fields = fields(line);
        let mut next = || fields.next().ok_or((RowErrorKind::MissingField, line));
        let mut word = next()?;
        // Netids are in lower case, states in upper case, and queues are numbers.
        let is_other = word[0].is_ascii_lowercase() && OTHER_NETIDS.contains(&word);
        if is_other || word.starts_with(b"???") {
            return Ok(ParsedRow::Other);
        }
        if word == b"tcp" {
            word = next()?;
        }
        // Without a heading, a row without a state starts with a number.
        let has_state = self.has_state.unwrap_or(!word[0].is_ascii_digit());
        let tcp_state = if has_state {
            let tcp_state =
                state_name::tcp_state(word).ok_or((RowErrorKind::UnknownTcpState, word))?;
            word = next()?;
            Some(tcp_state)
        } else {
            None
        };
        for queue in [word, next()?] {
            parse_decimal(queue).ok_or((RowErrorKind::InvalidNumber, queue))?;
        }
        let (local, peer) = (next()?, next()?);
        Ok(ParsedRow::Connection(Connection {
            local: parse_with_colon(local).map_err(|kind| (kind, local))?,
            peer: parse_with_colon(peer).map_err(|kind| (kind, peer))?,
            tcp_state,
            peer_known_bits: None,
        }))
    }
}
