//! The terminal that a person sits at.
use rustix::{
    stdio::{stdin, stdout},
    termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr},
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

/// How a terminal was set.
///
/// Who asks for a password switches the echo off, and may be given up on before
/// he can switch it on.
#[derive(Clone, Debug)]
pub struct Settings(Option<Termios>);

impl Settings {
    /// Those of standard input; of none, where it is no terminal.
    #[must_use]
    pub fn now() -> Self {
        Self(tcgetattr(stdin()).ok())
    }

    /// Sets it so again.
    pub fn restore(&self) {
        if let Some(settings) = &self.0 {
            // There is nobody to tell.
            let _ = tcsetattr(stdin(), OptionalActions::Now, settings);
        }
    }
}
