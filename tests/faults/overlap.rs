//! Runs that overlap on one state file, and runs that die or stop while they hold the lock.
use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::PermissionsExt,
    process::Command,
    thread,
};

use rustix::process::Signal;

use crate::support::{CHECK, CommandResult, LOG, TestDir, crowd, skip};

use super::invariants::{
    RunningCommand, assert_invariants, assert_no_leftovers, assert_valid_output, wait_until,
};

const ARGS: [&str; 6] = ["--input", "listing", "--state-file", "state", "--consecutive", "1000000"];
const STATE_LOCKED: &str = "Cannot lock the state file state: another run holds the lock.";

fn test_dir() -> TestDir {
    let dir = TestDir::new();
    dir.write("listing", crowd(31, &[("203.0.113.7", 152)]));
    dir
}

fn state_text(dir: &TestDir) -> String {
    fs::read_to_string(dir.path("state")).unwrap()
}

/// Each run loads the sample of the one before, so the consecutive count is the number of
/// runs.
#[test]
fn overlapping_runs_are_counted_once() {
    for n in [2, 10, 50] {
        let dir = test_dir();
        // On a busy machine, many runs at once are slow.
        let start = |_| RunningCommand::start(dir.command(&ARGS).args(["-t", "60"]));
        let running: Vec<_> = (0..n).map(start).collect();
        for run in running {
            let result = run.wait();
            assert_valid_output(CHECK, &result);
            assert_eq!(result.code, Some(1), "{result:?}");
            assert!(!result.stdout.contains("annot"), "{result:?}");
        }
        assert!(state_text(&dir).contains(&format!("consecutive: {n},")), "{}", state_text(&dir));
        let mut names: Vec<_> = fs::read_dir(dir.path("."))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["listing", "state", "state.lock"]);
    }
}

/// Each run writes one complete line, with its own consecutive count.
#[test]
fn overlapping_logs_write_one_line_each() {
    let dir = test_dir();
    let logged = ["--consecutive", "1", "--log", "log", "--log-format", "json", "-t", "60"];
    let args = [&ARGS[..4], &logged].concat();
    let running: Vec<_> =
        (0..50).map(|_| RunningCommand::start(&mut dir.program(LOG, &args))).collect();
    for run in running {
        let result = run.wait();
        assert_valid_output(LOG, &result);
        assert_eq!(result.code, Some(0), "{result:?}");
    }
    assert_no_leftovers(&dir);
    let log = fs::read_to_string(dir.path("log")).unwrap();
    let mut samples: Vec<_> = log
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).expect("the line is complete");
            line["samples"].as_u64().expect("a number")
        })
        .collect();
    // The log has no lock, so its order may differ from that of the samples.
    samples.sort_unstable();
    assert_eq!(samples, (1..=50).collect::<Vec<_>>());
}

/// Another program writes an incomplete line between the check of the log's end and the write,
/// as on a full disk.
#[test]
fn line_that_continues_an_incomplete_one_is_written_again() {
    const LOGGED: &str = "Wed Nov 28 23:40:34 2007 - 152 connections from 203.0.113.7\n";
    let dir = test_dir();
    let log = dir.write("log", LOGGED);
    let mut strace = dir.program("strace", &["-f", "-qqq", "-o", "trace", "-P"]);
    strace.arg(fs::canonicalize(&log).unwrap());
    strace.args(["-e", "inject=write:delay_enter=1000000:when=1", LOG, "--input", "listing"]);
    strace.args(["--consecutive", "1", "--log"]).arg(fs::canonicalize(&log).unwrap());
    if Command::new("strace").arg("-V").output().is_err() {
        return skip("strace");
    }
    let running = RunningCommand::start(strace.env("PATH", "/usr/bin:/bin"));
    wait_until(|| fs::read_to_string(dir.path("trace")).is_ok_and(|it| it.contains("pread64")));
    let mut other = OpenOptions::new().append(true).open(&log).unwrap();
    other.write_all(b"Wed Nov 28 23:41:34 2007 - 9 connections from 203.0.11").unwrap();
    let result = running.wait();
    assert_eq!((result.code, &*result.stderr), (Some(0), ""), "{result:?}");
    let text = fs::read_to_string(&log).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert_eq!(lines[1].split_once("203.0.11").unwrap().1, lines[2], "{text}");
    let result = dir.run_log(&["report", "--log", "log"]);
    assert!(result.stdout.contains("\n2 alerts about 1 address.\n"), "{}", result.stdout);
    assert!(result.stderr.contains("line 2 of log"), "{}", result.stderr);
}

/// Starts a check that strace(1) stops between writing and renaming its state file, while
/// it holds the lock.
fn start_stopped_while_saving(dir: &TestDir) -> Option<RunningCommand> {
    let args = ["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync"];
    let mut strace = dir.program("strace", &args);
    strace.args(["-e", "inject=fsync:signal=STOP:when=1", CHECK]).args(ARGS);
    strace.env("PATH", "/usr/bin:/bin");
    if Command::new("strace").arg("-V").output().is_err() {
        skip("strace");
        return None;
    }
    let running = RunningCommand::start(&mut strace);
    // strace also stops it briefly at other calls.
    let mut n_looks = 0;
    wait_until(|| {
        let is_there = dir.path("state.new").exists();
        let is_stopped = is_there && traced_child(&running).is_some_and(is_stopped);
        n_looks = if is_stopped { n_looks + 1 } else { 0 };
        n_looks > 50
    });
    Some(running)
}

/// Returns the PID of the traced process.
fn traced_child(running: &RunningCommand) -> Option<u32> {
    let pid = running.child.id();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// Returns whether all threads of a process are stopped.
fn is_stopped(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    let status = |thread: std::path::PathBuf| fs::read_to_string(thread.join("status"));
    let mut statuses = threads.map(|thread| status(thread.unwrap().path()).unwrap_or_default());
    statuses.all(|status| status.contains("\nState:\tT") || status.contains("\nState:\tt"))
}

fn send_signal(pid: u32, signal: Signal) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

#[track_caller]
fn assert_state_locked(result: &CommandResult) {
    assert_eq!(result.code, Some(1), "{result:?}");
    assert_eq!(result.stdout.lines().nth(1), Some(STATE_LOCKED), "{result:?}");
}

/// The other runs give their verdict in time and report that the state file is locked; the
/// stopped run continues without loss.
#[test]
fn stopped_run_does_not_block_others() {
    let dir = test_dir();
    let Some(stopped) = start_stopped_while_saving(&dir) else { return };
    let checks: Vec<_> =
        (0..10).map(|_| RunningCommand::start(dir.command(&ARGS).args(["-t", "1"]))).collect();
    for check in checks {
        let result = check.wait();
        assert_state_locked(&result);
        assert!(result.elapsed.as_millis() < 3000, "{result:?}");
    }
    assert!(!dir.path("state").exists());
    send_signal(traced_child(&stopped).unwrap(), Signal::CONT);
    let result = stopped.wait();
    assert_invariants(CHECK, &dir, &result, 10);
    assert!(state_text(&dir).contains("consecutive: 1,"), "{}", state_text(&dir));
}

/// The kernel releases the lock of a dead process, and the next run removes its temporary
/// file.
#[test]
fn dead_run_does_not_block_others() {
    let dir = test_dir();
    let Some(stopped) = start_stopped_while_saving(&dir) else { return };
    assert!(dir.path("state.new").exists());
    let waiting = RunningCommand::start(&mut dir.command(&ARGS));
    wait_until(|| waiting.has_open(&dir.path("state.lock")));
    send_signal(traced_child(&stopped).unwrap(), Signal::KILL);
    let result = waiting.wait();
    drop(stopped);
    assert!(
        !result.stdout.contains("annot") && !result.stdout.contains(STATE_LOCKED),
        "{result:?}"
    );
    assert_invariants(CHECK, &dir, &result, 10);
    assert!(state_text(&dir).contains("consecutive: 1,"), "{}", state_text(&dir));
}

/// Creates the lock file of the state file, and locks it.
fn create_lock(dir: &TestDir) -> File {
    let path = dir.path("state.lock");
    let lock = OpenOptions::new().create_new(true).append(true).open(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    lock.lock().unwrap();
    lock
}

/// An administrator may remove the files of a check while it runs.
#[test]
fn removed_lock_file_still_excludes() {
    let dir = test_dir();
    let old = create_lock(&dir);
    let waiting = RunningCommand::start(dir.command(&ARGS).args(["-t", "2"]));
    wait_until(|| waiting.has_open(&dir.path("state.lock")));
    fs::remove_file(dir.path("state.lock")).unwrap();
    let new = create_lock(&dir);
    drop(old);
    let result = waiting.wait();
    assert_state_locked(&result);
    assert!(!dir.path("state").exists());
    drop(new);
    // The old state file is gone as well: this is a first sample.
    let result = dir.check(&ARGS);
    assert_invariants(CHECK, &dir, &result, 10);
    assert!(state_text(&dir).contains("consecutive: 1,"), "{}", state_text(&dir));
}

/// A run that waited for a lock file that was removed waits for the one that replaced it.
#[test]
fn replaced_lock_file_is_waited_for() {
    let dir = test_dir();
    let old = create_lock(&dir);
    let waiting = RunningCommand::start(dir.command(&ARGS).args(["-t", "60"]));
    wait_until(|| waiting.has_open(&dir.path("state.lock")));
    fs::remove_file(dir.path("state.lock")).unwrap();
    let new = create_lock(&dir);
    assert!(!waiting.has_open(&dir.path("state.lock")), "the run cannot have opened it yet");
    drop(old);
    wait_until(|| waiting.has_open(&dir.path("state.lock")));
    assert!(!dir.path("state").exists());
    drop(new);
    let result = waiting.wait();
    assert_invariants(CHECK, &dir, &result, 60);
    assert_eq!(result.code, Some(1), "{result:?}");
    assert!(!result.stdout.contains(STATE_LOCKED), "{result:?}");
    assert!(state_text(&dir).contains("consecutive: 1,"), "{}", state_text(&dir));
}

/// Some of fifty runs are killed, and the others lose nothing.
#[test]
fn killed_runs_do_not_affect_others() {
    let dir = test_dir();
    let codes: Vec<_> = thread::scope(|scope| {
        let dir = &dir;
        let runs: Vec<_> = (0..50)
            .map(|n| {
                scope.spawn(move || {
                    let running = RunningCommand::start(dir.command(&ARGS).args(["-t", "60"]));
                    if n % 3 == 0 {
                        wait_until(|| {
                            running.has_open(&dir.path("state.lock")) || running.has_exited()
                        });
                        running.kill();
                    }
                    running.wait().code
                })
            })
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    let n_answered = codes.iter().flatten().count();
    assert!(codes.iter().flatten().all(|&code| code == 1), "{codes:?}");
    let consecutive = state_text(&dir);
    let (_, consecutive) = consecutive.split_once("consecutive: ").unwrap();
    let consecutive: usize = consecutive.split(',').next().unwrap().parse().unwrap();
    // A killed run may have saved its sample before.
    assert!((n_answered..=50).contains(&consecutive), "{consecutive} of {n_answered}");
    let result = dir.check(&ARGS);
    assert_invariants(CHECK, &dir, &result, 10);
}
