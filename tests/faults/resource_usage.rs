//! What a process takes while it runs.
use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::Ran;

/// A line of `/proc/PID/status` that is a number.
fn status(pid: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// How many descriptors a process has.
fn descriptors(pid: u32) -> usize {
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

/// `topip_log watch`, the one program that stays.
pub struct Watch {
    child: Child,
    pub lines: PathBuf,
}

impl Watch {
    pub fn start(mut command: Command, lines: PathBuf) -> Self {
        let file = fs::File::create(&lines).unwrap();
        let child = command.stdout(Stdio::from(file)).stderr(Stdio::null()).spawn().unwrap();
        Self { child, lines }
    }

    /// Waits for so many looks; gives memory in KiB, descriptors and threads.
    pub fn after(&self, looks: usize) -> (u64, usize, u64) {
        let started = Instant::now();
        let n = || fs::read_to_string(&self.lines).unwrap().lines().count();
        while n() < looks {
            assert!(started.elapsed() < Duration::from_secs(120), "{} looks", n());
            thread::sleep(Duration::from_millis(50));
        }
        let pid = self.child.id();
        let of = |name| status(pid, name).expect("it is running");
        (of("VmRSS"), descriptors(pid), of("Threads"))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}
