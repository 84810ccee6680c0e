//! Counts by address, as `sort | uniq -c` prints them.
use std::{fs, os::unix::fs::PermissionsExt, process::Command, time::Duration};

use serde_json::Value;

use crate::support::{CommandResult, TestDir, crowd, listing, run};

fn json(result: &CommandResult) -> Value {
    serde_json::from_str(&result.stdout).unwrap_or_else(|error| panic!("{error}: {result:?}"))
}

/// Returns each address with its connections.
fn peers(report: &Value) -> Vec<(String, u64)> {
    let top = report["views"][0]["top"].as_array().unwrap();
    let peer = |peer: &Value| {
        (peer["address"].as_str().unwrap().to_owned(), peer["connections"].as_u64().unwrap())
    };
    top.iter().map(peer).collect()
}

/// The counts of the tools for a listing of netstat match those of the check.
#[test]
fn counts_of_uniq_match_those_of_the_listing() {
    let dir = TestDir::new();
    dir.write("listing", crowd(31, &[("203.0.113.7", 152), ("203.0.113.8", 40)]));
    for script in [
        "awk '{print $5}' listing | cut -d: -f1 | sort | uniq -c",
        "awk '/^tcp/ {print $5}' listing | sed 's/:[0-9]*$//' | sort | uniq -c | sort -rn",
        "awk '/^tcp/ {sub(/:[0-9]*$/, \"\", $5); n[$5]++} END {for (i in n) print n[i], i}' listing",
    ] {
        let counted = Command::new("sh").args(["-c", script]).current_dir(dir.path(".")).output();
        dir.write("counts", counted.unwrap().stdout);
        let check = |input: &str| json(&dir.check(&["--input", input, "--output", "json", "-vvv"]));
        let (direct, counts) = (check("listing"), check("counts"));
        assert_eq!(peers(&direct), peers(&counts), "{script}");
        assert_eq!(direct["views"][0]["limit"], counts["views"][0]["limit"]);
        assert_eq!((&direct["table"], &counts["table"]), (&"sockets".into(), &"counts".into()));
        let top = &counts["views"][0]["top"][0];
        assert_eq!((&top["ports"], &top["states"]), (&Value::Array(vec![]), &Value::Array(vec![])));
    }
}

#[test]
fn output_says_that_details_are_missing() {
    let dir = TestDir::new();
    let counts = "    152 203.0.113.7\n      1 198.51.100.1\n      3 2001:db8::7\n";
    let result = dir.check_listing(counts, &["-vv", "--limit", "100", "--consecutive", "1"]);
    let lines = [
        "156 connections from 3 addresses, counted without ports and states:",
        "203.0.113.7 152 connections; over the limit; 97 % of all connections",
        "2001:db8::7 3 connections",
        "198.51.100.1 1 connection",
    ];
    assert!(result.stdout.contains(&format!("\n{}\n", lines.join("\n"))), "{}", result.stdout);
    assert!(result.stdout.contains(", read as counts by address\n"), "{}", result.stdout);
    assert_eq!(result.code, Some(2));
    let metrics = dir.check_listing(counts, &["--output", "openmetrics"]);
    assert!(metrics.stdout.contains("\ntopip_connections{prefix4=\"32\",prefix6=\"128\"} 156\n"));
    assert!(!metrics.stdout.contains("tcp_state"), "{}", metrics.stdout);
}

#[test]
fn addresses_are_selected_and_aggregated_as_in_listings() {
    let counts = "5 ::ffff:203.0.113.7\n6 203.0.113.7\n7 64:ff9b::203.0.113.7\n\
                  2 203.0.113.8\n0 203.0.113.9\n9 127.0.0.1\n8 192.168.0.1\n4 0.0.0.0\n";
    let check = |args: &[&str]| {
        let dir = TestDir::new();
        let result = dir.check_listing(counts, &[&["--output", "json", "-vvv"], args].concat());
        (peers(&json(&result)), json(&result)["skipped"].clone())
    };
    let (all, skipped) = check(&[]);
    assert_eq!(all, [("203.0.113.7".to_owned(), 18), ("203.0.113.8".to_owned(), 2)]);
    assert_eq!(skipped["excluded"][0]["connections"], 9);
    assert_eq!(skipped["excluded"][1]["connections"], 8);
    let (networks, _) = check(&["--prefix4", "24"]);
    assert_eq!(networks, [("203.0.113.0/24".to_owned(), 20)]);
    let (_, skipped) = check(&["-6"]);
    assert_eq!(skipped["other_family"], 37);
    let (only, skipped) = check(&["--only", "203.0.113.8"]);
    assert_eq!((only[0].1, &skipped["other_network"]), (2, &35.into()));
}

/// The time for a count does not depend on its size, and sums do not overflow.
#[test]
fn huge_counts_are_fast_and_do_not_overflow() {
    let dir = TestDir::new();
    let most = "4294967295 192.0.2.1\n4294967295 192.0.2.2\n";
    let result = dir.check_listing(most, &["--output", "json"]);
    assert!(result.elapsed < Duration::from_secs(2), "{result:?}");
    assert_eq!(json(&result)["views"][0]["connections"], 2 * u64::from(u32::MAX));
    // The same address again: the count stays at its maximum.
    let rows = "4294967295 192.0.2.1\n".repeat(100_000);
    let result = dir.check_listing(&rows, &["--output", "json"]);
    assert_eq!(json(&result)["views"][0]["max"], u32::MAX);
    assert!(result.elapsed < Duration::from_secs(5), "{:?}", result.elapsed);
    // A hundred thousand addresses.
    let rows: Vec<_> = (0..100_000)
        .map(|n| format!("{} 2001:db8::{:x}:{:x}\n", u32::MAX - n, n >> 16, n & 0xFFFF))
        .collect();
    let result = dir.check_listing(rows.concat(), &["--output", "json"]);
    let expected: u64 = (0..100_000).map(|n| u64::from(u32::MAX - n)).sum();
    assert_eq!(json(&result)["views"][0]["connections"], expected);
    assert!(result.elapsed < Duration::from_secs(5), "{:?}", result.elapsed);
}

#[test]
fn rows_that_cannot_be_read_are_unknown() {
    for (row, reason) in [
        ("4294967296 192.0.2.1\n", "not a number: 4294967296"),
        ("99999999999999999999 192.0.2.1\n", "not a number: 99999999999999999999"),
        ("      3 \n", "incomplete row: 3"),
        ("      3\n", "incomplete row: 3"),
        ("      3 web1.example.com\n", "not an address: web1.example.com"),
        ("      3 192.0.2.1:443\n", "not an address: 192.0.2.1:443"),
        ("      3 192.0.2.256\n", "not an address: 192.0.2.256"),
        ("      3 192.0.2.1 443\n", "not a row of a socket table: 3 192.0.2.1 443"),
        ("awk: cannot open file\n", "not a row of a socket table: awk: cannot open file"),
        // The end of the address may be missing.
        ("      3 192.0.2.1", "incomplete row: 3 192.0.2.1"),
    ] {
        let result = TestDir::new().check_listing(format!("9 203.0.113.7\n{row}"), &[]);
        assert_eq!(result.code, Some(3), "{row}: {result:?}");
        assert!(result.status_line().contains(reason), "{row}: {result:?}");
    }
    // A row before the first readable count is rejected too, unless it has words of a heading.
    let result = TestDir::new().check_listing("  3 web1.example.com\n9 203.0.113.7\n", &[]);
    assert!(result.status_line().contains("not an address: web1.example.com"), "{result:?}");
    let headings = "      1 Address\n      1 servers)\n      9 203.0.113.7\n";
    assert_eq!(TestDir::new().check_listing(headings, &[]).code, Some(0));
}

#[test]
fn counts_and_other_rows_in_one_file_are_rejected() {
    let counts = "9 203.0.113.7\n3 203.0.113.8\n";
    let sockets = listing(&[("203.0.113.7", 9)]);
    let flows = "tcp 6 9 CLOSE src=203.0.113.7 dst=192.0.2.1 sport=1 dport=80 src=10.1.0.2\n";
    let ss = "ESTAB 0 0 192.0.2.10:443 203.0.113.7:50000\n";
    for other in [&sockets, flows, ss] {
        for text in [format!("{counts}{other}"), format!("{other}{counts}")] {
            let result = TestDir::new().check_listing(&text, &[]);
            assert_eq!(result.code, Some(3), "{text}: {result:?}");
            let expected = ": counts by address are mixed with rows of another listing";
            assert!(result.status_line().ends_with(expected), "{text}: {result:?}");
        }
    }
}

#[test]
fn selection_by_port_state_or_direction_is_rejected() {
    for (args, option) in [
        ("--port 443", "--port"),
        ("--state ESTABLISHED", "--state or --exclude-state"),
        ("--exclude-state TIME_WAIT", "--state or --exclude-state"),
        ("--inbound", "--inbound"),
    ] {
        let args: Vec<_> = args.split(' ').collect();
        let result = TestDir::new().check_listing("9 203.0.113.7\n", &args);
        let expected = format!(": {option} cannot be applied to counts by address");
        assert!(result.code_and_status().ends_with(&expected), "{result:?}");
        assert_eq!(result.code, Some(3));
    }
    let result = TestDir::new().check_listing("9 203.0.113.7\n", &["--protocol", "udp"]);
    assert!(result.status_line().contains(": not a flow table; "), "{result:?}");
}

/// A command on a server may print counts.
#[test]
fn command_of_a_server_may_print_counts() {
    let dir = TestDir::new();
    let client = dir.write("client", "#!/bin/sh\necho '9 203.0.113.7'; echo '3 203.0.113.8'\n");
    fs::set_permissions(client, fs::Permissions::from_mode(0o755)).unwrap();
    let args = ["--rsh", "./client", "-H", "web1,web2", "--command", "count", "-v"];
    let result = run(dir.command(&args).env("PATH", "/usr/bin:/bin"));
    assert!(result.stdout.contains("\n203.0.113.7 18 connections\n"), "{result:?}");
    assert!(result.stdout.contains("\nweb2: 12 connections\n"), "{result:?}");
}
