//! Sends email through a program with the interface of `sendmail`.
use std::{ffi::OsStr, path::Path, time::Instant};

use super::{
    Delivery, Envelope, MailError, local_name,
    message::{Draft, compose},
};
use crate::sys::child_process::{ProgramEnd, RunError, run_with_input};

/// Passes the message to `program`; kills the program if it has not ended by
/// `deadline`.
pub(super) fn send(
    program: &Path,
    draft: &Draft,
    deadline: Instant,
) -> Result<Delivery, MailError> {
    let local_name = local_name::qualified_name(deadline);
    let message = compose(draft, &local_name.unwrap_or_else(local_name::address_literal))?;
    // Local programs expect LF line endings.
    let input = message.iter().copied().filter(|&byte| byte != b'\r').collect();
    match run_with_input(&words(program, &draft.envelope), input, deadline) {
        Ok(ProgramEnd::Success) => {
            Ok(Delivery { route: program.display().to_string(), refused: Vec::new() })
        }
        Ok(ProgramEnd::Failed { code, output }) => {
            Err(MailError::ProgramFailed { program: program.to_owned(), code, output })
        }
        Ok(ProgramEnd::TimedOut { has_read_all }) => Err(timed_out(program, has_read_all)),
        Err(RunError::Program(source)) => {
            Err(MailError::RunProgram { program: program.to_owned(), source })
        }
        Err(RunError::Thread(source)) => Err(MailError::Thread(source)),
    }
}

/// Returns the error for a program that was killed. A program that has read all of the
/// mail may have accepted it.
fn timed_out(program: &Path, has_read_all: bool) -> MailError {
    let server = program.display().to_string();
    if has_read_all {
        let step = "after reading the mail, and was killed".to_owned();
        MailError::Unconfirmed(Box::new(MailError::TimedOut { server, step }))
    } else {
        let step = "before reading the whole mail, and was killed".to_owned();
        MailError::TimedOut { server, step }
    }
}

/// Returns the command line with `-i` (a line with a single dot does not end the message)
/// and `-f` (the sender, who gets bounces).
fn words<'a>(program: &'a Path, envelope: &'a Envelope) -> Vec<&'a OsStr> {
    let mut words: Vec<&OsStr> = vec![program.as_ref()];
    words.extend(["-i", "-f", &envelope.from.0, "--"].map(OsStr::new));
    words.extend(envelope.to.iter().map(|address| OsStr::new(&address.0)));
    words
}
