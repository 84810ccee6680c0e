//! Files of networks, hosts and names, as people write them.
use std::{fs, net::ToSocketAddrs, time::Duration};

use crate::support::{Room, crowd, listing};

#[test]
fn hosts_of_a_list_are_excluded_by_all_their_addresses() {
    let room = Room::new();
    let list = room.write("list", "# those that may\nlocalhost\n203.0.113.0/24 # office\n");
    let some = listing(&[("127.0.0.1", 9), ("::1", 8), ("203.0.113.7", 7), ("192.0.2.7", 6)]);
    let ran = room
        .judge(some, &["--no-default-excludes", "--exclude-file", list.to_str().unwrap(), "-vv"]);
    assert!(ran.stdout.contains("Excluded 127.0.0.1: 9\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("Excluded 203.0.113.0/24: 7\n"), "{}", ran.stdout);
    // Whether localhost is ::1 as well is for the machine to say.
    let has_v6 = ("localhost", 0).to_socket_addrs().unwrap().any(|it| it.is_ipv6());
    let top = if has_v6 { "192.0.2.7 has 6" } else { "::1 has 8" };
    assert!(ran.line().contains(&format!(" - {top} ")), "{}", ran.line());
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
    assert!(ran.stdout.contains("and its connections were counted"), "{}", ran.stdout);
    assert!(ran.took < Duration::from_secs(10));
}

/// Who may be the one that is to be excluded is not called an offender, nor
/// remembered as one.
#[test]
fn nobody_is_blamed_while_a_host_is_not_found() {
    let room = Room::new();
    let list = room.write("list", "no-such-host.invalid\n");
    let args = ["--state-file", "state", "--exclude-file", list.to_str().unwrap()];
    let flood = crowd(31, &[("203.0.113.7", 152)]);
    for _ in 0..2 {
        let ran = room.judge(&flood, &args);
        assert_eq!(ran.code, Some(3), "{}", ran.stdout);
        assert!(ran.line().contains("; 203.0.113.7 has 152 connections, over "), "{}", ran.line());
        assert!(!room.path("state").exists());
    }
    fs::write(&list, "localhost\n").unwrap();
    assert_eq!(room.judge(&flood, &args).code, Some(1));
    assert_eq!(room.judge(&flood, &args).code, Some(2));
}

#[test]
fn more_hosts_than_can_be_asked_for_are_refused() {
    let room = Room::new();
    let hosts: String = (0..101).map(|n| format!("web{n}.invalid\n")).collect();
    let list = room.write("list", hosts);
    let ran = room.judge(listing(&[]), &["--exclude-file", list.to_str().unwrap()]);
    let problem =
        format!("cannot use {}: it names 101 hosts, and 100 are the most", list.display());
    assert_eq!(ran.answer(), format!("3 TOPIP UNKNOWN - {problem}"));
}

/// Networks of a long list that all take something out are added up in time.
#[test]
fn a_hundred_thousand_excluded_addresses() {
    let room = Room::new();
    let address = |n: usize| format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255);
    let addresses: Vec<_> = (0..100_000).map(address).collect();
    let list = room.write("list", addresses.join("\n"));
    let rows: Vec<_> = addresses.iter().map(|it| (it.as_str(), 1)).collect();
    let ran = room.judge(listing(&rows), &["--exclude-file", list.to_str().unwrap(), "-t", "60"]);
    assert_eq!(ran.answer(), "0 TOPIP OK - no connections worth looking at (100000 excluded)");
}

#[test]
fn a_line_that_is_nothing_ends_the_check() {
    for (option, text, problem) in [
        ("--exclude-file", "198.51.100.0x7\n", "not an address or network; write"),
        ("--exclude-file", "b\u{fc}cher.example\n", "not an address or network; write"),
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
