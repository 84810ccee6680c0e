//! Rows of net-tools and BusyBox: `tcp 0 0 192.0.2.1:80 203.0.113.7:50000 ESTABLISHED …`.
//!
//! The BSDs, macOS and AIX print the same columns, with a dot before the port; the
//! `bsd` module parses their addresses.
use std::net::SocketAddr;

use memchr::memrchr;

use crate::model::connection::{Connection, TruncatedAddress};

use super::{
    bsd,
    detect::is_tcp_protocol,
    dialect::Dialect,
    endpoint,
    error::RowErrorKind,
    row::{RowError, RowKind, fields, set_tcp_state, set_unusual_tcp_state},
};

/// Prefixes of the protocols that are recognized and not TCP.
const OTHER_PROTOCOLS: [&[u8]; 15] = [
    b"udp", b"raw", b"unix", b"icm", b"ip", b"sctp", b"dccp", b"igmp", b"l2cap", b"rfcomm",
    b"divert", b"mptcp", b"kevt", b"kctl", b"vsock",
];

/// Detection of truncated addresses in one listing of net-tools.
///
/// net-tools without `-W` truncates an address so that the address and its port have
/// [`TRUNCATED_WIDTH`](Self::TRUNCATED_WIDTH) characters together (`addr_do_one` in
/// its `netstat.c`). The truncated text is often a valid, but different address. A wider field
/// shows that the listing is not truncated.
#[derive(Debug, Default)]
pub(super) struct LinuxAddressWidth {
    /// True if a field was wider than the truncation width.
    is_untruncated: bool,
}

impl LinuxAddressWidth {
    /// Width of a truncated address and its port, without the colon.
    const TRUNCATED_WIDTH: usize = 22;

    /// Parses an address and port with a colon and records their width. Returns the visible
    /// part if the address may be truncated. The protocol does not show the address family:
    /// BusyBox and old versions of net-tools print "tcp" for IPv6 as well.
    fn parse_endpoint<'a>(
        &mut self,
        word: &'a [u8],
        endpoint: &mut SocketAddr,
    ) -> Result<Option<TruncatedAddress>, RowError<'a>> {
        // The width does not include the colon.
        let width = word.len().saturating_sub(1);
        self.is_untruncated |= width > Self::TRUNCATED_WIDTH;
        let parsed = endpoint::parse_with_colon(word, endpoint);
        if width == Self::TRUNCATED_WIDTH && !self.is_untruncated {
            let address = memrchr(b':', word).map_or(word, |at| &word[..at]);
            // IPv4-mapped addresses are printed as IPv4, which never reaches the width.
            if address.contains(&b':') {
                return bsd::truncated_endpoint(parsed.is_ok(), word, address, endpoint).map(Some);
            }
        }
        parsed.map(|()| None).map_err(|kind| (kind, word))
    }
}

/// Parser of the rows of one netstat table, with the properties that previous rows have shown.
#[derive(Debug, Default)]
pub(super) struct NetstatColumns {
    /// True if the address of a kernel structure precedes the protocol (`-A` of AIX).
    has_kernel_address: bool,
    /// True if the protocol of the latest row is that of IPv6. net-tools prints IPv4-mapped
    /// addresses as IPv4.
    pub(super) is_tcp6: bool,
    linux: LinuxAddressWidth,
    bsd: bsd::BsdAddressWidth,
}

impl NetstatColumns {
    /// Creates the columns that a heading names.
    pub(super) fn from_heading(line: &[u8]) -> Self {
        let has_kernel_address = fields(line).next() != Some(b"Proto");
        Self { has_kernel_address, ..Self::default() }
    }

    /// Returns true if a previous row shows that addresses are not truncated.
    pub(super) fn is_untruncated(&self) -> bool {
        self.linux.is_untruncated || self.bsd.is_untruncated
    }

    /// Parses a row and detects its dialect.
    pub(super) fn parse_row<'a>(
        &mut self,
        line: &'a [u8],
        connection: &mut Connection,
    ) -> Result<(RowKind, Dialect), RowError<'a>> {
        let mut fields = fields(line);
        if self.has_kernel_address {
            fields.next_field()?;
        }
        let protocol = fields.next_field()?;
        if !is_tcp_protocol(protocol) {
            let is_known = OTHER_PROTOCOLS.iter().any(|prefix| protocol.starts_with(prefix));
            return if is_known {
                Ok((RowKind::Other, Dialect::Netstat))
            } else {
                Err((RowErrorKind::UnrecognizedRow, line))
            };
        }
        self.is_tcp6 = protocol.get(3) == Some(&b'6');
        fields.skip_number()?;
        fields.skip_number()?;
        connection.peer_truncated = None;
        connection.is_local_truncated = false;
        // An endpoint in a usual notation never reaches the truncation width.
        if fields.read_usual_endpoints(connection) {
            return Ok((parse_tcp_state(fields.next_field()?, connection)?, Dialect::Netstat));
        }
        let (local, peer) = (fields.next_field()?, fields.next_field()?);
        // The widths are recorded only for a row with a state.
        let tcp_state_word = fields.next_field()?;
        if endpoint::has_dot_before_port(peer) || endpoint::has_dot_before_port(local) {
            connection.is_local_truncated =
                self.bsd.parse_endpoint(local, &mut connection.local)?.is_some();
            connection.peer_truncated = self.bsd.parse_endpoint(peer, &mut connection.peer)?;
            return Ok((parse_tcp_state(tcp_state_word, connection)?, Dialect::Bsd));
        }
        connection.is_local_truncated =
            self.linux.parse_endpoint(local, &mut connection.local)?.is_some();
        connection.peer_truncated = self.linux.parse_endpoint(peer, &mut connection.peer)?;
        Ok((parse_tcp_state(tcp_state_word, connection)?, Dialect::Netstat))
    }
}

#[inline]
fn parse_tcp_state<'a>(
    word: &'a [u8],
    connection: &mut Connection,
) -> Result<RowKind, RowError<'a>> {
    // Only ss writes ESTAB; in a listing of netstat, ESTAB is a truncated ESTABLISHED.
    if word == b"ESTAB" {
        return set_unusual_tcp_state(connection, word);
    }
    set_tcp_state(connection, word)
}
