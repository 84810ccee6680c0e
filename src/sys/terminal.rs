//! The terminal that a person sits at.
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::{
    stdio::{stdin, stdout},
    termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr},
};

/// How many characters fit on a line of the terminal that shows standard output;
/// `None` where none does.
#[must_use]
pub fn columns() -> Option<u16> {
    // It is no terminal, and that is all there is to know.
    let size = tcgetwinsize(stdout()).ok()?;
    // One that does not know is taken for an old one.
    Some(if size.ws_col == 0 { 80 } else { size.ws_col })
}

/// The columns and rows of that terminal.
#[must_use]
pub fn size() -> Option<(usize, usize)> {
    let columns = columns()?;
    // As above.
    let rows = tcgetwinsize(stdout()).ok()?.ws_row;
    Some((columns.into(), if rows == 0 { 24 } else { rows.into() }))
}

/// How the terminal was set before its echo was switched off. It is nobody's
/// business otherwise: a pager sets it while a run goes on, and who is in the
/// background would be stopped for it (SIGTTOU, see termios(3)).
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Switches off the echo of what is typed, until [`restore`].
pub fn hide_typing() {
    let Ok(mut settings) = tcgetattr(stdin()) else { return };
    before().get_or_insert_with(|| settings.clone());
    settings.local_modes.remove(LocalModes::ECHO);
    // Where it cannot be had now, who reads it switches it off a moment later.
    let _ = tcsetattr(stdin(), OptionalActions::Now, &settings);
}

/// Sets the terminal as it was before, if its echo was switched off.
pub fn restore() {
    if let Some(settings) = before().take() {
        // There is nobody to tell.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &settings);
    }
}

fn before() -> MutexGuard<'static, Option<Termios>> {
    BEFORE.lock().unwrap_or_else(PoisonError::into_inner)
}
