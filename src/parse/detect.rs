//! Detection of the table that a line of a listing belongs to.
//!
//! Headings are translated, and columns differ between versions of a tool, so the
//! patterns match as little of a heading as possible. Tables without a heading are
//! detected by their rows.
use super::{endpoint, lazy_regex::LazyRegex, state_name};

use crate::model::connection::Connection;

/// Table that a heading or a row starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// Table of netstat on Linux, the BSDs, macOS, AIX or Windows: each row starts with
    /// a protocol.
    Netstat,
    Ss,
    ProcNet,
    Solaris,
    /// Flows of connection tracking, without a heading.
    Conntrack,
    /// Counts by address, without a heading.
    Counts,
    /// Recognized table without TCP connections.
    Other,
}

/// Returns the table that `line` is the heading of.
pub(super) fn detect_heading(line: &[u8]) -> Option<Table> {
    // The first match wins: the heading of /proc/net/udp also matches the pattern of
    // /proc/net/tcp. Windows and net-tools print "Proto" above Unix sockets as well;
    // see `has_address_columns`.
    static HEADINGS: [(LazyRegex, Table); 9] = [
        // /proc/net/udp and /proc/net/raw have the columns of /proc/net/tcp and one more.
        (LazyRegex::new(r"(?-u)^\s*sl\s+local_address\s.*\sdrops\s*$"), Table::Other),
        (LazyRegex::new(r"(?-u)^\s*sl\s+local_address\s"), Table::ProcNet),
        (LazyRegex::new(r"(?-u)Local Address:Port\s+Peer Address:Port"), Table::Ss),
        (
            LazyRegex::new(
                r"(?-u)^TCP(: IPv[46])?\s*$|\bSwind\s+Send-Q\s+Rwind\s+Recv-Q\s+State\b",
            ),
            Table::Solaris,
        ),
        (LazyRegex::new(r"(?-u)^(UDP|SCTP|RAW|ICMP|IP)(:( IPv[46])?)?\s*$"), Table::Other),
        (LazyRegex::new(r"(?-u)^\s*(PCB/ADDR\s+)?Proto\s"), Table::Netstat),
        // Every translation of net-tools keeps the word UNIX.
        (
            LazyRegex::new(
                r"(?-u)^(Active|Aktiv|Aktiiv|Sockets|Domain sockets|\xE7\xA8\xBC).*UNIX",
            ),
            Table::Other,
        ),
        (
            LazyRegex::new(
                r"(?-u)^Active .*(kernel|Multipath|VSock|Bluetooth|SCTP|IPX|AX\.25|X\.25)",
            ),
            Table::Other,
        ),
        (LazyRegex::new(r"(?-u)^(Registered kernel|Kernel (IP|IPv6|Interface)\b)"), Table::Other),
    ];
    HEADINGS.iter().find(|(regex, _)| regex.is_match(line)).map(|&(_, table)| table)
}

/// Returns true if `line` may be a heading. The row of a connection has ports, so a
/// line without a digit is not a row; some headings of Solaris, NetBSD and macOS have
/// digits.
pub(super) fn may_be_heading(line: &[u8]) -> bool {
    !line.iter().any(u8::is_ascii_digit)
        || line.ends_with(b": IPv4")
        || line.ends_with(b": IPv6")
        || line.starts_with(b"Active ")
        || line.starts_with(b"Proto ")
}

/// Returns true if the columns of a heading are those of connections, in English.
/// A translated heading need not be recognized, because a title precedes it.
pub(super) fn has_address_columns(line: &[u8]) -> bool {
    static ADDRESS_COLUMNS: LazyRegex = LazyRegex::new(r"(?-u)\bLocal Address\s+Foreign Address\b");
    ADDRESS_COLUMNS.is_match(line)
}

/// Returns true for the heading of a netstat that prints the address of a kernel structure
/// first and truncates endpoints to make room for it (`-A` of FreeBSD, macOS, NetBSD and
/// OpenBSD).
pub(super) fn has_cut_endpoints(line: &[u8]) -> bool {
    let mut words = words(line);
    matches!(words.next(), Some(b"Tcpcb" | b"Socket" | b"PCB")) && words.next() == Some(b"Proto")
}

/// Returns true if a line starts like a row. If such a line cannot be parsed, it is
/// truncated or has names instead of numbers.
pub(super) fn starts_like_row(line: &[u8]) -> bool {
    words(line).next().is_some_and(|word| {
        word == b"TCP" || is_tcp_protocol(word) || state_name::tcp_state(word).is_some()
    })
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// Returns true for `tcp`, `tcp4`, `tcp6`, `tcp46`, and FreeBSD's `toe4` (TCP offloaded
/// to the network card).
pub(super) fn is_tcp_protocol(word: &[u8]) -> bool {
    let digits = word.strip_prefix(b"tcp").or_else(|| word.strip_prefix(b"toe"));
    digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_digit))
}

/// Returns true if a line looks like a part of a row, such as one that has lost its
/// beginning: it has an endpoint, a state, or a column that only a row has.
pub(super) fn looks_like_row_part(line: &[u8]) -> bool {
    /// Number of words of a row up to its state.
    const MAX_WORDS_WITH_STATE: usize = 7;
    static ROW_PARTS: [LazyRegex; 3] = [
        LazyRegex::new(r#"(?-u)\busers:\(\(|",pid=[0-9]+,fd="#),
        LazyRegex::new(r"(?-u)(^|\s)(src|dst)=[0-9a-f:.]+\s|\s[ds]port=[0-9]+(\s|$)"),
        // Columns of /proc/net/tcp.
        LazyRegex::new(
            r"(?-u)(^|\s)([0-9A-F]{8}){0,4}[0-9A-F]{0,7}:[0-9A-F]{4}\s+([0-9A-F]{32}|[0-9A-F]{8}):[0-9A-F]{4}\s|(^|\s)[0-9A-F]{0,8}:[0-9A-F]{8} [0-9A-F]{2}:[0-9A-F]{8}(\s|$)",
        ),
    ];
    let n_words = words(line).count();
    let n_endpoints = words(line).filter(|word| is_endpoint(word)).count();
    // A sentence may have one address, and an IPv6 address alone looks like an endpoint.
    let has_endpoints = n_endpoints > 1
        || (n_endpoints == 1 && (n_words <= 3 || words(line).next().is_some_and(is_endpoint)));
    let has_state = words(line).any(|word| state_name::tcp_state(word).is_some());
    starts_like_row(line)
        || has_endpoints
        || (has_state && (n_words <= MAX_WORDS_WITH_STATE || n_endpoints > 0))
        || (line.iter().any(|byte| b":=".contains(byte))
            && line.iter().any(u8::is_ascii_digit)
            && ROW_PARTS.iter().any(|regex| regex.is_match(line)))
}

/// Returns true if a word is an address and port.
fn is_endpoint(word: &[u8]) -> bool {
    let mut endpoint = Connection::UNSPECIFIED.local;
    let parse = if endpoint::has_dot_before_port(word) {
        endpoint::parse_with_dot
    } else {
        endpoint::parse_with_colon
    };
    parse(word, &mut endpoint).is_ok()
}

/// Returns the table that `line` is a row of, judged by the row alone.
pub(super) fn detect_row(line: &[u8]) -> Option<Table> {
    static ROWS: [(LazyRegex, Table); 6] = [
        (
            LazyRegex::new(r"(?-u)^(ipv[46]\s+[0-9]+\s+)?\S+\s+[0-9]+\s+([0-9]+\s+)?(\S+\s+)?src="),
            Table::Conntrack,
        ),
        (
            LazyRegex::new(r"(?-u)^\s*[0-9]+: [0-9A-F]{8}([0-9A-F]{24})?:[0-9A-F]{4} "),
            Table::ProcNet,
        ),
        // The word after the addresses distinguishes netstat from ss with a Netid. The rows of
        // ss -Q do not have queues.
        (
            LazyRegex::new(
                r"(?-u)^(\s*TCP\s+\S+:|(tcp[0-9]*\s+[0-9]+\s+[0-9]+\s+\S+\s+\S+\s+[^\s:(]+(\s|$)))",
            ),
            Table::Netstat,
        ),
        (
            LazyRegex::new(
                r"(?-u)^(tcp\s+)?(([A-Z][A-Z0-9-]+\s+)?[0-9]+\s+[0-9]+\s+\S+:\S+\s+\S+:\S+|(ESTAB|SYN-SENT|SYN-RECV|FIN-WAIT-[12]|TIME-WAIT|UNCONN|CLOSE-WAIT|LAST-ACK|LISTEN|CLOSING)\s+\S+:([0-9]+|\*)\s+\S+:([0-9]+|\*))(\s|$)",
            ),
            Table::Ss,
        ),
        (LazyRegex::new(r"(?-u)^\s*\S+\.\S+\s+\S+\.\S+(\s+[0-9]+){4}\s+[A-Z]"), Table::Solaris),
        (
            LazyRegex::new(
                r"(?-u)^[0-9]+\s+\[?([0-9]+\.[0-9]+\.[0-9]+\.[0-9]+|[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(%\S+)?)\]?$",
            ),
            Table::Counts,
        ),
    ];
    let line = line.trim_ascii_start();
    ROWS.iter().find(|(regex, _)| regex.is_match(line)).map(|&(_, table)| table)
}

/// Returns true for the title, in any language, of a table of listening sockets only.
pub(super) fn is_listeners_title(line: &[u8]) -> bool {
    has_option(
        line,
        &[
            "only servers",
            "Nur Server",
            "seulement serveurs",
            "pouze servery",
            "ainult serverid",
            "サーバのみ",
            "仅服务器",
        ],
    )
}

/// Returns true for the title, in any language, of a table with connections. In Brazilian
/// Portuguese, net-tools prints the same title for connections only and for listening sockets
/// only.
pub(super) fn is_connections_title(line: &[u8]) -> bool {
    has_option(
        line,
        &[
            "w/o serv",
            "ohne Server",
            "sans serveurs",
            "ilma serveriteta",
            "w/oサーバ",
            "w/o 服务器",
            "servers and established",
            "including servers",
            "Server und ",
            "serveurs et ",
            "servery a ",
            "serverid ja ",
            "サーバと確立",
            "servidores e ",
            "服务器和",
        ],
    )
}

/// Returns true if the text in the parentheses of a title starts with one of `texts`.
fn has_option(line: &[u8], texts: &[&str]) -> bool {
    let Some(start) = memchr::memchr(b'(', line) else {
        return false;
    };
    texts.iter().any(|text| line[start + 1..].starts_with(text.as_bytes()))
}

fn contains_any(line: &[u8], texts: &[&str]) -> bool {
    texts.iter().any(|text| line.windows(text.len()).any(|window| window == text.as_bytes()))
}

/// Returns true for the title, in any language, of a table of internet connections.
pub(super) fn is_internet_title(line: &[u8]) -> bool {
    contains_any(line, &["nternet", "インターネット"])
}

/// Returns true for a row of Windows, the only system that writes protocols in upper case.
pub(super) fn is_windows_row(line: &[u8]) -> bool {
    let word = line.trim_ascii_start();
    word.starts_with(b"TCP") || word.starts_with(b"UDP")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected_heading: Option<Table>, expected_row: Option<Table>) {
        let line = line.as_bytes();
        let heading = if may_be_heading(line) { detect_heading(line) } else { None };
        assert_eq!((heading, detect_row(line)), (expected_heading, expected_row));
    }

    #[test]
    fn headings_are_detected() {
        let check_heading = |line, table| check(line, Some(table), None);
        check_heading(
            "Proto Recv-Q Send-Q Local Address           Foreign Address         State      ",
            Table::Netstat,
        );
        check_heading(
            "Proto Přích-F Odch-F Místní Adresa          Vzdálená Adresa         Stav     ",
            Table::Netstat,
        );
        check_heading(
            "  Proto  Local Address          Foreign Address        State",
            Table::Netstat,
        );
        check_heading(
            "State      Recv-Q Send-Q Local Address:Port  Peer Address:Port Process",
            Table::Ss,
        );
        check_heading("Recv-Q Send-Q Local Address:Port Peer Address:Port", Table::Ss);
        check_heading("TCP: IPv6", Table::Solaris);
        check_heading("UDP: IPv4", Table::Other);
        check_heading("SCTP:", Table::Other);
        check_heading("Aktive Sockets in der UNIX-Domäne (ohne Server)", Table::Other);
        check_heading("Active LOCAL (UNIX) domain sockets", Table::Other);
        check_heading(
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
            Table::ProcNet,
        );
        check_heading(
            "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops",
            Table::Other,
        );
    }

    #[test]
    fn rows_without_heading_are_detected() {
        let check_row = |line, table| check(line, None, Some(table));
        check_row(
            "tcp        0      0 192.0.2.1:22  203.0.113.7:50000 ESTABLISHED",
            Table::Netstat,
        );
        check_row(
            "tcp4       0      0 192.0.2.1.22  203.0.113.7.50000 ESTABLISHED",
            Table::Netstat,
        );
        check_row(
            "  TCP    192.0.2.10:3389        203.0.113.7:51514      ESTABLISHED",
            Table::Netstat,
        );
        check_row("ESTAB 0 0 192.0.2.1:22 203.0.113.7:50000", Table::Ss);
        check_row("0 0 192.0.2.1:22 203.0.113.7:50000", Table::Ss);
        check_row("tcp ESTAB 0 0 192.0.2.1:22 203.0.113.7:50000", Table::Ss);
        check_row("tcp 0 0 192.0.2.1:22 203.0.113.7:50000", Table::Ss);
        check_row(
            "tcp 0 0 192.0.2.1:22 203.0.113.7:50000 users:((\"sshd\",pid=1,fd=3))",
            Table::Ss,
        );
        check_row("   0: 0100007F:0016 00000000:0000 0A 00000000:00000000", Table::ProcNet);
        check_row("tcp      6 119 TIME_WAIT src=192.0.2.7 dst=192.0.2.1 sport=1", Table::Conntrack);
        check_row("ipv4     2 udp      17 29 src=192.0.2.7 dst=192.0.2.1", Table::Conntrack);
        check_row("tcp      6 src=192.0.2.7 dst=192.0.2.1 sport=50000", Table::Conntrack);
        check_row("    152 203.0.113.7", Table::Counts);
        check_row("7 2001:db8::7", Table::Counts);
        check_row("7 ::ffff:192.0.2.1", Table::Counts);
        check_row("7 [fe80::1]", Table::Counts);
        check_row("7 fe80::1%eth0", Table::Counts);
        check_row("192.0.2.10.22  203.0.113.7.51514  64128 0 128872 0 ESTABLISHED", Table::Solaris);
    }

    #[test]
    fn other_text_is_not_detected() {
        for line in [
            "",
            "Welcome to this Unix server",
            "netstat: cannot open kernel socket table: Permission denied",
            " [kernel.exe]",
            "Last login: Sun Nov 22 18:28:19 2026 from 192.0.2.1",
            "Active Internet connections (w/o servers)",
            "-bash: netstat: command not found",
            "udp 0 0 192.0.2.1:53 0.0.0.0:*",
            "3 updates",
            "3 web1.example.com",
            "12:30 192.0.2.1",
            "3 192.0.2.1:443",
            "3 10:30:59 192.0.2.1",
        ] {
            check(line, None, None);
        }
    }
}
