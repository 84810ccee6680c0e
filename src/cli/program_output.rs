//! Program output, and functions that write it.
use std::{
    path::PathBuf,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use crate::{
    model::{
        problem::{Hints, Problem},
        verdict::Status,
    },
    storage::output_file,
    sys::{signals, stdio},
};

use super::{
    applet::{Applet, failure_output},
    topip_log,
};

/// Output of a program: text for both streams, and the exit code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct ProgramOutput {
    /// Text for standard output, or for `output_file`.
    pub(in crate::cli) stdout: String,
    /// Text for standard error.
    pub(in crate::cli) stderr: String,
    /// Exit code, 0 to 3.
    pub(in crate::cli) exit_code: u8,
    /// Time limit for writing; `None` waits for the reader without a limit.
    pub(in crate::cli) write_deadline: Option<Instant>,
    /// File that the text replaces; `None` for standard output.
    pub(in crate::cli) output_file: Option<PathBuf>,
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
    let program_output = match write_output_file(program_output) {
        Ok(program_output) => program_output,
        Err(problem) => failure_output(applet, &problem),
    };
    let ProgramOutput { stdout, stderr, exit_code, write_deadline, .. } = program_output;
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

/// Writes the output file, if one is set, and returns the remaining output.
///
/// # Errors
///
/// Returns an error if the file cannot be written.
fn write_output_file(program_output: ProgramOutput) -> Result<ProgramOutput, Problem> {
    let Some(path) = &program_output.output_file else { return Ok(program_output) };
    output_file::replace(path, &program_output.stdout).map_err(|error| error.to_problem())?;
    Ok(ProgramOutput { stdout: String::new(), output_file: None, ..program_output })
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
        // Without a thread, write here and risk blocking: most readers accept the output.
        Err(_) => write(),
    }
}
