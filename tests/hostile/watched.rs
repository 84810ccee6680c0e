//! What a process takes while it runs.
use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::Ran;

/// A line of `/proc/PID/status` that is a number.
pub fn status(pid: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// How many descriptors a process has.
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Runs a program to its end, and gives the most memory that it had, in KiB, as
/// far as could be seen before it ended.
pub fn peak(command: &mut Command) -> (Ran, u64) {
    let started = Instant::now();
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let watch = thread::spawn(move || {
        let mut peak = 0;
        // Who has ended has no memory any more.
        while let Some(now) = status(pid, "VmHWM") {
            peak = now;
            thread::sleep(Duration::from_micros(200));
        }
        peak
    });
    let output = child.wait_with_output().unwrap();
    let ran = Ran {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code(),
        took: started.elapsed(),
    };
    (ran, watch.join().unwrap())
}
