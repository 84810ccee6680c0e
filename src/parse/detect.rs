//! What kind of listing a line belongs to, told from its text.
//!
//! Headings are translated, and columns come and go, so as little as possible
//! is asked of them. Rows are asked where headings were left out.
use std::sync::OnceLock;

use regex::bytes::Regex;

use super::state_name;

/// Which table the lines that follow belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// The columns of netstat on Linux, the BSDs, macOS, AIX and Windows, whose
    /// rows all begin with a protocol.
    Protocol,
    Ss,
    ProcNet,
    Solaris,
    /// The flows of connection tracking, which have no heading.
    Conntrack,
    /// Known, and without TCP connections.
    Elsewhere,
}

/// A regular expression, compiled when a line is first held against it.
struct Pattern {
    text: &'static str,
    compiled: OnceLock<Regex>,
}

impl Pattern {
    const fn new(text: &'static str) -> Self {
        Self { text, compiled: OnceLock::new() }
    }

    fn is_match(&self, line: &[u8]) -> bool {
        let compile = || Regex::new(self.text).expect("the pattern is a literal");
        self.compiled.get_or_init(compile).is_match(line)
    }
}

/// The table that `line` is the heading of.
pub(super) fn heading(line: &[u8]) -> Option<Table> {
    // In this order: Windows and net-tools put "Proto" before the Unix sockets
    // too, whose columns say what they are.
    static HEADINGS: [(Pattern, Table); 9] = [
        // /proc/net/udp and raw have the columns of tcp, and one more.
        (Pattern::new(r"(?-u)^\s*sl\s+local_address\s.*\sdrops\s*$"), Table::Elsewhere),
        (Pattern::new(r"(?-u)^\s*sl\s+local_address\s"), Table::ProcNet),
        (Pattern::new(r"(?-u)Local Address:Port\s+Peer Address:Port"), Table::Ss),
        (
            Pattern::new(r"(?-u)^TCP(: IPv[46])?\s*$|\bSwind\s+Send-Q\s+Rwind\s+Recv-Q\s+State\b"),
            Table::Solaris,
        ),
        (Pattern::new(r"(?-u)^(UDP|SCTP|RAW|ICMP|IP)(:( IPv[46])?)?\s*$"), Table::Elsewhere),
        (Pattern::new(r"(?-u)^\s*Proto\s"), Table::Protocol),
        // In the languages of net-tools, which all write UNIX so.
        (
            Pattern::new(r"(?-u)^(Active|Aktiv|Aktiiv|Sockets|Domain sockets|\xE7\xA8\xBC).*UNIX"),
            Table::Elsewhere,
        ),
        (
            Pattern::new(
                r"(?-u)^Active .*(kernel|Multipath|VSock|Bluetooth|SCTP|IPX|AX\.25|X\.25)",
            ),
            Table::Elsewhere,
        ),
        (Pattern::new(r"(?-u)^(Registered kernel|Kernel (IP|IPv6|Interface)\b)"), Table::Elsewhere),
    ];
    HEADINGS.iter().find(|(pattern, _)| pattern.is_match(line)).map(|&(_, table)| table)
}

/// Whether `line` may be a heading at all: a connection has ports, so that a
/// line without a digit is none. Some headings of Solaris, NetBSD and macOS have
/// one all the same.
pub(super) fn may_be_heading(line: &[u8]) -> bool {
    !line.iter().any(u8::is_ascii_digit)
        || line.ends_with(b": IPv4")
        || line.ends_with(b": IPv6")
        || line.starts_with(b"Active ")
        || line.starts_with(b"Proto ")
}

/// Whether the columns of a heading are those of connections. In a language that
/// translates them, they follow their title, and need not be asked.
pub(super) fn has_addresses(line: &[u8]) -> bool {
    static ADDRESSES: Pattern = Pattern::new(r"(?-u)\bLocal Address\s+Foreign Address\b");
    ADDRESSES.is_match(line)
}

/// Whether a line begins as a row does. If it is none, it is cut off or has
/// names where numbers should be.
pub(super) fn begins_row(line: &[u8]) -> bool {
    let word = line.split(u8::is_ascii_whitespace).find(|word| !word.is_empty());
    word.is_some_and(|word| {
        matches!(word, b"tcp" | b"TCP") || state_name::tcp_state(word).is_some()
    })
}

/// The table that `line` is a row of, where no heading was there to tell.
pub(super) fn row(line: &[u8]) -> Option<Table> {
    static ROWS: [(Pattern, Table); 5] = [
        (
            Pattern::new(r"(?-u)^(ipv[46]\s+[0-9]+\s+)?\S+\s+[0-9]+\s+([0-9]+\s+)?(\S+\s+)?src="),
            Table::Conntrack,
        ),
        (Pattern::new(r"(?-u)^\s*[0-9]+: [0-9A-F]{8}([0-9A-F]{24})?:[0-9A-F]{4} "), Table::ProcNet),
        // The word after the addresses tells netstat from ss with a Netid.
        (
            Pattern::new(
                r"(?-u)^(\s*TCP\s+\S+:|(tcp[0-9]*\s+[0-9]+\s+[0-9]+\s+\S+\s+\S+\s+[^\s:(]+(\s|$)))",
            ),
            Table::Protocol,
        ),
        (
            Pattern::new(
                r"(?-u)^(tcp\s+)?([A-Z][A-Z0-9-]+\s+)?[0-9]+\s+[0-9]+\s+\S+:\S+\s+\S+:\S+(\s|$)",
            ),
            Table::Ss,
        ),
        (Pattern::new(r"(?-u)^\s*\S+\.\S+\s+\S+\.\S+(\s+[0-9]+){4}\s+[A-Z]"), Table::Solaris),
    ];
    let line = line.trim_ascii_start();
    ROWS.iter().find(|(pattern, _)| pattern.is_match(line)).map(|&(_, table)| table)
}

/// Whether a title is that of connections, in any language.
pub(super) fn names_internet(line: &[u8]) -> bool {
    ["nternet", "インターネット"]
        .into_iter()
        .any(|word| line.windows(word.len()).any(|it| it == word.as_bytes()))
}

/// Windows alone writes its protocols in capitals.
pub(super) fn is_windows(line: &[u8]) -> bool {
    let word = line.trim_ascii_start();
    word.starts_with(b"TCP") || word.starts_with(b"UDP")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, as_heading: Option<Table>, as_row: Option<Table>) {
        let line = line.as_bytes();
        let found = if may_be_heading(line) { heading(line) } else { None };
        assert_eq!((found, row(line)), (as_heading, as_row));
    }

    #[test]
    fn headings() {
        let heading = |line, table| check(line, Some(table), None);
        heading(
            "Proto Recv-Q Send-Q Local Address           Foreign Address         State      ",
            Table::Protocol,
        );
        heading(
            "Proto Přích-F Odch-F Místní Adresa          Vzdálená Adresa         Stav     ",
            Table::Protocol,
        );
        heading("  Proto  Local Address          Foreign Address        State", Table::Protocol);
        heading(
            "State      Recv-Q Send-Q Local Address:Port  Peer Address:Port Process",
            Table::Ss,
        );
        heading("Recv-Q Send-Q Local Address:Port Peer Address:Port", Table::Ss);
        heading("TCP: IPv6", Table::Solaris);
        heading("UDP: IPv4", Table::Elsewhere);
        heading("SCTP:", Table::Elsewhere);
        heading("Aktive Sockets in der UNIX-Domäne (ohne Server)", Table::Elsewhere);
        heading("Active LOCAL (UNIX) domain sockets", Table::Elsewhere);
        heading(
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
            Table::ProcNet,
        );
        heading(
            "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops",
            Table::Elsewhere,
        );
    }

    #[test]
    fn rows() {
        let row = |line, table| check(line, None, Some(table));
        row("tcp        0      0 192.0.2.1:22  203.0.113.7:50000 ESTABLISHED", Table::Protocol);
        row("tcp4       0      0 192.0.2.1.22  203.0.113.7.50000 ESTABLISHED", Table::Protocol);
        row("  TCP    192.0.2.10:3389        203.0.113.7:51514      ESTABLISHED", Table::Protocol);
        row("ESTAB 0 0 192.0.2.1:22 203.0.113.7:50000", Table::Ss);
        row("0 0 192.0.2.1:22 203.0.113.7:50000", Table::Ss);
        row("tcp ESTAB 0 0 192.0.2.1:22 203.0.113.7:50000", Table::Ss);
        row("tcp 0 0 192.0.2.1:22 203.0.113.7:50000", Table::Ss);
        row("tcp 0 0 192.0.2.1:22 203.0.113.7:50000 users:((\"sshd\",pid=1,fd=3))", Table::Ss);
        row("   0: 0100007F:0016 00000000:0000 0A 00000000:00000000", Table::ProcNet);
        row("tcp      6 119 TIME_WAIT src=192.0.2.7 dst=192.0.2.1 sport=1", Table::Conntrack);
        row("ipv4     2 udp      17 29 src=192.0.2.7 dst=192.0.2.1", Table::Conntrack);
        row("tcp      6 src=192.0.2.7 dst=192.0.2.1 sport=50000", Table::Conntrack);
        row("192.0.2.10.22  203.0.113.7.51514  64128 0 128872 0 ESTABLISHED", Table::Solaris);
    }

    #[test]
    fn neither() {
        for line in [
            "",
            "Welcome to this Unix server",
            "netstat: cannot open kernel socket table: Permission denied",
            " [kernel.exe]",
            "Last login: Sun Nov 22 18:28:19 2026 from 192.0.2.1",
            "Active Internet connections (w/o servers)",
            "-bash: netstat: command not found",
            "udp 0 0 192.0.2.1:53 0.0.0.0:*",
        ] {
            check(line, None, None);
        }
    }
}
