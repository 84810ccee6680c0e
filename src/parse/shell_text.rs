//! Text around saved listings: shell prompts, dates, times of a command, and messages of the
//! tools.
//!
//! Administrators save a listing together with what their terminal shows. The patterns match
//! as little as possible of the text that a user can configure, so that the name of a host
//! or a directory does not affect the result.
use super::{detect, lazy_regex::LazyRegex};

/// Returns true for a line that stands for omitted rows: the mark of a pager, an ellipsis, or
/// a remark in brackets.
pub(super) fn is_omission(line: &[u8]) -> bool {
    const MAX_BYTES: usize = 40;
    let line = line.trim_ascii();
    let is_ellipsis = ["...", "[...]", "(...)", "<...>", "\u{2026}", "--More--", "(END)"]
        .iter()
        .any(|mark| line.starts_with(mark.as_bytes()));
    let is_remark = line.first().is_some_and(|byte| b"[(<{;/#".contains(byte))
        && line.len() <= MAX_BYTES
        && contains_any(&line.to_ascii_lowercase(), &["truncated", "snip", "cut", "omitted"]);
    is_ellipsis || is_remark
}

/// Returns true for a line that only a shell or `time` prints: the table ends before it.
pub(super) fn ends_table(line: &[u8]) -> bool {
    let is_underline = line.iter().all(|byte| matches!(byte, b'-' | b' '));
    if is_underline || is_omission(line) {
        return false;
    }
    is_prompt(line) || is_date(line) || is_time_of_command(line) || is_end_of_session(line)
}

/// Returns true if a line starts with the prompt of a shell.
fn is_prompt(line: &[u8]) -> bool {
    static PROMPTS: [LazyRegex; 6] = [
        // `$ `, `root@web1:~# `, `bash-5.2$ `, `(venv) web1% `
        LazyRegex::new(r"(?-u)^(\([^()]*\) ?)?[^\s:=(]\S*[#$%>]( |$)|^[#$%>]( |$)"),
        // `[root@web1 ~]# `
        LazyRegex::new(r"(?-u)^(\([^()]*\) ?)?\[[^\[\]]*\] ?[#$%>]( |$)"),
        // `~ # ` of BusyBox, `alice@mac ~ % ` of zsh, with or without a blank before a command
        LazyRegex::new(r"(?-u)^([~/]\S*|\S+@\S+ \S+) [#$%>]( |$)"),
        LazyRegex::new(r"(?-u)^\[?[A-Za-z0-9._-]+@[A-Za-z0-9._-]+[: ][^\s#$%>]*[#$%>]"),
        // `C:\Users\alice>`, `PS C:\Users\alice> `
        LazyRegex::new(r"(?-u)^(PS )?[A-Za-z]:\\[^>:]*>|^PS /[^>]*>"),
        // Prompts of two lines, and prompts of themes: arrows and boxes.
        LazyRegex::new(r"(?-u)^\xE2(\x9E\x9C|\x9D\xAF|\x94\x8C|\x94\x94|\x95\xAD|\x95\xB0)"),
    ];
    let has_sign = line.starts_with(b"\xE2") || line.iter().any(|byte| b"#$%>".contains(byte));
    // The process column of ss may have any text. After ^C, rows are missing.
    has_sign
        && !line.starts_with(b"^C")
        && !contains(line, "pid=")
        && PROMPTS.iter().any(|regex| regex.is_match(line))
}

/// Returns true for a line that is only a date and a time, or that separates the snapshots of
/// OSWatcher: `zzz ***Mon Nov 30 01:40:47 UTC 2026`.
fn is_date(line: &[u8]) -> bool {
    static TIME: LazyRegex =
        LazyRegex::new(r"(?-u)(^|[^0-9A-F:.])[0-2]?[0-9]:[0-5][0-9](:[0-6][0-9])?");
    static DATE: LazyRegex = LazyRegex::new(
        r"(?-u)\b(19|20)[0-9]{2}\b|\b[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}\b|(19|20)[0-9]{2}-",
    );
    static FAILURE: LazyRegex = LazyRegex::new(
        r"(?i-u)\b(no|not|cannot|denied|error|fail\w*|fault|kill\w*|lost|abort\w*|refused|closed|timeout)\b|[a-z]:( |$)",
    );
    const MAX_WORDS: usize = 9;
    let words = || line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let n_names = words().filter(|word| !word.iter().any(u8::is_ascii_digit)).count();
    line.contains(&b':')
        && line.iter().any(u8::is_ascii_digit)
        && words().count() <= MAX_WORDS
        && n_names <= 5
        && TIME.is_match(line)
        && DATE.is_match(line)
        && !FAILURE.is_match(line)
        && !detect::looks_like_row_part(line)
}

/// Returns true for a line of the output of `time`, of any shell or system.
fn is_time_of_command(line: &[u8]) -> bool {
    static TIMES: [LazyRegex; 5] = [
        LazyRegex::new(r"(?-u)^(real|user|sys)\s+[0-9hm.,:]+s?\s*$"),
        LazyRegex::new(r"(?-u)^\s*[0-9.]+ real\s+[0-9.]+ user\s+[0-9.]+ sys\s*$"),
        LazyRegex::new(r"(?-u) [0-9.]+s user [0-9.]+s system [0-9]+% cpu [0-9:.]+ total\s*$"),
        LazyRegex::new(r"(?-u)^[0-9.]+u(ser)? [0-9.]+s(ystem)? [0-9:.]+(elapsed)? [0-9.?]+%"),
        LazyRegex::new(r"(?-u)^[0-9]+inputs\+[0-9]+outputs \([^()]*\)pagefaults [0-9]+swaps$"),
    ];
    line.iter().any(u8::is_ascii_digit)
        && contains_any(line, &["real", "user", "sys", "swaps", "u "])
        && TIMES.iter().any(|regex| regex.is_match(line))
}

/// Returns true for a line that a shell, ssh or `script` prints at the start or end of a
/// session.
fn is_end_of_session(line: &[u8]) -> bool {
    matches!(line, b"logout" | b"exit")
        || (line.starts_with(b"Connection to ") && line.ends_with(b" closed."))
        || line.starts_with(b"Script started")
        || line.starts_with(b"Script done")
}

/// Returns true for a message that does not concern TCP sockets, or reports that the system
/// has no IPv6.
pub(super) fn is_harmless_message(line: &[u8]) -> bool {
    static OTHER_TABLE: LazyRegex = LazyRegex::new(
        r"(?-u)^\S+: (can't open '?)?/proc/(self/)?net/((raw|udp|udplite|icmp|unix|igmp|sctp|packet)6?\b|tcp6'?: No such file or directory$)",
    );
    // net-tools prints a translated message for each protocol that the kernel lacks.
    static OTHER_PROTOCOL: LazyRegex = LazyRegex::new(
        r"(?-u)^\S*netstat: .*\bAF (INET6? \((raw|udp|udplite|sctp|igmp|icmp)\)|IPX|AX25|X25|NETROM|ROSE|ECONET|BLUETOOTH|UNIX)",
    );
    let has_colon = line.contains(&b':');
    (has_colon && contains(line, "/net/") && OTHER_TABLE.is_match(line))
        || (has_colon && contains(line, "AF ") && OTHER_PROTOCOL.is_match(line))
        || line.starts_with(b"netstat: showing only processes with your user ID")
        || line.starts_with(b"(Not all processes could be identified")
        || line.starts_with(b" will not be shown, you would have to be root")
}

/// Returns true for a message that a table of TCP sockets could not be read.
pub(super) fn is_missing_table(line: &[u8]) -> bool {
    static MISSING: LazyRegex = LazyRegex::new(
        r"(?-u)^\S+: .*(\bAF INET6? \(tcp\)|/proc/(\S+/)?net/(tcp6?|nf_conntrack|ip_conntrack)\b)",
    );
    line.contains(&b':')
        && contains_any(line, &["/net/", "AF INET"])
        && MISSING.is_match(line)
        && !is_harmless_message(line)
}

/// Returns true if text before a table may be a message, in any language, that a tool prints
/// instead of a table. Such a message has the name of a program and a colon, or words for a
/// failure.
pub(super) fn may_be_message(line: &[u8]) -> bool {
    const FAILURES: [&str; 9] =
        ["cannot", "can't", "unable", "denied", "error", "fail", "invalid", "refused", "required"];
    let is_expected = line.starts_with(b"(")
        || line.starts_with(b"[sudo] ")
        || line.starts_with(b"Last login: ")
        || line.ends_with(b".)");
    let is_message = || {
        let lower_case = line.to_ascii_lowercase();
        contains(line, ": ") || line.ends_with(b":") || contains_any(&lower_case, &FAILURES)
    };
    !is_expected && is_message()
}

fn contains(line: &[u8], text: &str) -> bool {
    line.windows(text.len()).any(|window| window == text.as_bytes())
}

fn contains_any(line: &[u8], texts: &[&str]) -> bool {
    texts.iter().any(|text| contains(line, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_text_ends_a_table() {
        for line in [
            "$ ",
            "#",
            "$ netstat -nt",
            "root@web1:~# netstat -nt",
            "root@www:~#",
            "root@web1:~#netstat -nt",
            "root@web1:/var/log# ss -tan dst 203.0.113.7:443",
            "[root@web1 ~]# exit",
            "[root@web1 ~]#",
            "alice@mac ~ % netstat -anl",
            "web1% ",
            "bash-5.2$ exit",
            "(venv) alice@web1:~$ ss",
            "~ # netstat -nt",
            "/ # ",
            "/tmp # exit",
            "admin@router:/tmp/home/root# ",
            r"C:\Users\alice>netstat -n",
            r"PS C:\Users\Alice Smith> netstat -n",
            "➜  ~ netstat -an",
            "└─# netstat -nt",
            "real\t0m0.005s",
            "user 0.00",
            "sys\t0m0,003s",
            "        0.01 real         0.00 user         0.00 sys",
            "netstat -nt  0.00s user 0.01s system 96% cpu 0.012 total",
            "0.00user 0.00system 0:00.00elapsed 100%CPU (0avgtext+0avgdata 2432maxresident)k",
            "0inputs+0outputs (0major+110minor)pagefaults 0swaps",
            "0.001u 0.002s 0:00.01 0.0%\t0+0k 0+0io 0pf+0w",
            "zzz ***Mon Nov 30 01:40:47 UTC 2026",
            "Mon Nov 30 01:40:47 UTC 2026",
            "Mon 30 Nov 2026 01:40:47 AM CET",
            "lundi 30 novembre 2026, 01:40:47 (UTC+0100)",
            "2026-11-30 01:40:47",
            "2026-11-30T01:40:47+00:00",
            "=== 30/11/2026 01:40 ===",
            "logout",
            "Connection to web1 closed.",
            "Script done on 2026-11-30 01:40:47+00:00 [COMMAND_EXIT_CODE=\"0\"]",
        ] {
            assert!(ends_table(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn messages_and_rows_are_not_shell_text() {
        for line in [
            "Killed",
            "Terminated",
            "Segmentation fault",
            "bash: netstat: command not found",
            "netstat: no support for `AF INET (tcp)' on this system.",
            "Cannot open netlink socket: Permission denied",
            "Connection to web1 closed by remote host.",
            "2026-11-30 01:40:47 netstat: failed",
            "2026-11-30 01:40:47 connection lost",
            "tcp 0 0 192.0.2.10:443 203.0.113.7:50000 ESTABLISHED",
            "2.0.2.1:443 203.0.113.7:50000 ESTABLISHED",
            "fe80::1%eth0:443 [fe80::2%eth0]:50000",
            "users:((\"a# b\",pid=1,fd=3))",
            "   0: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000",
            "tcp 6 119 TIME_WAIT src=203.0.113.7 dst=192.0.2.10 sport=1 dport=80",
            "Active Internet connections (w/o servers)",
        ] {
            assert!(!ends_table(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn messages_are_classified_by_their_table() {
        let check = |line: &str, is_harmless, is_missing| {
            let line = line.as_bytes();
            assert_eq!(
                (is_harmless_message(line), is_missing_table(line)),
                (is_harmless, is_missing)
            );
        };
        check("netstat: no support for `AF INET (raw)' on this system.", true, false);
        check("netstat: keine Unterstützung für »AF INET (sctp)« auf diesem System.", true, false);
        check("netstat: no support for `AF IPX' on this system.", true, false);
        check("netstat: /proc/net/tcp6: No such file or directory", true, false);
        check("netstat: /proc/net/raw6: No such file or directory", true, false);
        check("netstat: /proc/net/udp: Permission denied", true, false);
        check("cat: /proc/net/tcp6: No such file or directory", true, false);
        check("netstat: showing only processes with your user ID", true, false);
        check("netstat: /proc/net/tcp6: Permission denied", false, true);
        check("netstat: /proc/net/tcp: No such file or directory", false, true);
        check("netstat: no support for `AF INET (tcp)' on this system.", false, true);
        check("cat: /proc/net/tcp: Keine Berechtigung", false, true);
        check("cat: /proc/self/net/tcp6: Permission denied", false, true);
        check("sudo: a password is required", false, false);
    }
}
