//! Signals: to a program that runs until it is told to stop, and to one that
//! must not be ended before it has answered.
use nix::{
    errno::Errno,
    sys::signal::{SigSet, Signal},
};

/// Makes a file that may not grow (`ulimit -f`, systemd's `LimitFSIZE`) an error
/// to who writes it, where it would end the program without a word. Threads that
/// are started later inherit that, and programs do not.
///
/// # Errors
///
/// Where the system refuses.
pub fn withstand_file_size_limit() -> Result<(), Errno> {
    [Signal::SIGXFSZ].into_iter().collect::<SigSet>().thread_block()
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

/// The signals that somebody waits for, instead of being ended by them.
#[derive(Clone, Copy, Debug)]
pub struct Signals(SigSet);

impl Signals {
    /// Holds them back from now on. Threads that are started later do so too;
    /// those that are there already do not.
    ///
    /// # Errors
    ///
    /// Where the system refuses.
    pub fn hold() -> Result<Self, Errno> {
        let stops = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];
        let signals: SigSet = stops.into_iter().chain([Signal::SIGWINCH]).collect();
        signals.thread_block()?;
        Ok(Self(signals))
    }

    /// Waits for the next one.
    ///
    /// # Errors
    ///
    /// Where the system refuses.
    pub fn next(&self) -> Result<Told, Errno> {
        let signal = self.0.wait()?;
        Ok(if signal == Signal::SIGWINCH { Told::Resized } else { Told::Stop })
    }
}
