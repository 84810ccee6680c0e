//! Files of networks, hosts and labels.
use std::{fs, net::ToSocketAddrs, time::Duration};

use crate::support::{TestDir, crowd, listing};

#[test]
fn listed_hosts_are_excluded_by_all_addresses() {
    let dir = TestDir::new();
    let list = dir.write("list", "# those that may\nlocalhost\n203.0.113.0/24 # office\n");
    let some = listing(&[("127.0.0.1", 9), ("::1", 8), ("203.0.113.7", 7), ("192.0.2.7", 6)]);
    let result = dir.check_listing(
        some,
        &["--no-default-excludes", "--exclude-file", list.to_str().unwrap(), "-vv"],
    );
    assert!(result.stdout.contains("Excluded 127.0.0.1: 9\n"), "{}", result.stdout);
    assert!(result.stdout.contains("Excluded 203.0.113.0/24: 7\n"), "{}", result.stdout);
    // Whether localhost also resolves to ::1 depends on the machine.
    let has_v6 = ("localhost", 0).to_socket_addrs().unwrap().any(|it| it.is_ipv6());
    let top = if has_v6 { "192.0.2.7 has 6" } else { "::1 has 8" };
    assert!(result.status_line().contains(&format!(" - {top} ")), "{}", result.status_line());
}

/// If an excluded host cannot be resolved, its connections are counted and the status is
/// not OK.
#[test]
fn unresolvable_excluded_host_is_unknown() {
    let dir = TestDir::new();
    let list = dir.write("list", "no-such-host.invalid\n");
    let args = ["--exclude-file", list.to_str().unwrap()];
    let result = dir.check_listing(listing(&[("192.0.2.7", 6)]), &args);
    assert_eq!(result.code, Some(3), "{}", result.stdout);
    let problem = "host of --exclude-file: cannot find the address of no-such-host.invalid: ";
    assert!(
        result.status_line().starts_with(&format!("TOPIP UNKNOWN - {problem}")),
        "{}",
        result.status_line()
    );
    assert!(
        result.status_line().ends_with("; 192.0.2.7 has 6 connections, limit 43.8"),
        "{}",
        result.status_line()
    );
    assert!(
        result.stdout.contains("\nIts connections were not excluded but counted, "),
        "{}",
        result.stdout
    );
    assert!(result.elapsed < Duration::from_secs(10));
}

/// While an excluded host cannot be resolved, the top peer may be that host: it is neither
/// reported as an offender nor saved.
#[test]
fn unresolvable_excluded_host_prevents_alerts() {
    let dir = TestDir::new();
    let list = dir.write("list", "no-such-host.invalid\n");
    let args = ["--state-file", "state", "--exclude-file", list.to_str().unwrap()];
    let flood = crowd(31, &[("203.0.113.7", 152)]);
    for _ in 0..2 {
        let result = dir.check_listing(&flood, &args);
        assert_eq!(result.code, Some(3), "{}", result.stdout);
        assert!(
            result
                .status_line()
                .contains("; 203.0.113.7 has 152 connections, above the limit 28.7"),
            "{}",
            result.status_line()
        );
        assert!(!dir.path("state").exists());
    }
    fs::write(&list, "localhost\n").unwrap();
    assert_eq!(dir.check_listing(&flood, &args).code, Some(1));
    assert_eq!(dir.check_listing(&flood, &args).code, Some(2));
}

#[test]
fn too_many_excluded_hosts_are_rejected() {
    let dir = TestDir::new();
    let hosts: String = (0..101).map(|n| format!("web{n}.invalid\n")).collect();
    let list = dir.write("list", hosts);
    let result = dir.check_listing(listing(&[]), &["--exclude-file", list.to_str().unwrap()]);
    let problem = format!("cannot use {}: it has 101 host names, more than 100", list.display());
    assert_eq!(result.code_and_status(), format!("3 TOPIP UNKNOWN - {problem}"));
}

/// Summing up the exclusions of a long list is fast.
#[test]
fn hundred_thousand_excluded_addresses_are_added_up() {
    let dir = TestDir::new();
    let address = |n: usize| format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255);
    let addresses: Vec<_> = (0..100_000).map(address).collect();
    let list = dir.write("list", addresses.join("\n"));
    let rows: Vec<_> = addresses.iter().map(|it| (it.as_str(), 1)).collect();
    let result =
        dir.check_listing(listing(&rows), &["--exclude-file", list.to_str().unwrap(), "-t", "60"]);
    assert_eq!(result.code_and_status(), "0 TOPIP OK - no connections counted (100000 excluded)");
}

#[test]
fn malformed_list_line_is_unknown() {
    for (option, text, problem) in [
        ("--exclude-file", "198.51.100.0x7\n", "not an address or network; write"),
        ("--exclude-file", "b\u{fc}cher.example\n", "not an address or network; write"),
        ("--exclude-file", "192.0.2.300\n", "not an address or network; write"),
        ("--exclude-file", "two words\n", "not an address or network; write"),
        ("--exclude-file", "192.0.2.0/33\n", "an IPv4 prefix length is at most 32"),
        ("--label-file", "office\n", "write a network and its name"),
        ("--label-file", "192.0.2.0/24=\n", "write a network and its name"),
        ("--label-file", "web1=office\n", "not an address or network; write"),
    ] {
        let dir = TestDir::new();
        let list = dir.write("list", format!("# a comment\n{text}"));
        let result = dir.check_listing(listing(&[]), &[option, list.to_str().unwrap()]);
        assert_eq!(result.code, Some(3), "{}", result.stdout);
        let beginning = format!("TOPIP UNKNOWN - cannot read line 2 of {}: ", list.display());
        assert!(result.stdout.starts_with(&beginning), "{}", result.stdout);
        assert!(result.stdout.contains(problem), "{}", result.stdout);
    }
}

#[test]
fn label_file_labels_peers() {
    let dir = TestDir::new();
    let names = dir.write("names", "203.0.113.0/24 our office # upstairs\n192.0.2.7=proxy\n");
    let some = listing(&[("203.0.113.7", 7), ("192.0.2.7", 6)]);
    let result = dir.check_listing(some, &["--label-file", names.to_str().unwrap(), "-v"]);
    assert!(
        result.status_line().contains(" - 203.0.113.7 (our office) has 7 "),
        "{}",
        result.stdout
    );
    assert!(result.stdout.contains("\n192.0.2.7 (proxy) 6 connections "), "{}", result.stdout);
}
