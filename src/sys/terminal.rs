//! The terminal on standard input and standard output.
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::{
    io::{Errno, read},
    process::getpgrp,
    stdio::{stdin, stdout},
    termios::{
        LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr,
    },
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

/// Terminal settings from before the first change; `None` while the terminal is
/// unchanged.
///
/// The settings must not be changed at any other time: a pager may change them during a
/// run, and a process in the background would be stopped by SIGTTOU (termios(3)).
static SAVED_SETTINGS: Mutex<Option<Termios>> = Mutex::new(None);

/// Disables the echo of typed characters until [`restore`].
pub fn disable_echo() {
    // On failure the password prompt itself disables the echo a moment later.
    let _ = disable(LocalModes::ECHO);
}

/// Makes each key readable at once and invisible, until [`restore`]. Returns false, and
/// changes nothing, if standard input is not a terminal or this process is in the
/// background.
#[must_use]
pub fn enter_key_mode() -> bool {
    let is_in_foreground = tcgetpgrp(stdin()).is_ok_and(|foreground| foreground == getpgrp());
    is_in_foreground && disable(LocalModes::ECHO | LocalModes::ICANON).is_ok()
}

/// Waits for a key; returns its first byte, or `None` once no key can be read any more.
#[must_use]
pub fn read_key() -> Option<u8> {
    let mut byte = [0];
    loop {
        match read(stdin(), &mut byte) {
            Ok(1..) => return Some(byte[0]),
            Err(Errno::INTR) => {}
            Ok(0) | Err(_) => return None,
        }
    }
}

fn disable(modes: LocalModes) -> Result<(), Errno> {
    let mut settings = tcgetattr(stdin())?;
    saved_settings().get_or_insert_with(|| settings.clone());
    settings.local_modes.remove(modes);
    tcsetattr(stdin(), OptionalActions::Now, &settings)
}

/// Restores the terminal settings from before the first change.
pub fn restore() {
    if let Some(settings) = saved_settings().take() {
        // Best effort: the run ends, and a failure cannot be reported.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &settings);
    }
}

fn saved_settings() -> MutexGuard<'static, Option<Termios>> {
    SAVED_SETTINGS.lock().unwrap_or_else(PoisonError::into_inner)
}
