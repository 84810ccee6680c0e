//! Peers that are operators, countries or labels.
use std::fs;

use serde_json::{Value, json};
use snapbox::{Assert, Data};

use crate::support::{MUNIN, TestDir, listing, run, test_file};

const GROUPS: &str = "--network-db ipinfo.mmdb --group-by asn,country,label \
                      --label 198.51.100.0/24=office --label 192.0.2.7=office";

/// Returns a directory with the databases and a listing: 60 addresses of one operator, of
/// which two are busy, 30 of another one, and two without an operator.
fn fixture() -> TestDir {
    let dir = TestDir::new();
    for file in fs::read_dir(test_file("fixtures/network_db")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), dir.path(file.file_name().to_str().unwrap())).unwrap();
    }
    let addresses = (1..=60)
        .map(|host| (format!("203.0.113.{host}"), 3))
        .chain((1..=30).map(|host| (format!("198.51.100.{host}"), 1)));
    let busy = [("203.0.113.7", 40), ("203.0.113.9", 33), ("192.0.2.7", 2), ("192.0.2.8", 1)];
    let busy = busy.map(|(address, n)| (address.to_owned(), n));
    let mut rows: Vec<_> = addresses.chain(busy).collect();
    rows.sort();
    rows.dedup_by(|a, b| {
        a.0 == b.0 && {
            b.1 = a.1.max(b.1);
            true
        }
    });
    let rows: Vec<_> = rows.iter().map(|(address, n)| (address.as_str(), *n)).collect();
    dir.write("listing", listing(&rows));
    dir
}

fn args(text: &str) -> Vec<&str> {
    ["--input", "listing", "--state-file", "state"].into_iter().chain(text.split(' ')).collect()
}

#[test]
fn group_output_is_golden() {
    let dir = fixture();
    let with_limit = |more: &str| format!("{GROUPS} --limit 35 {more}");
    let mut output = String::new();
    for args_text in [
        with_limit("-v -n 3"),
        with_limit("-n 2 --log log"),
        with_limit("-n 2 --log log --log-format json"),
        with_limit("-n 1 --log log --log-format rfc3339 --prefix4 32,24"),
        with_limit("-n 2 --output json"),
        with_limit("-n 2 --output openmetrics --metrics-addresses 1"),
        "--network-db asn.mmdb --group-by asn -v -n 2".to_owned(),
        "--network-db asn-ipv4.mmdb --group-by asn,asn -n 2 -w over=0".to_owned(),
        "--network-db connection-type.mmdb --group-by country -n 1".to_owned(),
        "--network-db none.mmdb --group-by asn,label --label ::/0=six -n 1".to_owned(),
        "--group-by asn --label 192.0.2.7=x".to_owned(),
        "--network-db asn.mmdb --group-by label".to_owned(),
        "--network-db asn.mmdb --group-by address".to_owned(),
    ] {
        let result = dir.check(&args(&args_text));
        assert_eq!(result.stderr, "");
        output += &format!("$ check_topip {args_text}\n");
        output += &format!("{}[{}]\n", result.stdout, result.code.unwrap());
    }
    output += &format!("$ cat log\n{}", fs::read_to_string(dir.path("log")).unwrap());
    let report = dir.run_log(&["report", "--log", "log"]);
    output += &format!("$ topip_log report --log log\n{}{}", report.stderr, report.stdout);
    let golden = test_file("golden/groups.txt");
    let output = without_times(&output);
    Assert::new().action_env("SNAPSHOTS").eq(output, Data::read_from(&golden, None));
}

/// Replaces the times and ages of samples, which differ from run to run.
fn without_times(output: &str) -> String {
    let times = regex::Regex::new(concat!(
        "(?-u)[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(Z|[+-][0-9:]{5})",
        "|[A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9]{2} [0-9:]{8} [0-9]{4}",
        "|[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}|[0-9]{10}|[0-9]+ s ago",
    ));
    times.unwrap().replace_all(output, "TIME").into_owned()
}

/// Each group has its own streak, and a group that is over the limit in each sample is an alert.
#[test]
fn group_has_a_history() {
    let dir = fixture();
    let check = |listing: &str| {
        let text = "--network-db asn.mmdb --group-by asn --limit 50";
        dir.check(
            &["--input", listing, "--state-file", "state"]
                .into_iter()
                .chain(text.split(' '))
                .collect::<Vec<_>>(),
        )
    };
    let first = check("listing");
    let start = "TOPIP WARNING - AS64500 Example Net (60 addresses) has 247 connections, over 50";
    assert!(first.status_line().starts_with(start), "{}", first.stdout);
    assert_eq!(check("listing").code, Some(2));
    dir.write("quiet", listing(&[("192.0.2.7", 2)]));
    // Another input is another check, so the quiet sample replaces the file.
    fs::copy(dir.path("quiet"), dir.path("listing")).unwrap();
    assert_eq!(check("listing").code, Some(0));
}

#[test]
fn json_has_the_group() {
    let dir = fixture();
    let text = format!("{GROUPS} --output json");
    let result = dir.check(&args(&text));
    let report: Value = serde_json::from_str(&result.stdout).unwrap();
    let view = |n: usize| {
        let view = &report["views"][n];
        let top = &view["top"][0];
        json!([
            view["group_by"],
            top["address"],
            top["group"],
            top["addresses"],
            top["connections"]
        ])
    };
    assert_eq!(view(0), json!([null, "203.0.113.7", null, 1, 40]));
    assert_eq!(view(1), json!(["asn", null, "AS64500", 60, 247]));
    assert_eq!(view(2), json!(["country", null, "DE", 60, 247]));
    assert_eq!(view(3), json!(["label", "203.0.113.7", null, 1, 40]));
}

/// The name of an operator cannot turn a line of the log into an alert about an address.
#[test]
fn hostile_group_name_is_not_an_address() {
    let dir = TestDir::new();
    dir.write("listing", listing(&[("192.0.2.7", 5), ("192.0.2.8", 5)]));
    for name in ["203.0.113.9", "x - 9 connections from 203.0.113.9", "x, 203.0.113.9 (99)"] {
        let label = format!("192.0.2.0/24={name}");
        let options = ["--label", &label, "--group-by", "label", "--limit", "6", "--consecutive"];
        let result = dir.check(&[&args("--log log")[..], &options, &["1"]].concat());
        assert_eq!(result.code, Some(2), "{}", result.stdout);
        assert!(result.status_line().starts_with("TOPIP CRITICAL - label "), "{}", result.stdout);
    }
    let report = dir.run_log(&["report", "--log", "log"]);
    assert_eq!((report.stdout.as_str(), report.stderr.as_str()), ("No alerts.\n", ""));
}

/// An address without a group is compared with the limit for addresses only, and max is that
/// of the groups.
#[test]
fn address_without_group_is_not_an_offender_among_groups() {
    let dir = TestDir::new();
    let busy = [("203.0.113.7".to_owned(), 48)];
    let crowd = (1..200).map(|host| (format!("198.51.100.{host}"), 45));
    let others = (1..60).map(|host| (format!("192.0.2.{host}"), 1));
    let rows: Vec<_> = busy.into_iter().chain(crowd).chain(others).collect();
    let rows: Vec<_> = rows.iter().map(|(address, n)| (address.as_str(), *n)).collect();
    dir.write("listing", listing(&rows));
    let text = "--label 198.51.100.0/24=cdn --group-by label --log log --consecutive 1";
    let result = dir.check(&args(text));
    let start = "TOPIP CRITICAL - label cdn (199 addresses) has 8955 connections, over ";
    assert!(result.status_line().starts_with(start), "{}", result.stdout);
    assert!(result.stdout.contains(" max_label=8955;"), "{}", result.stdout);
    let log = fs::read_to_string(dir.path("log")).unwrap();
    assert!(log.ends_with(" - 8955 connections of label cdn: 199 addresses on input\n"), "{log}");
    assert_eq!(log.lines().count(), 1, "{log}");
}

/// The line about a group names only addresses that are logged themselves.
#[test]
fn protected_member_is_not_named() {
    let dir = fixture();
    let text = "--network-db asn.mmdb --group-by asn --limit 30 --consecutive 1 --log log \
                --never-log 203.0.113.7";
    assert_eq!(dir.check(&args(text)).code, Some(2));
    let log = fs::read_to_string(dir.path("log")).unwrap();
    assert!(log.contains(" of AS64500 Example Net: 203.0.113.9 (33), 59 other addresses"), "{log}");
    assert!(!log.contains("203.0.113.7"), "{log}");
}

/// Different labels or databases result in different groups, and in a separate history.
#[test]
fn groups_of_other_sources_have_another_history() {
    let dir = fixture();
    let check = |label: &str| {
        let args = ["--input", "listing", "--group-by", "label", "--limit", "50", "--label", label];
        dir.check(&args).code
    };
    assert_eq!(check("203.0.113.0/24=web"), Some(1));
    assert_eq!(check("203.0.113.0/25=web"), Some(1));
    assert_eq!(check("203.0.113.0/24=web"), Some(2));
}

/// An alert about a group runs the program of --exec, with no address to ban.
#[test]
fn group_is_passed_on() {
    let dir = fixture();
    let text = "--network-db asn.mmdb --group-by asn --limit 50 --consecutive 1";
    let program = dir.script("program", "#!/bin/sh\nexec cat >input\n");
    let args: Vec<_> = args(text).into_iter().chain(["--exec", &program]).collect();
    assert_eq!(dir.check(&args).code, Some(2));
    let input: Value = serde_json::from_slice(&fs::read(dir.path("input")).unwrap()).unwrap();
    assert_eq!(input["offenders"], json!([]));
    let group = &input["groups"][0];
    let fields = ["address", "group_by", "group", "members_over", "other_addresses", "limit"];
    let fields = fields.map(|name| group[name].clone());
    assert_eq!(json!(fields), json!([null, "asn", "AS64500", [], 60, 50.0]));
}

/// The lines of the log and the input of the program stay short: a group may have
/// connections to thousands of ports.
#[test]
fn alert_about_group_has_busiest_ports_only() {
    let dir = fixture();
    let row =
        |port| format!("tcp 0 0 192.0.2.1:{port} 203.0.113.{}:50000 ESTABLISHED\n", port % 99);
    let rows: String = (1..=200).chain([200]).map(row).collect();
    dir.write("listing", rows);
    let program = dir.script("program", "#!/bin/sh\nexec cat >input\n");
    let text = "--network-db asn.mmdb --group-by asn --limit 50 --consecutive 1 --log log \
                --log-format json --exec";
    let args: Vec<_> = args(text).into_iter().chain([&*program]).collect();
    assert_eq!(dir.check(&args).code, Some(2));
    let input: Value = serde_json::from_slice(&fs::read(dir.path("input")).unwrap()).unwrap();
    let line: Value = serde_json::from_slice(&fs::read(dir.path("log")).unwrap()).unwrap();
    for group in [&input["groups"][0], &line] {
        assert_eq!(group["connections"], 201);
        assert_eq!(group["ports"].as_array().unwrap().len(), 100);
        assert_eq!(group["ports"][0], json!({"port": 200, "connections": 2}));
    }
}

#[test]
fn munin_draws_configured_groups() {
    let dir = fixture();
    let munin = |command: &str, group_by: &str| {
        let mut program = dir.program(MUNIN, &[command]);
        let program = program.env("input", "listing").env("network_db", "ipinfo.mmdb");
        run(program.env("group_by", group_by)).stdout
    };
    assert!(munin("config", "asn").contains("\nconnections_max_asn.label busiest operator\n"));
    assert!(munin("fetch", "asn,country").contains("\nconnections_max_asn.value 247\n"));
    assert!(munin("fetch", "country").contains("\nconnections_max_country.value 247\n"));
    assert!(!munin("fetch", "country").contains("connections_max_asn"));
}
