//! Clock jumps: samples from the future are ignored, consecutive counts stay correct, and
//! no age is impossible. libfaketime sets the clock.
use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::support::{CHECK, CommandResult, TestDir, crowd, faketime, skip};

use super::invariants::{RunningCommand, assert_invariants};

/// Returns the path of libfaketime, or `None` if it is not installed.
fn faketime_library() -> Option<String> {
    let directories = fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let mut libraries = directories.map(|directory| directory.join("faketime/libfaketimeMT.so.1"));
    let faketime_library = libraries.find(|faketime_library| faketime_library.exists());
    if faketime_library.is_none() {
        skip("faketime");
    }
    faketime::clear();
    faketime_library.map(|faketime_library| faketime_library.to_str().unwrap().to_owned())
}

fn command(dir: &TestDir, faketime_library: &str, args: &[&str]) -> Command {
    let mut command = dir.command(&[&["--state-file", "state", "-v"], args].concat());
    // The monotonic clock is separate, and nothing sets it.
    command.env("LD_PRELOAD", faketime_library).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    command
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

#[track_caller]
fn assert_plausible_numbers(result: &CommandResult) {
    for word in result.stdout.split_whitespace() {
        // No age is negative or wraps around to 2^64.
        let is_sane = |number: f64| (0.0..1e11).contains(&number);
        assert!(word.parse().map_or(true, is_sane), "{word}: {result:?}");
    }
}

/// A sample is consecutive if the previous sample is at most an hour older, by the clock at
/// both times.
#[test]
fn clock_jumps_reset_consecutive() {
    const YEAR: i64 = 365 * 86400;
    let Some(faketime_library) = faketime_library() else { return };
    let dir = TestDir::new();
    dir.write("listing", crowd(31, &[("203.0.113.7", 152)]));
    let jumps = [
        0,
        600,
        0,
        0,
        1200,
        -1200,
        -1100,
        7200,
        7300,
        0,
        -7200,
        0,
        300,
        YEAR,
        0,
        -YEAR,
        -YEAR,
        80 * YEAR,
        0,
        -55 * YEAR,
        0,
        2 * YEAR,
        2 * YEAR,
        0,
        0,
    ];
    let mut previous: Option<(i64, u32)> = None;
    for jump in jumps {
        let result = {
            let mut command = command(&dir, &faketime_library, &["--input", "listing"]);
            command.env("FAKETIME", format!("{jump:+}s"));
            RunningCommand::start(&mut command).wait()
        };
        assert_invariants(CHECK, &dir, &result, 10);
        assert_plausible_numbers(&result);
        let consecutive = match previous {
            Some((before, consecutive)) if (0..3500).contains(&(jump - before)) => consecutive + 1,
            _ => 1,
        };
        let consecutive_text = format!(" in {consecutive} samples");
        let status = if consecutive > 1 { "CRITICAL" } else { "WARNING" };
        let line = result.status_line();
        assert!(line.starts_with(&format!("TOPIP {status} - ")), "{previous:?} {jump}: {result:?}");
        assert_eq!(
            line.ends_with(&consecutive_text),
            consecutive > 1,
            "{previous:?} {jump}: {line}"
        );
        let is_reported = result.stdout.contains(" in the future, and was ignored.");
        assert_eq!(is_reported, previous.is_some_and(|(before, _)| before > jump), "{result:?}");
        previous = Some((jump, consecutive));
    }
}

/// If the clock is set during a run, the sample has the time that it would have had otherwise,
/// and the next run continues its history.
#[test]
fn clock_set_during_run_keeps_sample_time() {
    let Some(faketime_library) = faketime_library() else { return };
    for (jump, is_future) in [("-10000s", true), ("+10000s", false)] {
        let dir = TestDir::new();
        let clock = dir.write("clock", "+0s");
        let listing = crowd(31, &[("203.0.113.7", 152)]);
        let check_with_clock = |then: &str| {
            let mut command = command(&dir, &faketime_library, &["--input", "-"]);
            command.env("FAKETIME_TIMESTAMP_FILE", &clock).env("FAKETIME_NO_CACHE", "1");
            let mut running = RunningCommand::start(command.stdin(Stdio::piped()));
            let mut stdin = running.child.stdin.take().unwrap();
            stdin.write_all(listing.as_bytes()).unwrap();
            // The whole listing has been read, but not the end of the file.
            super::invariants::wait_until(|| rustix::io::ioctl_fionread(&stdin).unwrap() == 0);
            fs::write(&clock, then).unwrap();
            drop(stdin);
            let result = running.wait();
            assert_invariants(CHECK, &dir, &result, 10);
            assert_plausible_numbers(&result);
            result
        };
        assert_eq!(check_with_clock(jump).code, Some(1));
        let state = fs::read_to_string(dir.path("state")).unwrap();
        let (_, when) = state.split_once("timestamp: ").unwrap();
        let when: i64 = when.split(',').next().unwrap().parse().unwrap();
        assert!((now() - 30..=now()).contains(&when), "{state}");
        let result = check_with_clock(jump);
        assert_eq!(result.code, Some(1), "{result:?}");
        assert_eq!(result.stdout.contains("in the future"), is_future, "{result:?}");
    }
}
