//! Reports of `topip_log report`.
use std::{
    fs::{self, File},
    io::Write,
    process::{Command, Stdio},
};

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use snapbox::{Assert, Data};

use crate::support::{CommandResult, LOG, TestDir, run, test_file};

/// A time zone with daylight saving time, which changes on the last Sundays of March and
/// October.
const TIME_ZONE: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

const NEW: &str = "\
2026-11-21T10:00:00+01:00 - 152 connections from 203.0.113.7
{\"time\":\"2026-11-21T10:01:00+01:00\",\"address\":\"203.0.113.7\",\"connections\":160,\"ports\":\
[{\"port\":443,\"connections\":160}],\"states\":[],\"limit\":28.1,\"samples\":3,\"servers\":[\"localhost\"]}
Sat Nov 21 10:02:00 2026 - 480 connections from 2001:db8::7 on web1,web2
Sat Nov 21 10:03:00 2026 - 40 connections from 203.0.113.8 on web1
";
const OLD: &str = "\
Sun Oct 25 02:59:00 2026 - 90 connections from 203.0.113.7 on web2
Sun Oct 25 02:01:00 2026 - 91 connections from 203.0.113.7
Sun Oct 25 03:01:00 2026 - 12 connections from 2001:db8:1::/48
";

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn run_report(dir: &TestDir, args: &[&str]) -> CommandResult {
    let mut command = dir.program(LOG, &[&["report"], args].concat());
    run(command.env("TZ", TIME_ZONE))
}

/// Creates a test directory with a log in all formats and its rotated files.
fn test_dir() -> TestDir {
    let dir = TestDir::new();
    dir.write("topip.log", NEW);
    dir.write("topip.log.1", OLD);
    dir.write(
        "topip.log.2.gz",
        gzip(b"Wed Nov 28 23:40:34 2007 - 15 connections from 203.0.113.7\n"),
    );
    dir.write(
        "topip.log-20071127.gz",
        gzip(b"2007-11-27T23:40:34Z - 16 connections from 192.0.2.1\n"),
    );
    dir.write("topip.log.old", "not ours");
    dir
}

#[test]
fn report_output_is_golden() {
    let dir = test_dir();
    dir.write(
        "damaged",
        b"2026-11-21T10:00:00+01:00 - 152 connections from 203.0.113.7\n\
          2026-11-21T10:01:00+01:00 - 152 connections from 203.0.1132026-11-21T10:02:00+01:00 - 1\n\
          \n\x1b[2J\x1b]0;owned\x07 - 9 connections from 203.0.113.9\n\xff\xfe\0\n\
          {\"time\":\"2026-11-21T10:01:00+01:00\",\"addr\n\
          2026-11-21T10:03:00+01:00 - 152 connections from 203.0.113.7\r\n\
          2026-11-21T10:04:00+01:00 - 152 connections from 203.0.113.7",
    );
    dir.write("other.log", "");
    dir.write("other.log.1.xz", "\u{fd}7zXZ");
    dir.write("empty", "");
    dir.write("cut.gz", &gzip(OLD.repeat(1000).as_bytes())[..300]);
    let mut output = String::new();
    for args in [
        "--log topip.log",
        "--log topip.log --output json",
        "--log topip.log --output csv",
        "--log topip.log --prefix4 24 --prefix6 32",
        "--log topip.log --top 1",
        "--log topip.log --top 1 --output csv",
        "--log topip.log --since 2026-11-01",
        "--log topip.log --since 2026-10-25T01:00:00Z --until 2026-11-21T10:01",
        "--log topip.log.1 --log damaged",
        "--log damaged --output json",
        "--log empty",
        "--log empty --output csv",
        "--log nothing",
        "--log other.log",
        "--log .",
        "--log cut.gz",
        "--since tomorrow",
        "--since 2026-03-29T02:30",
        "--since 2026-11-22 --until 2026-11-21",
        "--prefix4 33",
        "--top -1",
        "--log topip.log --stddev 5",
    ] {
        let result = run_report(&dir, &args.split(' ').collect::<Vec<_>>());
        output += &format!(
            "$ topip_log report {args}\n{}{}[{}]\n",
            result.stdout,
            result.stderr,
            result.code.unwrap()
        );
    }
    let golden = test_file("golden/log-report.txt");
    Assert::new().action_env("SNAPSHOTS").eq(output, Data::read_from(&golden, None));
}

#[test]
fn report_reads_plain_and_gzip_stdin() {
    let dir = test_dir();
    let expected = run_report(&dir, &["--log", "topip.log.1"]);
    for bytes in [OLD.as_bytes().to_vec(), gzip(OLD.as_bytes())] {
        dir.write("input", bytes);
        let mut command = dir.program(LOG, &["report", "--log", "-"]);
        let input = File::open(dir.path("input")).unwrap();
        let result = run(command.env("TZ", TIME_ZONE).stdin(Stdio::from(input)));
        assert_eq!(
            (result.code, result.stdout, &*result.stderr),
            (Some(0), expected.stdout.clone(), "")
        );
    }
}

/// With a time zone of this host, and with the same rules written out.
#[test]
fn repeated_hour_at_end_of_dst_is_ordered() {
    for zone in ["Europe/Berlin", TIME_ZONE] {
        let dir = TestDir::new();
        let line = |minute: i64| {
            // From 01:00 on, every 5 minutes; at 03:00 the clock goes back to 02:00.
            let shown = if minute < 120 { minute + 60 } else { minute };
            format!("Sun Oct 25 {:02}:{:02}:00 2026", shown / 60, shown % 60)
        };
        let sequence: String = (0..48)
            .map(|n| format!("{} - 9 connections from 192.0.2.{n}\n", line(n * 5)))
            .collect();
        dir.write("sequence", sequence);
        dir.write("lone", "Sun Oct 25 02:30:00 2026 - 9 connections from 192.0.2.1\n");
        let firsts = |args: &[&str]| -> Vec<String> {
            let args = [&["report", "--output", "csv", "--log"], args].concat();
            let result = run(dir.program(LOG, &args).env("TZ", zone));
            assert_eq!((result.code, &*result.stderr), (Some(0), ""));
            let first = |line: &str| line.split(',').nth(3).unwrap().to_owned();
            let mut firsts: Vec<_> = result.stdout.lines().skip(1).map(first).collect();
            firsts.sort_by_key(|it| chrono::DateTime::parse_from_rfc3339(it).unwrap());
            firsts
        };
        assert_eq!(firsts(&["lone"]), ["2026-10-25T02:30:00+02:00"], "{zone}");
        let midnight = chrono::DateTime::parse_from_rfc3339("2026-10-25T01:00:00+02:00").unwrap();
        let seconds: Vec<_> = firsts(&["sequence"])
            .iter()
            .map(|it| chrono::DateTime::parse_from_rfc3339(it).unwrap() - midnight)
            .map(|since| since.num_seconds())
            .collect();
        let expected: Vec<_> = (0..48).map(|n| n * 300).collect();
        assert_eq!(seconds, expected, "{zone}");
        let since = firsts(&["sequence", "--since", "2026-10-25 02:30"]);
        assert_eq!((&*since[0], since.len()), ("2026-10-25T02:30:00+02:00", 30), "{zone}");
    }
}

/// A file is counted once, even if it is given several times or by several names.
#[test]
fn each_log_file_is_counted_once() {
    let dir = TestDir::new();
    let line = "2007-11-27T23:40:34Z - 16 connections from 192.0.2.1\n";
    for name in ["t.log", "t.log.1", "t-8443.log"] {
        dir.write(name, line);
    }
    // A log that is being compressed.
    dir.write("t.log.1.gz", &gzip(line.as_bytes())[..20]);
    assert!(Command::new("mkfifo").arg(dir.path("t.log.2")).status().unwrap().success());
    let count = |args: &str| {
        let args: Vec<_> = args.split(' ').collect();
        let result = run_report(&dir, &[&["--output", "csv"], &args[..]].concat());
        assert_eq!((result.code, &*result.stderr), (Some(0), ""), "{args:?}");
        result.stdout.lines().nth(1).unwrap().split(',').nth(1).unwrap().to_owned()
    };
    assert_eq!(count("-l t.log"), "2");
    assert_eq!(count("-l t.log -l t.log"), "2");
    assert_eq!(count("-l t.log -l t.log.1"), "2");
    assert_eq!(count("-l t.log.1 -l ./t.log -l t-8443.log"), "3");
    for n in 3..200 {
        dir.write(&format!("t.log.{n}"), line);
    }
    let script = "ulimit -n 100; exec \"$0\" report -l t.log --output csv";
    let result = run(&mut dir.program("sh", &["-c", script, LOG]));
    assert_eq!((result.code, &*result.stderr), (Some(0), ""));
    assert!(result.stdout.contains("\n192.0.2.1,199,16,"), "{result:?}");
}

#[test]
fn since_and_until_accept_durations() {
    let dir = TestDir::new();
    let now = chrono::DateTime::from_timestamp(
        std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs().try_into().unwrap(),
        0,
    );
    let line = |hours: i64, address: &str| {
        let when = now.unwrap() - chrono::TimeDelta::hours(hours);
        format!("{} - 20 connections from {address}\n", when.to_rfc3339())
    };
    dir.write("log", line(30, "192.0.2.1") + &line(20, "192.0.2.2") + &line(2, "192.0.2.3"));
    let check = |args: &[&str], expected: &[&str]| {
        let result = run_report(&dir, &[&["--log", "log", "--output", "csv"], args].concat());
        let found: Vec<_> =
            result.stdout.lines().skip(1).map(|it| it.split(',').next().unwrap()).collect();
        assert_eq!(found, expected, "{args:?}");
    };
    check(&["--since", "1d"], &["192.0.2.2", "192.0.2.3"]);
    check(&["--until", "1d"], &["192.0.2.1"]);
    check(&["--since", "1d", "--until", "3h"], &["192.0.2.2"]);
}

/// Neither a long line nor a small compressed file with a large content uses much memory.
#[test]
fn gzip_bomb_uses_bounded_memory() {
    let dir = TestDir::new();
    let line = b"Wed Nov 28 23:40:34 2007 - 15 connections from 203.0.113.7\n";
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    bomb.write_all(line).unwrap();
    let zeros = vec![0; 1024 * 1024];
    for _ in 0..300 {
        bomb.write_all(&zeros).unwrap();
    }
    bomb.write_all(b"\n").unwrap();
    bomb.write_all(&line.repeat(200_000)).unwrap();
    dir.write("bomb.gz", bomb.finish().unwrap());
    // 64 MiB of address space: a line of 300 MiB does not fit.
    let script = "ulimit -v 65536; exec \"$0\" \"$@\"";
    let args = ["-c", script, LOG, "report", "--log", "bomb.gz", "--output", "csv"];
    let result = run(&mut dir.program("sh", &args));
    assert!(result.stdout.contains("\n203.0.113.7,200001,15,"), "{result:?}");
    assert!(result.stderr.contains("line 2 of bomb.gz: it is too long: ???"), "{}", result.stderr);
    assert_eq!(result.code, Some(0));
}

/// Script for awk that computes the same numbers.
const AWK: &str = r#"{
    sub(/^.* - /, ""); n = $1; a = $4
    count[a]++; if (n > peak[a]) peak[a] = n
} END { for (a in count) print a "," count[a] "," peak[a] }"#;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn report_numbers_match_awk(
        entries in prop::collection::vec((0..3_000_000_000_u32, 0..9_u8, 1..100_000_u64), 1..200),
    ) {
        let dir = TestDir::new();
        let mut text = String::new();
        for (seconds, host, connections) in &entries {
            let when = chrono::DateTime::from_timestamp((*seconds).into(), 0).unwrap();
            let time = match seconds % 2 {
                0 => when.to_rfc3339(),
                _ => when.format("%a %b %e %H:%M:%S %Y").to_string(),
            };
            text += &format!("{time} - {connections} connections from 203.0.113.{host}\n");
        }
        let log = dir.write("log", &text);
        let result = dir.run_log(&["report", "--log", "log", "--output", "csv"]);
        let mut found: Vec<String> = result.stdout.lines().skip(1).map(|line| {
            line.splitn(4, ',').take(3).collect::<Vec<_>>().join(",")
        }).collect();
        found.sort();
        let awk = run(Command::new("awk").arg(AWK).arg(&log));
        let mut expected: Vec<_> = awk.stdout.lines().map(ToOwned::to_owned).collect();
        expected.sort();
        prop_assert_eq!(found, expected);
        // First and last time of all entries.
        let all = entries.iter().map(|it| it.0);
        let time = |it: Option<u32>| chrono::DateTime::from_timestamp(it.unwrap().into(), 0).unwrap().to_rfc3339();
        let result = dir.run_log(&["report", "--log", "log", "--output", "csv", "--prefix4", "24"]);
        let row: Vec<_> = result.stdout.lines().nth(1).unwrap().split(',').collect();
        prop_assert_eq!(row[0], "203.0.113.0/24");
        prop_assert_eq!(row[3], time(all.clone().min()));
        prop_assert_eq!(row[4], time(all.max()));
    }

    #[test]
    fn arbitrary_log_does_not_crash(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let dir = TestDir::new();
        fs::write(dir.path("log"), &bytes).unwrap();
        let result = dir.run_log(&["report", "--log", "log"]);
        prop_assert!(matches!(result.code, Some(0 | 1)), "{:?}", result);
    }
}
