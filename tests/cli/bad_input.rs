//! Invalid input is reported with its value, the reason and an exit code that Nagios knows.
use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use crate::support::{CHECK, LOG, MUNIN, TestDir, crowd, listing, run};

#[track_caller]
fn assert_usage_error(args: &[&str], expected: &str) {
    let result = TestDir::new().check(args);
    assert_eq!(result.code_and_status(), format!("3 TOPIP UNKNOWN - {expected}"));
    assert_eq!(result.stderr, "");
}

#[test]
fn malformed_ranges_are_rejected() {
    const RANGE_HINT: &str = "not a range; write [@][start:]end, such as 50 or 10:50";
    assert_usage_error(&["-w", "abc"], &format!("cannot read --warning abc: {RANGE_HINT}"));
    assert_usage_error(&["-w", ""], &format!("cannot read --warning (empty): {RANGE_HINT}"));
    assert_usage_error(&["-c", "nan"], &format!("cannot read --critical nan: {RANGE_HINT}"));
    assert_usage_error(
        &["-w", "$(x)|`y`;z"],
        &format!("cannot read --warning ?(x)?y;z: {RANGE_HINT}"),
    );
    assert_usage_error(
        &["-w", "5:1"],
        "cannot read --warning 5:1: the start of the range (default: 0) is above its end",
    );
    assert_usage_error(
        &["-w", "/root:30"],
        "cannot read --warning /root:30: the shell has replaced ~ with a directory; put the range \
         in quotes",
    );
}

#[test]
fn option_without_effect_is_rejected() {
    for option in [
        "--username=monitor",
        "--password=secret",
        "--password-file=f",
        "--identity=f",
        "--passphrase-file=f",
        "--known-hosts=f",
        "--host-key=accept-new",
        "--rsh=ssh",
        "--command=ss",
    ] {
        let name = option.split('=').next().unwrap();
        let reason = "has no effect because no server is checked over SSH; see --hostname";
        for source in [&["-v"][..], &["-H", "LOCALHOST,::1"], &["--input", "f"]] {
            let args = [source, &[option]].concat();
            assert_usage_error(&args, &format!("{name} {reason}"));
        }
    }
    for (args, expected) in [
        ("--log-format json", "--log-format has no effect without --log"),
        ("--prefix-members 3", "--prefix-members has no effect without --prefix4 or --prefix6"),
        ("-6 --prefix4 24", "--prefix4 has no effect with -6"),
        ("-4 --prefix6 64", "--prefix6 has no effect with -4"),
        (
            "--rule stddev --false-alarm-rate 0.1",
            "--false-alarm-rate has no effect on the rule stddev",
        ),
        ("--rule lognormal --stddev 5", "--stddev has no effect on the rule lognormal"),
        (
            "-H web1 --source netlink",
            "--source has no effect on servers that are checked over SSH, except with conntrack",
        ),
        (
            "-x 64:ff9b::/96",
            "cannot read --exclude 64:ff9b::/96: has no effect: NAT64 clients are counted as \
             IPv4; write their IPv4 network",
        ),
    ] {
        assert_usage_error(&args.split(' ').collect::<Vec<_>>(), expected);
    }
    let result = TestDir::new().run_log(&["watch", "--state-file", "f"]);
    let expected = "topip_log: --state-file has no effect with watch, which keeps its samples in \
                    memory\nLeave out --state-file.\n";
    assert_eq!((result.code, &*result.stderr), (Some(2), expected));
    // topip_log logs without --log.
    let dir = TestDir::new();
    dir.write("listing", crowd(31, &[("203.0.113.7", 152)]));
    let args = ["--input", "listing", "--never-log", "192.0.2.7", "--log", "log"];
    assert_eq!(dir.run_log(&args).code, Some(0));
}

/// Only connection tracking shows the clients of UDP.
#[test]
fn udp_without_connection_tracking_is_rejected() {
    for args in [
        "--protocol udp",
        "--protocol all --port 443",
        "--protocol all --source netlink",
        "--protocol udp --source proc",
        "--protocol all -H web1",
        "--protocol udp -H web1 --rsh ssh",
    ] {
        let args: Vec<_> = args.split(' ').collect();
        let result = TestDir::new().check(&args);
        let expected = format!(
            "TOPIP UNKNOWN - --protocol {} needs --source conntrack\n\
             A socket table does not list UDP clients: a server has one socket for all of its \
             clients, also for QUIC. Connection tracking lists each flow.\n",
            args[1]
        );
        assert_eq!((result.stdout, result.code), (expected, Some(3)), "{args:?}");
    }
    let sockets = [
        crowd(31, &[("203.0.113.7", 152)]),
        "udp UNCONN 0 0 192.0.2.1:443 0.0.0.0:*\ntcp ESTAB 0 0 192.0.2.1:22 203.0.113.7:50000\n"
            .to_owned(),
    ];
    for listing in sockets {
        let result = TestDir::new().check_listing(listing, &["--protocol", "all"]);
        let expected = ": not a flow table; a socket table does not show the clients of UDP";
        assert!(result.code_and_status().ends_with(expected), "{result:?}");
        assert!(result.stdout.ends_with(" List the flows instead: conntrack -L\n"), "{result:?}");
    }
}

#[test]
fn states_of_the_other_protocol_are_rejected() {
    for (args, expected) in [
        (
            "--state UNREPLIED",
            "--state UNREPLIED has no effect: no connection of --protocol tcp has that state",
        ),
        (
            "--protocol udp --source conntrack --exclude-state assured,TIME_WAIT",
            "--exclude-state TIME_WAIT has no effect: no flow of --protocol udp has that state",
        ),
    ] {
        assert_usage_error(&args.split(' ').collect::<Vec<_>>(), expected);
    }
    let flow = "udp 17 29 src=203.0.113.7 dst=192.0.2.1 sport=5 dport=443 src=192.0.2.1 \
                dst=203.0.113.7 sport=443 dport=5 [ASSURED] use=1\n";
    let args = ["--protocol", "all", "--state", "ASSURED,ESTABLISHED"];
    let result = TestDir::new().check_listing(flow, &args);
    let expected =
        "0 TOPIP OK - 203.0.113.7 has 1 connection or flow through this gateway, limit 43.8";
    assert_eq!(result.code_and_status(), expected);
}

/// A pipe that no process writes to, in place of each file that a run reads.
#[test]
fn timeout_names_the_file_that_was_read() {
    let dir = TestDir::new();
    assert!(
        Command::new("mkfifo").args(["-m", "600"]).arg(dir.path("p")).status().unwrap().success()
    );
    for (args, expected) in [
        ("-H web1 --password-file p", "reading the secret in p"),
        ("-H web1 --passphrase-file p", "reading the secret in p"),
        (
            "-a a@example.com,b@example.com --smtp smtp://u@localhost --smtp-password-file p",
            "reading the secret in p",
        ),
        ("--exclude-file p", "reading the list of networks in p"),
        ("--label-file p", "reading the list of networks in p"),
        ("--network-db p", "reading the network database p"),
        ("--input p", "reading p"),
    ] {
        let args = format!("{args} -t 1");
        let result = dir.check(&args.split(' ').collect::<Vec<_>>());
        let expected = format!("3 TOPIP UNKNOWN - no answer within 1 s, while {expected}");
        assert_eq!(result.code_and_status(), expected);
    }
}

#[test]
fn malformed_prefixes_and_labels_are_rejected() {
    for value in ["0", "33", "-1", "+8", "a", "24/8", ""] {
        let shown = if value.is_empty() { "(empty)" } else { value };
        assert_usage_error(
            &["--prefix4", value],
            &format!("cannot read --prefix4 {shown}: not a number of bits, 1 to 32"),
        );
    }
    assert_usage_error(
        &["--prefix6", "129"],
        "cannot read --prefix6 129: not a number of bits, 1 to 128",
    );
    assert_usage_error(
        &["--prefix4", "32,24,20,16,8"],
        "--prefix4 and --prefix6 take at most 4 lengths",
    );
    assert_usage_error(
        &["--prefix-members", "0"],
        "cannot read --prefix-members 0: not a number of addresses, 1 or more",
    );
    assert_usage_error(
        &["--label", "web1=office"],
        "cannot read --label web1=office: not an address or network; \
         write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32",
    );
    assert_usage_error(
        &["--output", "xml"],
        "cannot read --output xml: not one of nagios, json, openmetrics, checkmk",
    );
}

#[test]
fn malformed_numbers_are_rejected() {
    assert_usage_error(&["-n", "-3"], "cannot read --top -3: not a number of addresses, 0 or more");
    for value in ["0", "-1", "nan", "inf", "1e3", "", "0.0"] {
        let shown = if value.is_empty() { "(empty)" } else { value };
        assert_usage_error(
            &["--stddev", value],
            &format!("cannot read --stddev {shown}: not a number above 0, such as 5 or 2.5"),
        );
    }
    for value in ["0", "1", "-0.1", "5%", "1e-3", "nan", ""] {
        let shown = if value.is_empty() { "(empty)" } else { value };
        assert_usage_error(
            &["--false-alarm-rate", value],
            &format!(
                "cannot read --false-alarm-rate {shown}: \
                 not a number above 0 and below 1, such as 0.01 or 0.001"
            ),
        );
    }
    assert_usage_error(
        &["--floor", "-1"],
        "cannot read --floor -1: not a number of connections, 0 or more",
    );
    assert_usage_error(
        &["--consecutive", "0"],
        "cannot read --consecutive 0: not a number of samples, 1 or more",
    );
    assert_usage_error(
        &["--max-age", "5x"],
        "cannot read --max-age 5x: not a duration; write 90, 90s, 10m, 2h or 7d",
    );
    assert_usage_error(
        &["-t", "5:ok"],
        "cannot read --timeout 5:ok: a timeout must not be OK; \
         write warning, critical or unknown",
    );
    assert_usage_error(&["-t", "0"], "cannot read --timeout 0: a check needs at least 1 second");
    assert_usage_error(
        &["-t", "5:maybe"],
        "cannot read --timeout 5:maybe: not a status; write warning, critical or unknown, \
         or its number 1 to 3",
    );
}

#[test]
fn unknown_and_conflicting_options_are_rejected() {
    assert_usage_error(&["--nope"], "unknown option --nope");
    assert_usage_error(&["--log", "-"], "cannot read --log -: not a file, syslog or journald");
    assert_usage_error(&["web1"], "unexpected argument web1");
    assert_usage_error(&["--stddev"], "--stddev needs a value");
    assert_usage_error(
        &["--source", "ss"],
        "cannot read --source ss: not one of auto, netlink, bpf, proc, conntrack",
    );
    assert_usage_error(
        &["--protocol", "icmp"],
        "cannot read --protocol icmp: not one of tcp, udp, all",
    );
    assert_usage_error(
        &["--rule", "grubbs"],
        "cannot read --rule grubbs: not one of auto, stddev, lognormal",
    );
    assert_usage_error(&["-4", "-6"], "-4 cannot be used with -6");
    assert_usage_error(
        &["-x", "10.0.0.0/33"],
        "cannot read --exclude 10.0.0.0/33: an IPv4 prefix length is at most 32",
    );
    assert_usage_error(
        &["-x", "192.0.2.0/24,web1"],
        "cannot read --exclude web1: not an address or network; write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32",
    );
}

#[test]
fn malformed_ports_and_states_are_rejected() {
    const PORT_HINT: &str = "not a port or range of ports, such as 443 or 8000-8100";
    for port in ["0", "65536", "443-80", "http", "-1", "80-", "+80"] {
        assert_usage_error(
            &[&format!("--port={port}")],
            &format!("cannot read --port {port}: {PORT_HINT}"),
        );
    }
    assert_usage_error(
        &["--state", "ESTABLISHED,OPEN"],
        "cannot read --state OPEN: not a TCP state; write a state as netstat prints it, \
         such as ESTABLISHED or SYN_RECV",
    );
}

#[test]
fn help_and_version_exit_with_3() {
    for option in ["-h", "--help", "-V", "--version"] {
        let result = TestDir::new().check(&[option]);
        assert_eq!((result.code, result.stderr.as_str()), (Some(3), ""));
        assert!(result.stdout.contains("check_topip"));
    }
}

#[test]
fn topip_py_option_spellings_are_accepted() {
    let dir = TestDir::new();
    let flood = crowd(30, &[("203.0.113.7", 152)]);
    for args in
        [&["--stddev=5", "--ipv6"][..], &["--stdev=5"], &["--stdev", "5"], &["-n", "10", "-n", "0"]]
    {
        assert_eq!(
            dir.check_listing(&flood, args).status_line().split(' ').nth(3),
            Some("203.0.113.7"),
            "{args:?}"
        );
    }
}

#[test]
fn files_other_than_listings_are_unknown() {
    let dir = TestDir::new();
    dir.write("empty", "");
    dir.write("blank", "\n\r\n\n");
    dir.write("junk", (0..=255u8).cycle().take(100_000).collect::<Vec<_>>());
    dir.write("words", "bash: netstat: command not found\nsecond\n");
    dir.write("utf-16", b"\xFF\xFEA\0c\0t\0i\0v\0e\0");
    let check = |name: &str, expected: &str| {
        let result = dir.check(&["--input", name]);
        assert_eq!(result.code_and_status(), format!("3 TOPIP UNKNOWN - {expected}"));
        assert!(result.stdout.lines().count() > 1, "no hint: {}", result.stdout);
    };
    check("missing", "cannot open missing: No such file or directory (os error 2)");
    check(".", "cannot read .: it is a directory");
    check("empty", "empty is empty");
    check("blank", "blank is empty");
    check(
        "words",
        "words: not a recognized socket listing; first line: bash: netstat: command not found",
    );
    check("junk", "junk: not a recognized socket listing; first line: ?????????");
    check("utf-16", "utf-16: UTF-16 text is not supported");
}

/// Text about sockets, or a table of other sockets, must not be taken for an empty TCP
/// listing: that would be OK.
#[test]
fn text_similar_to_a_listing_is_unknown() {
    let manual = std::fs::read_to_string(crate::support::test_file("../man/topip.7")).unwrap();
    for text in [
        "Kernel IP routing table\nDestination Gateway Genmask Flags\n0.0.0.0 192.0.2.1 0.0.0.0 UG\n",
        "Kernel Interface table\nIface MTU RX-OK RX-ERR\nlo 65536 0 0\n",
        "Active UNIX domain sockets (w/o servers)\nProto RefCnt Flags Type State I-Node Path\n\
         unix  2 [ ] DGRAM 1 /run/x\n",
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout \
         inode ref pointer drops\n  3: 0100007F:0035 00000000:0000 07 0\n",
        "netstat: cannot open kernel socket table: Permission denied\n",
        "Welcome to this Unix server\n",
        "Usage: ss [ OPTIONS ]\n   -x, --unix  display only Unix domain sockets\n   -4, --ipv4 x\n",
        &manual,
    ] {
        let result = TestDir::new().check_listing(text, &[]);
        assert!(
            result.code_and_status().contains(": not a recognized socket listing; "),
            "{}",
            result.stdout
        );
        assert_eq!(result.code, Some(3));
    }
}

#[test]
fn truncated_listing_is_unknown() {
    let whole = crowd(3, &[("2001:db8::1234:5678:9abc:1", 2)]);
    let rows = whole.lines().count() - 2;
    let heading = whole.find("tcp").unwrap();
    for length in "Active Internet connections (w/o servers)\nProto ".len()..whole.len() - 1 {
        let result = TestDir::new().check_listing(&whole[..length], &["--no-default-excludes"]);
        let rest = &whole[..length];
        // A cut between two rows cannot be detected; a cut before the last line end loses
        // nothing.
        let is_whole = rest.ends_with('\n') || (length > heading && rest.ends_with("ESTABLISHED"));
        assert_eq!(result.code, Some(if is_whole { 0 } else { 3 }), "{rest} {}", result.stdout);
    }
    assert!(rows > 3);
    let ss = "State Recv-Q Send-Q Local Address:Port Peer Address:Port\n\
              ESTAB 0 0 192.0.2.10:443 203.0.113.7:50000\nESTAB 0 0 [::1]:80 [2001:db8::1]:5\n";
    let first_row_start = ss.find('\n').unwrap() + 1;
    for length in first_row_start..ss.len() - 1 {
        let rest = &ss[..length];
        let result = TestDir::new().check_listing(rest, &[]);
        // Digits of the peer's port may be missing, because it is not used.
        let peer = rest.lines().last().unwrap().split_whitespace().nth(4);
        let is_whole_peer = peer.is_some_and(|peer| {
            let digits = peer.strip_prefix("203.0.113.7:").or(peer.strip_prefix("[2001:db8::1]:"));
            digits.is_some_and(|digits| !digits.is_empty())
        });
        let is_whole = rest.ends_with('\n') || is_whole_peer;
        assert_eq!(result.code, Some(if is_whole { 0 } else { 3 }), "{rest} {}", result.stdout);
    }
}

#[test]
fn incomplete_row_is_unknown() {
    for listing in [
        "tcp 0 0 192.0.2.10:443 203.0.113.7:1 ESTABLISHED\ntcp 0 0 192.0.2.10:443 203.0.113.7:2\n",
        "State Recv-Q Send-Q Local Address:Port Peer Address:Port\n0 0 192.0.2.10:443 203.0.113.7:2\n",
        "tcp 0 0 192.0.2.10:443 203.0.113.7:1 ESTABLISHED\ntcp\n",
        "ESTAB 0 0 192.0.2.10:443 203.0.113.7:1\nbash: netstat: command not found\n",
        "ESTAB 0 0 192.0.2.10:443 203.0.113.7:1\nKilled\n",
        "tcp 0 0 192.0.2.10:443 203.0.113.7:1 ESTABLISHED\nSegmentation fault\n",
        "Proto Local Foreign State\n  TCP    mypc:https    client:https    ESTABLISHED\n",
        "tcp 0 0 192.0.2.10:443 203.0.113.7:1 ESTABLISHED\n  TCP 1.2.3.4:443\n",
    ] {
        let result = TestDir::new().check_listing(listing, &[]);
        assert!(
            result.code_and_status().starts_with("3 TOPIP UNKNOWN - cannot read 1 row, line 2: "),
            "{}",
            result.stdout
        );
    }
}

#[test]
fn listings_without_heading_are_read() {
    let check = |listing: &str, expected: &str| {
        let result = TestDir::new().check_listing(listing, &[]);
        assert_eq!(result.code_and_status(), expected, "{listing}");
    };
    let two = "0 TOPIP OK - 203.0.113.7 has 2 connections, limit 43.8";
    let ss = "ESTAB 0 0 192.0.2.10:443 203.0.113.7:1\n";
    check(&format!("Authorized users of this interface only\n{ss}{ss}"), two);
    check(&format!("  {ss}  {ss}"), two);
    check(&format!("{ss}\t cubic wscale:7,7 rto:204\n{ss}"), two);
    let windows = "  TCP    192.0.2.10:443    203.0.113.7:2   ESTABLISHED\n";
    check(&format!("{windows}{windows}"), two);
    let proc = "   0: 0A0200C0:01BB 077100CB:C350 01 00000000:00000000\n";
    let listener = "   1: 0100007F:0019 00000000:0000 0A 0:0\n";
    check(&format!("{proc}{proc}{listener}"), two);
    // Connections of different tables are not added up.
    let several = ": several listings; the second one starts in line 2";
    for tables in [format!("{ss}{windows}"), format!("{ss}{proc}{listener}")] {
        let result = TestDir::new().check_listing(&tables, &[]);
        assert!(result.code_and_status().ends_with(several), "{tables}: {}", result.stdout);
        assert_eq!(result.code, Some(3));
    }
    check(
        &format!("Active UNIX domain sockets (w/o servers)\nunix 2 [ ] DGRAM 1 /run/x\n{ss}{ss}"),
        two,
    );
    // A broken row is not taken for a banner.
    check(
        &format!("ESTAB 0 0 192.0.2.10:443\n{ss}{ss}"),
        "3 TOPIP UNKNOWN - cannot read 1 row, line 1: not a row of a socket table: \
         ESTAB 0 0 192.0.2.10:443; 203.0.113.7 has 2 connections, limit 43.8",
    );
    check(&format!("Last login: Sun Nov 22 18:28:19 2026 from 192.0.2.1\n{ss}{ss}"), two);
    // A listener that is bound to a device.
    check(&format!("LISTEN 0 5 *%lo:8080 *:*\n{ss}{ss}"), two);
}

/// A truncated address that is zero up to the cut still belongs to a peer.
#[test]
fn truncated_address_is_not_a_listener() {
    for row in [
        "tcp6 0 0 192.0.2.10:443 ::aaaa:bbbb:cccc::39381 ESTABLISHED",
        "tcp6 0 0 192.0.2.10:443 ::ffff:203.0.113.:50000 ESTABLISHED",
        "tcp6 0 0 192.0.2.10.443 ::ffff:203.0.113.50000 ESTABLISHED",
        "tcp 0 0 2001:db8::1:443 2001:db8::1234:56:50000 ESTABLISHED",
    ] {
        let result = TestDir::new().check_listing(format!("Proto Recv-Q Send-Q\n{row}\n"), &[]);
        assert!(
            result
                .code_and_status()
                .starts_with("3 TOPIP UNKNOWN - the address in line 2 may be cut off; "),
            "{row}: {}",
            result.stdout
        );
        assert!(result.stdout.contains(" connections=1;;;0 over=0;;;0\n"), "{}", result.stdout);
    }
}

#[test]
fn peer_address_does_not_decide_byte_order() {
    let heading = "  sl  local_address rem_address   st tx_queue\n";
    let flood = "   1: 0A0200C0:01BB 7F7100CB:C350 01 0:0\n".repeat(200);
    let result = TestDir::new().check_listing(format!("{heading}{flood}"), &[]);
    let note = "cannot determine the byte order of /proc, and assumed little-endian";
    assert!(result.stdout.to_lowercase().contains(note), "{}", result.stdout);
    assert_eq!(result.code, Some(1), "{}", result.stdout);
    let local_row = "   0: 0100007F:0019 00000000:0000 0A 0:0\n";
    let result = TestDir::new().check_listing(format!("{heading}{flood}{local_row}"), &[]);
    assert!(
        result.status_line().starts_with("TOPIP WARNING - 203.0.113.127 has 200 connections"),
        "{}",
        result.stdout
    );
    assert!(!result.stdout.contains("byte order"), "{}", result.stdout);
    // Without a heading, the second row reveals the byte order of the first.
    let big =
        "   0: C000020A:01BB CB007107:C350 01 0:0\n   1: 7F000001:0019 7F000001:C350 01 0:0\n";
    let result = TestDir::new().check_listing(big, &[]);
    assert_eq!(result.code_and_status(), "0 TOPIP OK - 203.0.113.7 has 1 connection, limit 43.8");
}

#[test]
fn long_exclude_list_is_fast() {
    let dir = TestDir::new();
    let networks: String = (0..200_000u32)
        .map(|n| format!("10.{}.{}.{}/32\n", n >> 16, n >> 8 & 255, n & 255))
        .collect();
    dir.write("networks", networks);
    let row = "tcp 0 0 192.0.2.10:443 203.0.113.7:1 ESTABLISHED\n";
    let result =
        dir.check_listing(row.repeat(300_000), &["--exclude-file", "networks", "-t", "60"]);
    assert_eq!(
        result.status_line().split(',').next(),
        Some("TOPIP WARNING - 203.0.113.7 has 300000 connections")
    );
}

#[test]
fn exclude_files_are_read_and_checked() {
    let dir = TestDir::new();
    dir.write("bad", "192.0.2.0/24 # office\n\nweb1 <script>|x\n");
    dir.write("good", "# proxies\n203.0.113.0/24\n");
    let some = listing(&[("203.0.113.7", 12), ("198.51.100.7", 3)]);
    let check = |args: &[&str], expected: &str| {
        assert_eq!(dir.check_listing(&some, args).code_and_status(), expected)
    };
    check(&["--exclude-file", "good"], "0 TOPIP OK - 198.51.100.7 has 3 connections, limit 43.8");
    check(
        &["--exclude-file", "bad"],
        "3 TOPIP UNKNOWN - cannot read line 3 of bad: web1 ?script??x: not an address or network; \
         write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32",
    );
    check(
        &["--exclude-file", "missing"],
        "3 TOPIP UNKNOWN - cannot read the list of networks missing: No such file or directory (os error 2)",
    );
}

#[test]
fn endless_line_uses_bounded_memory() {
    let dir = TestDir::new();
    let path = dir.path("endless");
    let mut file = File::create(&path).unwrap();
    let heading = listing(&[("203.0.113.7", 2)]);
    file.write_all(heading.as_bytes()).unwrap();
    for _ in 0..100 {
        file.write_all(&vec![b'7'; 1_000_000]).unwrap();
    }
    drop(file);
    let mut command = Command::new("sh");
    // 64 MiB of address space, including the program and its libraries.
    command
        .args(["-c", "ulimit -v 65536; exec \"$0\" --input endless --state-file state", CHECK])
        .current_dir(dir.path("."));
    let result = run(&mut command);
    assert!(
        result
            .code_and_status()
            .starts_with("3 TOPIP UNKNOWN - cannot read 1 row, line 5: longer than 64 KiB: 777"),
        "{}",
        result.code_and_status()
    );
    assert!(
        result.code_and_status().ends_with("; 203.0.113.7 has 2 connections, limit 43.8"),
        "{}",
        result.code_and_status()
    );
}

#[test]
fn endless_listing_times_out() {
    let dir = TestDir::new();
    for (input, args) in [("/dev/zero", ["-t", "1"]), ("-", ["-t", "1:critical"])] {
        let mut command = dir.command(&[&["--input", input][..], &args].concat());
        // The pipe is neither written to nor closed.
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take();
        let started = std::time::Instant::now();
        let output = child.wait_with_output().unwrap();
        let elapsed = started.elapsed();
        drop(stdin);
        let text = String::from_utf8(output.stdout).unwrap();
        let (status, code) = if input == "-" { ("CRITICAL", 2) } else { ("UNKNOWN", 3) };
        assert_eq!(
            text,
            format!(
                "TOPIP {status} - no answer within 1 s, while reading {input}\n\
                 Increase --timeout, but keep it below the timeout of the monitoring system.\n"
            )
        );
        assert_eq!(output.status.code(), Some(code));
        assert!(elapsed < Duration::from_millis(1500), "{elapsed:?}");
    }
}

#[test]
fn standard_input_is_read_to_its_end() {
    let dir = TestDir::new();
    let mut child = dir
        .command(&["--input", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = thread::spawn(move || {
        // Write single bytes, so that every read is short.
        for byte in listing(&[("203.0.113.7", 2)]).bytes() {
            stdin.write_all(&[byte]).unwrap();
        }
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with("TOPIP OK - 203.0.113.7 has 2 connections, limit 43.8 | max=2;43.8;;0 "),
        "{text}"
    );
}

#[test]
fn unwritable_output_is_not_ok() {
    let dir = TestDir::new();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let status = dir.command(&["-V"]).stdout(full).status().unwrap();
    assert_eq!(status.code(), Some(3), "full disk");

    dir.write("listing", listing(&[("203.0.113.7", 2)]));
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let status = dir.command(&["--input", "listing"]).stdout(full).status().unwrap();
    assert_eq!(status.code(), Some(3), "unwritten output is not OK");

    let sh = |script: &str| {
        let script = format!("exec \"$0\" --input listing --state-file state {script}");
        Command::new("sh").args(["-c", &script, CHECK]).current_dir(dir.path(".")).status().unwrap()
    };
    assert_eq!(sh(">&-").code(), Some(0), "closed");
    assert_eq!(sh("<&- 2>&-").code(), Some(0), "others closed");

    let mut child = dir.command(&["--input", "listing"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0), "reader is gone");
}

/// A pipe holds 64 KiB, and the output may be longer.
#[test]
fn unread_output_times_out() {
    let dir = TestDir::new();
    let addresses: Vec<_> = (0..3000).map(|n| format!("198.51.{}.{}", n / 250, n % 250)).collect();
    let counts: Vec<_> = addresses.iter().map(|address| (address.as_str(), 1)).collect();
    dir.write("listing", listing(&counts));
    let started = std::time::Instant::now();
    let mut child = dir
        .command(&["--input", "listing", "-vvv", "-t", "1"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3));
    let elapsed = started.elapsed();
    assert!(elapsed < Duration::from_millis(1700), "{elapsed:?}");
}

#[test]
fn renamed_plugin_still_checks() {
    let dir = TestDir::new();
    dir.write("listing", listing(&[("203.0.113.7", 2)]));
    for name in ["check_topip", "check_topip_web", "mycheck", "/usr/lib/check_topip.old", ""] {
        let mut command = dir.command(&["--input", "listing"]);
        let result = run(command.arg0(name));
        assert_eq!(
            result.code_and_status(),
            "0 TOPIP OK - 203.0.113.7 has 2 connections, limit 43.8",
            "{name}"
        );
    }
    for name in ["munin_topip", "topip_localhost", "topip"] {
        let result = run(dir.command(&["config"]).arg0(name));
        let drawn = "graph_title TCP connections per remote address\n";
        assert!(result.stdout.starts_with(drawn), "{name}: {}", result.stdout);
    }
    for name in ["topip_log", "topip_log_web"] {
        let result = run(dir.command(&["--version"]).arg0(name));
        assert!(result.stdout.starts_with("topip_log "), "{}", result.stdout);
        assert_eq!(result.code, Some(0));
    }
}

#[test]
fn status_line_length_is_bounded() {
    let dir = TestDir::new();
    let name = "x".repeat(200) + "/";
    let result = dir.check(&["--input", &name.repeat(20)]);
    assert!(result.stdout.lines().next().unwrap().len() < 1000, "{}", result.stdout);
    let long = format!(
        "{}{}\n",
        listing(&[("2001:db8:1111:2222:3333:4444:5555:6666", 2)]),
        "tcp 0 0 ".to_owned() + &"9".repeat(5000)
    );
    let result = dir.check_listing(long, &[]);
    assert!(result.stdout.lines().next().unwrap().len() < 1000, "{}", result.stdout);
    assert!(fs::exists(dir.path("listing")).unwrap());
}

#[test]
fn malformed_mail_options_are_rejected() {
    for (args, option) in [
        (&["-v", "--smtp", "smtp://x"][..], "--smtp"),
        (&["--remind", "1h", "--top", "3"], "--remind"),
        (&["--recovery"], "--recovery"),
        (&["--smtp-password-file=x"], "--smtp-password-file"),
    ] {
        assert_usage_error(args, &format!("{option} needs --alert"));
    }
    assert_usage_error(
        &["-a", "a@b.example"],
        "cannot read --alert a@b.example: no recipient; write FROM,TO[,TO...]",
    );
    assert_usage_error(
        &["-a", "a@b.example,c@d.example>\nBcc: x@y.example"],
        "cannot read --alert a@b.example,c@d.example? Bcc: x@y.example: c@d.example? Bcc: \
         x@y.example is not an email address in ASCII, such as ops@example.com",
    );
    let alert = |args: &[&'static str]| [&["-a", "a@b.example,c@d.example"], args].concat();
    assert_usage_error(
        &alert(&["--smtp", "localhost"]),
        "cannot read --smtp localhost: write smtp://[USER@]HOST[:PORT], smtps://[USER@]HOST[:PORT] \
         or sendmail:[PATH]",
    );
    assert_usage_error(
        &alert(&["--smtp", "smtp://me:secret@mail"]),
        "cannot read --smtp smtp://...@mail: not a server: it must not contain a password",
    );
    assert_usage_error(
        &alert(&["--smtp", "smtp://mail?tls=maybe"]),
        "cannot read --smtp smtp://mail?tls=maybe: write tls=required, tls=unverified, or, for smtp, \
         tls=offered or tls=none",
    );
    assert_usage_error(
        &alert(&["--remind", "soon"]),
        "cannot read --remind soon: not a duration; write 90, 90s, 10m, 2h or 7d",
    );
}

/// A password that is given as a server name is rejected and not shown.
#[test]
fn password_in_server_name_is_not_shown() {
    let dir = TestDir::new();
    let server = "cannot read --hostname ...@web1: not a server: it must not contain a password";
    for server_option in [&["-H", "root:hunter2@web1"][..], &["--server=web2,root:hunter2@web1"]] {
        assert_usage_error(server_option, server);
        for output in [&["--output", "json"][..], &["-vvv"]] {
            let result = dir.check(&[server_option, output].concat());
            assert_eq!(result.code, Some(3));
            assert!(!result.stdout.contains("hunter2"), "{}", result.stdout);
        }
        let result = run(dir.program(LOG, server_option).args(["--log", "log"]));
        assert_eq!(result.code, Some(2));
        assert!(!result.stderr.contains("hunter2"), "{}", result.stderr);
    }
    for value in
        ["root:hunter2,x@web1", "a@b:hunter2@web1", "root:hunter2@", "root:hunter2@web1:ssh"]
    {
        let result = dir.check(&["-H", value]);
        assert_eq!(result.code, Some(3));
        assert!(!result.stdout.contains("hunter2"), "{}", result.stdout);
    }
    let result = dir.check(&["root:hunter2@web1"]);
    assert!(result.stdout.starts_with("TOPIP UNKNOWN - unexpected argument ...@web1\n"));
    let mut munin = dir.program(MUNIN, &["fetch"]);
    let result = run(munin.env("hostname", "root:hunter2@web1"));
    assert!(result.stdout.contains("connections_max.extinfo cannot read env.hostname ...@web1: "));
    assert!(!format!("{}{}", result.stdout, result.stderr).contains("hunter2"));
}

#[cfg(feature = "mail")]
#[test]
fn mail_password_file_is_checked() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TestDir::new();
    let file = dir.write("secret", "hunter2");
    let check = |args: &[&str], expected: &str| {
        let result = dir.check(&[&["-a", "a@b.example,c@d.example"], args].concat());
        assert_eq!(result.code_and_status(), format!("3 TOPIP UNKNOWN - {expected}"));
        assert!(!result.stdout.contains("hunter2"));
    };
    let user = "smtp://me@mail";
    let secret = ["--smtp-password-file", "secret"];
    check(&["--smtp", user], "cannot log in to the mail server mail as me: no password is given");
    check(&secret, "--smtp-password-file needs a user in --smtp");
    check(
        &[&["--smtp", "sendmail:"], &secret[..]].concat(),
        "--smtp-password-file cannot be used with sendmail",
    );
    let with = [&["--smtp", user], &secret[..]].concat();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    check(&with, "cannot use secret: others may read it");
    dir.write("secret", "");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    check(&with, "cannot use secret: its first line is empty");
    fs::remove_file(&file).unwrap();
    check(&with, "cannot read secret: No such file or directory (os error 2)");
}

#[cfg(not(feature = "mail"))]
#[test]
fn mail_options_without_mail_feature_are_rejected() {
    assert_usage_error(&["-a", "a@b.example,c@d.example"], "this topip was built without mail");
}

/// A link or a special file in place of the output file stays as it is.
#[test]
fn output_file_replaces_only_regular_files() {
    let dir = TestDir::new();
    dir.write("listing", crowd(3, &[]));
    dir.write("target", "unchanged");
    fs::create_dir(dir.path("directory")).unwrap();
    std::os::unix::fs::symlink("target", dir.path("link")).unwrap();
    assert!(Command::new("mkfifo").arg(dir.path("pipe")).status().unwrap().success());
    for name in ["directory", "link", "pipe"] {
        let result = dir.check(&["--input", "listing", "--output-file", name]);
        let expected = format!("3 TOPIP UNKNOWN - cannot write {name}: it is not a regular file");
        assert_eq!(result.code_and_status(), expected);
    }
    assert_eq!(fs::read_to_string(dir.path("target")).unwrap(), "unchanged");
    let result = dir.check(&["--input", "listing", "--output-file", "target"]);
    assert_eq!((result.code, &*result.stdout), (Some(0), ""));
    let written = fs::read_to_string(dir.path("target")).unwrap();
    assert!(written.starts_with("TOPIP OK - "), "{written}");
    let mode = fs::metadata(dir.path("target")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    let names = fs::read_dir(dir.path(".")).unwrap().map(|it| it.unwrap().file_name());
    assert!(names.into_iter().all(|name| !name.to_string_lossy().contains(".new")));
}
