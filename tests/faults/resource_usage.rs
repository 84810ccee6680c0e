//! Memory, descriptors and threads of a running process.
use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::CommandResult;

/// Returns a number from `/proc/PID/status`.
fn proc_status(pid: u32, name: &str) -> Option<u64> {
    let proc_status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = proc_status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Returns the number of open descriptors of a process.
fn n_descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Runs a command to its end, and returns its result and its peak memory in KiB, as far as
/// it was observed before the end.
pub fn run_with_peak_memory(command: &mut Command) -> (CommandResult, u64) {
    let started = Instant::now();
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let watch = thread::spawn(move || {
        let mut peak = 0;
        // A process that has ended has no memory any more.
        while let Some(now) = proc_status(pid, "VmHWM") {
            peak = now;
            thread::sleep(Duration::from_micros(200));
        }
        peak
    });
    let output = child.wait_with_output().unwrap();
    let result = CommandResult {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code(),
        elapsed: started.elapsed(),
    };
    (result, watch.join().unwrap())
}

/// `topip_log watch`, the only program that keeps running.
pub struct WatchProcess {
    child: Child,
    pub lines: PathBuf,
}

impl WatchProcess {
    pub fn start(mut command: Command, lines: PathBuf) -> Self {
        let file = fs::File::create(&lines).unwrap();
        let child = command.stdout(Stdio::from(file)).stderr(Stdio::null()).spawn().unwrap();
        Self { child, lines }
    }

    /// Waits for `n_samples` samples and returns memory in KiB, descriptors and threads.
    pub fn usage_after(&self, n_samples: usize) -> (u64, usize, u64) {
        let started = Instant::now();
        let n = || fs::read_to_string(&self.lines).unwrap().lines().count();
        while n() < n_samples {
            assert!(started.elapsed() < Duration::from_secs(120), "{} looks", n());
            thread::sleep(Duration::from_millis(50));
        }
        let pid = self.child.id();
        let of = |name| proc_status(pid, name).expect("the process is running");
        (of("VmRSS"), n_descriptors(pid), of("Threads"))
    }
}

impl Drop for WatchProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}
