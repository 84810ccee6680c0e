//! Program input.
use std::{
    ffi::{OsStr, OsString},
    io::IsTerminal,
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::{model::secret::Secret, sys::terminal};

use super::remote::RemoteSupport;

/// Environment variable with the password for servers.
pub(in crate::cli) const PASSWORD_ENV: &str = "TOPIP_PASSWORD";

/// Input of a program: name, arguments, environment, clocks and terminals.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// File name that the program was called as, without directories.
    pub name: String,
    /// Arguments after the program name.
    pub args: Vec<OsString>,
    /// Environment without `$TOPIP_PASSWORD`.
    pub env: Vec<(OsString, OsString)>,
    /// Password from `$TOPIP_PASSWORD`; `None` if it is unset or empty.
    pub password: Option<Secret>,
    /// Start time since 1970-01-01 UTC, by the system clock.
    pub now: Duration,
    /// Start time by the monotonic clock.
    pub started: Instant,
    /// `true` if standard input is a terminal, so that the program can prompt.
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
    #[expect(clippy::disallowed_methods, reason = "arguments and environment become values here")]
    pub(in crate::cli) fn from_current_process(remote_support: Option<RemoteSupport>) -> Self {
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

/// Returns the current time by the system clock and by the monotonic clock.
///
/// On an overloaded host, a process may wait for seconds between the two readings.
/// Every later timestamp of the run would be wrong by that gap, and its sample would
/// be in the future for other runs. Therefore the readings with the smallest gap are used.
fn read_clocks() -> (Duration, Instant) {
    const MAX_GAP: Duration = Duration::from_micros(100);
    let mut readings = std::iter::repeat_with(read_clocks_once).take(10);
    let first = readings.next().expect("ten readings are taken");
    if first.0 < MAX_GAP {
        return first.1;
    }
    readings.chain([first]).min_by_key(|&(gap, _)| gap).expect("the first reading is included").1
}

/// Returns the gap between the readings of the two clocks, and the readings.
#[expect(clippy::disallowed_methods, reason = "the time becomes a value here")]
fn read_clocks_once() -> (Duration, (Duration, Instant)) {
    let started = Instant::now();
    // A clock before 1970 is wrong; it counts as 0.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (started.elapsed(), (now, started))
}

/// Returns the file name that this process was called as, without directories.
#[expect(clippy::disallowed_methods, reason = "the name of the file selects the program")]
pub(in crate::cli) fn program_name() -> String {
    let name = std::env::args_os().next().unwrap_or_default();
    Path::new(&name).file_name().unwrap_or_default().to_string_lossy().into_owned()
}
