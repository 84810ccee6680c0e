//! Fast path for the ordinary rows, which are nearly all rows of a long listing.
//!
//! In a flood, a listing has a million rows of one format: columns separated by
//! spaces, short queues, complete addresses. The fast path reads such a row in a single
//! pass, eight bytes at a time where possible. Most rows share their start, up to the
//! local port, with a recent row; the shared start is compared and not parsed again.
//! The result of the fast path is either the same as that of the regular parsers
//! [`super::ss`], [`super::netstat`] and [`super::proc_net`], or none: any unusual row is
//! left to the regular parsers, and only they report errors.
use std::net::{Ipv4Addr, SocketAddr};

use memchr::memchr2;

use super::capture::ByteOrder;
use crate::model::connection::{Connection, TcpState};

use super::{dialect::Dialect, state_name};

mod endpoints;
mod cursor;

use cursor::RowCursor;
use endpoints::{read_bracketed, read_hexadecimal, read_unbracketed};

/// Expected format of the next rows, derived from the heading and the previous rows.
#[derive(Clone, Copy, Debug)]
pub(super) enum RowFormat {
    /// `ss`, with or without the State column.
    Ss { has_state: bool },
    /// `netstat` of Linux. Unless a previous row shows that the listing is not truncated,
    /// an IPv6 address of at least the truncation width is left to the regular parser.
    Netstat { is_untruncated: bool },
    /// `/proc/net/tcp` and `/proc/net/tcp6`.
    ProcNet(ByteOrder),
}

impl RowFormat {
    /// Returns the dialect of the rows.
    pub(super) fn dialect(self) -> Dialect {
        match self {
            Self::Ss { .. } => Dialect::Ss,
            Self::Netstat { .. } => Dialect::Netstat,
            Self::ProcNet(_) => Dialect::ProcNet,
        }
    }
}

/// Reader of consecutive ordinary rows.
pub(super) struct FastReader {
    format: RowFormat,
    /// Connection of the latest row.
    connection: Connection,
    prefixes: [RowPrefix; Self::MAX_PREFIXES],
    /// Index of the prefix of the latest row.
    latest: usize,
    /// Index of the prefix that is replaced next.
    oldest: usize,
}

/// Start of a row, up to the local port, and the values parsed from it.
#[derive(Clone, Copy)]
struct RowPrefix {
    bytes: [u8; Self::MAX_BYTES],
    /// Number of used `bytes`; 0 for an unused prefix.
    length: usize,
    local: SocketAddr,
    tcp_state: Option<TcpState>,
}

impl RowPrefix {
    /// Longest prefix that is stored.
    const MAX_BYTES: usize = 64;

    #[inline]
    fn matches(&self, row: &[u8; RowCursor::WINDOW_BYTES]) -> bool {
        self.length > 0 && row[..self.length] == self.bytes[..self.length]
    }
}

impl FastReader {
    /// Number of stored prefixes: a listing mixes rows with IPv4, IPv6 and IPv4-mapped
    /// addresses.
    const MAX_PREFIXES: usize = 4;

    /// Creates a reader without stored prefixes.
    pub(super) fn new(format: RowFormat) -> Self {
        let unspecified = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        let connection = Connection {
            local: unspecified,
            peer: unspecified,
            tcp_state: None,
            peer_known_bits: None,
        };
        let unused = RowPrefix {
            bytes: [0; RowPrefix::MAX_BYTES],
            length: 0,
            local: unspecified,
            tcp_state: None,
        };
        Self { format, connection, prefixes: [unused; Self::MAX_PREFIXES], latest: 0, oldest: 0 }
    }

    /// Reads the ordinary rows at the start of `text` and passes each connection to
    /// `accept`. Returns the number of rows and the length of their lines in bytes.
    pub(super) fn read_rows(
        &mut self,
        text: &[u8],
        accept: impl FnMut(&Connection),
    ) -> (u64, usize) {
        // One loop per format, so that the compiler can inline the whole parser of a row.
        match self.format {
            RowFormat::Ss { has_state } => {
                self.read_each(text, accept, |it, row| it.read_ss(row, has_state))
            }
            RowFormat::Netstat { is_untruncated } => {
                self.read_each(text, accept, |it, row| it.read_netstat(row, is_untruncated))
            }
            RowFormat::ProcNet(byte_order) => {
                self.read_each(text, accept, |it, row| it.read_proc_net(row, byte_order))
            }
        }
    }

    /// Calls `read_row` for each row, until a row is not ordinary.
    #[inline]
    fn read_each(
        &mut self,
        text: &[u8],
        mut accept: impl FnMut(&Connection),
        read_row: impl Fn(&mut Self, &mut RowCursor<'_>) -> Option<()>,
    ) -> (u64, usize) {
        let (mut n_rows, mut rest) = (0, text);
        while let Some(mut cursor) = RowCursor::new(rest)
            && read_row(self, &mut cursor).is_some()
            && let Some(length) = line_length(&mut cursor, rest)
        {
            accept(&self.connection);
            rest = &rest[length..];
            n_rows += 1;
        }
        (n_rows, text.len() - rest.len())
    }

    /// Reads `[Netid] [State] Recv-Q Send-Q Local:Port Peer:Port`.
    #[inline]
    fn read_ss(&mut self, cursor: &mut RowCursor<'_>, has_state: bool) -> Option<()> {
        if !self.reuse_prefix(cursor) {
            cursor.skip_netid()?;
            self.connection.tcp_state = match has_state {
                true => Some(read_tcp_state(cursor)?),
                false => None,
            };
            if has_state {
                cursor.skip_blanks()?;
            }
            skip_queues(cursor)?;
            read_bracketed(cursor, &mut self.connection.local)?;
            cursor.expect_byte(b':')?;
            self.store_prefix(cursor);
        }
        self.connection.local.set_port(cursor.read_port()?);
        cursor.skip_blanks()?;
        read_bracketed(cursor, &mut self.connection.peer)?;
        cursor.expect_byte(b':')?;
        self.connection.peer.set_port(cursor.read_port()?);
        cursor.is_at_word_end().then_some(())
    }

    /// Reads `tcp Recv-Q Send-Q Local:Port Peer:Port State`.
    #[inline]
    fn read_netstat(&mut self, cursor: &mut RowCursor<'_>, is_untruncated: bool) -> Option<()> {
        if !self.reuse_prefix(cursor) {
            cursor.skip_protocol()?;
            cursor.skip_blanks()?;
            skip_queues(cursor)?;
            read_unbracketed(cursor, &mut self.connection.local, is_untruncated)?;
            cursor.expect_byte(b':')?;
            // A longer port in a later row may reach the truncation width.
            if is_untruncated || self.connection.local.is_ipv4() {
                self.store_prefix(cursor);
            }
        }
        self.connection.local.set_port(cursor.read_port()?);
        cursor.skip_blanks()?;
        read_unbracketed(cursor, &mut self.connection.peer, is_untruncated)?;
        cursor.expect_byte(b':')?;
        self.connection.peer.set_port(cursor.read_port()?);
        cursor.skip_blanks()?;
        // Only ss writes ESTAB; in a listing of netstat, ESTAB is a truncated
        // ESTABLISHED.
        self.connection.tcp_state = match cursor.skip_if_next(b"ESTABLISHED") {
            true => Some(TcpState::Established),
            false => Some(
                read_tcp_state(cursor).filter(|&tcp_state| tcp_state != TcpState::Established)?,
            ),
        };
        cursor.is_at_word_end().then_some(())
    }

    /// Reads `Number: Local:Port Peer:Port State more`.
    #[inline]
    fn read_proc_net(&mut self, cursor: &mut RowCursor<'_>, byte_order: ByteOrder) -> Option<()> {
        cursor.skip_optional_blanks()?;
        cursor.skip_number()?;
        cursor.expect_byte(b':')?;
        cursor.skip_blanks()?;
        read_hexadecimal(cursor, byte_order, &mut self.connection.local)?;
        cursor.expect_byte(b' ')?;
        read_hexadecimal(cursor, byte_order, &mut self.connection.peer)?;
        cursor.expect_byte(b' ')?;
        let number = u8::try_from(cursor.read_hex(2)?).ok()?;
        self.connection.tcp_state = Some(TcpState::from_number(number)?);
        cursor.expect_byte(b' ')?;
        cursor.is_at_word().then_some(())
    }

    /// Uses the values of a stored prefix if the row starts with it. Returns true if it
    /// does.
    #[inline]
    fn reuse_prefix(&mut self, cursor: &mut RowCursor<'_>) -> bool {
        if !self.prefixes[self.latest].matches(cursor.bytes) {
            match self.prefixes.iter().position(|it| it.matches(cursor.bytes)) {
                Some(index) => self.latest = index,
                None => return false,
            }
        }
        let RowPrefix { length, local, tcp_state, .. } = self.prefixes[self.latest];
        cursor.position = length;
        (self.connection.local, self.connection.tcp_state) = (local, tcp_state);
        true
    }

    /// Stores the row up to the current position, and its values, as a prefix.
    fn store_prefix(&mut self, cursor: &RowCursor<'_>) {
        let Connection { local, tcp_state, .. } = self.connection;
        let length = cursor.position;
        if length <= RowPrefix::MAX_BYTES {
            let mut bytes = [0; RowPrefix::MAX_BYTES];
            bytes[..length].copy_from_slice(&cursor.bytes[..length]);
            self.prefixes[self.oldest] = RowPrefix { bytes, length, local, tcp_state };
            self.latest = self.oldest;
            self.oldest = (self.oldest + 1) % Self::MAX_PREFIXES;
        }
    }
}

/// Returns the length of the line whose row has been read, including its terminator.
#[inline]
fn line_length(cursor: &mut RowCursor<'_>, text: &[u8]) -> Option<usize> {
    // Usually only padding follows the row.
    let is_end = cursor.skip_optional_blanks().is_some() && cursor.is_at_byte(b'\n');
    if is_end { Some(cursor.position + 1) } else { end_of_line(text, cursor.position) }
}

/// Returns the end of the line at `position`, unless the rest of the line contains an
/// `I`. The rest is ignored, but it must not turn the row into a heading: headings with
/// digits may end in `: IPv4` or `: IPv6`.
fn end_of_line(text: &[u8], position: usize) -> Option<usize> {
    let rest = &text[position..];
    let end = memchr2(b'\n', b'I', rest)?;
    (rest[end] == b'\n').then_some(position + end + 1)
}

/// Reads the name of a TCP state.
fn read_tcp_state(cursor: &mut RowCursor<'_>) -> Option<TcpState> {
    match cursor.skip_if_next(b"ESTAB ") {
        true => {
            cursor.position -= 1;
            Some(TcpState::Established)
        }
        false => state_name::tcp_state(cursor.read_word()?),
    }
}

/// Skips the lengths of the two queues, which are not used.
#[inline]
fn skip_queues(cursor: &mut RowCursor<'_>) -> Option<()> {
    for _ in 0..2 {
        cursor.skip_number()?;
        cursor.skip_blanks()?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use memchr::memchr;

    use super::*;

    /// Reads the first row of `text`. Returns its connection and the length of its line,
    /// or `None` if the row is not ordinary.
    fn read_first_row(reader: &mut FastReader, text: &[u8]) -> Option<(Connection, usize)> {
        let line = &text[..=memchr(b'\n', text)?];
        let padded = [line, &[b'x'; RowCursor::WINDOW_BYTES]].concat();
        let mut first = None;
        let (_, length) =
            reader.read_rows(&padded, |connection| first = first.or(Some(*connection)));
        first.map(|connection| (connection, length))
    }

    /// Returns the number of lines that the fast path reads, and the number of lines.
    fn count_ordinary(format: RowFormat, text: &[u8]) -> (usize, usize) {
        let mut reader = FastReader::new(format);
        // Pad the text, because the last lines are shorter than the window.
        let text = [text, &[b'\n'; RowCursor::WINDOW_BYTES]].concat();
        let (mut rest, mut n_ordinary, mut n_lines) = (&text[..], 0, 0);
        while rest.len() > RowCursor::WINDOW_BYTES {
            let line_length = memchr(b'\n', rest).expect("the padding has line ends") + 1;
            if let Some((_, length)) = read_first_row(&mut reader, rest) {
                assert_eq!(length, line_length);
                n_ordinary += 1;
            }
            rest = &rest[line_length..];
            n_lines += 1;
        }
        (n_ordinary, n_lines)
    }

    /// The exceptions are headings, listeners with a `*`, scopes, and IPv4-mapped addresses
    /// in another notation.
    #[test]
    fn most_rows_of_fixtures_are_ordinary() {
        let check = |format, text: &[u8], min_percent: usize| {
            let (n_ordinary, n_lines) = count_ordinary(format, text);
            assert!(n_ordinary * 100 >= n_lines * min_percent, "{n_ordinary} of {n_lines}");
        };
        let ss = RowFormat::Ss { has_state: true };
        check(ss, include_bytes!("../../tests/fixtures/linux/ss-tan.txt"), 90);
        check(ss, include_bytes!("../../tests/fixtures/linux/ss-tanp.txt"), 90);
        let stateless = RowFormat::Ss { has_state: false };
        check(stateless, include_bytes!("../../tests/fixtures/linux/ss-tn-established.txt"), 90);
        let netstat = RowFormat::Netstat { is_untruncated: true };
        check(netstat, include_bytes!("../../tests/fixtures/linux/netstat-natW.txt"), 90);
        check(netstat, include_bytes!("../../tests/fixtures/linux/netstat-ntWpoe.txt"), 90);
        check(netstat, include_bytes!("../../tests/fixtures/linux/busybox-nt.txt"), 90);
        let proc_net = RowFormat::ProcNet(ByteOrder::NATIVE);
        check(proc_net, include_bytes!("../../tests/fixtures/linux/proc-net-both.txt"), 98);
    }

    #[track_caller]
    fn check(format: RowFormat, line: &str, expected: &str) {
        let text = [line.as_bytes(), b"\n", &[b'x'; RowCursor::WINDOW_BYTES]].concat();
        let mut reader = FastReader::new(format);
        let row = read_first_row(&mut reader, &text);
        let rendered = row.map_or("unsupported".to_owned(), |(connection, length)| {
            assert_eq!(length, line.len() + 1);
            let Connection { local, peer, tcp_state, .. } = connection;
            format!("{tcp_state:?} {local} {peer}")
        });
        assert_eq!(rendered, expected, "{line}");
    }

    #[test]
    fn unusual_rows_are_not_read() {
        let ss = RowFormat::Ss { has_state: true };
        check(
            ss,
            "ESTAB 0 0 192.0.2.1:80 192.0.2.7:50000",
            "Some(Established) 192.0.2.1:80 192.0.2.7:50000",
        );
        check(
            ss,
            "SYN-RECV 0 0 [::1]:80 [::ffff:192.0.2.7]:50000 x",
            "Some(SynRecv) [::1]:80 [::ffff:192.0.2.7]:50000",
        );
        for line in [
            "ESTAB 0 0 192.0.2.1:80 192.0.2.07:50000",
            "ESTAB 0 0 192.0.2.1:80 192.0.2.256:50000",
            "ESTAB 0 0 192.0.2.1:80 192.0.2.2222222222222222:50000",
            "ESTAB 0 0 192.0.2.1:80 192.0.22222222222222222.2:50000",
            "ESTAB 0 0 192.0.2.1:80 19222222222222222.0.2.2:50000",
            "ESTAB 0 0 192.0.2.1:80 192.0.2.7:65536",
            "ESTAB 0 0 192.0.2.1:80 192.0.2.7:*",
            "ESTAB 0 0 192.0.2.1%eth0:80 192.0.2.7:50000",
            "ESTAB 0 0 192.0.2.1:80 192.0.2.7:50000 : IPv6",
            "ESTAB 0 0 [::1]:80 [1::2::3]:50000",
            "ESTAB 0 0 [::1]:80 [1:2:3:4:5:6:7::8]:50000",
            "ESTAB 0 0 [::1]:80 [12345::8]:50000",
            "ESTAB 0 0 [::1]:80 [1:]:50000",
            "ESTAB 0 x 192.0.2.1:80 192.0.2.7:50000",
            "ESTABL 0 0 192.0.2.1:80 192.0.2.7:50000",
            " ESTAB 0 0 192.0.2.1:80 192.0.2.7:50000",
        ] {
            check(ss, line, "unsupported");
        }
        let maybe_truncated = RowFormat::Netstat { is_untruncated: false };
        check(
            maybe_truncated,
            "tcp6 0 0 ::1:80 2001:db8::7:50000 TIME_WAIT",
            "Some(TimeWait) [::1]:80 [2001:db8::7]:50000",
        );
        check(maybe_truncated, "tcp6 0 0 ::1:80 2001:db8:1:2:3:4:50000 TIME_WAIT", "unsupported");
        check(maybe_truncated, "tcp 0 0 192.0.2.1:80 192.0.2.7:50000 ESTAB", "unsupported");
        let proc_net = RowFormat::ProcNet(ByteOrder::Little);
        check(
            proc_net,
            "  1: 0100007F:0016 0200000A:D431 01 0",
            "Some(Established) 127.0.0.1:22 10.0.0.2:54321",
        );
        check(proc_net, "  1: 0100007f:0016 0200000A:D431 01 0", "unsupported");
        check(proc_net, "  1: 0100007F:0016 0200000A:D431 0D 0", "unsupported");
        check(proc_net, "  1: 0100007F:0016 0200000A:D431 01", "unsupported");
    }

    #[test]
    fn only_uppercase_hexadecimal_digits_are_read() {
        for byte in 0..=u8::MAX {
            let text = [[b'0', byte].as_slice(), &[b'x'; RowCursor::WINDOW_BYTES]].concat();
            let found = RowCursor::new(&text).and_then(|mut cursor| cursor.read_hex(2));
            let digit = char::from(byte).to_digit(16).filter(|_| !byte.is_ascii_lowercase());
            assert_eq!(found, digit, "{byte}");
        }
    }

    #[test]
    fn stored_prefix_does_not_change_the_result() {
        let rows = "ESTAB 0 0 192.0.2.1:80 192.0.2.7:1\nESTAB 0 0 192.0.2.1:443 192.0.2.8:2\n\
                    ESTAB 0 0 192.0.2.1:x 192.0.2.8:2\nESTAB 0 0 192.0.2.10:443 192.0.2.9:3\n";
        let text = [rows.as_bytes(), &[b'x'; RowCursor::WINDOW_BYTES]].concat();
        let mut reader = FastReader::new(RowFormat::Ss { has_state: true });
        let (mut endpoints, mut rest) = (Vec::new(), &text[..]);
        for line in rows.lines() {
            if let Some((connection, _)) = read_first_row(&mut reader, rest) {
                endpoints.push(format!("{} {}", connection.local, connection.peer));
            }
            rest = &rest[line.len() + 1..];
        }
        assert_eq!(
            endpoints,
            ["192.0.2.1:80 192.0.2.7:1", "192.0.2.1:443 192.0.2.8:2", "192.0.2.10:443 192.0.2.9:3"]
        );
    }
}
