//! Rows of Solaris and illumos: `Local Remote Swind Send-Q Rwind Recv-Q State [If]`.
//!
//! With `-u`, illumos prints `User Pid Command` after the addresses, and a row for each
//! process that has the socket (`tcp_report_item_v4` in its `netstat.c`).
use std::net::SocketAddr;

use crate::model::connection::Connection;

use super::{
    endpoint::parse_with_dot,
    row::{Fields, RowError, RowKind, fields, set_tcp_state},
};

/// Number of columns between the addresses and the state: windows and queues.
const N_NUMBERS: usize = 4;

/// Columns of one table, and its latest row.
#[derive(Debug, Default)]
pub(super) struct SolarisColumns {
    has_processes: bool,
    /// Endpoints of the latest row, if the table repeats a socket for each process.
    latest: Option<(SocketAddr, SocketAddr)>,
}

impl SolarisColumns {
    /// Creates the columns that a heading names.
    pub(super) fn from_heading(line: &[u8]) -> Self {
        Self { has_processes: fields(line).any(|word| word == b"Pid"), latest: None }
    }

    /// Parses a row of a `TCP:` section.
    pub(super) fn parse_row<'a>(
        &mut self,
        line: &'a [u8],
        connection: &mut Connection,
    ) -> Result<RowKind, RowError<'a>> {
        let mut fields = fields(line);
        let (local, peer) = (fields.next_field()?, fields.next_field()?);
        if self.has_processes {
            skip_processes(&mut fields)?;
        } else {
            for _ in 0..N_NUMBERS {
                fields.skip_number()?;
            }
        }
        let word = fields.next_field()?;
        parse_with_dot(local, &mut connection.local).map_err(|kind| (kind, local))?;
        parse_with_dot(peer, &mut connection.peer).map_err(|kind| (kind, peer))?;
        connection.peer_truncated = None;
        let row = set_tcp_state(connection, word)?;
        if self.has_processes {
            let endpoints = Some((connection.local, connection.peer));
            if self.latest == endpoints && connection.is_connected() {
                return Ok(RowKind::Continuation);
            }
            self.latest = endpoints;
        }
        Ok(row)
    }
}

/// Skips the columns between the addresses and the state. The command may have blanks, so the
/// end of these columns is found by the numbers before the state.
fn skip_processes<'a>(fields: &mut Fields<'a>) -> Result<(), RowError<'a>> {
    let mut n_numbers = 0;
    while n_numbers < N_NUMBERS || fields.has_number_next() {
        if fields.has_number_next() {
            n_numbers += 1;
        } else {
            n_numbers = 0;
        }
        fields.next_field()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::row::render_row;

    #[test]
    fn sockets_of_several_processes_are_counted_once() {
        let heading =
            b"Local Address Remote Address User Pid Command Swind Send-Q Rwind Recv-Q State";
        let mut columns = SolarisColumns::from_heading(heading);
        let row = |user: &str| {
            format!("192.0.2.1.22 203.0.113.7.50000 {user} 128872 0 128872 0 ESTABLISHED")
        };
        let counted = "Established 192.0.2.1:22 203.0.113.7:50000";
        for (user, expected) in [
            ("root 642 sshd", counted),
            ("alice 650 sshd", "no connection"),
            ("alice 651 two words 7", "no connection"),
        ] {
            let line = row(user);
            let rendered = render_row(|connection| columns.parse_row(line.as_bytes(), connection));
            assert_eq!(rendered, expected, "{line}");
        }
        let line = row("alice");
        let mut columns = SolarisColumns::from_heading(b"Swind");
        let rendered = render_row(|connection| columns.parse_row(line.as_bytes(), connection));
        assert_eq!(rendered, "not a number: alice");
    }
}
