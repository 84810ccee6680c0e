//! What holds whatever happens: a run ends in time, with an exit code of its own
//! and one clean line, and leaves nothing behind.
use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{CHECK, LOG, Ran, Room};

/// How much later than its `--timeout` a run may end.
const BEYOND: Duration = Duration::from_millis(500);
/// What a machine that has other things to do may add.
const BUSY: Duration = Duration::from_secs(1);

/// Holds a run of `program` to what is promised: in a folder, within so many
/// seconds.
#[track_caller]
pub fn kept(program: &str, room: &Room, ran: &Ran, timeout: u64) {
    let within = Duration::from_secs(timeout) + BEYOND + BUSY;
    assert!(ran.took < within, "it took {:?}: {ran:?}", ran.took);
    answered(program, ran);
    left_nothing(room);
}

/// Whether it has answered as it should: with an exit code that is one, and a
/// line that says the same.
#[track_caller]
pub fn answered(program: &str, ran: &Ran) {
    let text = format!("{}{}", ran.stdout, ran.stderr);
    let is_plain = |letter: char| letter == '\n' || !letter.is_control();
    assert!(text.chars().all(is_plain), "{ran:?}");
    let code = ran.code.unwrap_or_else(|| panic!("it was killed: {ran:?}"));
    match program {
        CHECK => {
            let status = ["OK", "WARNING", "CRITICAL", "UNKNOWN"].get(code as usize);
            let status = status.unwrap_or_else(|| panic!("{ran:?}"));
            assert!(ran.stdout.starts_with(&format!("TOPIP {status} - ")), "{ran:?}");
            assert_eq!(ran.stdout.matches("TOPIP ").count(), 1, "{ran:?}");
            assert!(ran.stdout.matches('|').count() <= 1, "{ran:?}");
            assert_eq!(ran.stderr, "");
        }
        LOG => {
            assert!((0..=2).contains(&code), "{ran:?}");
            // Silence is what says that all is well.
            assert_eq!(code == 0, ran.stderr.is_empty(), "{ran:?}");
            assert!(code == 0 || ran.stderr.starts_with("topip_log: "), "{ran:?}");
        }
        _ => {
            assert!((0..=1).contains(&code), "{ran:?}");
            let is_value =
                |line: &str| line.split_once(".value ").is_some_and(|(_, it)| !it.contains(' '));
            let is_value =
                |line: &str| is_value(line) || line.starts_with("connections_max.extinfo ");
            assert!(ran.stdout.lines().all(is_value), "{ran:?}");
            assert!(code == 0 || !ran.stderr.is_empty(), "{ran:?}");
        }
    }
}

/// Whether nothing is left in a room that is not to be there: no half of a file,
/// and no process.
#[track_caller]
pub fn left_nothing(room: &Room) {
    let folder = fs::canonicalize(room.path(".")).unwrap();
    let halves: Vec<_> = files(&folder)
        .into_iter()
        .filter(|path| path.extension() == Some("new".as_ref()))
        .collect();
    assert!(halves.is_empty(), "{halves:?}");
    // One that has been killed takes a moment to be gone.
    let started = Instant::now();
    loop {
        let left = processes(&folder);
        if left.is_empty() {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(5), "{left:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The files in a folder and below.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The processes that are in a folder.
fn processes(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let is_in = |process: &PathBuf| fs::read_link(process.join("cwd")).is_ok_and(|it| it == folder);
    entries
        .filter(is_in)
        .map(|process| fs::read_to_string(process.join("status")).unwrap_or_default())
        .filter(|status| !status.is_empty() && !status.contains("\nState:\tZ"))
        .collect()
}

/// A run that has begun.
pub struct Running {
    pub child: Child,
    started: Instant,
}

impl Running {
    /// Starts it, and keeps both ends of what it prints.
    pub fn start(command: &mut Command) -> Self {
        Self::of(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// One that has just been started.
    pub fn of(child: Child) -> Self {
        Self { child, started: Instant::now() }
    }

    /// Whether it has this file open.
    pub fn has_open(&self, path: &Path) -> bool {
        let path = fs::canonicalize(path);
        // A process that is about to be has no descriptors yet.
        let Ok(open) = fs::read_dir(format!("/proc/{}/fd", self.child.id())) else { return false };
        let links = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        path.is_ok_and(|path| links.into_iter().any(|link| link == path))
    }

    /// Whether it has ended, and nobody has asked what came of it.
    pub fn is_over(&self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        status.is_ok_and(|status| status.contains("\nState:\tZ"))
    }

    /// Ends it at once.
    pub fn kill(&self) {
        kill_process(Pid::from_child(&self.child), Signal::KILL).unwrap();
    }

    /// Sends it a signal, and starts the clock anew.
    pub fn tell(&mut self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        self.started = Instant::now();
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ran {
        // What is said is little: neither waits for the other to be read.
        let stdout = text(self.child.stdout.take());
        let stderr = text(self.child.stderr.take());
        let code = self.child.wait().unwrap().code();
        Ran { stdout, stderr, code, took: self.started.elapsed() }
    }
}

impl Drop for Running {
    /// A test that fails leaves nothing behind either.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(from: Option<impl Read>) -> String {
    let mut text = String::new();
    if let Some(mut from) = from {
        from.read_to_string(&mut text).expect("an answer is UTF-8");
    }
    text
}

/// Waits until something is so, which it will be soon.
#[track_caller]
pub fn until(mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(20), "it does not come");
        thread::sleep(Duration::from_millis(1));
    }
}
