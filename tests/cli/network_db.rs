//! Operators and countries from network databases.
use std::fs;

use serde_json::{Value, json};
use snapbox::{Assert, Data};

use crate::support::{
    CommandResult, MUNIN, TestDir, crowd, listing,
    mmdb::{self, MmdbValue},
    run, test_file,
};

/// Returns the path of a database in `tests/fixtures/network_db`.
fn fixture(name: &str) -> String {
    test_file("fixtures/network_db").join(name).to_str().unwrap().to_owned()
}

fn flood() -> String {
    crowd(31, &[("203.0.113.7", 152), ("203.0.113.200", 9), ("2001:db8::7", 8), ("192.0.2.7", 7)])
}

/// Copies the databases to a directory, so that the names in the output are short.
fn dir_with_databases() -> TestDir {
    let dir = TestDir::new();
    for file in fs::read_dir(test_file("fixtures/network_db")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), dir.path(file.file_name().to_str().unwrap())).unwrap();
    }
    dir
}

#[track_caller]
fn assert_golden(name: &str, output: String) {
    let golden = test_file("golden").join(format!("{name}.txt"));
    Assert::new().action_env("SNAPSHOTS").eq(output, Data::read_from(&golden, None));
}

#[test]
fn operator_output_is_golden() {
    let dir = dir_with_databases();
    dir.write("listing", flood());
    dir.write("damaged.mmdb", &fs::read(dir.path("asn.mmdb")).unwrap()[..1500]);
    let mut output = String::new();
    for args in [
        "--network-db asn.mmdb -v -n 4",
        "--network-db asn.mmdb --network-db country.mmdb -vv -n 4",
        "--network-db country.mmdb --network-db ipinfo.mmdb",
        "--network-db country-flat.mmdb --label 203.0.113.7=office",
        "--network-db ipinfo.mmdb --prefix4 25 --prefix6 48 -v -n 4",
        "--network-db ipinfo.mmdb --prefix4 24 --prefix6 32 -v -n 2",
        "--network-db none.mmdb",
        "--network-db damaged.mmdb --network-db country.mmdb",
        "--network-db connection-type.mmdb -n 3",
        "--network-db connection-type.mmdb --limit 500 -n 3",
    ] {
        let args: Vec<_> =
            "--input listing --state-file state".split(' ').chain(args.split(' ')).collect();
        let result = dir.check(&args);
        assert_eq!(result.stderr, "");
        output += &format!("$ check_topip {}\n", args.join(" "));
        output += &format!("{}[{}]\n", result.stdout, result.code.unwrap());
    }
    // A second may pass between two runs.
    let output = output.replace("Previous sample, 1 s ago", "Previous sample, 0 s ago");
    assert_golden("operators", output);
}

/// The verdict and the perfdata are those of a run without the database, in every status.
#[test]
fn unusable_database_keeps_the_verdict() {
    let dir = dir_with_databases();
    dir.write("text.mmdb", "not a database");
    dir.write("empty.mmdb", "");
    let directory = dir.path(".");
    let databases =
        ["text.mmdb", "empty.mmdb", "none.mmdb", directory.to_str().unwrap(), "country.mmdb/x"];
    for database in databases {
        for (limit, plain_code, code) in [("500", 0, 3), ("100", 1, 1)] {
            let args = ["--limit", limit, "--state-file", "state"];
            let plain = dir.check_listing(flood(), &args);
            fs::remove_file(dir.path("state")).unwrap();
            let args = [&args[..], &["--network-db", database]].concat();
            let result = dir.check_listing(flood(), &args);
            // The sample is on record.
            fs::remove_file(dir.path("state")).unwrap();
            assert_eq!((plain.code, result.code), (Some(plain_code), Some(code)), "{database}");
            let verdict = plain.status_line().split_once(" - ").unwrap().1.to_owned();
            assert!(result.status_line().ends_with(&verdict), "{}", result.stdout);
            assert!(result.stdout.contains(database), "{}", result.stdout);
            assert_eq!(perfdata(&result), perfdata(&plain));
        }
    }
}

fn perfdata(result: &CommandResult) -> &str {
    result.stdout.lines().next().unwrap().split_once(" | ").unwrap().1
}

/// The database is not part of the state key, so the history continues with it.
#[test]
fn database_does_not_start_a_new_history() {
    let dir = dir_with_databases();
    assert_eq!(dir.check_listing(flood(), &[]).code, Some(1));
    assert_eq!(dir.check_listing(flood(), &["--network-db", "asn.mmdb"]).code, Some(2));
}

/// A record that is not UTF-8, or whose fields have other types, is a problem of its file.
#[test]
fn unreadable_record_is_named_once() {
    let dir = TestDir::new();
    let bytes = MmdbValue::Map(&[(b"as_name", MmdbValue::Text(b"caf\xe9"))]);
    let number = MmdbValue::Map(&[(b"as_name", MmdbValue::U32(7))]);
    let good = MmdbValue::Map(&[(b"as_name", MmdbValue::Text(b"Example Net"))]);
    let entries = [([203, 0, 113, 7], good), ([192, 0, 2, 7], bytes), ([192, 0, 2, 8], number)];
    dir.write("db", mmdb::database(b"test", &entries));
    let rows = listing(&[("203.0.113.7", 7), ("192.0.2.7", 6), ("192.0.2.8", 5)]);
    let result = dir.check_listing(rows, &["--network-db", "db", "-v"]);
    assert_eq!(result.code, Some(3), "{}", result.stdout);
    let expected = "TOPIP UNKNOWN - cannot read the record of 192.0.2.7 in the network database db; \
                    203.0.113.7 (Example Net) has 7 connections";
    assert!(result.stdout.starts_with(expected), "{}", result.stdout);
    assert!(!result.stdout.contains("192.0.2.8;"), "{}", result.stdout);
}

/// Networks of operators and countries are excluded like networks that a file lists.
#[test]
fn operators_and_countries_are_excluded() {
    let dir = dir_with_databases();
    let check = |databases: &[&str], excludes: &str| {
        dir.write("excludes", excludes);
        let databases = databases.iter().flat_map(|name| ["--network-db", name]);
        let args = ["--exclude-file", "excludes", "--limit", "500", "--state-file", "state", "-vv"];
        dir.check_listing(flood(), &args.into_iter().chain(databases).collect::<Vec<_>>())
    };
    let result = check(&["asn.mmdb"], "AS64500 # Example Net\n2001:db8::7\n");
    assert!(result.status_line().starts_with("TOPIP OK - 203.0.113.200 (AS64501"));
    assert!(result.stdout.contains("\nExcluded 203.0.113.0/25: 152\n"), "{}", result.stdout);
    let result = check(&["country.mmdb", "asn.mmdb"], "country:de\nAS64501\n");
    assert!(result.status_line().starts_with("TOPIP OK - 2001:db8::7 "), "{}", result.stdout);
    // IPv4 networks of a database without IPv6.
    let result = check(&["asn-ipv4.mmdb"], "as64500\n");
    assert!(result.status_line().starts_with("TOPIP OK - 203.0.113.200 "), "{}", result.stdout);
    // Connections that should have been excluded were counted.
    for (databases, excludes, problem) in [
        (&[][..], "AS64500", "cannot find the networks of AS64500"),
        (&["asn.mmdb"], "AS64500\nAS64999", "cannot find the networks of AS64999"),
        (&["asn.mmdb"], "country:DE", "cannot find the networks of country:de"),
        (&["none.mmdb"], "AS64500", "cannot read the network database none.mmdb: "),
        (&["connection-type.mmdb"], "AS64500", "cannot use the network database "),
        (&["asn.mmdb", "none.mmdb"], "AS64500", "cannot find the networks of AS64500"),
    ] {
        let result = check(databases, excludes);
        assert_eq!(result.code, Some(3), "{}", result.stdout);
        assert!(
            result.stdout.to_lowercase().contains(&problem.to_lowercase()),
            "{}",
            result.stdout
        );
    }
    let result = check(&["asn.mmdb"], "AS64500x!");
    assert!(result.status_line().contains("cannot read line 1 of excludes: AS64500x!: "));
}

#[test]
fn json_has_operator_and_country() {
    let dir = TestDir::new();
    let args = ["--network-db", &fixture("ipinfo.mmdb"), "--output", "json", "--limit", "9"];
    let result = dir.check_listing(flood(), &args);
    let report: Value = serde_json::from_str(&result.stdout).unwrap();
    let fields = |n: usize| {
        let peer = &report["views"][0]["top"][n];
        json!([peer["address"], peer["asn"], peer["operator"], peer["country"]])
    };
    assert_eq!(fields(0), json!(["203.0.113.7", 64500, "Example Net", "DE"]));
    assert_eq!(fields(1), json!(["203.0.113.200", 64501, "Example Hosting Inc.", "FR"]));
    assert_eq!(fields(3), json!(["192.0.2.7", null, null, null]));
}

#[test]
fn log_has_operator_in_json_only() {
    let dir = TestDir::new();
    for (format, expected) in [
        ("rfc3339", " - 152 connections from 203.0.113.7 on input\n"),
        ("json", "\"asn\":64500,\"operator\":\"Example Net\",\"country\":\"DE\",\"addresses\":1,"),
    ] {
        let database = fixture("ipinfo.mmdb");
        let args = ["--network-db", &database, "--consecutive", "1", "-l", "log"];
        let args = [&args[..], &["--log-format", format]].concat();
        let result = dir.check_listing(flood(), &args);
        assert_eq!(result.code, Some(2), "{}", result.stdout);
        let log = fs::read_to_string(dir.path("log")).unwrap();
        assert!(log.contains(expected), "{log}");
    }
    // Both lines are read back.
    let report = dir.run_log(&["report", "--log", "log", "--output", "json"]);
    let report: Value = serde_json::from_str(&report.stdout).unwrap();
    assert_eq!(report["alerts"], 2);
}

#[test]
fn log_report_output_is_golden() {
    let dir = dir_with_databases();
    dir.write(
        "log",
        "2007-11-28T23:40:34-05:00 - 152 connections from 203.0.113.7 on web1\n\
         2007-11-28T23:41:34-05:00 - 160 connections from 203.0.113.7 on web1\n\
         2007-11-28T23:41:34-05:00 - 40 connections from 203.0.113.0/24\n\
         2007-11-28T23:42:34-05:00 - 90 connections from 2001:db8:1::7\n\
         2007-11-28T23:42:35-05:00 - 70 connections from 203.0.113.9 on web2\n\
         2007-11-28T23:43:34-05:00 - 80 connections from 192.0.2.7\n",
    );
    let mut output = String::new();
    for args in [
        "--network-db asn.mmdb --network-db country.mmdb",
        "--network-db ipinfo.mmdb --output csv",
        "--network-db ipinfo.mmdb --output json -n 2",
        "--network-db ipinfo.mmdb --group-by asn",
        "--network-db country.mmdb --group-by country -n 2",
        "--network-db ipinfo.mmdb --group-by asn --output csv",
        "--network-db ipinfo.mmdb --group-by country --output json -n 1",
        "--group-by asn --output text",
        "--network-db none.mmdb -n 1",
        "--network-db connection-type.mmdb -n 1",
    ] {
        let args: Vec<_> = ["report", "--log", "log"].into_iter().chain(args.split(' ')).collect();
        let result = dir.run_log(&args);
        output += &format!("$ topip_log {}\n", args.join(" "));
        output += &format!("{}{}[{}]\n", result.stderr, result.stdout, result.code.unwrap());
    }
    assert_golden("operators-log-report", output);
}

#[test]
fn munin_names_operator_and_draws_without_database() {
    let dir = dir_with_databases();
    dir.write("listing", flood());
    let fetch = |database: &str| {
        let mut command = dir.program(MUNIN, &["fetch"]);
        run(command.env("input", "listing").env("network_db", database))
    };
    let result = fetch("ipinfo.mmdb");
    let expected = "connections_max.value 152\n\
                    connections_max.extinfo 203.0.113.7 (AS64500 Example Net, DE) has 152 ";
    assert!(result.stdout.contains(expected), "{}", result.stdout);
    let result = fetch("none.mmdb");
    assert!(result.stdout.contains("connections_max.value 152\n"), "{}", result.stdout);
    assert!(result.stderr.contains("cannot read the network database none.mmdb: "));
}

/// The databases that the tests write have the published format.
#[test]
fn written_database_is_read() {
    let dir = TestDir::new();
    let record = MmdbValue::Map(&[
        (b"autonomous_system_number", MmdbValue::U16(64500)),
        (b"country", MmdbValue::Map(&[(b"iso_code", MmdbValue::Text(b"DE"))])),
    ]);
    dir.write("db", mmdb::database(b"test", &[([203, 0, 113, 7], record)]));
    let result = dir.check_listing(listing(&[("203.0.113.7", 7)]), &["--network-db", "db"]);
    assert!(
        result.status_line().starts_with("TOPIP OK - 203.0.113.7 (AS64500, DE) has 7 "),
        "{}",
        result.stdout
    );
}
