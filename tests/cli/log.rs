//! What `topip_log` writes, and what becomes of it when the log is not what it
//! should be.
use std::{
    fs::{self, OpenOptions},
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

use crate::support::{Ran, Room, crowd, file, listing, run, skip};

const ALERT: &str = "152 connections from 203.0.113.7 on input\n";

/// A room with a listing that alerts.
fn room() -> Room {
    let room = Room::new();
    room.write("listing", crowd(31, &[("203.0.113.7", 152)]));
    room
}

fn record(room: &Room, args: &[&str]) -> Ran {
    room.log(&[&["--input", "listing", "--consecutive", "1"], args].concat())
}

/// A line without its time.
fn timeless(line: &str) -> &str {
    line.split_once(" - ").map_or(line, |(_, rest)| rest)
}

#[test]
fn every_format_and_silence() {
    let room = room();
    room.write("quiet", crowd(31, &[("203.0.113.7", 3)]));
    let mut seen = String::new();
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
        let ran = room.log(&args);
        seen += &format!("$ topip_log {}\n", args.join(" "));
        seen += &ran.stdout;
        seen += &ran.stderr;
        seen += &format!("[{}]\n", ran.code.unwrap());
    }
    seen += "$ cat log\n";
    seen += &fs::read_to_string(room.path("log")).unwrap();
    let classic =
        Regex::new("(?m)^[A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9]{2} [0-9:]{8} [0-9]{4} ").unwrap();
    let rfc3339 = Regex::new("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}[+]00:00").unwrap();
    let seen = classic.replace_all(&seen, "Wed Nov 28 23:40:34 2007 ");
    let seen = rfc3339.replace_all(&seen, "2007-11-28T23:40:34+00:00");
    let on_top = Regex::new("\"first_on_top\":[0-9]+").unwrap();
    let seen = on_top.replace_all(&seen, "\"first_on_top\":1196310034");
    let golden = file("golden/log.txt");
    Assert::new().action_env("SNAPSHOTS").eq(&*seen, Data::read_from(&golden, None));
}

#[test]
fn the_time_is_that_of_the_sample_and_local() {
    let room = room();
    let before = chrono::DateTime::from_timestamp(now(), 0).unwrap();
    let args = ["--input", "listing", "--consecutive", "1", "--log", "log"];
    let mut command = room.program(crate::support::LOG, &args);
    run(command.env("TZ", "TST+5:30"));
    run(command.args(["--log-format", "rfc3339"]));
    let text = fs::read_to_string(room.path("log")).unwrap();
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
fn a_range_alone_is_no_alert_and_two_samples_are_waited_for() {
    let room = room();
    room.write("quiet", crowd(31, &[("203.0.113.7", 3)]));
    let ran = room.log(&["--input", "quiet", "-c", "1", "--log", "log"]);
    assert_eq!((ran.code, &*ran.stdout, &*ran.stderr), (Some(0), "", ""));
    let log = |extra: &[&str]| {
        let ran = room.log(&[&["--input", "listing", "--log", "log"], extra].concat());
        assert_eq!((ran.code, &*ran.stderr), (Some(0), ""));
        ran.stdout
    };
    assert_eq!(log(&[]), "");
    assert!(!room.path("log").exists());
    assert_eq!(timeless(&log(&[])), ALERT);
    assert_eq!(log(&["--stddev", "5.9", "--consecutive", "3"]), "");
}

/// By several lengths there are several alerts, but not of one peer.
#[test]
fn networks_are_logged_as_such() {
    let room = room();
    let hosts: Vec<_> = (1..=40).map(|host| format!("203.0.113.{host}")).collect();
    let fleet: Vec<_> = hosts.iter().map(|host| (host.as_str(), 5)).collect();
    room.write("listing", crowd(31, &fleet) + &listing(&[("2001:db8::7", 300)]));
    let lines = |args: &[&str]| -> Vec<String> {
        let ran = record(&room, &[args, &["--log", "log", "--floor", "1"]].concat());
        assert_eq!((ran.code, &*ran.stderr), (Some(0), ""));
        ran.stdout.lines().map(|line| timeless(line).to_owned()).collect()
    };
    let lone = "300 connections from 2001:db8::7 on input";
    let network = "200 connections from 203.0.113.0/24 on input";
    assert_eq!(lines(&[]), [lone]);
    assert_eq!(lines(&["--prefix4", "32,24"]), [lone]);
    assert_eq!(lines(&["-4", "--prefix4", "24", "--stddev", "1"]), [network]);
    assert_eq!(fs::read_to_string(room.path("log")).unwrap().lines().count(), 3);
}

#[test]
fn the_log_is_made_with_its_mode_whatever_the_umask() {
    for umask in ["000", "077"] {
        let room = room();
        let script = format!("umask {umask}; exec \"$0\" \"$@\"");
        let args = ["-c", &script, crate::support::LOG, "--input", "listing", "--consecutive", "1"];
        let ran = run(room.program("sh", &args).args(["--log", "log"]));
        assert_eq!(timeless(&ran.stdout), ALERT);
        assert_eq!(fs::metadata(room.path("log")).unwrap().mode() & 0o777, 0o640, "{umask}");
    }
}

#[test]
fn what_is_no_regular_file_is_left_alone() {
    let room = room();
    room.write("target", "");
    symlink("target", room.path("link")).unwrap();
    symlink("nothing", room.path("dangling")).unwrap();
    assert!(Command::new("mkfifo").arg(room.path("pipe")).status().unwrap().success());
    for (name, what) in [
        ("link", "a symbolic link"),
        ("dangling", "a symbolic link"),
        ("pipe", "no regular file"),
        ("/dev/full", "no regular file"),
        ("/", "a folder"),
    ] {
        let ran = record(&room, &["--log", name]);
        let problem = format!(
            "topip_log: cannot write the log {name}: it is {what}\n\
             Name a regular file with --log, or syslog or journald.\n"
        );
        assert_eq!((ran.code, ran.stderr), (Some(1), problem));
        // Said all the same: it may be all that anybody hears of it.
        assert_eq!(timeless(&ran.stdout), ALERT);
    }
    assert_eq!(fs::read(room.path("target")).unwrap(), b"");
    assert!(!room.path("nothing").exists());
}

#[test]
fn a_log_of_another_user_is_a_clear_error() {
    let room = room();
    room.write("log", "");
    fs::set_permissions(room.path("log"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(room.path("."), fs::Permissions::from_mode(0o777)).unwrap();
    let copy = room.path("topip_log");
    assert!(Command::new("cp").arg(crate::support::LOG).arg(&copy).status().unwrap().success());
    let args = ["-u", "65534", copy.to_str().unwrap(), "--input", "listing", "--log", "log"];
    let args = [&["--reuid=65534", "--clear-groups"], &args[2..]].concat();
    let mut command = room.program("setpriv", &args);
    let ran = run(command.args(["--consecutive", "1"]).env("PATH", "/usr/bin:/bin"));
    if ran.stderr.contains("setpriv: ") {
        return skip("the right to become another user");
    }
    assert_eq!(
        ran.stderr,
        "topip_log: cannot open the log log: Permission denied (os error 13)\n\
         Make it as root, for the user that runs this: install -m 640 -o USER /dev/null log; \
         or name another with --log.\n"
    );
    assert_eq!(ran.code, Some(1));
}

#[test]
fn a_line_that_was_cut_does_not_become_another() {
    let room = room();
    let cut = "Wed Nov 28 23:40:34 2007 - 152 connections from 203.0.113.7";
    room.write("log", cut);
    assert_eq!(record(&room, &["--log", "log"]).code, Some(0));
    let text = fs::read_to_string(room.path("log")).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], format!("{cut} [cut off]"));
    assert_eq!(timeless(lines[1]), ALERT.trim_end());
    let ran = room.log(&["report", "--log", "log"]);
    assert!(ran.stdout.contains("\n1 alert about 1 address.\n"), "{}", ran.stdout);
    assert!(ran.stderr.contains("line 1 of log: its address"), "{}", ran.stderr);
}

/// A disk of one page, of which the log leaves some bytes.
#[test]
fn a_full_disk_is_said_and_the_next_line_begins_anew() {
    let room = room();
    let script = "mount -t tmpfs -o size=4k none disk && head -c 4040 /dev/zero | tr '\\0' '\\n' >disk/log || exit 9
        \"$0\" \"$@\"; echo \"[$?]\"; \"$0\" \"$@\"; echo \"[$?]\"
        tail -c 56 disk/log >left; head -c 100 disk/log >short; cat short >disk/log; cat left >>disk/log
        \"$0\" \"$@\"; echo \"[$?]\"; tail -n 2 disk/log";
    fs::create_dir(room.path("disk")).unwrap();
    let args = ["-m", "sh", "-c", script, crate::support::LOG, "--input", "listing"];
    let mut command = room.program("unshare", &args);
    command
        .args(["--consecutive", "1", "--log", "disk/log"])
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let ran = run(&mut command);
    if ran.code == Some(9) || ran.stderr.contains("unshare") {
        return skip(&format!("the right to mount ({})", ran.stderr.trim()));
    }
    let codes: Vec<_> = ran.stdout.lines().filter(|line| line.starts_with('[')).collect();
    assert_eq!(codes, ["[1]", "[1]", "[0]"], "{ran:?}");
    let problems: Vec<_> =
        ran.stderr.lines().filter(|line| line.starts_with("topip_log")).collect();
    assert_eq!(problems[0], "topip_log: cannot write the log disk/log: it took 56 of 69 bytes");
    let full = "topip_log: cannot write the log disk/log: No space left on device (os error 28)";
    assert_eq!(problems[1], full);
    assert!(ran.stderr.ends_with("\ndf disk; df -i disk\n"), "{}", ran.stderr);
    let last: Vec<_> = ran.stdout.lines().rev().take(2).collect();
    assert!(last[1].ends_with(" [cut off]"), "{last:?}");
    assert_eq!(timeless(last[0]), ALERT.trim_end());
}

#[test]
fn a_log_that_somebody_holds_is_not_waited_for_for_ever() {
    let room = room();
    let log = OpenOptions::new().create(true).append(true).open(room.path("log")).unwrap();
    log.lock().unwrap();
    let ran = record(&room, &["--log", "log", "-t", "2"]);
    assert_eq!(
        (ran.code, &*ran.stderr),
        (
            Some(1),
            "topip_log: the log log is held by another program\nWho holds it? fuser -v log\n"
        )
    );
    assert!(ran.took < Duration::from_secs(3), "{:?}", ran.took);
}

/// As between logrotate's two steps, in a folder that is not ours: there is no
/// log, and it is not ours to make.
#[test]
fn a_line_waits_for_the_log_that_is_being_rotated() {
    let room = room();
    let path = room.path("log");
    let (later, deadline) = (path.clone(), Instant::now() + Duration::from_secs(5));
    let rotation = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        fs::write(later, "").unwrap();
    });
    rotation.join().unwrap();
    log_file::append(&path, "a line", deadline).unwrap();
    // Held while it is moved away: the line goes to the new one.
    let held = OpenOptions::new().append(true).open(&path).unwrap();
    held.lock().unwrap();
    let waiting = path.clone();
    let writer = thread::spawn(move || log_file::append(&waiting, "late", deadline));
    thread::sleep(Duration::from_millis(50));
    fs::rename(&path, room.path("log.1")).unwrap();
    drop(held);
    writer.join().unwrap().unwrap();
    assert_eq!(fs::read_to_string(room.path("log.1")).unwrap(), "a line\n");
    assert_eq!(fs::read_to_string(&path).unwrap(), "late\n");
}

#[test]
fn the_check_logs_too_and_is_never_better_for_a_log_that_fails() {
    let room = room();
    let check =
        |args: &[&str]| room.check(&[&["--input", "listing", "--consecutive", "1"], args].concat());
    let ran = check(&["--log", "log"]);
    let critical =
        "2 TOPIP CRITICAL - 203.0.113.7 has 152 connections, over 131.36 (5 x stddev 26.27)";
    assert_eq!(ran.answer(), critical);
    let text = fs::read_to_string(room.path("log")).unwrap();
    assert_eq!(timeless(&text), ALERT);
    let ran = check(&["-l", "none/log"]);
    assert!(ran.answer().starts_with(critical), "{}", ran.stdout);
    let lines: Vec<_> = ran.stdout.lines().skip(1).take(2).collect();
    let told = [
        "Cannot open the log none/log: No such file or directory (os error 2).",
        "Make the folder none",
    ];
    assert_eq!(lines, told);
    // Before there is an alert, and without making the log.
    room.write("listing", listing(&[("203.0.113.7", 3)]));
    let ran = check(&["-l", "none/log"]);
    assert_ne!(ran.code, Some(0));
    assert!(ran.stdout.contains("annot open the log none/log"), "{}", ran.stdout);
    assert_eq!(check(&["-l", "later"]).code, Some(0));
    assert!(!room.path("later").exists());
    assert_eq!(check(&["-l", "log"]).code, Some(0));
    let ran = record(&room, &["-l", "."]);
    assert_eq!((ran.code, &*ran.stdout), (Some(1), ""));
    assert!(ran.stderr.starts_with("topip_log: cannot write the log .: it is a folder"));
}

#[test]
fn an_answer_that_nobody_takes_is_a_failure() {
    let room = room();
    let args = ["-c", "exec \"$0\" \"$@\" >/dev/full", crate::support::LOG, "--input", "listing"];
    let ran = run(room.program("sh", &args).args(["--consecutive", "1", "--log", "log"]));
    assert_eq!(ran.code, Some(1));
    let mut log = OpenOptions::new().append(true).open(room.path("log")).unwrap();
    log.write_all(b"x\n").unwrap();
}
