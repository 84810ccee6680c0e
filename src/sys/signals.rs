//! Termination signals: for a program that must print its result before it ends,
//! and for one that runs until it is stopped.
//!
//! The signals are blocked from the start and polled wherever a thread waits. No
//! handler is installed and no thread waits for signals alone: such a thread would
//! take a tenth of the time of a run.
#![expect(clippy::disallowed_types, reason = "this module reads the mask of ignored signals")]
use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        signal::{SigSet, Signal, kill, raise},
        signalfd::{SfdFlags, SignalFd},
    },
    unistd::Pid,
};

/// Signals that end a process by default and that users, terminals, daemons and
/// resource limits send.
const TERMINATION_SIGNALS: [Signal; 6] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGALRM,
    Signal::SIGXCPU,
];

/// Interval between two polls for pending signals. Most runs end before the first
/// poll, with the same result as without a signal.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Blocks the signals that would end this process without output: the termination
/// signals, and SIGXFSZ, which reports that a file has reached its size limit
/// (`ulimit -f`, systemd's `LimitFSIZE`). With SIGXFSZ blocked, the write returns an
/// error instead. Threads that are started later inherit the mask; programs that
/// `child_process` starts do not.
///
/// # Errors
///
/// Returns an error if the system refuses.
pub fn block() -> Result<(), Errno> {
    TERMINATION_SIGNALS.into_iter().chain([Signal::SIGXFSZ]).collect::<SigSet>().thread_block()
}

/// Cause that ended a wait before its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interruption {
    /// The deadline has passed, or the sender is gone.
    TimedOut,
    /// A termination signal has arrived.
    Signaled(TerminationSignal),
}

/// Signal that asks a program to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminationSignal(Signal);

impl TerminationSignal {
    /// Returns true for SIGXCPU: the limit of CPU time is used up.
    #[must_use]
    pub fn is_cpu_limit(self) -> bool {
        self.0 == Signal::SIGXCPU
    }
}

impl fmt::Display for TerminationSignal {
    /// Writes the signal's name: `SIGTERM`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl Interruption {
    /// Sends the signal to this process again, so that the next wait receives it.
    pub fn reraise(self) {
        if let Self::Signaled(TerminationSignal(signal)) = self {
            // If sending fails, the signal is lost: no other call can pass it on.
            let _ = kill(Pid::this(), signal);
        }
    }
}

/// Waits until another thread sets `is_finished`, until `deadline`, or until a
/// blocked termination signal arrives. Returns the interruption, or `None` if
/// `is_finished` was set.
#[must_use]
pub fn wait_until_finished(
    is_finished: &AtomicBool,
    deadline: Option<Instant>,
) -> Option<Interruption> {
    loop {
        let time_left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        thread::sleep(time_left.unwrap_or(POLL_INTERVAL).min(POLL_INTERVAL));
        if is_finished.load(Ordering::Acquire) {
            return None;
        }
        let interruption = check_interruption(time_left);
        if interruption.is_some() {
            return interruption;
        }
    }
}

/// Waits for a value from another thread, until `deadline` or until a blocked
/// termination signal arrives.
///
/// # Errors
///
/// Returns an error if no value was received.
pub fn receive<T>(receiver: &Receiver<T>, deadline: Option<Instant>) -> Result<T, Interruption> {
    loop {
        let time_left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match receiver.recv_timeout(time_left.unwrap_or(POLL_INTERVAL).min(POLL_INTERVAL)) {
            Ok(value) => return Ok(value),
            // The sender is gone, and no value can arrive any more.
            Err(RecvTimeoutError::Disconnected) => return Err(Interruption::TimedOut),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Some(interruption) = check_interruption(time_left) {
            return Err(interruption);
        }
    }
}

/// Returns the interruption, if any, after a poll that began with `time_left`
/// until the deadline.
fn check_interruption(time_left: Option<Duration>) -> Option<Interruption> {
    if let Some(signal) = pending() {
        return Some(Interruption::Signaled(TerminationSignal(signal)));
    }
    if time_left.is_some_and(|time_left| time_left <= POLL_INTERVAL) {
        return Some(Interruption::TimedOut);
    }
    None
}

/// Takes a pending termination signal out of the queue and returns it.
fn pending() -> Option<Signal> {
    let termination_signals: SigSet = TERMINATION_SIGNALS.into_iter().collect();
    let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
    let Ok(signal_fd) = SignalFd::with_flags(&termination_signals, flags) else {
        // Without a signalfd, unblock the signals so that their default action
        // applies.
        let _ = termination_signals.thread_unblock();
        return None;
    };
    while let Ok(Some(info)) = signal_fd.read_signal() {
        let signal = i32::try_from(info.ssi_signo).ok().and_then(|it| Signal::try_from(it).ok());
        if let Some(signal) = signal.filter(|&signal| !is_ignored(signal)) {
            return Some(signal);
        }
    }
    None
}

/// Returns true if the parent process has set a signal to be ignored, as `nohup`
/// does. The kernel discards an ignored signal, but not while it is blocked.
fn is_ignored(signal: Signal) -> bool {
    // Without /proc, no signal counts as ignored.
    ignored_mask().is_ok_and(|mask| mask >> (signal as i32 - 1) & 1 == 1)
}

/// Returns the mask of ignored signals, one bit each (`SigIgn` in proc(5)).
fn ignored_mask() -> io::Result<u64> {
    for line in BufReader::new(File::open("/proc/self/status")?).lines() {
        if let Some(mask) = line?.strip_prefix("SigIgn:") {
            return u64::from_str_radix(mask.trim(), 16).map_err(io::Error::other);
        }
    }
    Ok(0)
}

/// Request of a signal to an interactive program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalEvent {
    /// Stop: a termination signal such as SIGINT (Ctrl-C), SIGTERM, or SIGHUP from
    /// a closed terminal.
    Stop,
    /// The terminal has a new size (SIGWINCH).
    Resized,
    /// Pause until the shell continues the program (SIGTSTP, Ctrl-Z).
    Suspend,
}

/// Blocked signals that a thread waits for.
#[derive(Clone, Copy, Debug)]
pub struct SignalWaiter(SigSet);

impl SignalWaiter {
    /// Creates a waiter for the termination signals, SIGWINCH and SIGTSTP, and blocks them
    /// in this thread.
    ///
    /// # Errors
    ///
    /// Returns an error if the system refuses.
    pub fn new() -> Result<Self, Errno> {
        let terminal_signals = [Signal::SIGWINCH, Signal::SIGTSTP];
        let signals: SigSet = TERMINATION_SIGNALS.into_iter().chain(terminal_signals).collect();
        signals.thread_block()?;
        Ok(Self(signals))
    }

    /// Waits for the next signal that is not ignored.
    ///
    /// # Errors
    ///
    /// Returns an error if the system refuses.
    pub fn wait(&self) -> Result<SignalEvent, Errno> {
        loop {
            let signal = self.0.wait()?;
            if is_ignored(signal) && signal != Signal::SIGWINCH {
                continue;
            }
            return Ok(match signal {
                Signal::SIGWINCH => SignalEvent::Resized,
                Signal::SIGTSTP => SignalEvent::Suspend,
                _ => SignalEvent::Stop,
            });
        }
    }
}

/// Stops all threads of this process until SIGCONT. The calling thread stops before this
/// function returns: a signal to the process could be delivered to another thread first.
pub fn suspend_self() {
    // SIGTSTP has no effect while it is blocked. SIGSTOP cannot be blocked, and a process
    // may always send it to itself.
    let _ = raise(Signal::SIGSTOP);
}
