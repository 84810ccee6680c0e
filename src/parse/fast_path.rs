//! The rows that nearly all of a long listing is made of, each at one look.
//!
//! In a flood there are a million rows of one form: blanks are blanks, queues are
//! short, addresses are whole. Such a row is read here from its first byte to its
//! last, eight bytes at a time where they allow it; and as it most often begins as
//! one before it did, up to the port of this host, that much is compared and not
//! read again. What comes of it is what the careful readers of
//! [`super::ss`], [`super::netstat`] and [`super::proc_net`]
//! make of it, or nothing: all that is unusual in any way is left to them, and they
//! alone say what is wrong with a row.
use std::net::{Ipv4Addr, SocketAddr};

use memchr::memchr2;

use super::capture::ByteOrder;
use crate::model::connection::{Connection, TcpState};

use super::{reader::Dialect, state_name};

mod endpoints;
mod cursor;

use cursor::Words;
use endpoints::{bracketed, hexadecimal, unbracketed};

/// What rows are expected to look like, from what has been read before them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// `ss`, with a State or without.
    Ss { has_state: bool },
    /// `netstat` of Linux. Where no wide address has been seen, one of the width
    /// to which they are cut is not ordinary.
    Netstat { is_wide: bool },
    /// `/proc/net/tcp` and `/proc/net/tcp6`.
    ProcNet(ByteOrder),
}

impl Form {
    /// The dialect that such rows are in.
    pub(super) fn dialect(self) -> Dialect {
        match self {
            Self::Ss { .. } => Dialect::Ss,
            Self::Netstat { .. } => Dialect::Netstat,
            Self::ProcNet(_) => Dialect::ProcNet,
        }
    }
}

/// Reads ordinary rows, one after the other.
pub(super) struct Swift {
    form: Form,
    /// What the latest row was read to.
    connection: Connection,
    beginnings: [Beginning; Self::KEPT],
    /// Which of them came last, and which is the next to be forgotten.
    latest: usize,
    oldest: usize,
}

/// How a row began, up to the port of this host, and what was read of that.
#[derive(Clone, Copy)]
struct Beginning {
    bytes: [u8; Self::LENGTH],
    /// 0 where nothing is known yet.
    length: usize,
    local: SocketAddr,
    tcp_state: Option<TcpState>,
}

impl Beginning {
    /// No more of a row is kept for others.
    const LENGTH: usize = 64;

    #[inline]
    fn is_of(&self, row: &[u8; Words::LENGTH]) -> bool {
        self.length > 0 && row[..self.length] == self.bytes[..self.length]
    }
}

impl Swift {
    /// How many beginnings are kept: rows of IPv4, of IPv6 and of the one in the
    /// other come mixed.
    const KEPT: usize = 4;

    /// Nothing has been read yet.
    pub(super) fn new(form: Form) -> Self {
        let nobody = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        let connection =
            Connection { local: nobody, peer: nobody, tcp_state: None, peer_cut: None };
        let none =
            Beginning { bytes: [0; Beginning::LENGTH], length: 0, local: nobody, tcp_state: None };
        Self { form, connection, beginnings: [none; Self::KEPT], latest: 0, oldest: 0 }
    }

    /// Reads the ordinary rows that `text` begins with, and hands each to `take`;
    /// gives how many, and how long their lines are.
    pub(super) fn rows(&mut self, text: &[u8], take: impl FnMut(&Connection)) -> (u64, usize) {
        // One loop for each form, with all that a row takes in it.
        match self.form {
            Form::Ss { has_state } => self.each(text, take, |it, row| it.ss(row, has_state)),
            Form::Netstat { is_wide } => self.each(text, take, |it, row| it.netstat(row, is_wide)),
            Form::ProcNet(order) => self.each(text, take, |it, row| it.proc_net(row, order)),
        }
    }

    #[inline]
    fn each(
        &mut self,
        text: &[u8],
        mut take: impl FnMut(&Connection),
        read: impl Fn(&mut Self, &mut Words<'_>) -> Option<()>,
    ) -> (u64, usize) {
        let (mut n_rows, mut rest) = (0, text);
        while let Some(mut words) = Words::of(rest)
            && read(self, &mut words).is_some()
            && let Some(length) = length(&mut words, rest)
        {
            take(&self.connection);
            rest = &rest[length..];
            n_rows += 1;
        }
        (n_rows, text.len() - rest.len())
    }

    /// `[Netid] [State] Recv-Q Send-Q Local:Port Peer:Port`.
    #[inline]
    fn ss(&mut self, words: &mut Words<'_>, has_state: bool) -> Option<()> {
        if !self.begins_alike(words) {
            words.netid()?;
            self.connection.tcp_state = match has_state {
                true => Some(tcp_state(words)?),
                false => None,
            };
            if has_state {
                words.blanks()?;
            }
            queues(words)?;
            bracketed(words, &mut self.connection.local)?;
            words.byte(b':')?;
            self.remember(words);
        }
        self.connection.local.set_port(words.port()?);
        words.blanks()?;
        bracketed(words, &mut self.connection.peer)?;
        words.byte(b':')?;
        self.connection.peer.set_port(words.port()?);
        words.is_word_end().then_some(())
    }

    /// `tcp Recv-Q Send-Q Local:Port Peer:Port State`.
    #[inline]
    fn netstat(&mut self, words: &mut Words<'_>, is_wide: bool) -> Option<()> {
        if !self.begins_alike(words) {
            words.protocol()?;
            words.blanks()?;
            queues(words)?;
            unbracketed(words, &mut self.connection.local, is_wide)?;
            words.byte(b':')?;
            // The next port may make it as wide as it is cut to.
            if is_wide || self.connection.local.is_ipv4() {
                self.remember(words);
            }
        }
        self.connection.local.set_port(words.port()?);
        words.blanks()?;
        unbracketed(words, &mut self.connection.peer, is_wide)?;
        words.byte(b':')?;
        self.connection.peer.set_port(words.port()?);
        words.blanks()?;
        // ss alone writes ESTAB; here it is ESTABLISHED, cut off.
        self.connection.tcp_state = match words.take(b"ESTABLISHED") {
            true => Some(TcpState::Established),
            false => Some(tcp_state(words).filter(|&it| it != TcpState::Established)?),
        };
        words.is_word_end().then_some(())
    }

    /// `Number: Local:Port Peer:Port State more`.
    #[inline]
    fn proc_net(&mut self, words: &mut Words<'_>, byte_order: ByteOrder) -> Option<()> {
        words.indent()?;
        words.number()?;
        words.byte(b':')?;
        words.blanks()?;
        hexadecimal(words, byte_order, &mut self.connection.local)?;
        words.byte(b' ')?;
        hexadecimal(words, byte_order, &mut self.connection.peer)?;
        words.byte(b' ')?;
        let number = u8::try_from(words.hex(2)?).ok()?;
        self.connection.tcp_state = Some(TcpState::from_number(number)?);
        words.byte(b' ')?;
        words.is_word().then_some(())
    }

    /// Whether a row begins as one of the latest did.
    #[inline]
    fn begins_alike(&mut self, words: &mut Words<'_>) -> bool {
        if !self.beginnings[self.latest].is_of(words.bytes) {
            match self.beginnings.iter().position(|it| it.is_of(words.bytes)) {
                Some(another) => self.latest = another,
                None => return false,
            }
        }
        let Beginning { length, local, tcp_state, .. } = self.beginnings[self.latest];
        words.at = length;
        (self.connection.local, self.connection.tcp_state) = (local, tcp_state);
        true
    }

    fn remember(&mut self, words: &Words<'_>) {
        let Connection { local, tcp_state, .. } = self.connection;
        let length = words.at;
        if length <= Beginning::LENGTH {
            let mut bytes = [0; Beginning::LENGTH];
            bytes[..length].copy_from_slice(&words.bytes[..length]);
            self.beginnings[self.oldest] = Beginning { bytes, length, local, tcp_state };
            self.latest = self.oldest;
            self.oldest = (self.oldest + 1) % Self::KEPT;
        }
    }
}

/// How long the line is of which a row has been read.
#[inline]
fn length(words: &mut Words<'_>, text: &[u8]) -> Option<usize> {
    // Most often that is all; columns are padded on the right, too.
    let is_end = words.indent().is_some() && words.is(b'\n');
    if is_end { Some(words.at + 1) } else { end_of_line(text, words.at) }
}

/// What follows in a line is nobody's business, as long as it cannot make a heading
/// of it: those that have a digit end in `: IPv4` or `: IPv6`.
fn end_of_line(text: &[u8], at: usize) -> Option<usize> {
    let rest = &text[at..];
    let end = memchr2(b'\n', b'I', rest)?;
    (rest[end] == b'\n').then_some(at + end + 1)
}

/// A word for a state.
fn tcp_state(words: &mut Words<'_>) -> Option<TcpState> {
    match words.take(b"ESTAB ") {
        true => {
            words.at -= 1;
            Some(TcpState::Established)
        }
        false => state_name::tcp_state(words.graphic()?),
    }
}

/// The lengths of two queues, of which nobody asks what they are.
#[inline]
fn queues(words: &mut Words<'_>) -> Option<()> {
    for _ in 0..2 {
        words.number()?;
        words.blanks()?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use memchr::memchr;

    use super::*;

    /// The first row, if it is ordinary, and how long its line is.
    fn row(swift: &mut Swift, text: &[u8]) -> Option<(Connection, usize)> {
        let line = &text[..=memchr(b'\n', text)?];
        let alone = [line, &[b'x'; Words::LENGTH]].concat();
        let mut first = None;
        let (_, length) = swift.rows(&alone, |connection| first = first.or(Some(*connection)));
        first.map(|connection| (connection, length))
    }

    /// How many of the lines are read here, and how many there are.
    fn ordinary(form: Form, text: &[u8]) -> (usize, usize) {
        let mut swift = Swift::new(form);
        // The last ones would be too near to the end.
        let text = [text, &[b'\n'; Words::LENGTH]].concat();
        let (mut rest, mut n_ordinary, mut n_lines) = (&text[..], 0, 0);
        while rest.len() > Words::LENGTH {
            let line = memchr(b'\n', rest).expect("a line has an end") + 1;
            if let Some((_, length)) = row(&mut swift, rest) {
                assert_eq!(length, line);
                n_ordinary += 1;
            }
            rest = &rest[line..];
            n_lines += 1;
        }
        (n_ordinary, n_lines)
    }

    /// All but headings, listeners with a `*`, scopes, and mapped addresses that
    /// are written in another way.
    #[test]
    fn most_rows_are_ordinary() {
        let check = |form, text: &[u8], least: usize| {
            let (n_ordinary, n_lines) = ordinary(form, text);
            assert!(n_ordinary * 100 >= n_lines * least, "{n_ordinary} of {n_lines}");
        };
        let ss = Form::Ss { has_state: true };
        check(ss, include_bytes!("../../tests/fixtures/linux/ss-tan.txt"), 90);
        check(ss, include_bytes!("../../tests/fixtures/linux/ss-tanp.txt"), 90);
        let stateless = Form::Ss { has_state: false };
        check(stateless, include_bytes!("../../tests/fixtures/linux/ss-tn-established.txt"), 90);
        let netstat = Form::Netstat { is_wide: true };
        check(netstat, include_bytes!("../../tests/fixtures/linux/netstat-natW.txt"), 90);
        check(netstat, include_bytes!("../../tests/fixtures/linux/netstat-ntWpoe.txt"), 90);
        check(netstat, include_bytes!("../../tests/fixtures/linux/busybox-nt.txt"), 90);
        let proc_net = Form::ProcNet(ByteOrder::NATIVE);
        check(proc_net, include_bytes!("../../tests/fixtures/linux/proc-net-both.txt"), 98);
    }

    #[track_caller]
    fn check(form: Form, line: &str, expected: &str) {
        let text = [line.as_bytes(), b"\n", &[b'x'; Words::LENGTH]].concat();
        let mut swift = Swift::new(form);
        let found = row(&mut swift, &text).map_or("careful".to_owned(), |(it, length)| {
            assert_eq!(length, line.len() + 1);
            format!("{:?} {} {}", it.tcp_state, it.local, it.peer)
        });
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn what_is_unusual_is_left_to_others() {
        let ss = Form::Ss { has_state: true };
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
            check(ss, line, "careful");
        }
        let narrow = Form::Netstat { is_wide: false };
        check(
            narrow,
            "tcp6 0 0 ::1:80 2001:db8::7:50000 TIME_WAIT",
            "Some(TimeWait) [::1]:80 [2001:db8::7]:50000",
        );
        check(narrow, "tcp6 0 0 ::1:80 2001:db8:1:2:3:4:50000 TIME_WAIT", "careful");
        check(narrow, "tcp 0 0 192.0.2.1:80 192.0.2.7:50000 ESTAB", "careful");
        let proc_net = Form::ProcNet(ByteOrder::Little);
        check(
            proc_net,
            "  1: 0100007F:0016 0200000A:D431 01 0",
            "Some(Established) 127.0.0.1:22 10.0.0.2:54321",
        );
        check(proc_net, "  1: 0100007f:0016 0200000A:D431 01 0", "careful");
        check(proc_net, "  1: 0100007F:0016 0200000A:D431 0D 0", "careful");
        check(proc_net, "  1: 0100007F:0016 0200000A:D431 01", "careful");
    }

    #[test]
    fn hexadecimal_digits_and_their_neighbours() {
        for byte in 0..=u8::MAX {
            let text = [[b'0', byte].as_slice(), &[b'x'; Words::LENGTH]].concat();
            let found = Words::of(&text).and_then(|mut words| words.hex(2));
            let digit = char::from(byte).to_digit(16).filter(|_| !byte.is_ascii_lowercase());
            assert_eq!(found, digit, "{byte}");
        }
    }

    #[test]
    fn a_row_that_begins_as_the_one_before() {
        let rows = "ESTAB 0 0 192.0.2.1:80 192.0.2.7:1\nESTAB 0 0 192.0.2.1:443 192.0.2.8:2\n\
                    ESTAB 0 0 192.0.2.1:x 192.0.2.8:2\nESTAB 0 0 192.0.2.10:443 192.0.2.9:3\n";
        let text = [rows.as_bytes(), &[b'x'; Words::LENGTH]].concat();
        let (mut swift, mut found, mut rest) =
            (Swift::new(Form::Ss { has_state: true }), Vec::new(), &text[..]);
        for line in rows.lines() {
            if let Some((connection, _)) = row(&mut swift, rest) {
                found.push(format!("{} {}", connection.local, connection.peer));
            }
            rest = &rest[line.len() + 1..];
        }
        assert_eq!(
            found,
            ["192.0.2.1:80 192.0.2.7:1", "192.0.2.1:443 192.0.2.8:2", "192.0.2.10:443 192.0.2.9:3"]
        );
    }
}
