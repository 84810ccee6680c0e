//! Files of networks, hosts and names, as people write them.
use std::time::Duration;

use crate::support::{Room, listing};

#[test]
fn hosts_of_a_list_are_excluded_by_all_their_addresses() {
    let room = Room::new();
    let list = room.write("list", "# those that may\nlocalhost\n203.0.113.0/24 # office\n");
    let some = listing(&[("127.0.0.1", 9), ("::1", 8), ("203.0.113.7", 7), ("192.0.2.7", 6)]);
    let ran = room
        .judge(some, &["--no-default-excludes", "--exclude-file", list.to_str().unwrap(), "-vv"]);
    assert!(ran.stdout.contains("Excluded 127.0.0.1: 9\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("Excluded 203.0.113.0/24: 7\n"), "{}", ran.stdout);
    assert!(ran.line().contains(" - 192.0.2.7 has 6 ") || ran.line().contains(" - ::1 has 8 "));
}

/// The connections of a host that cannot be found are counted, and nobody is
/// told that all is well.
#[test]
fn a_host_that_is_not_found_is_unknown() {
    let room = Room::new();
    let list = room.write("list", "no-such-host.invalid\n");
    let args = ["--exclude-file", list.to_str().unwrap()];
    let ran = room.judge(listing(&[("192.0.2.7", 6)]), &args);
    assert_eq!(ran.code, Some(3), "{}", ran.stdout);
    let problem = "cannot find the address of no-such-host.invalid: ";
    assert!(ran.line().starts_with(&format!("TOPIP UNKNOWN - {problem}")), "{}", ran.line());
    assert!(ran.line().ends_with("; 192.0.2.7 has 6 connections, limit 10"), "{}", ran.line());
    assert!(ran.stdout.contains("Its connections were counted."), "{}", ran.stdout);
    assert!(ran.took < Duration::from_secs(10));
}

#[test]
fn a_line_that_is_nothing_ends_the_check() {
    for (option, text, problem) in [
        ("--exclude-file", "192.0.2.300\n", "not an address or network; write"),
        ("--exclude-file", "two words\n", "not an address or network; write"),
        ("--exclude-file", "192.0.2.0/33\n", "a network of IPv4 has at most 32 bits"),
        ("--label-file", "office\n", "write a network and its name"),
        ("--label-file", "192.0.2.0/24=\n", "write a network and its name"),
        ("--label-file", "web1=office\n", "not an address or network; write"),
    ] {
        let room = Room::new();
        let list = room.write("list", format!("# a comment\n{text}"));
        let ran = room.judge(listing(&[]), &[option, list.to_str().unwrap()]);
        assert_eq!(ran.code, Some(3), "{}", ran.stdout);
        let beginning = format!("TOPIP UNKNOWN - cannot read line 2 of {}: ", list.display());
        assert!(ran.stdout.starts_with(&beginning), "{}", ran.stdout);
        assert!(ran.stdout.contains(problem), "{}", ran.stdout);
    }
}

#[test]
fn names_from_a_file() {
    let room = Room::new();
    let names = room.write("names", "203.0.113.0/24 our office # upstairs\n192.0.2.7=proxy\n");
    let some = listing(&[("203.0.113.7", 7), ("192.0.2.7", 6)]);
    let ran = room.judge(some, &["--label-file", names.to_str().unwrap(), "-v"]);
    assert!(ran.line().contains(" - 203.0.113.7 (our office) has 7 "), "{}", ran.stdout);
    assert!(ran.stdout.contains("\n192.0.2.7 (proxy) 6 connections "), "{}", ran.stdout);
}
