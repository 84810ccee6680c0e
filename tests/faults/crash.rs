//! kill -9 at any moment and before any system call: the state file is always the old or
//! the new one, and the next run removes leftovers.
use std::{
    fs,
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::support::{CHECK, LOG, MUNIN, TestDir, crowd, run, skip};

use super::invariants::{assert_invariants, assert_no_leftovers};

/// Number of runs that are killed at a random moment.
const N_KILLS: usize = 1000;
/// Number of test directories that are used concurrently.
const N_DIRECTORIES: usize = 4;

const ARGS: [&str; 6] = ["--input", "listing", "--state-file", "state", "--consecutive", "1000000"];

fn flood() -> String {
    crowd(31, &[("203.0.113.7", 152)])
}

/// Returns the consecutive count in the state file, and 0 without a state file. Panics if
/// the file is not complete.
#[track_caller]
fn consecutive(dir: &TestDir) -> u64 {
    let Ok(text) = fs::read_to_string(dir.path("state")) else { return 0 };
    assert!(text.starts_with("(\n") && text.ends_with(")\n"), "{text}");
    let (_, rest) = text.split_once(", consecutive: ").unwrap_or_else(|| panic!("{text}"));
    rest.split(',').next().unwrap().parse().unwrap()
}

/// Returns the names of the files in a directory, except the listing.
fn directory_entries(dir: &TestDir) -> Vec<String> {
    let entries = fs::read_dir(dir.path(".")).unwrap();
    let mut directory_entries: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    directory_entries.retain(|name| name != "listing");
    directory_entries.sort();
    directory_entries
}

/// A linear congruential generator with the same sequence in every run.
struct Lcg(u64);

impl Lcg {
    /// Returns a number below `n`.
    fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

#[test]
fn killed_runs_leave_old_or_new_state() {
    let (n_killed, n_saved) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for seed in 0..N_DIRECTORIES {
            let (n_killed, n_saved) = (&n_killed, &n_saved);
            scope.spawn(move || {
                let dir = TestDir::new();
                dir.write("listing", flood());
                let mut lcg = Lcg(seed as u64);
                // Runs take longer with others in parallel, so adapt the range of delays.
                let mut max_elapsed = run(&mut dir.command(&ARGS)).elapsed;
                for _ in 0..N_KILLS / N_DIRECTORIES {
                    let before = consecutive(&dir);
                    let started = Instant::now();
                    let mut command = dir.command(&ARGS);
                    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
                    let delay_us = lcg.below(max_elapsed.as_micros() as u64 + 1);
                    thread::sleep(Duration::from_micros(delay_us));
                    child.kill().unwrap();
                    let code = child.wait().unwrap().code();
                    n_killed.fetch_add(usize::from(code.is_none()), Ordering::Relaxed);
                    if code.is_some() {
                        max_elapsed = started.elapsed().min(2 * max_elapsed);
                    }
                    let after = consecutive(&dir);
                    n_saved.fetch_add(usize::from(after > before), Ordering::Relaxed);
                    // A run that has exited has saved its sample.
                    assert!(after == before + 1 || (after == before && code.is_none()), "{after}");
                    let allowed = ["state", "state.lock", "state.new"];
                    assert!(directory_entries(&dir).iter().all(|name| allowed.contains(&&**name)));
                }
                let before = consecutive(&dir);
                let result = dir.command(&ARGS);
                let result = run(&mut { result });
                assert_invariants(CHECK, &dir, &result, 10);
                assert_eq!(consecutive(&dir), before + 1);
                assert_eq!(directory_entries(&dir), ["state", "state.lock"]);
            });
        }
    });
    let (n_killed, n_saved) = (n_killed.into_inner(), n_saved.into_inner());
    assert!(n_killed >= N_KILLS / 4, "only {n_killed} were killed before they ended");
    assert!(n_saved >= N_KILLS / 20, "only {n_saved} saved their sample");
}

#[test]
fn killed_runs_leave_complete_log_lines() {
    let dir = TestDir::new();
    dir.write("listing", flood());
    let args = [&ARGS[..4], &["--consecutive", "1", "--log", "log"]].concat();
    let max_elapsed = dir.run_log(&args).elapsed.as_micros() as u64;
    let mut lcg = Lcg(7);
    for _ in 0..200 {
        let mut child = dir.program(LOG, &args).stdout(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_micros(lcg.below(max_elapsed)));
        child.kill().unwrap();
        child.wait().unwrap();
        count_complete_lines(&dir);
    }
    assert_eq!(dir.run_log(&args).code, Some(0));
    assert!(count_complete_lines(&dir) >= 2);
    assert_eq!(directory_entries(&dir), ["log", "state", "state.lock"]);
}

/// Returns the number of log lines, and panics if one is not complete.
#[track_caller]
fn count_complete_lines(dir: &TestDir) -> usize {
    let text = fs::read_to_string(dir.path("log")).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    for line in text.lines() {
        assert!(line.ends_with(" - 152 connections from 203.0.113.7 on input"), "{line}");
    }
    text.lines().count()
}

/// System calls that write a state file and a log. Those with a `?` do not exist on every
/// architecture.
const SYSTEM_CALLS: [&str; 9] = [
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

/// Kills a program before one of its threads makes a system call for the `nth` time, and
/// returns whether it got that far.
fn is_killed_at(dir: &TestDir, call: &str, nth: usize, command: &Command) -> Option<bool> {
    let inject = format!("inject={call}:signal=KILL:when={nth}");
    let args = ["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject];
    let mut strace = dir.program("strace", &args);
    strace.arg(command.get_program()).args(command.get_args());
    strace.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    strace.env("PATH", "/usr/bin:/bin").stdout(Stdio::null()).stderr(Stdio::null());
    Some(strace.status().ok()?.code().is_none())
}

/// Kills the program before every system call of every thread.
#[test]
fn kill_before_any_system_call_leaves_old_or_new_state() {
    thread::scope(|scope| {
        for program in [CHECK, MUNIN, LOG] {
            scope.spawn(move || {
                let dir = TestDir::new();
                dir.write("listing", flood());
                let command = || match program {
                    MUNIN => {
                        let mut command = dir.program(MUNIN, &["fetch"]);
                        command.env("input", "listing").env("state_file", "state");
                        command.env("consecutive", "1000000");
                        command
                    }
                    LOG => {
                        let args = [&ARGS[..4], &["--consecutive", "1", "--log", "log"]].concat();
                        dir.program(LOG, &args)
                    }
                    _ => dir.command(&ARGS),
                };
                run(&mut command());
                for call in SYSTEM_CALLS {
                    let mut n_killed = 0;
                    for nth in 1.. {
                        let before = consecutive(&dir);
                        let Some(is_killed) = is_killed_at(&dir, call, nth, &command()) else {
                            return skip("strace");
                        };
                        let after = consecutive(&dir);
                        assert!(after == before || after == before + 1, "{call} {nth}: {after}");
                        if program == LOG {
                            count_complete_lines(&dir);
                        }
                        if !is_killed {
                            assert_eq!(after, before + 1, "{call} {nth}");
                            break;
                        }
                        n_killed += 1;
                    }
                    assert!(n_killed > 0, "{program} does without {call}");
                    assert_no_leftovers(&dir);
                }
            });
        }
    });
}
