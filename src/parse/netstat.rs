//! Rows of net-tools and BusyBox: `tcp 0 0 192.0.2.1:80 203.0.113.7:50000 ESTABLISHED …`.
//!
//! The BSDs, macOS and AIX print the same columns, with a dot before the port;
//! bsd.rs reads their addresses.
use crate::model::connection::Connection;

use super::{
    bsd, endpoint,
    reader::{Dialect, Problem},
    row::{Faulty, Row, fields},
    state_name,
};

/// Protocols of rows that are no TCP connections.
const OTHER: [&[u8]; 15] = [
    b"udp", b"raw", b"unix", b"icm", b"ip", b"sctp", b"dccp", b"igmp", b"l2cap", b"rfcomm",
    b"divert", b"mptcp", b"kevt", b"kctl", b"vsock",
];

/// How far the addresses of one listing can be trusted.
///
/// net-tools without `-W` cuts an address so that it and its port have
/// [`WIDTH`](Self::WIDTH) characters between them (`addr_do_one` in its
/// `netstat.c`). What is left can read as another address, and often does. A
/// row that is wider than that shows that nothing was cut.
#[derive(Debug, Default)]
pub(super) struct Width {
    wide: bool,
}

impl Width {
    const WIDTH: usize = 22;

    /// Takes note of an address and port; says whether it may be cut.
    fn fills(&mut self, word: &[u8]) -> bool {
        // The colon is printed beside them.
        let width = word.len().saturating_sub(1);
        self.wide |= width > Self::WIDTH;
        width == Self::WIDTH
    }

    /// Whether an address and port has the width to which they are cut, or shows
    /// by a greater one that they are not.
    pub(super) fn tells(word: &[u8]) -> bool {
        word.len() > Self::WIDTH
    }
}

/// The columns of a netstat listing, as far as it has been read.
#[derive(Debug, Default)]
pub(super) struct Columns {
    colon: Width,
    dot: bsd::Width,
}

impl Columns {
    /// Whether a row has been seen that would have been cut, were rows cut.
    pub(super) fn are_wide(&self) -> bool {
        self.colon.wide || self.dot.wide
    }

    /// Whether one of those has been seen that Linux prints.
    pub(super) fn is_wide(&self) -> bool {
        self.colon.wide
    }

    /// Reads a row.
    pub(super) fn row<'a>(&mut self, line: &'a [u8]) -> Result<(Row, Dialect), Faulty<'a>> {
        let mut fields = fields(line);
        let mut next = || fields.next().ok_or((Problem::MissingField, line));
        let protocol = next()?;
        if !is_tcp(protocol) {
            let is_known = OTHER.iter().any(|other| protocol.starts_with(other));
            return if is_known {
                Ok((Row::Other, Dialect::Netstat))
            } else {
                Err((Problem::Row, line))
            };
        }
        for queue in [next()?, next()?] {
            endpoint::decimal(queue).ok_or((Problem::Number, queue))?;
        }
        let (local, peer, word) = (next()?, next()?, next()?);
        // ss alone writes ESTAB; here it is ESTABLISHED, cut off.
        let tcp_state = state_name::tcp_state(word)
            .filter(|_| word != b"ESTAB")
            .ok_or((Problem::TcpState, word))?;
        let is_dotted = endpoint::has_dot(peer) || endpoint::has_dot(local);
        let ((local, _), (peer, peer_cut)) = if is_dotted {
            (self.dot.endpoint(local)?, self.dot.endpoint(peer)?)
        } else {
            (self.colon_endpoint(local)?, self.colon_endpoint(peer)?)
        };
        let dialect = if is_dotted { Dialect::Bsd } else { Dialect::Netstat };
        let connection = Connection { local, peer, tcp_state: Some(tcp_state), peer_cut };
        Ok((Row::Connection(connection), dialect))
    }

    /// The protocol is not asked for the family: BusyBox and old versions of
    /// net-tools call IPv6 "tcp" too.
    fn colon_endpoint<'a>(&mut self, word: &'a [u8]) -> Result<bsd::Endpoint, Faulty<'a>> {
        let fills = self.colon.fills(word);
        let address = word.rsplitn(2, |&byte| byte == b':').nth(1).unwrap_or(word);
        // An IPv4-mapped address is printed as IPv4, which is never so long.
        let may_be_cut = fills && !self.colon.wide && address.contains(&b':');
        bsd::whole_or_cut(endpoint::colon(word), word, address, may_be_cut)
    }
}

/// `tcp`, `tcp4`, `tcp6`, `tcp46`, and FreeBSD's `toe4`, which a network card
/// speaks by itself.
fn is_tcp(protocol: &[u8]) -> bool {
    let digits = protocol.strip_prefix(b"tcp").or_else(|| protocol.strip_prefix(b"toe"));
    digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_digit))
}
