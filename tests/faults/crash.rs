//! kill -9, at every step and at any moment: what is kept is always the old or
//! the new, and what was begun is cleared away by the next run.
use std::{
    fs,
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::support::{CHECK, LOG, MUNIN, Room, crowd, run, skip};

use super::invariants::{kept, left_nothing};

/// How often a run is killed at a moment that nobody chose.
const TIMES: usize = 1000;
/// Rooms in which that goes on at the same time.
const ROOMS: usize = 4;

const ARGS: [&str; 6] = ["--input", "listing", "--state-file", "state", "--consecutive", "1000000"];

fn flood() -> String {
    crowd(31, &[("203.0.113.7", 152)])
}

/// How long the row of a state file is; 0 where there is none. One that is not
/// whole is no such file.
#[track_caller]
fn row(room: &Room) -> u64 {
    let Ok(text) = fs::read_to_string(room.path("state")) else { return 0 };
    assert!(text.starts_with("(\n") && text.ends_with(")\n"), "{text}");
    let (_, rest) = text.split_once("    row: ").unwrap_or_else(|| panic!("{text}"));
    rest.split(',').next().unwrap().parse().unwrap()
}

/// What is in a room beside the listing.
fn names(room: &Room) -> Vec<String> {
    let entries = fs::read_dir(room.path(".")).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != "listing");
    names.sort();
    names
}

/// A generator of moments, the same ones in each run of the tests.
struct Dice(u64);

impl Dice {
    /// A number below `n`.
    fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

#[test]
fn a_thousand_runs_that_are_killed_leave_the_old_state_or_the_new() {
    let (n_killed, n_saved) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for seed in 0..ROOMS {
            let (n_killed, n_saved) = (&n_killed, &n_saved);
            scope.spawn(move || {
                let room = Room::new();
                room.write("listing", flood());
                let mut dice = Dice(seed as u64);
                // Beside others it takes longer: so long are the moments.
                let mut longest = run(&mut room.command(&ARGS)).took;
                for _ in 0..TIMES / ROOMS {
                    let before = row(&room);
                    let started = Instant::now();
                    let mut command = room.command(&ARGS);
                    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
                    let moment = dice.below(longest.as_micros() as u64 + 1);
                    thread::sleep(Duration::from_micros(moment));
                    child.kill().unwrap();
                    let code = child.wait().unwrap().code();
                    n_killed.fetch_add(usize::from(code.is_none()), Ordering::Relaxed);
                    if code.is_some() {
                        longest = started.elapsed().min(2 * longest);
                    }
                    let after = row(&room);
                    n_saved.fetch_add(usize::from(after > before), Ordering::Relaxed);
                    // Who has answered has kept what he answered for.
                    assert!(after == before + 1 || (after == before && code.is_none()), "{after}");
                    let halves = ["state", "state.lock", "state.new"];
                    assert!(names(&room).iter().all(|name| halves.contains(&&**name)));
                }
                let before = row(&room);
                let ran = room.command(&ARGS);
                let ran = run(&mut { ran });
                kept(CHECK, &room, &ran, 10);
                assert_eq!(row(&room), before + 1);
                assert_eq!(names(&room), ["state", "state.lock"]);
            });
        }
    });
    let (n_killed, n_saved) = (n_killed.into_inner(), n_saved.into_inner());
    assert!(n_killed >= TIMES / 4, "only {n_killed} were killed before their end");
    assert!(n_saved >= TIMES / 20, "only {n_saved} came to save");
}

#[test]
fn lines_of_runs_that_are_killed_are_whole() {
    let room = Room::new();
    room.write("listing", flood());
    let args = [&ARGS[..4], &["--consecutive", "1", "--log", "log"]].concat();
    let longest = room.log(&args).took.as_micros() as u64;
    let mut dice = Dice(7);
    for _ in 0..200 {
        let mut child = room.program(LOG, &args).stdout(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_micros(dice.below(longest)));
        child.kill().unwrap();
        child.wait().unwrap();
        lines(&room);
    }
    assert_eq!(room.log(&args).code, Some(0));
    assert!(lines(&room) >= 2);
    assert_eq!(names(&room), ["log", "state", "state.lock"]);
}

/// How many lines a log has, all of which are whole.
#[track_caller]
fn lines(room: &Room) -> usize {
    let text = fs::read_to_string(room.path("log")).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    for line in text.lines() {
        assert!(line.ends_with(" - 152 connections from 203.0.113.7 on input"), "{line}");
    }
    text.lines().count()
}

/// The calls of which a state file and a log are made; with a ?, those that not
/// every machine has.
const CALLS: [&str; 9] = [
    "?open,openat",
    "flock",
    "fchmod",
    "read,pread64",
    "?unlink,unlinkat",
    "write",
    "fsync",
    "?rename,?renameat,renameat2",
    "close",
];

/// Kills a program before the `nth` time that one of its threads makes a call;
/// gives whether it came so far.
fn killed_at(room: &Room, call: &str, nth: usize, command: &Command) -> Option<bool> {
    let inject = format!("inject={call}:signal=KILL:when={nth}");
    let args = ["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject];
    let mut strace = room.program("strace", &args);
    strace.arg(command.get_program()).args(command.get_args());
    strace.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    strace.env("PATH", "/usr/bin:/bin").stdout(Stdio::null()).stderr(Stdio::null());
    Some(strace.status().ok()?.code().is_none())
}

/// Every call of every thread is the last one once.
#[test]
fn a_run_that_is_killed_before_any_call_leaves_the_old_state_or_the_new() {
    thread::scope(|scope| {
        for program in [CHECK, MUNIN, LOG] {
            scope.spawn(move || {
                let room = Room::new();
                room.write("listing", flood());
                let command = || match program {
                    MUNIN => {
                        let mut command = room.program(MUNIN, &["fetch"]);
                        command.env("input", "listing").env("state_file", "state");
                        command.env("consecutive", "1000000");
                        command
                    }
                    LOG => {
                        let args = [&ARGS[..4], &["--consecutive", "1", "--log", "log"]].concat();
                        room.program(LOG, &args)
                    }
                    _ => room.command(&ARGS),
                };
                run(&mut command());
                for call in CALLS {
                    let mut n_killed = 0;
                    for nth in 1.. {
                        let before = row(&room);
                        let Some(is_killed) = killed_at(&room, call, nth, &command()) else {
                            return skip("strace");
                        };
                        let after = row(&room);
                        assert!(after == before || after == before + 1, "{call} {nth}: {after}");
                        if program == LOG {
                            lines(&room);
                        }
                        if !is_killed {
                            assert_eq!(after, before + 1, "{call} {nth}");
                            break;
                        }
                        n_killed += 1;
                    }
                    assert!(n_killed > 0, "{program} does without {call}");
                    left_nothing(&room);
                }
            });
        }
    });
}
