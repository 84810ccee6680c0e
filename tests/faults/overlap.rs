//! Runs that overlap on one state file, and what they do where one of them is
//! dead, or stopped, with the lock in its hand.
use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::PermissionsExt,
    process::Command,
    thread,
};

use rustix::process::Signal;

use crate::support::{CHECK, LOG, Ran, Room, crowd, skip};

use super::invariants::{Running, answered, kept, left_nothing, until};

const ARGS: [&str; 6] = ["--input", "listing", "--state-file", "state", "--consecutive", "1000000"];
const HELD: &str = "The state file state is held by another run.";

fn room() -> Room {
    let room = Room::new();
    room.write("listing", crowd(31, &[("203.0.113.7", 152)]));
    room
}

fn state(room: &Room) -> String {
    fs::read_to_string(room.path("state")).unwrap()
}

/// Each sees the one before it, so that the row is as long as they are many; and
/// each answers with its own place in it.
#[test]
fn two_ten_and_fifty_runs_are_counted_once_each() {
    for n in [2, 10, 50] {
        let room = room();
        // On a machine that is busy, so many take their time.
        let start = |_| Running::start(room.command(&ARGS).args(["-t", "60"]));
        let running: Vec<_> = (0..n).map(start).collect();
        for run in running {
            let ran = run.end();
            answered(CHECK, &ran);
            assert_eq!(ran.code, Some(1), "{ran:?}");
            assert!(!ran.stdout.contains("annot"), "{ran:?}");
        }
        assert!(state(&room).contains(&format!("row: {n},")), "{}", state(&room));
        let mut names: Vec<_> = fs::read_dir(room.path("."))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["listing", "state", "state.lock"]);
    }
}

/// A line each, and each line whole; the samples that they are about in order.
#[test]
fn fifty_logs_have_a_line_each() {
    let room = room();
    let logged = ["--consecutive", "1", "--log", "log", "--log-format", "json", "-t", "60"];
    let args = [&ARGS[..4], &logged].concat();
    let running: Vec<_> = (0..50).map(|_| Running::start(&mut room.program(LOG, &args))).collect();
    for run in running {
        let ran = run.end();
        answered(LOG, &ran);
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    left_nothing(&room);
    let log = fs::read_to_string(room.path("log")).unwrap();
    let mut samples: Vec<_> = log
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).expect("a whole line");
            line["samples"].as_u64().expect("a number")
        })
        .collect();
    // The log is another file, and has a lock of its own.
    samples.sort_unstable();
    assert_eq!(samples, (1..=50).collect::<Vec<_>>());
}

/// A check that a signal meets between its writing and its saving, with the lock
/// in its hand. It is stopped there; strace(1) sees to that.
fn stopped_in_the_middle(room: &Room) -> Option<Running> {
    let args = ["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync"];
    let mut strace = room.program("strace", &args);
    strace.args(["-e", "inject=fsync:signal=STOP:when=1", CHECK]).args(ARGS);
    strace.env("PATH", "/usr/bin:/bin");
    if Command::new("strace").arg("-V").output().is_err() {
        skip("strace");
        return None;
    }
    let running = Running::start(&mut strace);
    // strace stops it for a moment at other calls too.
    let mut n_looks = 0;
    until(|| {
        let is_there = room.path("state.new").exists();
        let is_stopped = is_there && child_of(&running).is_some_and(is_stopped);
        n_looks = if is_stopped { n_looks + 1 } else { 0 };
        n_looks > 50
    });
    Some(running)
}

/// What strace has started.
fn child_of(running: &Running) -> Option<u32> {
    let pid = running.child.id();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// Whether all its threads are stopped.
fn is_stopped(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    let status = |thread: std::path::PathBuf| fs::read_to_string(thread.join("status"));
    let mut statuses = threads.map(|thread| status(thread.unwrap().path()).unwrap_or_default());
    statuses.all(|status| status.contains("\nState:\tT") || status.contains("\nState:\tt"))
}

fn tell(pid: u32, signal: Signal) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

#[track_caller]
fn is_held(ran: &Ran) {
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(ran.stdout.lines().nth(1), Some(HELD), "{ran:?}");
}

/// The others give their verdict on what they see, in time, and say why it is
/// not on record; whoever goes on loses nothing.
#[test]
fn a_stopped_run_holds_nobody_up_and_loses_nothing() {
    let room = room();
    let Some(stopped) = stopped_in_the_middle(&room) else { return };
    let checks: Vec<_> =
        (0..10).map(|_| Running::start(room.command(&ARGS).args(["-t", "1"]))).collect();
    for check in checks {
        let ran = check.end();
        is_held(&ran);
        assert!(ran.took.as_millis() < 3000, "{ran:?}");
    }
    assert!(!room.path("state").exists());
    tell(child_of(&stopped).unwrap(), Signal::CONT);
    let ran = stopped.end();
    kept(CHECK, &room, &ran, 10);
    assert!(state(&room).contains("row: 1,"), "{}", state(&room));
}

/// The kernel takes the lock from the dead, and the next run clears away what
/// that has begun.
#[test]
fn a_dead_run_holds_nobody_up() {
    let room = room();
    let Some(stopped) = stopped_in_the_middle(&room) else { return };
    assert!(room.path("state.new").exists());
    let waiting = Running::start(&mut room.command(&ARGS));
    until(|| waiting.has_open(&room.path("state.lock")));
    tell(child_of(&stopped).unwrap(), Signal::KILL);
    let ran = waiting.end();
    drop(stopped);
    assert!(!ran.stdout.contains("annot") && !ran.stdout.contains(HELD), "{ran:?}");
    kept(CHECK, &room, &ran, 10);
    assert!(state(&room).contains("row: 1,"), "{}", state(&room));
}

/// An administrator may remove the files of a check while it runs.
#[test]
fn a_lock_that_was_removed_keeps_nobody_off() {
    let room = room();
    let make = || {
        let path = room.path("state.lock");
        let lock = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        lock.lock().unwrap();
        lock
    };
    let old: File = make();
    let waiting = Running::start(room.command(&ARGS).args(["-t", "2"]));
    until(|| waiting.has_open(&room.path("state.lock")));
    fs::remove_file(room.path("state.lock")).unwrap();
    let new = make();
    drop(old);
    let ran = waiting.end();
    is_held(&ran);
    assert!(!room.path("state").exists());
    drop(new);
    // With the folder, all that was in it is gone: this is a first sample.
    let ran = room.check(&ARGS);
    kept(CHECK, &room, &ran, 10);
    assert!(state(&room).contains("row: 1,"), "{}", state(&room));
}

/// Fifty runs, of which some are killed: the others lose nothing by it.
#[test]
fn the_death_of_some_costs_the_others_nothing() {
    let room = room();
    let codes: Vec<_> = thread::scope(|scope| {
        let room = &room;
        let runs: Vec<_> = (0..50)
            .map(|n| {
                scope.spawn(move || {
                    let running = Running::start(room.command(&ARGS).args(["-t", "60"]));
                    if n % 3 == 0 {
                        until(|| running.has_open(&room.path("state.lock")) || running.is_over());
                        running.kill();
                    }
                    running.end().code
                })
            })
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    let answered = codes.iter().flatten().count();
    assert!(codes.iter().flatten().all(|&code| code == 1), "{codes:?}");
    let row = state(&room);
    let (_, row) = row.split_once("row: ").unwrap();
    let row: usize = row.split(',').next().unwrap().parse().unwrap();
    // Who was killed may have saved before.
    assert!((answered..=50).contains(&row), "{row} of {answered}");
    let ran = room.check(&ARGS);
    kept(CHECK, &room, &ran, 10);
}
