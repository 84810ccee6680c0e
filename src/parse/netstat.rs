//! Rows of net-tools and BusyBox: `tcp 0 0 192.0.2.1:80 203.0.113.7:50000 ESTABLISHED …`.
//!
//! The BSDs, macOS and AIX print the same columns, with a dot before the port; the
//! `bsd` module parses their addresses.
use crate::model::connection::Connection;

use super::{
    bsd,
    dialect::Dialect,
    endpoint,
    error::RowErrorKind,
    row::{ParsedRow, RowError, fields},
    state_name,
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
/// its `netstat.c`). The rest is often a valid, but different address. A wider field
/// shows that the listing is not truncated.
#[derive(Debug, Default)]
pub(super) struct LinuxAddressWidth {
    /// True if a field was wider than the truncation width.
    is_untruncated: bool,
}

impl LinuxAddressWidth {
    /// Width of a truncated address and its port, without the colon.
    const TRUNCATED_WIDTH: usize = 22;

    /// Records the width of an address and port. Returns true if it is exactly the
    /// truncation width.
    fn record(&mut self, word: &[u8]) -> bool {
        // The width does not include the colon.
        let width = word.len().saturating_sub(1);
        self.is_untruncated |= width > Self::TRUNCATED_WIDTH;
        width == Self::TRUNCATED_WIDTH
    }

    /// Returns true if an address and port has at least the truncation width, so that
    /// its width has to be recorded.
    pub(super) fn reaches_truncated_width(word: &[u8]) -> bool {
        word.len() > Self::TRUNCATED_WIDTH
    }
}

/// Parser of the rows of one netstat table, with what the previous rows have shown.
#[derive(Debug, Default)]
pub(super) struct NetstatColumns {
    linux: LinuxAddressWidth,
    bsd: bsd::BsdAddressWidth,
}

impl NetstatColumns {
    /// Returns true if a previous row shows that addresses are not truncated.
    pub(super) fn is_untruncated(&self) -> bool {
        self.linux.is_untruncated || self.bsd.is_untruncated
    }

    /// Returns true if a previous row in the format of Linux shows that addresses are
    /// not truncated.
    pub(super) fn is_linux_untruncated(&self) -> bool {
        self.linux.is_untruncated
    }

    /// Parses a row and detects its dialect.
    pub(super) fn parse_row<'a>(
        &mut self,
        line: &'a [u8],
    ) -> Result<(ParsedRow, Dialect), RowError<'a>> {
        let mut fields = fields(line);
        let mut next = || fields.next().ok_or((RowErrorKind::MissingField, line));
        let protocol = next()?;
        if !is_tcp(protocol) {
            let is_known = OTHER_PROTOCOLS.iter().any(|prefix| protocol.starts_with(prefix));
            return if is_known {
                Ok((ParsedRow::Other, Dialect::Netstat))
            } else {
                Err((RowErrorKind::UnrecognizedRow, line))
            };
        }
        for queue in [next()?, next()?] {
            endpoint::parse_decimal(queue).ok_or((RowErrorKind::InvalidNumber, queue))?;
        }
        let (local, peer, word) = (next()?, next()?, next()?);
        // Only ss writes ESTAB; in a listing of netstat, ESTAB is a truncated
        // ESTABLISHED.
        let tcp_state = state_name::tcp_state(word)
            .filter(|_| word != b"ESTAB")
            .ok_or((RowErrorKind::UnknownTcpState, word))?;
        let is_dotted = endpoint::has_dot_before_port(peer) || endpoint::has_dot_before_port(local);
        let ((local, _), (peer, peer_known_bits)) = if is_dotted {
            (self.bsd.parse_endpoint(local)?, self.bsd.parse_endpoint(peer)?)
        } else {
            (self.parse_linux_endpoint(local)?, self.parse_linux_endpoint(peer)?)
        };
        let dialect = if is_dotted { Dialect::Bsd } else { Dialect::Netstat };
        let connection = Connection { local, peer, tcp_state: Some(tcp_state), peer_known_bits };
        Ok((ParsedRow::Connection(connection), dialect))
    }

    /// Parses an address and port with a colon. The protocol does not show the address
    /// family: BusyBox and old versions of net-tools print "tcp" for IPv6 as well.
    fn parse_linux_endpoint<'a>(&mut self, word: &'a [u8]) -> Result<bsd::Endpoint, RowError<'a>> {
        let has_truncated_width = self.linux.record(word);
        let address = word.rsplitn(2, |&byte| byte == b':').nth(1).unwrap_or(word);
        // IPv4-mapped addresses are printed as IPv4, which never reaches the width.
        let may_be_truncated =
            has_truncated_width && !self.linux.is_untruncated && address.contains(&b':');
        bsd::complete_or_truncated(
            endpoint::parse_with_colon(word),
            word,
            address,
            may_be_truncated,
        )
    }
}

/// Returns true for `tcp`, `tcp4`, `tcp6`, `tcp46`, and FreeBSD's `toe4` (TCP offloaded
/// to the network card).
fn is_tcp(protocol: &[u8]) -> bool {
    let digits = protocol.strip_prefix(b"tcp").or_else(|| protocol.strip_prefix(b"toe"));
    digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_digit))
}
