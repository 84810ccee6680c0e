//! The terminal on standard input and standard output.
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::{
    stdio::{stdin, stdout},
    termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr},
};

/// Returns the width in characters of the terminal on standard output; `None` if
/// standard output is not a terminal.
#[must_use]
pub fn columns() -> Option<u16> {
    // Any error means that standard output is not a terminal.
    let size = tcgetwinsize(stdout()).ok()?;
    // A terminal without a known width gets the classic width of 80.
    Some(if size.ws_col == 0 { 80 } else { size.ws_col })
}

/// Returns the columns and rows of the terminal on standard output; `None` if
/// standard output is not a terminal.
#[must_use]
pub fn size() -> Option<(usize, usize)> {
    let columns = columns()?;
    let rows = tcgetwinsize(stdout()).ok()?.ws_row;
    // A terminal without a known height gets the classic height of 24.
    Some((columns.into(), if rows == 0 { 24 } else { rows.into() }))
}

/// Terminal settings from before the echo was disabled; `None` while the echo is
/// unchanged.
///
/// The terminal must not be set at any other time: a pager may change its settings
/// during a run, and a process in the background would be stopped by SIGTTOU
/// (termios(3)).
static SAVED_SETTINGS: Mutex<Option<Termios>> = Mutex::new(None);

/// Disables the echo of typed characters until [`restore_echo`].
pub fn disable_echo() {
    let Ok(mut settings) = tcgetattr(stdin()) else { return };
    saved_settings().get_or_insert_with(|| settings.clone());
    settings.local_modes.remove(LocalModes::ECHO);
    // On failure the password prompt itself disables the echo a moment later.
    let _ = tcsetattr(stdin(), OptionalActions::Now, &settings);
}

/// Restores the terminal settings if [`disable_echo`] has changed them.
pub fn restore_echo() {
    if let Some(settings) = saved_settings().take() {
        // Best effort: the run ends, and a failure cannot be reported.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &settings);
    }
}

fn saved_settings() -> MutexGuard<'static, Option<Termios>> {
    SAVED_SETTINGS.lock().unwrap_or_else(PoisonError::into_inner)
}
