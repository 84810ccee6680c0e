//! Signals: to a program that has an answer to give before it ends, and to one
//! that runs until it is told to stop.
//!
//! They are held back from the start, and looked for where somebody waits. No
//! handler is installed, and no thread is there for them alone: one would be a
//! tenth of what a run takes.
#![expect(clippy::disallowed_types, reason = "this is where ignored signals are looked up")]
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
        signal::{SigSet, Signal, kill},
        signalfd::{SfdFlags, SignalFd},
    },
    unistd::Pid,
};

/// What ends a program that does nothing about it, and is sent by people,
/// terminals, daemons and limits.
const ENDING: [Signal; 6] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGALRM,
    Signal::SIGXCPU,
];

/// How often it is looked for them. Most runs are over before the first look,
/// and then answer what they would have anyway.
const INTERVAL: Duration = Duration::from_millis(50);

/// Holds back what would end this process without a word: the signals that tell
/// it to end, and the one that says that a file may not grow (`ulimit -f`,
/// systemd's `LimitFSIZE`), which is an error to who writes it. Threads that are
/// started later inherit that, and programs do not.
///
/// # Errors
///
/// Where the system refuses.
pub fn hold() -> Result<(), Errno> {
    ENDING.into_iter().chain([Signal::SIGXFSZ]).collect::<SigSet>().thread_block()
}

/// Why nothing came of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interruption {
    /// The time was up.
    Late,
    /// This signal came.
    Told(Ending),
}

/// A signal that tells a program to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending(Signal);

impl Ending {
    /// Whether it says that there is no CPU time left.
    #[must_use]
    pub fn is_of_a_limit(self) -> bool {
        self.0 == Signal::SIGXCPU
    }
}

impl fmt::Display for Ending {
    /// `SIGTERM`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl Interruption {
    /// Lets whoever looks for signals next hear of this one.
    pub fn pass_on(self) {
        if let Self::Told(Ending(signal)) = self {
            // Where that cannot be sent, nobody is told to end who was about to.
            let _ = kill(Pid::this(), signal);
        }
    }
}

/// Waits until work that another thread is at `is_over`: until then, if it is
/// given, or until one of the signals that are held back comes. Gives why it ended
/// before.
#[must_use]
pub fn interruption(is_over: &AtomicBool, until: Option<Instant>) -> Option<Interruption> {
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        thread::sleep(left.unwrap_or(INTERVAL).min(INTERVAL));
        if is_over.load(Ordering::Acquire) {
            return None;
        }
        let why = now(left);
        if why.is_some() {
            return why;
        }
    }
}

/// Waits for what another thread sends: until then, if it is given, or until one
/// of the signals that are held back comes.
///
/// # Errors
///
/// Where nothing was sent.
pub fn receive<T>(sent: &Receiver<T>, until: Option<Instant>) -> Result<T, Interruption> {
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        match sent.recv_timeout(left.unwrap_or(INTERVAL).min(INTERVAL)) {
            Ok(it) => return Ok(it),
            // Who should have sent it is gone, and it will not come.
            Err(RecvTimeoutError::Disconnected) => return Err(Interruption::Late),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Some(why) = now(left) {
            return Err(why);
        }
    }
}

/// What there is to say after having waited, as there was so much time left.
fn now(left: Option<Duration>) -> Option<Interruption> {
    let told = arrived().map(|signal| Interruption::Told(Ending(signal)));
    told.or_else(|| left.is_some_and(|left| left <= INTERVAL).then_some(Interruption::Late))
}

/// A signal that has come, and is no longer held back.
fn arrived() -> Option<Signal> {
    let ending: SigSet = ENDING.into_iter().collect();
    let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
    let Ok(queue) = SignalFd::with_flags(&ending, flags) else {
        // Who cannot be told of it must not be deaf to it.
        let _ = ending.thread_unblock();
        return None;
    };
    while let Ok(Some(told)) = queue.read_signal() {
        let signal = i32::try_from(told.ssi_signo).ok().and_then(|it| Signal::try_from(it).ok());
        if let Some(signal) = signal.filter(|&signal| !is_ignored(signal)) {
            return Some(signal);
        }
    }
    None
}

/// Whether whoever started this process wants a signal to be ignored, as
/// `nohup` does. The kernel drops such a signal, but not while it is held back.
fn is_ignored(signal: Signal) -> bool {
    // Without /proc, it is as if nobody had asked for it.
    ignored().is_ok_and(|ignored| ignored >> (signal as i32 - 1) & 1 == 1)
}

/// The signals that are ignored, a bit each (`SigIgn` in proc(5)).
fn ignored() -> io::Result<u64> {
    for line in BufReader::new(File::open("/proc/self/status")?).lines() {
        if let Some(bits) = line?.strip_prefix("SigIgn:") {
            return u64::from_str_radix(bits.trim(), 16).map_err(io::Error::other);
        }
    }
    Ok(0)
}

/// What a signal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// To stop: by Ctrl-C, by whoever ends processes, or because the terminal is
    /// gone.
    Stop,
    /// That the terminal has another size.
    Resized,
}

/// The signals that somebody waits for all the time.
#[derive(Clone, Copy, Debug)]
pub struct Signals(SigSet);

impl Signals {
    /// Those that tell to end, and that of a terminal with another size, which
    /// is held back from now on.
    ///
    /// # Errors
    ///
    /// Where the system refuses.
    pub fn all() -> Result<Self, Errno> {
        let signals: SigSet = ENDING.into_iter().chain([Signal::SIGWINCH]).collect();
        signals.thread_block()?;
        Ok(Self(signals))
    }

    /// Waits for the next one.
    ///
    /// # Errors
    ///
    /// Where the system refuses.
    pub fn next(&self) -> Result<Told, Errno> {
        loop {
            let signal = self.0.wait()?;
            if signal == Signal::SIGWINCH {
                return Ok(Told::Resized);
            }
            if !is_ignored(signal) {
                return Ok(Told::Stop);
            }
        }
    }
}
