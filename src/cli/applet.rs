//! Program selection, program input and program output.
//!
//! A package may ship one executable and links to it: the name of the called file
//! selects the program; the build target is only the default.
use std::{
    any::Any,
    ffi::{OsStr, OsString},
    io::IsTerminal,
    panic::{self, AssertUnwindSafe},
    path::Path,
    process::ExitCode,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::{
    model::{problem::Problem, secret::Secret, verdict::Status},
    sys::{process, signals, stdio, terminal},
};

use super::{check_topip, munin_topip, remote::RemoteSupport, topip_log};

/// A program of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applet {
    /// `check_topip`, for Nagios and Icinga.
    Check,
    /// `munin_topip`, for Munin.
    Munin,
    /// `topip_log`, for cron and people.
    Log,
}

impl Applet {
    /// Returns the program for a file name, or `None` if the name fits no program, for
    /// example after an administrator has renamed the file.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let is_munin_link = name.starts_with("munin_")
            || name == "topip"
            || name.starts_with("topip_")
            || (name.starts_with("ssh_") && name.ends_with("_topip"));
        match name {
            _ if name.starts_with("check_") => Some(Self::Check),
            _ if name.starts_with("topip_log") => Some(Self::Log),
            _ if is_munin_link => Some(Self::Munin),
            _ => None,
        }
    }

    /// Returns the name of the program.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Check => "check_topip",
            Self::Munin => "munin_topip",
            Self::Log => "topip_log",
        }
    }
}

/// Environment variable with the password for servers.
pub(in crate::cli) const PASSWORD_ENV: &str = "TOPIP_PASSWORD";

/// Input of a program: name, arguments, environment, clocks and terminals.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// File name that the program was called by, without directories.
    pub name: String,
    /// Arguments after the program name.
    pub args: Vec<OsString>,
    /// Environment without [`PASSWORD_ENV`].
    pub env: Vec<(OsString, OsString)>,
    /// Password from [`PASSWORD_ENV`]; `None` if it is unset or empty.
    pub password: Option<Secret>,
    /// Start time since 1970-01-01 UTC, by the system clock.
    pub now: Duration,
    /// Start time by the monotonic clock.
    pub started: Instant,
    /// `true` if standard input is a terminal, so that questions can be asked.
    pub interactive: bool,
    /// `true` if standard error is a terminal.
    pub is_stderr_terminal: bool,
    /// Width of the terminal on standard output; `None` if it is not a terminal.
    pub columns: Option<u16>,
    /// SSH and mail, if this executable links them.
    pub(in crate::cli) remote_support: Option<RemoteSupport>,
}

impl Invocation {
    /// Reads the input of this process.
    #[expect(clippy::disallowed_methods, reason = "this is where they become values")]
    fn from_current_process(remote_support: Option<RemoteSupport>) -> Self {
        let name = program_name();
        let args = std::env::args_os().skip(1);
        let (now, started) = read_clocks();
        // `Secret` wipes its memory; a copy of the password in `env` would stay.
        let (password_vars, env): (Vec<_>, Vec<_>) =
            std::env::vars_os().partition(|(name, _)| name == PASSWORD_ENV);
        let passwords: Vec<_> =
            password_vars.into_iter().map(|(_, text)| Secret::from_os_string(text)).collect();
        let password = passwords.into_iter().next().filter(|it| !it.reveal().is_empty());
        let interactive = std::io::stdin().is_terminal();
        let is_stderr_terminal = std::io::stderr().is_terminal();
        let columns = terminal::columns();
        let args = args.collect();
        Self {
            name,
            args,
            env,
            password,
            now,
            started,
            interactive,
            is_stderr_terminal,
            columns,
            remote_support,
        }
    }

    /// Returns an environment variable, or `None` if it is unset or empty.
    pub(in crate::cli) fn env_var(&self, name: &str) -> Option<&OsStr> {
        let (_, value) = self.env.iter().find(|(key, _)| key == name)?;
        Some(&**value).filter(|value| !value.is_empty())
    }
}

/// Output of a program: text for both streams, and the exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct ProgramOutput {
    /// Text for standard output.
    pub(in crate::cli) stdout: String,
    /// Text for standard error.
    pub(in crate::cli) stderr: String,
    /// Exit code, 0 to 3.
    pub(in crate::cli) exit_code: u8,
    /// Time limit for writing; `None` waits for the reader without a limit.
    pub(in crate::cli) write_deadline: Option<Instant>,
}

/// Returns the problem of a panic, which is always a bug in topip.
pub(in crate::cli) fn internal_error(panic: &(dyn Any + Send)) -> Problem {
    let reason = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no reason given");
    Problem::new(
        format!("internal error: {reason}"),
        "This is a mistake in topip. Please report it with the command line.",
    )
}

/// Returns the problem of a set-uid or set-gid executable: its options would let any
/// caller read and write the files of its owner.
fn setid_problem() -> Problem {
    Problem::new(
        "cannot run set-uid or set-gid",
        "Take the bit from its file (chmod ug-s), and start it as that user: by sudo, or as a \
         service of that user.",
    )
}

/// Returns the current time by the system clock and by the monotonic clock.
///
/// On an overloaded host, a process may wait for seconds between the two readings.
/// Every later timestamp of the run would be wrong by that gap, and its sample would
/// lie in the future for other runs. So the readings with the smallest gap are used.
#[expect(clippy::disallowed_methods, reason = "this is where time becomes a value")]
fn read_clocks() -> (Duration, Instant) {
    const MAX_GAP: Duration = Duration::from_micros(100);
    let read_once = || {
        let started = Instant::now();
        // A clock before 1970 is wrong in any case; 0 stands for it.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        (started.elapsed(), (now, started))
    };
    let mut readings = std::iter::repeat_with(read_once).take(10);
    let first = readings.next().expect("ten are some");
    if first.0 < MAX_GAP {
        return first.1;
    }
    readings.chain([first]).min_by_key(|&(gap, _)| gap).expect("one is there").1
}

/// Returns the file name that this process was called by, without directories.
#[expect(clippy::disallowed_methods, reason = "the program that it is depends on that")]
fn program_name() -> String {
    let name = std::env::args_os().next().unwrap_or_default();
    Path::new(&name).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Runs the program that the name of this process selects, or else `default_applet`.
///
/// Without `remote_support`, a run that needs SSH or mail executes `topip-remote`.
#[must_use]
pub fn main(default_applet: Applet, remote_support: Option<RemoteSupport>) -> ExitCode {
    // The output reports a panic; the default hook would write to standard error.
    panic::set_hook(Box::new(|_| {}));
    let applet = Applet::from_name(&program_name()).unwrap_or(default_applet);
    // A caller with fewer rights controls the options and the environment.
    if process::is_setid() {
        return write_output(failure_output(applet, &setid_problem()), applet).into();
    }
    let invocation = Invocation::from_current_process(remote_support);
    // If blocking fails, signals end this process by their default action.
    let _ = signals::block();
    let output = panic::catch_unwind(AssertUnwindSafe(|| run_applet(applet, &invocation)))
        .unwrap_or_else(|panic| failure_output(applet, &internal_error(&*panic)));
    write_output(output, applet).into()
}

fn run_applet(applet: Applet, invocation: &Invocation) -> ProgramOutput {
    match applet {
        Applet::Check => check_topip::run(invocation),
        Applet::Munin => munin_topip::run(invocation),
        Applet::Log => topip_log::run(invocation),
    }
}

/// Returns the output of `applet` for a failure outside of its own error handling.
pub(in crate::cli) fn failure_output(applet: Applet, failure: &Problem) -> ProgramOutput {
    match applet {
        Applet::Check => check_topip::unknown_output(failure),
        Applet::Munin => munin_topip::failure_output(failure),
        Applet::Log => topip_log::failure_output(failure),
    }
}

/// Minimum time for the reader to accept the output, even past the deadline.
const MIN_WRITE_TIME: Duration = Duration::from_millis(150);

/// Writes the output and returns the exit code. If writing fails or times out, the
/// exit code is never OK.
///
/// A blocking write happens on another thread, so that a deadline or a signal can end
/// the process meanwhile. If the pipes have room, no thread is started: it would cost
/// a tenth of the run time.
pub(in crate::cli) fn write_output(program_output: ProgramOutput, applet: Applet) -> u8 {
    let ProgramOutput { stdout, stderr, exit_code, write_deadline } = program_output;
    // Nothing to write.
    if stdout.is_empty() && stderr.is_empty() {
        return exit_code;
    }
    let is_writable = stdio::is_writable_now(&stdout, &stderr);
    // Allow at least `MIN_WRITE_TIME` for writing, even past the deadline.
    let write_deadline =
        write_deadline.map(|deadline| deadline.max(Instant::now() + MIN_WRITE_TIME));
    let write = Arc::new(move || {
        stdio::write_stdout(&stdout).and_then(|()| stdio::write_stderr(&stderr)).is_ok()
    });
    let is_written = if is_writable { write() } else { write_before(&write, write_deadline) };
    match applet {
        _ if is_written => exit_code,
        Applet::Check | Applet::Munin => Status::Unknown.exit_code(),
        Applet::Log => topip_log::EXIT_FAILURE,
    }
}

/// Calls `write` on another thread and returns whether it succeeded before `deadline`.
fn write_before(
    write: &Arc<impl Fn() -> bool + Send + Sync + 'static>,
    deadline: Option<Instant>,
) -> bool {
    let (sender, results) = mpsc::channel();
    let writer = Arc::clone(write);
    let writer = thread::Builder::new().spawn(move || {
        // The receiver is gone after a timeout.
        let _ = sender.send(writer());
    });
    match writer {
        Ok(_) => signals::receive(&results, deadline).unwrap_or(false),
        // Without a thread, write here and risk to block: most readers accept the output.
        Err(_) => write(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_is_chosen_by_name() {
        let program = |name| Applet::from_name(name).map(Applet::name);
        for name in ["check_topip", "check_topip_web", "check_x"] {
            assert_eq!(program(name), Some("check_topip"));
        }
        for name in ["topip_log", "topip_log.old", "topip_log_web"] {
            assert_eq!(program(name), Some("topip_log"));
        }
        for name in ["munin_topip", "topip", "topip_", "topip_web1", "ssh_web1.example_topip"] {
            assert_eq!(program(name), Some("munin_topip"));
        }
        for name in ["", "foo", "ssh_web1", "topip.old", "mycheck"] {
            assert_eq!(program(name), None);
        }
    }
}
