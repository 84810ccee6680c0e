//! The program of `--exec`: its start, its input, and programs that hang, fail or flood.
use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{CHECK, CommandResult, LOG, TestDir, crowd, run, skip};

use super::invariants::{RunningCommand, assert_invariants, wait_until};

/// Options of a run whose sample is an alert about 203.0.113.7.
const ALERT: [&str; 7] =
    ["--input", "listing", "--state-file", "state", "--consecutive", "1", "--exec"];

fn test_dir() -> TestDir {
    let dir = TestDir::new();
    dir.write("listing", crowd(31, &[("203.0.113.7", 152), ("203.0.113.8", 151)]));
    dir
}

/// Creates an executable script and returns its path.
fn script(dir: &TestDir, text: &str) -> String {
    dir.script("script", &format!("#!/bin/sh\n{text}\n"))
}

fn command(dir: &TestDir, program: &str, exec: &str, args: &[&str]) -> Command {
    let mut command = dir.program(program, &[&ALERT[..], &[exec], args].concat());
    command.env("PATH", "/usr/bin:/bin");
    command
}

fn check(dir: &TestDir, exec: &str, args: &[&str]) -> CommandResult {
    run(&mut command(dir, CHECK, exec, args))
}

/// Returns the object that a script has written to this file.
fn input(dir: &TestDir, file: &str) -> Value {
    let text = fs::read_to_string(dir.path(file)).unwrap();
    assert_eq!((text.matches('\n').count(), text.ends_with('\n')), (1, true), "{text}");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn program_reads_the_offenders() {
    for program in [CHECK, LOG] {
        let dir = test_dir();
        let exec = script(&dir, "cat >input; echo $# $TOPIP_PASSWORD >args");
        let mut command = command(&dir, program, &exec, &["-vv", "--log", "log"]);
        let result = run(command.env("TOPIP_PASSWORD", "hunter2"));
        assert_eq!(result.stderr, "");
        let passed_on = format!("\nPassed on: 2 alerts to {exec}\n");
        assert!(result.stdout.contains(&passed_on), "{result:?}");
        assert_eq!(fs::read_to_string(dir.path("args")).unwrap(), "0\n");
        let input = input(&dir, "input");
        assert_eq!((&input["schema"], &input["status"]), (&1.into(), &"CRITICAL".into()));
        assert_eq!(input["omitted"], 0);
        assert_eq!(input["servers"][0]["name"], "input");
        assert_eq!(input["servers"][0]["connections"], 334);
        // The fields of an offender are those of the peer in the output.
        let answer = run(&mut self::command(&dir, CHECK, &exec, &["--output", "json"]));
        let answer: Value = serde_json::from_str(&answer.stdout).unwrap();
        let offenders = input["offenders"].as_array().unwrap();
        let peers = answer["views"][0]["top"].as_array().unwrap();
        assert_eq!(offenders.len(), 2);
        for (offender, peer) in offenders.iter().zip(peers) {
            for field in ["address", "addresses", "connections", "ports", "states"] {
                assert!(!peer[field].is_null());
                assert_eq!(offender[field], peer[field], "{field}");
            }
            assert_eq!(offender["consecutive"], 1);
            assert_eq!(offender["over_since"], input["timestamp"]);
            assert_eq!(offender["limit"], answer["views"][0]["limit"]);
        }
    }
}

/// The program runs at each sample with an alert, and at no other sample.
#[test]
fn program_runs_only_with_an_alert() {
    let dir = test_dir();
    let exec = script(&dir, "cat >>input");
    let n_runs = || fs::read_to_string(dir.path("input")).unwrap_or_default().lines().count();
    let args = ["--consecutive", "2"];
    assert_eq!(check(&dir, &exec, &args).code, Some(1));
    assert_eq!(n_runs(), 0);
    for n in 1..3 {
        assert_eq!(check(&dir, &exec, &args).code, Some(2));
        assert_eq!(n_runs(), n);
    }
    // Critical by -c, but not by the limit.
    let result = check(&dir, &exec, &["-c", "1", "--limit", "500"]);
    assert_eq!((result.code, n_runs()), (Some(2), 2));
}

/// A program that cannot be run is reported before it is needed.
#[test]
fn program_is_tested_without_an_alert() {
    let dir = test_dir();
    let plain_file = dir.write("plain", "").to_str().unwrap().to_owned();
    let directory = dir.path(".").to_str().unwrap().to_owned();
    for (exec, reason) in [
        ("/nowhere/program", "No such file or directory (os error 2)"),
        (&plain_file, "Permission denied (os error 13)"),
        (&directory, "is a directory"),
    ] {
        let result = check(&dir, exec, &["--limit", "500"]);
        let line = format!("\nProgram of --exec: cannot run {exec}: {reason}.\n");
        assert_eq!(result.code, Some(3), "{result:?}");
        assert!(result.stdout.contains(&line), "{result:?}");
    }
    for exec in ["", "program", "./program", "~/program"] {
        let result = check(&dir, exec, &[]);
        let reason = "not an absolute path; write /usr/local/bin/PROGRAM";
        assert_eq!(result.code, Some(3), "{result:?}");
        assert!(result.stdout.contains(reason) || exec.is_empty(), "{result:?}");
    }
}

#[test]
fn failing_programs_are_reported_in_time() {
    let long_line = "head -c 3000 /dev/zero | tr '\\0' x >&2; exit 3";
    for (text, reason) in [
        ("exit 1", "ended with exit status 1"),
        (
            "cat >/dev/null; echo 'no such |room' >&2; exit 67",
            "ended with exit status 67 (no such ?room)",
        ),
        ("exec <&-; exit 75", "ended with exit status 75"),
        ("kill -9 $$", "ended with signal 9"),
        (
            "sleep 60 & exec sleep 60",
            "did not end in time and was killed, before it had read its input.",
        ),
        ("cat >/dev/null; sleep 60", "did not end in time and was killed."),
        ("yes", "did not end in time and was killed"),
        ("yes >&2", "did not end in time and was killed"),
        (long_line, "ended with exit status 3 (x"),
        ("sleep 2 & exit 1", "ended with exit status 1"),
    ] {
        let dir = test_dir();
        let exec = script(&dir, text);
        let result = check(&dir, &exec, &["-t", "2"]);
        assert_eq!(result.code, Some(2), "{text}: {result:?}");
        let line = format!("Program of --exec: {exec} {reason}");
        let found = result.stdout.lines().nth(1).unwrap();
        assert!(found.starts_with(&line) && found.len() < 1200, "{text}: {found}");
        assert!(result.elapsed < Duration::from_millis(2500), "{text}: {result:?}");
        // The sample is kept.
        assert!(fs::read_to_string(dir.path("state")).unwrap().contains("203.0.113.8"));
        let result = run(&mut command(&dir, LOG, &exec, &["-t", "2", "--log", "log"]));
        assert_eq!(result.code, Some(1), "{text}: {result:?}");
        assert!(
            result.stderr.replace('|', "?").contains(reason.trim_end_matches('.')),
            "{text}: {result:?}"
        );
    }
}

/// A program succeeds regardless of what it does with its streams.
#[test]
fn careless_programs_do_not_fail() {
    for text in [
        "exec <&- >&- 2>&-",
        "head -c 10 >/dev/null",
        "head -c 10000000 /dev/zero",
        "head -c 10000000 /dev/zero >&2",
        "sleep 2 </dev/null >/dev/null 2>&1 &",
    ] {
        let dir = test_dir();
        let exec = script(&dir, text);
        let result = check(&dir, &exec, &["-vv"]);
        assert!(result.stdout.contains("\nPassed on: 2 alerts"), "{text}: {result:?}");
        assert!(result.elapsed < Duration::from_millis(1900), "{text}: {result:?}");
    }
}

/// More input than a pipe holds, which the program reads or does not read.
#[test]
fn program_reads_a_thousand_offenders() {
    let offenders: Vec<_> = (0..1100).map(|n| format!("203.0.{}.{}", n / 200, n % 200)).collect();
    let counts: Vec<_> = offenders.iter().map(|address| (address.as_str(), 12)).collect();
    let dir = TestDir::new();
    dir.write("listing", crowd(10, &counts));
    let args = ["--limit", "11", "--log", "log", "-vv"];
    for (text, outcome) in [
        ("cat >input", "Passed on: 1000 alerts to "),
        ("exit 0", "Passed on: 1000 alerts to "),
        ("exec <&-; sleep .1", "Passed on: 1000 alerts to "),
        ("exit 1", "Program of --exec: "),
    ] {
        let result = check(&dir, &script(&dir, text), &args);
        assert_eq!(result.code, Some(2));
        assert!(result.stdout.contains(&format!("\n{outcome}")), "{text}: {result:?}");
    }
    let input = input(&dir, "input");
    let addresses: Vec<_> = input["offenders"].as_array().unwrap().iter().collect();
    assert_eq!((addresses.len(), &input["omitted"]), (1000, &100.into()));
    let log = fs::read_to_string(dir.path("log")).unwrap();
    assert_eq!(log.lines().count(), 4 * 101);
    assert!(
        log.lines()
            .nth(100)
            .unwrap()
            .ends_with(" - 1000 more over the limit are not listed on input")
    );
}

/// `--never-log` and excludes keep peers from the program as well.
#[test]
fn protected_peers_are_not_passed_on() {
    let dir = test_dir();
    let exec = script(&dir, "cat >input");
    let args = ["--never-log", "203.0.113.7", "--prefix4", "32,24", "-x", "203.0.113.9"];
    let result = check(&dir, &exec, &args);
    let note = "Over the limit, but not logged: 203.0.113.7 (--never-log); 203.0.113.0/24 (";
    assert!(result.stdout.contains(note), "{result:?}");
    let input = input(&dir, "input");
    let offenders = input["offenders"].as_array().unwrap();
    assert_eq!(offenders.len(), 1, "{input}");
    assert_eq!(offenders[0]["address"], "203.0.113.8");
    // With all peers protected, the program does not run.
    fs::remove_file(dir.path("input")).unwrap();
    let result = check(&dir, &exec, &["--never-log", "203.0.113.0/24"]);
    assert_eq!(result.code, Some(2), "{result:?}");
    assert!(!dir.path("input").exists());
}

/// The run has one execve for the program, and none of a shell.
#[test]
fn program_starts_without_arguments_and_shell() {
    if Command::new("strace").arg("-V").output().is_err() {
        return skip("strace");
    }
    let dir = test_dir();
    let program = dir.write("a program; $(id)", "");
    fs::copy("/usr/bin/true", &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let program = program.to_str().unwrap();
    let mut strace = dir.program("strace", &["-f", "-e", "trace=execve,execveat", "-o", "trace"]);
    strace.arg(CHECK).args(ALERT).args([program, "-vv"]);
    let result = run(&mut strace);
    assert!(result.stdout.contains("\nPassed on: 2 alerts to "), "{result:?}");
    let trace = fs::read_to_string(dir.path("trace")).unwrap();
    // A call that is interrupted by a call of another thread has two lines.
    let calls: Vec<_> = trace.lines().filter(|line| line.contains("execve(")).collect();
    assert_eq!(calls.len(), 2, "{calls:#?}");
    assert!(calls[1].contains(&format!("execve(\"{program}\", [\"{program}\"]")), "{calls:#?}");
}

/// SIGTERM to the check ends the program with its children.
#[test]
fn program_ends_with_the_run() {
    let dir = test_dir();
    let exec = script(&dir, "echo $$ >started\nsleep 60 & wait");
    let mut running = RunningCommand::start(&mut command(&dir, CHECK, &exec, &[]));
    wait_until(|| fs::read_to_string(dir.path("started")).is_ok_and(|it| it.ends_with('\n')));
    running.send_signal(Signal::TERM);
    let result = running.wait();
    let status = "TOPIP UNKNOWN - ended by SIGTERM while sending notifications";
    assert_eq!(result.status_line(), status);
    assert_invariants(CHECK, &dir, &result, 5);
}

/// The script of the manual, with curl and an HTTP server.
#[test]
fn webhook_receives_the_alert() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut request, mut chunk) = (Vec::new(), [0; 4096]);
        let started = Instant::now();
        while !request.ends_with(b"}\n") && started.elapsed() < Duration::from_secs(5) {
            let length = stream.read(&mut chunk).unwrap();
            request.extend_from_slice(&chunk[..length]);
        }
        stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").unwrap();
        String::from_utf8(request).unwrap()
    });
    let dir = test_dir();
    let manual = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/man/check_topip.1"));
    let manual = manual.unwrap();
    let (_, example) = manual.split_once("# Sends the alert to a webhook.\n").unwrap();
    let example = example.split_once(".Ed\n").unwrap().0.replace("\\e\n", "\\\n");
    let url = format!("http://127.0.0.1:{port}/hooks");
    let exec = script(&dir, &example.replace("https://chat.example.com/hooks/topip", &url));
    let result = check(&dir, &exec, &["-vv"]);
    if result.stdout.contains("curl: not found") {
        return skip("curl");
    }
    assert!(result.stdout.contains("\nPassed on: 2 alerts to "), "{result:?}");
    let request = server.join().unwrap();
    assert!(request.contains("\r\nContent-Type: application/json\r\n"), "{request}");
    let body: Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(body["offenders"][0]["address"], "203.0.113.7");
}
