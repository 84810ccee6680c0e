//! Invariants of every run: it ends in time, with a valid exit code and one valid status
//! line, and leaves no files or processes.
use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{CHECK, CommandResult, LOG, TestDir};

/// Maximum overrun of `--timeout`.
const MAX_OVERRUN: Duration = Duration::from_millis(500);
/// Additional time on a busy machine.
const BUSY_MARGIN: Duration = Duration::from_secs(1);

/// Asserts the invariants of a run of `program`, with a timeout in seconds.
#[track_caller]
pub fn assert_invariants(program: &str, dir: &TestDir, result: &CommandResult, timeout: u64) {
    let within = Duration::from_secs(timeout) + MAX_OVERRUN + BUSY_MARGIN;
    assert!(result.elapsed < within, "took {:?}: {result:?}", result.elapsed);
    assert_valid_output(program, result);
    assert_no_leftovers(dir);
}

/// Asserts that the exit code is valid and matches the output.
#[track_caller]
pub fn assert_valid_output(program: &str, result: &CommandResult) {
    let text = format!("{}{}", result.stdout, result.stderr);
    let is_plain = |letter: char| letter == '\n' || !letter.is_control();
    assert!(text.chars().all(is_plain), "{result:?}");
    let code = result.code.unwrap_or_else(|| panic!("killed by a signal: {result:?}"));
    match program {
        CHECK => {
            let status = ["OK", "WARNING", "CRITICAL", "UNKNOWN"].get(code as usize);
            let status = status.unwrap_or_else(|| panic!("{result:?}"));
            assert!(result.stdout.starts_with(&format!("TOPIP {status} - ")), "{result:?}");
            assert_eq!(result.stdout.matches("TOPIP ").count(), 1, "{result:?}");
            assert!(result.stdout.matches('|').count() <= 1, "{result:?}");
            assert_eq!(result.stderr, "");
        }
        LOG => {
            assert!((0..=2).contains(&code), "{result:?}");
            // No output on standard error means success.
            assert_eq!(code == 0, result.stderr.is_empty(), "{result:?}");
            assert!(code == 0 || result.stderr.starts_with("topip_log: "), "{result:?}");
        }
        _ => {
            assert!((0..=1).contains(&code), "{result:?}");
            let is_value =
                |line: &str| line.split_once(".value ").is_some_and(|(_, it)| !it.contains(' '));
            let is_value =
                |line: &str| is_value(line) || line.starts_with("connections_max.extinfo ");
            assert!(result.stdout.lines().all(is_value), "{result:?}");
            assert!(code == 0 || !result.stderr.is_empty(), "{result:?}");
        }
    }
}

/// Asserts that no temporary file and no process is left in a directory.
#[track_caller]
pub fn assert_no_leftovers(dir: &TestDir) {
    let directory = fs::canonicalize(dir.path(".")).unwrap();
    let temporary_files: Vec<_> = files(&directory)
        .into_iter()
        .filter(|path| path.extension() == Some("new".as_ref()))
        .collect();
    assert!(temporary_files.is_empty(), "{temporary_files:?}");
    // A killed process exists for a moment longer.
    let started = Instant::now();
    loop {
        let remaining = processes(&directory);
        if remaining.is_empty() {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(5), "{remaining:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Returns all files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Returns the processes whose working directory this is.
fn processes(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let is_in =
        |process: &PathBuf| fs::read_link(process.join("cwd")).is_ok_and(|it| it == directory);
    entries
        .filter(is_in)
        .map(|process| fs::read_to_string(process.join("status")).unwrap_or_default())
        .filter(|status| !status.is_empty() && !status.contains("\nState:\tZ"))
        .collect()
}

/// A running command.
pub struct RunningCommand {
    pub child: Child,
    started: Instant,
}

impl RunningCommand {
    /// Starts the command with pipes for its output.
    pub fn start(command: &mut Command) -> Self {
        Self::from_child(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// Wraps a child process that was just started.
    pub fn from_child(child: Child) -> Self {
        Self { child, started: Instant::now() }
    }

    /// Returns whether the process has this file open.
    pub fn has_open(&self, path: &Path) -> bool {
        let path = fs::canonicalize(path);
        // A process that is just being created has no descriptors yet.
        let Ok(open) = fs::read_dir(format!("/proc/{}/fd", self.child.id())) else { return false };
        let links = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        path.is_ok_and(|path| links.into_iter().any(|link| link == path))
    }

    /// Returns whether the process has ended and was not reaped.
    pub fn has_exited(&self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        status.is_ok_and(|status| status.contains("\nState:\tZ"))
    }

    /// Kills the process.
    pub fn kill(&self) {
        kill_process(Pid::from_child(&self.child), Signal::KILL).unwrap();
    }

    /// Sends a signal and restarts the time measurement.
    pub fn send_signal(&mut self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        self.started = Instant::now();
    }

    /// Waits for the end and returns the result.
    pub fn wait(mut self) -> CommandResult {
        // The output is short enough for the pipes, so that reading them in sequence cannot
        // deadlock.
        let stdout = text(self.child.stdout.take());
        let stderr = text(self.child.stderr.take());
        let code = self.child.wait().unwrap().code();
        CommandResult { stdout, stderr, code, elapsed: self.started.elapsed() }
    }
}

impl Drop for RunningCommand {
    /// Kills the process if a test fails.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(from: Option<impl Read>) -> String {
    let mut text = String::new();
    if let Some(mut from) = from {
        from.read_to_string(&mut text).expect("output is UTF-8");
    }
    text
}

/// Polls until the condition is true.
#[track_caller]
pub fn wait_until(mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(20), "condition did not become true");
        thread::sleep(Duration::from_millis(1));
    }
}
