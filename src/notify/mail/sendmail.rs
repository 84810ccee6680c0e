//! Sends email through a program with the interface of `sendmail`.
use std::{
    ffi::OsStr,
    io::{self, Read, Write},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::ExitStatus,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use rustix::io::ioctl_fionread;

use super::{
    Delivery, Envelope, MailError, local_name,
    message::{Draft, compose},
};
use crate::sys::{
    child_process::{self, ChildProcess, StandardStreams},
    pipe::{PipeReader, pipe},
};

/// Maximum wait for the output of the program after it has ended: a child of the
/// program may keep the pipe open.
const OUTPUT_TIMEOUT: Duration = Duration::from_millis(100);
/// Maximum number of output bytes that are kept.
const MAX_OUTPUT_BYTES: u64 = 1000;

/// Passes the message to `program`; kills the program if it has not ended by
/// `deadline`.
pub(super) fn send(
    program: &Path,
    draft: &Draft,
    deadline: Instant,
) -> Result<Delivery, MailError> {
    let local_name = local_name::qualified_name(deadline);
    let message = compose(draft, &local_name.unwrap_or_else(local_name::address_literal))?;
    let (input_reader, mut input) = pipe().map_err(|source| run_error(program, source))?;
    // It shows how much of the mail the program has not read. It is closed when this
    // function returns; the thread that writes then ends.
    let unread_input = input_reader.try_clone().map_err(|source| run_error(program, source))?;
    let (mut child, output) = start_program(program, &draft.envelope, input_reader)
        .map_err(|source| run_error(program, source))?;
    // Local programs expect LF line endings.
    let input_bytes: Vec<u8> = message.iter().copied().filter(|&byte| byte != b'\r').collect();
    let (sender, output_receiver) = mpsc::channel();
    // A program that reads no input or writes much output must not block this thread.
    // The two threads end with the program, which is killed at the deadline.
    let is_written = Arc::new(AtomicBool::new(false));
    let has_written = Arc::clone(&is_written);
    spawn_thread(move || {
        // If the program closes its input early, its exit code shows the failure.
        if input.write_all(&input_bytes).is_ok() {
            has_written.store(true, Ordering::SeqCst);
        }
    })?;
    spawn_thread(move || {
        // The receiver is gone after a timeout.
        let _ = sender.send(read_output(output));
    })?;
    let status = child.wait_until(deadline).map_err(|source| run_error(program, source))?;
    let Some(status) = status else {
        child.kill();
        let has_read_all = is_written.load(Ordering::SeqCst)
            && ioctl_fionread(&unread_input).is_ok_and(|unread| unread == 0);
        return Err(timed_out(program, has_read_all));
    };
    if status.success() {
        return Ok(Delivery { route: program.display().to_string(), refused: Vec::new() });
    }
    let output = output_receiver.recv_timeout(OUTPUT_TIMEOUT).unwrap_or_default();
    Err(MailError::ProgramFailed {
        program: program.to_owned(),
        code: exit_code_or_signal(status),
        output,
    })
}

/// Returns the error for a program that was killed. One that has read all of the mail may
/// have taken it.
fn timed_out(program: &Path, has_read_all: bool) -> MailError {
    let server = program.display().to_string();
    if has_read_all {
        let step = "after it had read the mail, and was ended".to_owned();
        MailError::Unconfirmed(Box::new(MailError::TimedOut { server, step }))
    } else {
        let step = "before it had read the mail, and was ended".to_owned();
        MailError::TimedOut { server, step }
    }
}

fn run_error(program: &Path, source: io::Error) -> MailError {
    MailError::RunProgram { program: program.to_owned(), source }
}

/// Starts the program with `-i` (a line with a single dot does not end the message)
/// and `-f` (the sender, who gets bounces).
fn start_program(
    program: &Path,
    envelope: &Envelope,
    input: PipeReader,
) -> io::Result<(ChildProcess, PipeReader)> {
    let mut words: Vec<&OsStr> = vec![program.as_ref()];
    words.extend(["-i", "-f", &envelope.from.0, "--"].map(OsStr::new));
    words.extend(envelope.to.iter().map(|address| OsStr::new(&address.0)));
    let (output, stderr) = pipe()?;
    let stdout = child_process::open_null()?;
    let streams = StandardStreams { stdin: input.into(), stdout, stderr: stderr.into() };
    Ok((ChildProcess::spawn(&words, &streams)?, output))
}

fn spawn_thread(worker: impl FnOnce() + Send + 'static) -> Result<(), MailError> {
    thread::Builder::new().spawn(worker).map(drop).map_err(MailError::Thread)
}

/// Returns the beginning of the output, after reading all of it.
fn read_output(mut output: impl Read) -> String {
    let mut bytes = Vec::new();
    let read = output.by_ref().take(MAX_OUTPUT_BYTES).read_to_end(&mut bytes);
    if read.is_ok() {
        let _ = io::copy(&mut output, &mut io::sink());
    }
    let output = String::from_utf8_lossy(&bytes);
    output.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn exit_code_or_signal(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => code.to_string(),
        (None, signal) => format!("signal {}", signal.unwrap_or_default()),
    }
}
