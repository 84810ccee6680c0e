//! Addresses that netstat has truncated are shown, and never blamed.
use std::{fs, process::Command};

use serde_json::Value;

use crate::support::{CommandResult, LOG, MUNIN, TestDir, crowd, run};

/// Returns rows of net-tools without `-W`, which prints 22 characters of address and port.
pub fn truncated_rows(visible: &str, n: usize) -> String {
    assert_eq!(visible.len(), 17, "with a port of five digits");
    (0..n)
        .map(|port| format!("tcp6 0 0 2001:db8::10:443 {visible}:{} ESTABLISHED\n", 40000 + port))
        .collect()
}

/// Two clients whose visible addresses are the same, among 30 others.
pub fn two_clients() -> String {
    crowd(30, &[]) + &truncated_rows("2001:db8:aaaa:bbb", 400)
}

/// Twelve truncated clients, and one whole address over the limit.
fn twelve_clients() -> String {
    let visible = |client| format!("2001:db8:aaaa:{client:03x}");
    let truncated: String =
        (0..12).map(|client| truncated_rows(&visible(client), 300 + client)).collect();
    crowd(200, &[("203.0.113.7", 350)]) + &truncated
}

const ARGS: [&str; 8] =
    ["--state-file", "state", "--consecutive", "1", "--stddev", "2", "--log", "log"];

/// Asserts that nothing was logged and that no peer is on record as over the limit.
#[track_caller]
fn assert_no_peer_blamed(dir: &TestDir, result: &CommandResult) {
    assert_eq!(fs::read_to_string(dir.path("log")).unwrap_or_default(), "", "{result:?}");
    let state = fs::read_to_string(dir.path("state")).unwrap();
    assert!(
        state.contains("over: []") && !state.contains("aaaa") && !state.contains("::"),
        "{state}"
    );
}

#[test]
fn two_clients_with_one_visible_address_are_unknown() {
    let dir = TestDir::new();
    for _ in 0..2 {
        let result = dir.check_listing(two_clients(), &[&ARGS[..], &["-a", "a@x,b@x"]].concat());
        assert_eq!(
            result.code_and_status(),
            "3 TOPIP UNKNOWN - 400 addresses may be cut off, first in line 33; \
             2001:db8:aaaa:bbb... (cut off) may have 400 connections, above the limit 140.99"
        );
        assert!(result.stdout.contains(" over=0;;;0\n"), "{}", result.stdout);
        assert!(!result.stdout.contains("Mail"), "{}", result.stdout);
        assert_no_peer_blamed(&dir, &result);
    }
    // A threshold for one address does not apply to it; a total needs no address.
    let result = dir.check_listing(two_clients(), &[&ARGS[..], &["-c", "100"]].concat());
    assert_eq!(result.code, Some(3), "{result:?}");
    let result = dir.check_listing(two_clients(), &[&ARGS[..], &["-c", "0"]].concat());
    assert_eq!(result.code, Some(2), "{result:?}");
}

#[test]
fn truncated_clients_do_not_hide_a_whole_address() {
    let dir = TestDir::new();
    let result = dir.check_listing(twelve_clients(), &ARGS);
    assert!(
        result
            .code_and_status()
            .starts_with("2 TOPIP CRITICAL - 203.0.113.7 has 350 connections, over "),
        "{result:?}"
    );
    assert!(result.stdout.contains(" over=1;;;0\n"), "{}", result.stdout);
    let log = fs::read_to_string(dir.path("log")).unwrap();
    assert!(log.ends_with(" - 350 connections from 203.0.113.7 on input\n"), "{log}");
    assert_eq!(log.lines().count(), 1, "{log}");
    let n_listed = result.stdout.matches("... (cut off) 3").count();
    assert_eq!(n_listed, 9, "{}", result.stdout);
    // The peer over the limit is found beyond the listed peers, too.
    let result = dir.check_listing(twelve_clients(), &[&ARGS[..], &["-n", "2"]].concat());
    assert_eq!(result.code, Some(2), "{result:?}");
}

/// A WARNING is not about a truncated address on top.
#[test]
fn warning_names_a_whole_address() {
    let listing = crowd(200, &[("203.0.113.7", 350)]) + &truncated_rows("2001:db8:aaaa:bbb", 400);
    for (options, reason) in [
        (&["--limit", "100"][..], "over 100 (fixed)"),
        (&["--limit", "900", "-w", "300"], "over 300 (--warning)"),
        (&["--limit", "900", "-c", "300"], "over 300 (--critical)"),
    ] {
        let result = TestDir::new().check_listing(&listing, options);
        let expected = format!("203.0.113.7 has 350 connections, {reason}");
        assert!(result.status_line().contains(&expected), "{options:?}: {}", result.stdout);
    }
    // A total does not belong to an address: the line continues with the top address.
    let options = ["--limit", "100", "-c", "connections=500"];
    let result = TestDir::new().check_listing(&listing, &options);
    let expected = "TOPIP CRITICAL - connections 950, over 500 (--critical); \
                    2001:db8:aaaa:bbb... (cut off) may have 400 connections, above the limit 100 (fixed) | ";
    assert!(result.stdout.starts_with(expected), "{}", result.stdout);
}

/// An address that is exactly as wide as the column is complete if another address is wider.
#[test]
fn addresses_of_a_wide_listing_are_whole() {
    let wide = "tcp6 0 0 2001:db8::10:443 2001:db8:aaaa:bbbb:cccc:dddd:eeee:1:50000 ESTABLISHED\n";
    let narrow = truncated_rows("2001:db8::aaaa:bb", 300);
    let listing = crowd(30, &[]) + &narrow + wide;
    let dir = TestDir::new();
    let result = dir.check_listing(listing, &ARGS);
    assert!(
        result
            .code_and_status()
            .starts_with("2 TOPIP CRITICAL - 2001:db8::aaaa:bb has 300 connections, over "),
        "{result:?}"
    );
}

/// A wider row does not turn a text that is not an address into a complete address.
#[test]
fn text_that_is_not_an_address_is_never_blamed() {
    let wide = "tcp6 0 0 2001:db8:aaaa:bbbb:cccc:dddd:eeee:1:443 2001:db8::7:50000 ESTABLISHED\n";
    for visible in ["2001:db8:aaaa:bbb", "::ffff:203.0.113.", "2001:db8:aaaa:bb:"] {
        let dir = TestDir::new();
        let result = dir.check_listing(crowd(30, &[]) + &truncated_rows(visible, 60) + wide, &ARGS);
        let problem = "3 TOPIP UNKNOWN - 60 addresses may be cut off, first in line 33; ";
        let shown = format!("{visible}... (cut off) may have 60 connections");
        let status = result.code_and_status();
        assert!(status.starts_with(problem) && status.contains(&shown), "{result:?}");
        assert_no_peer_blamed(&dir, &result);
    }
}

#[test]
fn every_output_marks_truncated_addresses() {
    let dir = TestDir::new();
    dir.write("listing", two_clients());
    let result = dir.check_listing(two_clients(), &[&ARGS[..], &["--output", "json"]].concat());
    let json: Value = serde_json::from_str(&result.stdout).unwrap();
    let top = &json["views"][0]["top"][0];
    assert_eq!(top["address"], "2001:db8:aaaa:bbb...", "{json}");
    assert_eq!((&top["attributable"], &top["over"]), (&Value::Bool(false), &Value::Bool(false)));
    assert_eq!(json["views"][0]["top"][1]["attributable"], true);

    let mut record = Command::new(LOG);
    record.args(["record", "--input", "listing", "-v"]).args(ARGS);
    let result = run(record.env_clear().current_dir(dir.path(".")));
    assert_eq!(result.code, Some(1), "{result:?}");
    assert!(result.stderr.contains("400 addresses may be cut off"), "{result:?}");
    assert_no_peer_blamed(&dir, &result);

    let mut munin = Command::new(MUNIN);
    munin.env_clear().envs([("MUNIN_PLUGSTATE", "."), ("input", "listing"), ("stddev", "2")]);
    munin.envs([("consecutive", "1"), ("connections_max_critical", "limit")]);
    let result = run(munin.current_dir(dir.path(".")));
    assert!(result.stdout.contains("connections_max.value U\n"), "{result:?}");
    assert!(
        result.stdout.contains("2001:db8:aaaa:bbb... (cut off) may have 400 connections"),
        "{result:?}"
    );
}
