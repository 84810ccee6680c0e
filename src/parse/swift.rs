//! The rows that nearly all of a long listing is made of, each at one look.
//!
//! In a flood there are a million rows of one form: blanks are blanks, queues are
//! short, addresses are whole. Such a row is read here from its first byte to its
//! last, eight bytes at a time where they allow it; and as it most often begins as
//! the one before it does, up to the port of this host, that much is compared and
//! not read again. What comes of it is what the careful readers of
//! [`super::ss`], [`super::netstat`] and [`super::proc_net`]
//! make of it, or nothing: all that is unusual in any way is left to them, and they
//! alone say what is wrong with a row.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use memchr::{memchr, memchr2, memrchr};

use crate::{
    capture::ByteOrder,
    connection::{Connection, TcpState},
};

use super::{Dialect, netstat, state_name};

mod words;

use words::Words;

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
    /// How it began, up to the port of this host; nothing where none was read.
    beginning: [u8; BEGINNING],
    length: usize,
}

/// How much of a row is kept for the next.
const BEGINNING: usize = 64;

impl Swift {
    /// Nothing has been read yet.
    pub(super) fn new(form: Form) -> Self {
        let nobody = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        let connection =
            Connection { local: nobody, peer: nobody, tcp_state: None, peer_cut: None };
        Self { form, connection, beginning: [0; BEGINNING], length: 0 }
    }

    /// Reads the row that `text` begins with, if it is ordinary and whole; gives it,
    /// and how long its line is.
    pub(super) fn row(&mut self, text: &[u8]) -> Option<(&Connection, usize)> {
        let mut words = Words::of(text)?;
        match self.form {
            Form::Ss { has_state } => self.ss(&mut words, has_state)?,
            Form::Netstat { is_wide } => self.netstat(&mut words, is_wide)?,
            Form::ProcNet(byte_order) => self.proc_net(&mut words, byte_order)?,
        }
        // Most often that is all; columns are padded on the right, too.
        let is_end = words.indent().is_some() && words.is(b'\n');
        let length = if is_end { words.at + 1 } else { end_of_line(text, words.at)? };
        Some((&self.connection, length))
    }

    /// `[Netid] [State] Recv-Q Send-Q Local:Port Peer:Port`.
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

    /// Whether a row begins as the latest one did; if not, that is forgotten, as
    /// what was read of it gives way to what is read now.
    fn begins_alike(&mut self, words: &mut Words<'_>) -> bool {
        let is_alike = self.length > 0 && words.take(&self.beginning[..self.length]);
        if !is_alike {
            self.length = 0;
        }
        is_alike
    }

    fn remember(&mut self, words: &Words<'_>) {
        if let Some(beginning) = self.beginning.get_mut(..words.at) {
            beginning.copy_from_slice(&words.bytes[..words.at]);
            self.length = words.at;
        }
    }
}

/// How long the line is of which a row has been read as far as `at`.
///
/// What may follow in it is nobody's business, as long as it cannot make a heading
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
fn queues(words: &mut Words<'_>) -> Option<()> {
    for _ in 0..2 {
        words.number()?;
        words.blanks()?;
    }
    Some(())
}

// An end is put where it belongs. To hand it through the hands of several would
// take a third of the time that is to be saved.

/// `192.0.2.1` or `[2001:db8::1]`.
fn bracketed(words: &mut Words<'_>, end: &mut SocketAddr) -> Option<()> {
    if words.take(b"[") {
        let length = memchr(b']', words.ahead(LONGEST))?;
        *end = SocketAddr::new(ipv6(words, length)?.into(), 0);
        words.byte(b']')
    } else {
        *end = SocketAddr::new(words.ipv4()?.into(), 0);
        Some(())
    }
}

/// `192.0.2.1` or `2001:db8::1`.
fn unbracketed(words: &mut Words<'_>, end: &mut SocketAddr, is_wide: bool) -> Option<()> {
    if let Some(address) = words.ipv4() {
        *end = SocketAddr::new(address.into(), 0);
        return Some(());
    }
    let word = words.ahead(LONGEST);
    let word = &word[..memchr(b' ', word)?];
    if !is_wide && netstat::Width::tells(word) {
        return None;
    }
    let length = memrchr(b':', word)?;
    *end = SocketAddr::new(ipv6(words, length)?.into(), 0);
    Some(())
}

/// No address with its port is longer, where it has no scope.
const LONGEST: usize = 48;

/// `0100007F:0016`, or with four such words.
fn hexadecimal(words: &mut Words<'_>, byte_order: ByteOrder, end: &mut SocketAddr) -> Option<()> {
    let word = |words: &mut Words<'_>| {
        words.hex(8).map(|number| match byte_order {
            ByteOrder::Little => number.to_le_bytes(),
            ByteOrder::Big => number.to_be_bytes(),
        })
    };
    let first = word(words)?;
    let address: IpAddr = match words.is(b':') {
        true => Ipv4Addr::from(first).into(),
        false => {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&first);
            for four in octets[4..].chunks_exact_mut(4) {
                four.copy_from_slice(&word(words)?);
            }
            Ipv6Addr::from(octets).into()
        }
    };
    words.byte(b':')?;
    *end = SocketAddr::new(address, u16::try_from(words.hex(4)?).ok()?);
    Some(())
}

/// An address of that length, without a scope.
fn ipv6(words: &mut Words<'_>, length: usize) -> Option<Ipv6Addr> {
    let end = words.at + length;
    if words.take(b"::ffff:") {
        if let Some(address) = words.ipv4() {
            return (words.at == end).then(|| address.to_ipv6_mapped());
        }
        words.at -= b"::ffff:".len();
    }
    let address = groups(words.ahead(length))?;
    words.at = end;
    Some(address)
}

/// Groups of up to four digits between colons, and once between two of them none.
fn groups(text: &[u8]) -> Option<Ipv6Addr> {
    let (mut groups, mut n_groups, mut gap, mut rest) = ([0; 8], 0, None, text);
    if let Some(behind) = text.strip_prefix(b"::") {
        (gap, rest) = (Some(0), behind);
    }
    while !rest.is_empty() {
        let n_digits;
        (*groups.get_mut(n_groups)?, n_digits) = words::group(rest)?;
        n_groups += 1;
        rest = match &rest[n_digits..] {
            [b':', b':', behind @ ..] if gap.is_none() => {
                gap = Some(n_groups);
                behind
            }
            [b':', behind @ ..] if !behind.is_empty() => behind,
            [] => break,
            _ => return None,
        };
    }
    match gap {
        None if n_groups == 8 => {}
        Some(gap) if n_groups < 8 => groups[gap..].rotate_right(8 - n_groups),
        _ => return None,
    }
    Some(Ipv6Addr::from(groups))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// How many of the lines are read here, and how many there are.
    fn ordinary(form: Form, text: &[u8]) -> (usize, usize) {
        let mut swift = Swift::new(form);
        // The last ones would be too near to the end.
        let text = [text, &[b'\n'; Words::LENGTH]].concat();
        let (mut rest, mut n_ordinary, mut n_lines) = (&text[..], 0, 0);
        while rest.len() > Words::LENGTH {
            let line = memchr(b'\n', rest).expect("a line has an end") + 1;
            if let Some((_, length)) = swift.row(rest) {
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
        check(ss, include_bytes!("../../tests/captures/linux/ss-tan.txt"), 90);
        check(ss, include_bytes!("../../tests/captures/linux/ss-tanp.txt"), 90);
        let stateless = Form::Ss { has_state: false };
        check(stateless, include_bytes!("../../tests/captures/linux/ss-tn-established.txt"), 90);
        let netstat = Form::Netstat { is_wide: true };
        check(netstat, include_bytes!("../../tests/captures/linux/netstat-natW.txt"), 90);
        check(netstat, include_bytes!("../../tests/captures/linux/netstat-ntWpoe.txt"), 90);
        check(netstat, include_bytes!("../../tests/captures/linux/busybox-nt.txt"), 90);
        let proc_net = Form::ProcNet(ByteOrder::NATIVE);
        check(proc_net, include_bytes!("../../tests/captures/linux/proc-net-both.txt"), 98);
    }

    #[track_caller]
    fn check(form: Form, line: &str, expected: &str) {
        let text = [line.as_bytes(), b"\n", &[b'x'; Words::LENGTH]].concat();
        let mut swift = Swift::new(form);
        let found = swift.row(&text).map_or("careful".to_owned(), |(it, length)| {
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
            if let Some((connection, _)) = swift.row(rest) {
                found.push(format!("{} {}", connection.local, connection.peer));
            }
            rest = &rest[line.len() + 1..];
        }
        assert_eq!(
            found,
            ["192.0.2.1:80 192.0.2.7:1", "192.0.2.1:443 192.0.2.8:2", "192.0.2.10:443 192.0.2.9:3"]
        );
    }

    proptest! {
        #[test]
        fn addresses_are_what_the_standard_library_takes(
            v4 in "[0-9]{1,3}(\\.[0-9]{1,3}){3}|[0-9a.:]{0,16}",
            v6 in "[0-9a-f]{0,5}(::?[0-9a-f]{0,5}){0,9}",
        ) {
            for text in [v4, v6] {
                let padded = [text.as_bytes(), b" ", &[b'x'; Words::LENGTH]].concat();
                let mut words = Words::of(&padded).expect("it is long enough");
                let found = words.ipv4().filter(|_| words.at == text.len());
                prop_assert_eq!(found, text.parse().ok(), "{:?}", text);
                words.at = 0;
                let found = ipv6(&mut words, text.len());
                prop_assert_eq!(found, text.parse().ok(), "{:?}", text);
            }
        }
    }
}
