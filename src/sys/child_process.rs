//! Programs that this process starts, and that must end with it.
//!
//! Each program leads its own process group, so that it and its children can be killed
//! together. A registry of the running groups lets the watchdog end all of them from
//! another thread.
//!
//! `posix_spawn` starts them: unlike the standard library, it can reset the signal mask.
//! A program with this process's mask could not be ended by SIGTERM.
use std::{
    ffi::{CString, OsStr, OsString},
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{ffi::OsStringExt, process::ExitStatusExt},
    },
    process::ExitStatus,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use nix::{
    spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp},
    sys::signal,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags},
    process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process_group, pidfd_open, waitpid},
};

mod with_input;

pub use with_input::{ProgramEnd, RunError, run_with_input};

/// Interval between two checks whether a program has ended, where the kernel does not
/// report it.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// Maximum wait for programs that other threads are starting: the disk of a program may
/// hang.
const MAX_START_TIME: Duration = Duration::from_millis(200);
/// Maximum wait for a killed program. A process in uninterruptible sleep survives
/// SIGKILL for a while.
const MAX_KILL_TIME: Duration = Duration::from_millis(100);

/// Running programs of this process.
static REGISTRY: Mutex<Registry> =
    Mutex::new(Registry { running_groups: Vec::new(), n_starting: 0, is_exiting: false });

struct Registry {
    /// Process groups whose leader has not been reaped, so that the ID is not reused.
    running_groups: Vec<Pid>,
    /// Number of programs that are being started.
    n_starting: usize,
    /// True once the process is about to exit, to prevent new programs from starting.
    is_exiting: bool,
}

fn registry() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Standard streams of a program.
#[derive(Debug)]
pub struct StandardStreams {
    /// Standard input.
    pub stdin: OwnedFd,
    /// Standard output.
    pub stdout: OwnedFd,
    /// Standard error.
    pub stderr: OwnedFd,
}

/// Opens `/dev/null`.
///
/// # Errors
///
/// Returns an error if the system refuses.
pub fn open_null() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?)
}

/// Running program. It is killed, with its children, when the value is dropped.
#[derive(Debug)]
pub struct ChildProcess {
    /// The program, and its process group.
    pid: Pid,
    exit_status: Option<ExitStatus>,
}

impl ChildProcess {
    /// Starts the program of the first word with all words, as the leader of its own
    /// process group. A word without a slash is looked up in PATH. The environment does
    /// not contain the password of the sampled servers.
    ///
    /// # Errors
    ///
    /// Returns an error if the program cannot be started.
    pub fn spawn(words: &[&OsStr], streams: &StandardStreams) -> io::Result<Self> {
        {
            let mut registry = registry();
            if registry.is_exiting {
                drop(registry);
                park_forever();
            }
            registry.n_starting += 1;
        }
        // The registry is not locked meanwhile, because the disk of the program may hang.
        let spawned = spawn_leader(words, streams);
        let mut registry = registry();
        registry.n_starting -= 1;
        let pid = spawned?;
        if registry.is_exiting {
            let _ = kill_process_group(pid, Signal::KILL);
            drop(registry);
            park_forever();
        }
        registry.running_groups.push(pid);
        drop(registry);
        Ok(Self { pid, exit_status: None })
    }

    /// Waits for the end of the program; returns `None` if it still runs at `deadline`.
    ///
    /// # Errors
    ///
    /// Returns an error if the system does not report the exit status.
    pub fn wait_until(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(Some(status));
            }
            let time_left = deadline.saturating_duration_since(Instant::now());
            if time_left.is_zero() {
                return Ok(None);
            }
            self.wait_for_exit(time_left);
        }
    }

    /// Kills the program and its children.
    pub fn kill(&mut self) {
        if self.exit_status.is_none() {
            // The group may have ended just now.
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
        // Without a wait, the program would remain as a zombie.
        let _ = self.wait_until(Instant::now() + MAX_KILL_TIME);
    }

    /// Reaps the program if it has ended.
    fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.exit_status.is_none() {
            let mut registry = registry();
            if let Some((_, status)) = waitpid(Some(self.pid), WaitOptions::NOHANG)? {
                self.exit_status = Some(ExitStatus::from_raw(status.as_raw()));
                // The process is reaped, so its ID may be reused.
                registry.running_groups.retain(|group| *group != self.pid);
            }
        }
        Ok(self.exit_status)
    }

    /// Waits until the program has ended, at most `timeout`. The wait may end early.
    fn wait_for_exit(&self, timeout: Duration) {
        // Kernels before 5.3 and some sandboxes have no pidfd.
        let Ok(pidfd) = pidfd_open(self.pid, PidfdFlags::empty()) else {
            return thread::sleep(timeout.min(POLL_INTERVAL));
        };
        let timeout = Timespec::try_from(timeout).ok();
        let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], timeout.as_ref());
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts a program in a new process group, with no signal blocked and the default
/// action for SIGPIPE, which the runtime of Rust ignores.
#[expect(clippy::disallowed_methods, reason = "this module starts programs")]
fn spawn_leader(words: &[&OsStr], streams: &StandardStreams) -> io::Result<Pid> {
    let words = words.iter().map(|word| to_c_string((*word).to_owned()));
    let words = words.collect::<io::Result<Vec<_>>>()?;
    let mut file_actions = PosixSpawnFileActions::init()?;
    for (stream, number) in [(&streams.stdin, 0), (&streams.stdout, 1), (&streams.stderr, 2)] {
        file_actions.add_dup2(stream.as_raw_fd(), number)?;
    }
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETPGROUP
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF,
    )?;
    attributes.set_pgroup(nix::unistd::Pid::from_raw(0))?;
    attributes.set_sigmask(&signal::SigSet::empty())?;
    attributes.set_sigdefault(&signal::Signal::SIGPIPE.into())?;
    let pid = posix_spawnp(&words[0], &file_actions, &attributes, &words, &environment()?)?;
    Ok(Pid::from_raw(pid.as_raw()).expect("a process has an ID"))
}

/// Returns the environment of this process without the password of the sampled servers.
#[expect(clippy::disallowed_methods, reason = "programs get the whole environment")]
fn environment() -> io::Result<Vec<CString>> {
    let variables = std::env::vars_os().filter(|(name, _)| name != "TOPIP_PASSWORD");
    variables
        .map(|(mut variable, value)| {
            variable.push("=");
            variable.push(value);
            to_c_string(variable)
        })
        .collect()
}

fn to_c_string(text: OsString) -> io::Result<CString> {
    Ok(CString::new(text.into_vec())?)
}

/// Kills all running programs with their children, and prevents new ones from starting.
/// A program that takes long to start is killed by the thread that starts it.
pub fn kill_all_and_forbid() {
    let deadline = Instant::now() + MAX_START_TIME;
    loop {
        {
            let mut registry = registry();
            registry.is_exiting = true;
            for group in &registry.running_groups {
                let _ = kill_process_group(*group, Signal::KILL);
            }
            if registry.n_starting == 0 || Instant::now() >= deadline {
                return;
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Blocks until the process exits, which is imminent.
fn park_forever() -> ! {
    loop {
        thread::park();
    }
}
