//! The alert log that `topip_log` writes, and errors of the log file.
use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use chrono::{DateTime, NaiveDateTime};
use regex::Regex;
use snapbox::{Assert, Data};
use topip::storage::log_file;

use crate::support::{CommandResult, TestDir, crowd, listing, run, skip, test_file};

const ALERT_TEXT: &str = "152 connections from 203.0.113.7 on input\n";

/// Creates a test directory with a listing that alerts.
fn test_dir() -> TestDir {
    let dir = TestDir::new();
    dir.write("listing", crowd(31, &[("203.0.113.7", 152)]));
    dir
}

fn run_record(dir: &TestDir, args: &[&str]) -> CommandResult {
    dir.run_log(&[&["--input", "listing", "--consecutive", "1"], args].concat())
}

/// Two peers in one network, of which one is over the limit by itself, and two in another
/// network that are only over it together.
#[test]
fn protected_peers_are_not_logged() {
    let dir = TestDir::new();
    let peers =
        [("203.0.113.7", 152), ("203.0.113.8", 60), ("203.0.114.1", 90), ("203.0.114.2", 91)];
    dir.write("listing", crowd(9, &peers));
    dir.write("file", "203.0.114.64/30\n");
    let both_networks = "152 203.0.113.7, 212 203.0.113.0/24, 181 203.0.114.0/24";
    for (args, expected, note) in [
        ("", both_networks, ""),
        ("--never-log 203.0.112.255,203.0.115.0/24,203.0.113.0/33", "", "--never-log"),
        ("--never-log 203.0.112.255,203.0.115.0/24", both_networks, ""),
        (
            "--never-log 203.0.113.8",
            "152 203.0.113.7, 181 203.0.114.0/24",
            "203.0.113.0/24 (--never-log 203.0.113.8).",
        ),
        (
            "--never-log 203.0.113.7",
            "181 203.0.114.0/24",
            "203.0.113.7 (--never-log); 203.0.113.0/24 (--never-log 203.0.113.7).",
        ),
        (
            "--never-log 203.0.0.0/16",
            "",
            "203.0.113.7 (--never-log 203.0.0.0/16); 203.0.113.0/24 (--never-log 203.0.0.0/16); \
             203.0.114.0/24 (--never-log 203.0.0.0/16).",
        ),
        (
            "--exclude 203.0.113.200",
            "152 203.0.113.7, 181 203.0.114.0/24",
            "203.0.113.0/24 (contains 203.0.113.200, which is excluded).",
        ),
        (
            "--exclude-file file",
            "152 203.0.113.7, 212 203.0.113.0/24",
            "203.0.114.0/24 (contains 203.0.114.64/30, which is excluded).",
        ),
        (
            "--prefix4 32,24,4",
            both_networks,
            "192.0.0.0/4 (contains 192.168.0.0/16, which is excluded).",
        ),
        (
            "--prefix4 32,24,4 --no-default-excludes",
            &format!("{both_networks}, 402 192.0.0.0/4"),
            "",
        ),
    ] {
        let mut all = vec!["--input", "listing", "--log", "log", "--consecutive", "1", "-v"];
        all.extend(["--stddev", "0.01", "--floor", "100", "--prefix4", "32,24"]);
        all.extend(args.split_whitespace());
        let result = dir.run_log(&all);
        let log = fs::read_to_string(dir.path("log")).unwrap_or_default();
        let _ = fs::remove_file(dir.path("log"));
        let logged: Vec<_> = log
            .lines()
            .map(|line| {
                without_time(line).replace(" connections from", "").replace(" on input", "")
            })
            .collect();
        assert_eq!(logged.join(", "), expected, "{args}: {result:?}");
        if args.contains("/33") {
            assert_eq!((result.code, result.stderr.contains(note)), (Some(2), true), "{result:?}");
            continue;
        }
        // The verdict is the same.
        assert!(result.stdout.starts_with("TOPIP CRITICAL - "), "{args}: {result:?}");
        let note = format!("Over the limit, but not logged: {note}\n");
        let has_note = result.stdout.contains(&note);
        assert_eq!(has_note, !note.ends_with(": \n"), "{args}: {note}{}", result.stdout);
        assert_eq!(result.stdout.contains("not logged"), has_note, "{args}: {}", result.stdout);
    }
}

/// Protected peers do not count towards the maximum number of alerts of a sample.
#[test]
fn protected_peers_are_not_among_the_hundred_alerts() {
    let dir = TestDir::new();
    let addresses: Vec<_> = (0..150).map(|host| format!("203.0.113.{host}")).collect();
    let mut peers: Vec<_> = addresses.iter().map(|address| (address.as_str(), 20)).collect();
    peers.push(("192.0.2.1", 11));
    dir.write("listing", crowd(9, &peers));
    let args =
        ["--input", "listing", "--log", "log", "--consecutive", "1", "--stddev", "0.01", "-v"];
    let args = [&args[..], &["--never-log", "203.0.113.0/24"]].concat();
    let result = dir.run_log(&args);
    let log = fs::read_to_string(dir.path("log")).unwrap();
    assert_eq!(without_time(&log), "11 connections from 192.0.2.1 on input\n");
    let note = "203.0.113.2 (--never-log 203.0.113.0/24); 147 more.";
    assert!(result.stdout.contains(note), "{}", result.stdout);
}

/// A sample logs at most 100 alerts, and then the number of omitted ones in a line that readers
/// skip.
#[test]
fn omitted_alerts_are_counted_in_a_last_line() {
    let dir = TestDir::new();
    let addresses: Vec<_> = (1..=150).map(|host| format!("203.0.113.{host}")).collect();
    let peers: Vec<_> = addresses.iter().map(|address| (address.as_str(), 20)).collect();
    dir.write("listing", crowd(200, &peers));
    for format in ["classic", "rfc3339", "json"] {
        let result = run_record(&dir, &["--stddev", "1", "--log", format, "--log-format", format]);
        assert_eq!((result.code, result.stderr.as_str()), (Some(0), ""), "{result:?}");
        let log = fs::read_to_string(dir.path(format)).unwrap();
        assert_eq!(log.lines().count(), 101, "{log}");
        let last = log.lines().last().unwrap();
        let omitted = if format == "json" {
            "\"omitted\":50,\"servers\":[\"input\"]}"
        } else {
            " - 50 more over the limit are not listed on input"
        };
        assert!(last.ends_with(omitted), "{last}");
        let result = dir.run_log(&["report", "--log", format]);
        assert_eq!((result.code, result.stderr.as_str()), (Some(0), ""), "{result:?}");
        assert!(result.stdout.contains("100 alerts"), "{}", result.stdout);
    }
}

/// Returns a log line without its time.
fn without_time(line: &str) -> &str {
    line.split_once(" - ").map_or(line, |(_, rest)| rest)
}

#[test]
fn log_output_is_golden() {
    let dir = test_dir();
    dir.write("quiet", crowd(31, &[("203.0.113.7", 3)]));
    let mut output = String::new();
    for args in [
        "--input quiet --log log",
        "--input listing --log log",
        "--input listing --log log",
        "record --input listing --log log --log-format rfc3339",
        "--input listing -l log --log-format json",
        "--input quiet --log log",
        "--input listing --log none/log --consecutive 1",
        "--input listing --log .",
        "--input nothing --log log",
        "--log -",
        "-l report",
        "--log-format xml",
        "recrod",
        "help",
        "-l a.log report",
        "report a.log",
        "report -l syslog",
        "report -l ./syslog",
        "--input listing -t 0",
    ] {
        let args: Vec<_> = args.split(' ').collect();
        let result = dir.run_log(&args);
        output += &format!("$ topip_log {}\n", args.join(" "));
        output += &result.stdout;
        output += &result.stderr;
        output += &format!("[{}]\n", result.code.unwrap());
    }
    output += "$ cat log\n";
    output += &fs::read_to_string(dir.path("log")).unwrap();
    let classic =
        Regex::new("(?m)^[A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9]{2} [0-9:]{8} [0-9]{4} ").unwrap();
    let rfc3339 = Regex::new("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}[+]00:00").unwrap();
    let output = classic.replace_all(&output, "Wed Nov 28 23:40:34 2007 ");
    let output = rfc3339.replace_all(&output, "2007-11-28T23:40:34+00:00");
    let on_top = Regex::new("\"first_on_top\":[0-9]+").unwrap();
    let output = on_top.replace_all(&output, "\"first_on_top\":1196310034");
    let golden = test_file("golden/log.txt");
    Assert::new().action_env("SNAPSHOTS").eq(&*output, Data::read_from(&golden, None));
}

#[test]
fn log_time_is_local_sample_time() {
    let dir = test_dir();
    let before = chrono::DateTime::from_timestamp(now(), 0).unwrap();
    let args = ["--input", "listing", "--consecutive", "1", "--log", "log"];
    let mut command = dir.program(crate::support::LOG, &args);
    run(command.env("TZ", "TST+5:30"));
    run(command.args(["--log-format", "rfc3339"]));
    let text = fs::read_to_string(dir.path("log")).unwrap();
    let [classic, rfc3339]: [&str; 2] = text.lines().collect::<Vec<_>>().try_into().unwrap();
    let exact = DateTime::parse_from_rfc3339(rfc3339.split(" - ").next().unwrap()).unwrap();
    assert_eq!(exact.offset().to_string(), "-05:30");
    assert!((0..10).contains(&(exact.timestamp() - before.timestamp())), "{exact}");
    let form = "%a %b %e %H:%M:%S %Y";
    let local = NaiveDateTime::parse_from_str(classic.split(" - ").next().unwrap(), form).unwrap();
    assert!((0..10).contains(&(exact.naive_local() - local).num_seconds()), "{local}");
}

fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}

#[test]
fn alert_needs_limit_and_two_samples() {
    let dir = test_dir();
    dir.write("quiet", crowd(31, &[("203.0.113.7", 3)]));
    let result = dir.run_log(&["--input", "quiet", "-c", "1", "--log", "log"]);
    assert_eq!((result.code, &*result.stdout, &*result.stderr), (Some(0), "", ""));
    let log = |extra: &[&str]| {
        let result = dir.run_log(&[&["--input", "listing", "--log", "log"], extra].concat());
        assert_eq!((result.code, &*result.stderr), (Some(0), ""));
        result.stdout
    };
    assert_eq!(log(&[]), "");
    assert!(!dir.path("log").exists());
    assert_eq!(without_time(&log(&[])), ALERT_TEXT);
    assert_eq!(log(&["--stddev", "5.9", "--consecutive", "3"]), "");
}

/// Several prefix lengths result in several alerts, but only one for each peer. A fixed limit
/// works like the limit of a rule: an alert needs two samples, and is logged for each peer.
#[test]
fn fixed_limit_alerts_about_every_peer() {
    let dir = TestDir::new();
    let peers = [("203.0.113.7", 152), ("203.0.113.8", 101), ("203.0.113.9", 100)];
    dir.write("listing", crowd(3, &peers));
    let args = ["--input", "listing", "--log", "log", "--limit", "100"];
    assert_eq!(dir.run_log(&args).stdout, "");
    let result = dir.run_log(&args);
    assert_eq!((result.code, result.stderr.as_str()), (Some(0), ""), "{result:?}");
    let log = fs::read_to_string(dir.path("log")).unwrap();
    assert_eq!(result.stdout, log);
    let lines: Vec<_> = log.lines().map(without_time).collect();
    let expected = ["152 connections from 203.0.113.7", "101 connections from 203.0.113.8"];
    assert_eq!(lines, expected.map(|line| format!("{line} on input")));
}

#[test]
fn network_alerts_name_the_network() {
    let dir = test_dir();
    let hosts: Vec<_> = (1..=40).map(|host| format!("203.0.113.{host}")).collect();
    let fleet: Vec<_> = hosts.iter().map(|host| (host.as_str(), 5)).collect();
    dir.write("listing", crowd(31, &fleet) + &listing(&[("2001:db8::7", 300)]));
    let lines = |args: &[&str]| -> Vec<String> {
        let result = run_record(&dir, &[args, &["--log", "log", "--floor", "1"]].concat());
        assert_eq!((result.code, &*result.stderr), (Some(0), ""));
        result.stdout.lines().map(|line| without_time(line).to_owned()).collect()
    };
    let lone = "300 connections from 2001:db8::7 on input";
    let network = "200 connections from 203.0.113.0/24 on input";
    assert_eq!(lines(&[]), [lone]);
    assert_eq!(lines(&["--prefix4", "32,24"]), [lone]);
    assert_eq!(lines(&["-4", "--prefix4", "24", "--stddev", "1"]), [network]);
    assert_eq!(fs::read_to_string(dir.path("log")).unwrap().lines().count(), 3);
}

#[test]
fn log_mode_ignores_umask() {
    for umask in ["000", "077"] {
        let dir = test_dir();
        let script = format!("umask {umask}; exec \"$0\" \"$@\"");
        let args = ["-c", &script, crate::support::LOG, "--input", "listing", "--consecutive", "1"];
        let result = run(dir.program("sh", &args).args(["--log", "log"]));
        assert_eq!(without_time(&result.stdout), ALERT_TEXT);
        assert_eq!(fs::metadata(dir.path("log")).unwrap().mode() & 0o777, 0o640, "{umask}");
    }
}

#[test]
fn log_that_is_not_a_regular_file_is_rejected() {
    let dir = test_dir();
    dir.write("target", "");
    symlink("target", dir.path("link")).unwrap();
    symlink("nothing", dir.path("dangling")).unwrap();
    assert!(Command::new("mkfifo").arg(dir.path("pipe")).status().unwrap().success());
    for (name, description) in [
        ("link", "a symbolic link"),
        ("dangling", "a symbolic link"),
        ("pipe", "not a regular file"),
        ("/dev/full", "not a regular file"),
        ("/", "a directory"),
    ] {
        let result = run_record(&dir, &["--log", name]);
        let problem = format!(
            "topip_log: cannot write the log {name}: it is {description}\n\
             Name a regular file with --log, or syslog or journald.\n"
        );
        assert_eq!((result.code, result.stderr), (Some(1), problem));
        // The alert is printed anyway, because it may be the only record.
        assert_eq!(without_time(&result.stdout), ALERT_TEXT);
    }
    assert_eq!(fs::read(dir.path("target")).unwrap(), b"");
    assert!(!dir.path("nothing").exists());
}

#[test]
fn unwritable_log_is_reported() {
    let dir = test_dir();
    dir.write("log", "");
    fs::set_permissions(dir.path("log"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(dir.path("."), fs::Permissions::from_mode(0o777)).unwrap();
    let copy = dir.path("topip_log");
    assert!(Command::new("cp").arg(crate::support::LOG).arg(&copy).status().unwrap().success());
    let args = ["-u", "65534", copy.to_str().unwrap(), "--input", "listing", "--log", "log"];
    let args = [&["--reuid=65534", "--clear-groups"], &args[2..]].concat();
    let mut command = dir.program("setpriv", &args);
    let result = run(command.args(["--consecutive", "1"]).env("PATH", "/usr/bin:/bin"));
    if result.stderr.contains("setpriv: ") {
        return skip("permission to switch users");
    }
    assert_eq!(
        result.stderr,
        "topip_log: cannot open the log log: Permission denied (os error 13)\n\
         As root, create a missing log for the user that runs topip (install -m 640 -o USER \
         /dev/null log), or give that user an existing one (chown USER log); or name another file \
         with --log.\n"
    );
    assert_eq!(result.code, Some(1));
}

#[test]
fn truncated_line_does_not_join_the_next() {
    let dir = test_dir();
    let cut = "Wed Nov 28 23:40:34 2007 - 152 connections from 203.0.113.7";
    dir.write("log", cut);
    assert_eq!(run_record(&dir, &["--log", "log"]).code, Some(0));
    let text = fs::read_to_string(dir.path("log")).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], format!("{cut} [cut off]"));
    assert_eq!(without_time(lines[1]), ALERT_TEXT.trim_end());
    let result = dir.run_log(&["report", "--log", "log"]);
    assert!(result.stdout.contains("\n1 alert about 1 address.\n"), "{}", result.stdout);
    assert!(
        result.stderr.contains("line 1 of log: cannot parse the address: "),
        "{}",
        result.stderr
    );
}

/// A disk of one page, with a few bytes left by the log.
#[test]
fn full_disk_is_reported_and_next_line_is_separate() {
    let dir = test_dir();
    let script = "mount -t tmpfs -o size=4k none disk && head -c 4040 /dev/zero | tr '\\0' '\\n' >disk/log || exit 9
        \"$0\" \"$@\"; echo \"[$?]\"; \"$0\" \"$@\"; echo \"[$?]\"
        tail -c 56 disk/log >left; head -c 100 disk/log >short; cat short >disk/log; cat left >>disk/log
        \"$0\" \"$@\"; echo \"[$?]\"; tail -n 2 disk/log";
    fs::create_dir(dir.path("disk")).unwrap();
    let args = ["-m", "sh", "-c", script, crate::support::LOG, "--input", "listing"];
    let mut command = dir.program("unshare", &args);
    command
        .args(["--consecutive", "1", "--log", "disk/log"])
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let result = run(&mut command);
    if result.code == Some(9) || result.stderr.contains("unshare") {
        return skip(&format!("permission to mount ({})", result.stderr.trim()));
    }
    let codes: Vec<_> = result.stdout.lines().filter(|line| line.starts_with('[')).collect();
    assert_eq!(codes, ["[1]", "[1]", "[0]"], "{result:?}");
    let problems: Vec<_> =
        result.stderr.lines().filter(|line| line.starts_with("topip_log")).collect();
    assert_eq!(
        problems[0],
        "topip_log: cannot write the log disk/log: only 56 of 69 bytes written"
    );
    let full = "topip_log: cannot write the log disk/log: No space left on device (os error 28)";
    assert_eq!(problems[1], full);
    assert!(
        result.stderr.ends_with("\nCheck the file system: df disk; df -i disk\n"),
        "{}",
        result.stderr
    );
    let last: Vec<_> = result.stdout.lines().rev().take(2).collect();
    assert!(last[1].ends_with(" [cut off]"), "{last:?}");
    assert_eq!(without_time(last[0]), ALERT_TEXT.trim_end());
}

/// A lock does not need write permission: each user who can read the log can hold a lock.
#[test]
fn reader_of_log_cannot_keep_alerts_out() {
    let dir = test_dir();
    let path = dir.write("log", "");
    let reader = File::open(path).unwrap();
    reader.lock().unwrap();
    let result = run_record(&dir, &["--log", "log", "-t", "5"]);
    assert_eq!((result.code, &*result.stderr), (Some(0), ""));
    let text = fs::read_to_string(dir.path("log")).unwrap();
    assert_eq!(without_time(&text), ALERT_TEXT);
}

/// Between the two steps of logrotate, in a directory of another user, the log does not
/// exist and must not be created.
#[test]
fn line_during_rotation_goes_to_new_log() {
    let dir = test_dir();
    let path = dir.path("log");
    let (later, deadline) = (path.clone(), Instant::now() + Duration::from_secs(5));
    let rotation = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        fs::write(later, "").unwrap();
    });
    rotation.join().unwrap();
    log_file::append(&path, "a line", deadline).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "a line\n");
}

#[test]
fn failing_log_never_improves_check_status() {
    let dir = test_dir();
    let check =
        |args: &[&str]| dir.check(&[&["--input", "listing", "--consecutive", "1"], args].concat());
    let result = check(&["--log", "log"]);
    let critical = "2 TOPIP CRITICAL - 203.0.113.7 has 152 connections, over 28.7 (lognormal)";
    assert_eq!(result.code_and_status(), critical);
    let text = fs::read_to_string(dir.path("log")).unwrap();
    assert_eq!(without_time(&text), ALERT_TEXT);
    let result = check(&["-l", "none/log"]);
    assert!(result.code_and_status().starts_with(critical), "{}", result.stdout);
    let lines: Vec<_> = result.stdout.lines().skip(1).take(2).collect();
    let expected = [
        "Cannot open the log none/log: No such file or directory (os error 2).",
        "Create the directory none",
    ];
    assert_eq!(lines, expected);
    // An unusable log is reported before there is an alert, without creating the log.
    dir.write("listing", listing(&[("203.0.113.7", 3)]));
    let result = check(&["-l", "none/log"]);
    assert_ne!(result.code, Some(0));
    let output = result.stdout.to_lowercase();
    assert!(output.contains("cannot open the log none/log"), "{output}");
    assert_eq!(check(&["-l", "later"]).code, Some(0));
    assert!(!dir.path("later").exists());
    assert_eq!(check(&["-l", "log"]).code, Some(0));
    let result = run_record(&dir, &["-l", "."]);
    assert_eq!((result.code, &*result.stdout), (Some(1), ""));
    assert!(result.stderr.starts_with("topip_log: cannot write the log .: it is a directory"));
}

#[test]
fn unwritable_stdout_fails() {
    let dir = test_dir();
    let args = ["-c", "exec \"$0\" \"$@\" >/dev/full", crate::support::LOG, "--input", "listing"];
    let result = run(dir.program("sh", &args).args(["--consecutive", "1", "--log", "log"]));
    assert_eq!(result.code, Some(1));
    let mut log = OpenOptions::new().append(true).open(dir.path("log")).unwrap();
    log.write_all(b"x\n").unwrap();
}
