//! A listing that may lack connections is UNKNOWN, and a complete listing is judged,
//! regardless of the shell's output around it.
use std::fs;

use crate::support::{self, CommandResult, TestDir, run};

use super::fixtures::tally;

const TITLE: &str = "Active Internet connections (w/o servers)\n";
const HEADING: &str =
    "Proto Recv-Q Send-Q Local Address           Foreign Address         State      \n";
const ROW: &str =
    "tcp        0      0 192.0.2.10:443          203.0.113.7:50000       ESTABLISHED\n";
const LISTENER: &str =
    "tcp        0      0 0.0.0.0:443             0.0.0.0:*               LISTEN     \n";
const SS_HEADING: &str = "State  Recv-Q Send-Q Local Address:Port Peer Address:Port Process\n";

const ONE: &str = "0 TOPIP OK - 203.0.113.7 has 1 connection, limit 10";
const TWO: &str = "0 TOPIP OK - 203.0.113.7 has 2 connections, limit 10";

/// Checks a listing that is named `listing`, and its first hint or note.
#[track_caller]
fn check(text: &str, expected: &str, hint: &str) {
    let result = check_relative(text, &[]);
    assert_eq!(result.code_and_status(), expected, "{text}");
    if !hint.is_empty() {
        assert!(result.stdout.lines().any(|line| line == hint), "{text}: {}", result.stdout);
    }
}

fn check_relative(text: &str, args: &[&str]) -> CommandResult {
    let dir = TestDir::new();
    dir.write("listing", text);
    dir.check(&[&["--input", "listing", "--rule", "stddev"], args].concat())
}

#[test]
fn message_before_heading_without_rows_is_unknown() {
    let hint =
        "List the sockets again, as a user with permission to see them: ss -tan, or netstat -nat.";
    for complaint in [
        "Cannot open netlink socket: Permission denied",
        "Cannot open netlink socket: Keine Berechtigung",
        "sudo: a password is required",
        "bash: ss: command not found",
        "RTNETLINK answers: Operation not permitted",
    ] {
        for heading in [
            &[TITLE, HEADING].concat(),
            SS_HEADING,
            "$ ss -tan\n\nState Recv-Q Send-Q Local Address:Port Peer Address:Port\n",
        ] {
            let expected =
                format!("3 TOPIP UNKNOWN - listing: no rows; message in line 1: {complaint}");
            check(&format!("{complaint}\n{heading}"), &expected, hint);
        }
    }
    // The text is a banner if rows follow, and a harmless message if it is about other tables.
    check(&format!("sudo: unable to resolve host web1\n{TITLE}{HEADING}{ROW}"), ONE, "");
    let none = "0 TOPIP OK - no connections counted";
    check(&format!("netstat: no support for `AF IPX' on this system.\n{TITLE}{HEADING}"), none, "");
    check(&format!("root@web1:~# netstat -nt\n{TITLE}{HEADING}root@web1:~#"), none, "");
}

/// The status is UNKNOWN even if rows of the other address family follow.
#[test]
fn unreadable_table_is_unknown() {
    let row = "tcp6       0      0 2001:db8::10:443        2001:db8::7:50000       ESTABLISHED\n";
    for complaint in [
        "cat: /proc/net/tcp: Permission denied",
        "netstat: no support for `AF INET (tcp)' on this system.",
        "netstat: /proc/net/tcp6: Permission denied",
        "netstat: /proc/net/tcp: No such file or directory",
    ] {
        let before = format!("{complaint}\n{TITLE}{HEADING}{row}");
        let after = format!("{TITLE}{HEADING}{complaint}\n{row}");
        let behind = format!("{TITLE}{HEADING}{row}{complaint}");
        for text in [before, after, behind] {
            let result = check_relative(&text, &[]);
            let status = result.code_and_status();
            assert!(
                status.starts_with("3 TOPIP UNKNOWN - cannot read 1 row, line "),
                "{text}: {status}"
            );
            assert!(status.contains(&complaint[..20]), "{text}: {status}");
        }
    }
}

#[test]
fn listing_of_listeners_only_is_unknown() {
    let unknown = "3 TOPIP UNKNOWN - listing lists listening sockets only";
    let hint = "List connections too: ss -tan or netstat -nat, without -l.";
    let udp = "udp        0      0 0.0.0.0:68              0.0.0.0:*                          \n";
    for title in [
        "Active Internet connections (only servers)",
        "Aktive Internetverbindungen (Nur Server)",
        "Connexions Internet actives (seulement serveurs)",
        "Aktivní Internetová spojení (pouze servery)",
        "Aktiivsed internetiühendused (ainult serverid)",
        "稼働中のインターネット接続 (サーバのみ)",
    ] {
        check(&format!("{title}\n{HEADING}{LISTENER}{udp}"), unknown, hint);
        check(&format!("{title}\n{HEADING}{udp}"), unknown, hint);
        check(&format!("{title}\n{HEADING}"), unknown, hint);
    }
    // Brazilian net-tools has the same title for connections only.
    check(
        &format!("Conexões Internet Ativas (sem os servidores)\n{HEADING}{LISTENER}"),
        unknown,
        hint,
    );
    let ss =
        "LISTEN 0      128    0.0.0.0:22         0.0.0.0:*         users:((\"sshd\",pid=1,fd=3))\n";
    check(&format!("{SS_HEADING}{ss}"), unknown, hint);
    check(ss, unknown, hint);
    check(LISTENER, unknown, hint);
    check("  TCP    0.0.0.0:22    0.0.0.0:0    LISTENING\n", unknown, hint);
    for other in ["ESTAB 0 0 127.0.0.1:1 127.0.0.1:2\n", "TIME-WAIT 0 0 127.0.0.1:1 127.0.0.1:2\n"]
    {
        check(
            &format!("{SS_HEADING}{ss}{other}"),
            "0 TOPIP OK - no connections counted (1 excluded)",
            "",
        );
    }
}

/// A table that can list connections shows that the host has none.
#[test]
fn complete_listing_without_connections_is_ok() {
    let ok = "0 TOPIP OK - no connections counted";
    for title in [
        "Active Internet connections (servers and established)",
        "Active Internet connections (including servers)",
        "Active Internet connections",
        "Aktive Internetverbindungen (Server und stehende Verbindungen)",
        "Connexions Internet actives (serveurs et établies)",
        "Aktivní Internetová spojení (servery a navázaná spojení)",
        "Aktiivsed internetiühendused (serverid ja ühendatud)",
        "稼働中のインターネット接続 (サーバと確立)",
        "Conexões Internet Ativas (servidores e estabelecidas)",
    ] {
        check(&format!("{title}\n{HEADING}{LISTENER}"), ok, "");
    }
    check(
        "\nActive Connections\n\n  Proto  Local Address  Foreign Address  State\n  TCP    0.0.0.0:22    0.0.0.0:0    LISTENING\n",
        ok,
        "",
    );
    check("   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000\n", ok, "");
    check(&format!("{TITLE}{HEADING}"), ok, "");
    check(SS_HEADING, ok, "");
}

/// Each cut of the first row of a listing without its heading is detected.
#[test]
fn first_row_without_its_beginning_is_unknown() {
    let row = ROW.trim_end();
    for start in 1..row.len() - "LISTEN".len() {
        if row[start..].starts_with("ABLISHED") {
            break;
        }
        let rest = row[start..].trim_start();
        let result = check_relative(&format!("{rest}\n{ROW}{ROW}"), &[]);
        let status = result.code_and_status();
        let is_port = rest.contains("ESTABLISHED") || rest.contains(':');
        assert!(!is_port || result.code == Some(3), "{rest}: {status}");
        assert!(
            result.stdout.contains("203.0.113.7 2 conn")
                || rest.contains("tcp")
                || status.contains("has 2"),
            "{rest}: {}",
            result.stdout
        );
        assert!(!result.stdout.contains("not told"), "{rest}: {}", result.stdout);
    }
    for rest in [
        "2.0.2.1:443 203.0.113.7:50000 ESTABLISHED",
        "203.0.113.7:50000",
        "ESTABLISHED",
        "tcp4 0 0 192.0.2.1.443 203.0.113.7.50000",
        "tcp6 0 0 2001:db8::1.443 2001:db8::7.50000",
        "tcp46 0 0 2001:db8::1.443 2001:db8::7.50000",
        ".2.1:443 203.0.113.7:50000 users:((\"nginx\",pid=7,fd=3))",
        "inx\",pid=7,fd=3))",
        "0C0:01BB 077100CB:C350 01 00000000:00000000 00:00000000 00000000",
        ":00000000 00:00000000 00000000     0        0 1234 1 ffff8880",
        "IME_WAIT src=203.0.113.7 dst=192.0.2.10 sport=50000 dport=443",
    ] {
        let result = check_relative(&format!("{rest}\n{TITLE}{HEADING}{ROW}{ROW}"), &[]);
        let status = result.code_and_status();
        assert!(
            status.starts_with("3 TOPIP UNKNOWN - cannot read 1 row, line 1: "),
            "{rest}: {status}"
        );
        assert!(status.ends_with("203.0.113.7 has 2 connections, limit 10"), "{rest}: {status}");
    }
    // A banner with addresses, dates or numbers is not a part of a row.
    for banner in [
        "Last login: Sun Nov 22 18:28:19 2026 from 192.0.2.1",
        "Last login: Sun Nov 22 18:28:19 2026 from 2001:db8::7:50",
        "Linux web1 6.1.0-12-amd64 #1 SMP Debian 6.1.52-1 (2023-09-07) x86_64",
        "Microsoft Windows [Version 10.0.19045.4170]",
        "Manage this host at https://192.0.2.1:8443/",
    ] {
        check(&format!("{banner}\n{TITLE}{HEADING}{ROW}{ROW}"), TWO, "");
    }
}

#[test]
fn unknown_state_words_are_counted() {
    for word in ["ESTABLECIDO", "ABH?REN", "ESTABLISHE", "УСТАНОВЛЕНО", "接続済み", "?????"]
    {
        let row = ROW.replace("ESTABLISHED", word);
        let listener = LISTENER.replace("LISTEN", word);
        check(&format!("{TITLE}{HEADING}{listener}{row}{row}"), TWO, "");
        // Connections in unknown states are not counted in a selection of states.
        let result = check_relative(&format!("{TITLE}{HEADING}{row}"), &["--state", "ESTABLISHED"]);
        assert!(
            result.code_and_status().starts_with(
                "3 TOPIP UNKNOWN - the listing does not show the TCP state of 1 connection; "
            ),
            "{}",
            result.stdout
        );
        // A listener is recognized by its peer.
        let inbound = check_relative(&format!("{TITLE}{HEADING}{listener}{row}"), &["--inbound"]);
        assert_eq!(inbound.code_and_status(), ONE, "{word}");
        // A last line without its end may lack more.
        let cut = check_relative(format!("{TITLE}{HEADING}{row}{row}").trim_end(), &[]);
        assert_eq!(cut.code, Some(3), "{}", cut.stdout);
        assert!(cut.stdout.contains("unknown TCP state"), "{}", cut.stdout);
    }
    // A column that cannot be a state means that the state is missing.
    for word in ["1000", "3160/httpd", "-", "users:((\"x\",pid=1,fd=3))"] {
        let row = ROW.replace("ESTABLISHED", word);
        let result = check_relative(&format!("{TITLE}{HEADING}{row}"), &[]);
        assert_eq!(result.code, Some(3), "{word}: {}", result.stdout);
    }
}

#[test]
fn netstat_with_cut_endpoints_is_rejected_with_hint() {
    for first in ["Tcpcb           ", "Socket          ", "PCB             "] {
        let heading =
            format!("{first} Proto Recv-Q Send-Q Local Address      Foreign Address    (state)\n");
        let row = "fffff80003e9a000 tcp4       0      0 192.0.2.10.443     198.51.100.200.501 ESTABLISHED\n";
        check(
            &format!("Active Internet connections (including servers)\n{heading}{row}"),
            "3 TOPIP UNKNOWN - listing: netstat -A truncates addresses and ports",
            "Omit -A: netstat -an.",
        );
    }
}

/// The name of the host and the last line end do not affect the result.
#[test]
fn shell_text_around_listings_does_not_matter() {
    let whole = format!("{TITLE}{HEADING}{ROW}{ROW}");
    for host in ["web1", "www", "db-2.example", "10-0-0-1"] {
        for (prompt, last) in [
            ("root@HOST:~# ", "root@HOST:~# "),
            ("[root@HOST ~]# ", "[root@HOST ~]# exit"),
            ("HOST$ ", "HOST$ "),
            ("HOST# ", "HOST#"),
            ("alice@HOST ~ % ", "alice@HOST ~ % "),
            ("C:\\Users\\HOST>", "C:\\Users\\HOST>"),
            ("(HOST) alice@HOST:~$ ", "(HOST) alice@HOST:~$ logout"),
            ("alice@HOST:~$ ", "\nreal\t0m0.005s\nuser\t0m0.001s\nsys\t0m0.004s"),
            ("alice@HOST:~$ ", "Mon Nov 30 01:40:47 UTC 2026"),
            ("alice@HOST:~$ ", "Connection to HOST closed."),
            ("# ", "netstat: /proc/net/tcp6: No such file or directory"),
            ("# ", "netstat: /proc/net/raw: No such file or directory"),
            ("# ", "netstat: no support for `AF INET (raw)' on this system."),
        ] {
            let text = format!("{prompt}netstat -nt\n{whole}{last}").replace("HOST", host);
            for end in ["", "\n", "\n\n", "\r\n"] {
                check(&format!("{text}{end}"), TWO, "");
            }
        }
    }
    for last in [
        "Killed",
        "Terminated",
        "Segmentation fault",
        "^C",
        "^Croot@web1:~# ",
        "netstat: out of memory",
        "tcp  ",
    ] {
        for end in ["", "\n"] {
            let result = check_relative(&format!("{whole}{last}{end}"), &[]);
            assert_eq!(result.code, Some(3), "{last}: {}", result.stdout);
        }
    }
}

#[test]
fn several_snapshots_are_not_added_up() {
    let snapshot = format!("{TITLE}{HEADING}{ROW}{ROW}");
    let unknown = |line| {
        format!("3 TOPIP UNKNOWN - listing: several listings; the second one starts in line {line}")
    };
    let hint = |line| {
        format!(
            "Several listings are not added up. Split the file and check each part: csplit \
             FILE {line}"
        )
    };
    let check_line = |text: &str, line: usize| check(text, &unknown(line), &hint(line));
    check_line(&snapshot.repeat(2), 6);
    check_line(&snapshot.repeat(3), 6);
    let zzz = "zzz ***Mon Nov 30 01:40:47 UTC 2026\n";
    check_line(&format!("{zzz}{snapshot}{zzz}{snapshot}"), 6);
    // The reported line is before the whole second listing, in any order of its families.
    let six = "tcp6       0      0 2001:db8::10:443        2001:db8::7:50000       ESTABLISHED\n";
    check_line(&format!("{TITLE}{HEADING}{six}{ROW}").repeat(2), 6);
    // Without headings, a date or a prompt separates them.
    let ss = "ESTAB 0 0 192.0.2.10:443 203.0.113.7:50000\n";
    for separator in ["Mon Nov 30 01:40:47 UTC 2026\n", "2026-11-30T01:40:47\n", "web1$ ss -Htan\n"]
    {
        check_line(&format!("{ss}{separator}{ss}"), 2);
    }
    let flow = "tcp 6 9 ESTABLISHED src=203.0.113.7 dst=192.0.2.10 sport=1 dport=80 src=10.1.0.2 dst=203.0.113.7 sport=80 dport=1\n";
    check_line(&format!("{flow}web1$ conntrack -L\n{flow}"), 2);
    // Two tables with the same local addresses are from one host.
    let proc_heading = "  sl  local_address rem_address   st tx_queue\n";
    let proc = |local: &str| {
        format!(
            "{proc_heading}   0: {local}:01BB 077100CB:C350 01 00000000:00000000\n   1: 0100007F:0019 00000000:0000 0A 0:0\n"
        )
    };
    check_line(&format!("{}{}", proc("0A0200C0"), proc("0A0200C0")), 4);
    // The title in line 5 belongs to neither listing, and does not affect the result.
    check(&format!("{snapshot}{TITLE}"), TWO, "");
    check(&format!("{}{}", proc("0A0200C0"), proc("0B0200C0")), TWO, "");
    // Tables of different families are one listing.
    let six = "tcp6       0      0 2001:db8::10:443        2001:db8::7:50000       ESTABLISHED\n";
    check(&format!("{TITLE}{HEADING}{ROW}{ROW}{TITLE}{HEADING}{six}"), TWO, "");
    // Repeated tables without connections are accepted: no connection is counted twice.
    let listeners =
        format!("Active Internet connections (servers and established)\n{HEADING}{LISTENER}");
    check(&format!("{listeners}{snapshot}"), TWO, "");
}

/// A line that stands for omitted rows, between rows and at the end.
#[test]
fn omission_marks_are_unknown() {
    for mark in ["...", "[...]", "\u{2026}", "--More--", "(END)", "[truncated]", "<snip>", "; cut"]
    {
        for rest in ["", ROW] {
            let text = format!("{TITLE}{HEADING}{ROW}{mark}\n{rest}");
            let result = check_relative(&text, &[]);
            assert_eq!(result.code, Some(3), "{text}{}", result.stdout);
        }
    }
}

/// The other output formats have no values either.
#[test]
fn partial_listings_are_unknown_in_every_output() {
    let dir = TestDir::new();
    for (name, text) in [
        ("listeners", format!("{SS_HEADING}LISTEN 0 128 0.0.0.0:22 0.0.0.0:*\n")),
        ("complaint", format!("Cannot open netlink socket: Permission denied\n{SS_HEADING}")),
        ("snapshots", format!("{TITLE}{HEADING}{ROW}").repeat(2)),
    ] {
        dir.write(name, text);
        let json = dir.check(&["--input", name, "--output", "json"]);
        assert_eq!(json.code, Some(3), "{}", json.stdout);
        assert!(json.stdout.contains("\"status\":\"UNKNOWN\""), "{}", json.stdout);
        let log = dir.run_log(&["--input", name, "--log", "log"]);
        assert_eq!(log.code, Some(1), "{}", log.stderr);
        let mut munin = dir.program(support::MUNIN, &["fetch"]);
        munin.env("input", name).env("MUNIN_PLUGSTATE", dir.path("."));
        let munin = run(&mut munin);
        assert!(munin.stdout.contains("connections_max.value U\n"), "{}", munin.stdout);
        assert_eq!(munin.code, Some(1), "{}", munin.stderr);
    }
}

/// The captured and written listings are read completely without their last line end.
#[test]
fn saved_listings_match_tally_without_last_line_end() {
    for name in
        ["foreign/busybox-openwrt", "foreign/windows-b", "saved/bash-debian", "saved/busybox-ash"]
    {
        let path = support::test_file("fixtures").join(name).with_extension("txt");
        let text = fs::read(&path).unwrap();
        let (found, stats) = tally(text.trim_ascii_end().to_vec());
        assert_eq!(found, fs::read_to_string(path.with_extension("tally")).unwrap(), "{name}");
        assert_eq!(stats.n_unreadable, 0, "{name}: {stats:?}");
    }
}
