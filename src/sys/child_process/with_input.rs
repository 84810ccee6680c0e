//! Runs a program that reads its input from this process.
use std::{
    ffi::OsStr,
    io::{self, Read, Write},
    os::unix::process::ExitStatusExt,
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

use super::{ChildProcess, StandardStreams, open_null};
use crate::sys::pipe::{PipeReader, PipeWriter, pipe};

/// Maximum wait for the output of the program after it has ended: a child of the
/// program may keep the pipe open.
const OUTPUT_TIMEOUT: Duration = Duration::from_millis(100);
/// Maximum number of output bytes that are kept.
const MAX_OUTPUT_BYTES: u64 = 1000;

/// End of a program.
#[derive(Debug)]
pub enum ProgramEnd {
    /// The program has ended with exit status 0.
    Success,
    /// The program has failed.
    Failed {
        /// Exit status, or the signal that killed the program, as a phrase.
        code: String,
        /// Beginning of its standard error output, on one line.
        output: String,
    },
    /// The program did not end in time and was killed.
    TimedOut {
        /// True if the program had read all of its input.
        has_read_all: bool,
    },
}

/// The program cannot be run.
#[derive(Debug)]
pub enum RunError {
    /// The program cannot be started or waited for.
    Program(io::Error),
    /// No thread can be started.
    Thread(io::Error),
}

impl From<io::Error> for RunError {
    fn from(error: io::Error) -> Self {
        Self::Program(error)
    }
}

/// Runs the program of the first word with all words and with `input` as its standard
/// input. Standard output is discarded. The program is killed if it has not ended by
/// `deadline`. The program does not need to read its input.
///
/// # Errors
///
/// Returns an error if the program cannot be run.
pub fn run_with_input(
    words: &[&OsStr],
    input: Vec<u8>,
    deadline: Instant,
) -> Result<ProgramEnd, RunError> {
    let (input_reader, input_writer) = pipe()?;
    // This descriptor shows how much of the input the program has not read. It is closed
    // when this function returns, which ends the thread that writes.
    let unread_input = input_reader.try_clone()?;
    let (output, stderr) = pipe()?;
    let streams =
        StandardStreams { stdin: input_reader.into(), stdout: open_null()?, stderr: stderr.into() };
    let mut child = ChildProcess::spawn(words, &streams)?;
    drop(streams);
    // A program that reads no input or writes much output must not block this thread.
    // The two threads end with the program, which is killed at the deadline.
    let is_written = spawn_writer(input, input_writer)?;
    let output_receiver = spawn_reader(output)?;
    let Some(status) = child.wait_until(deadline)? else {
        child.kill();
        let has_read_all = is_written.load(Ordering::SeqCst)
            && ioctl_fionread(&unread_input).is_ok_and(|unread| unread == 0);
        return Ok(ProgramEnd::TimedOut { has_read_all });
    };
    if status.success() {
        return Ok(ProgramEnd::Success);
    }
    let output = output_receiver.recv_timeout(OUTPUT_TIMEOUT).unwrap_or_default();
    Ok(ProgramEnd::Failed { code: exit_code_or_signal(status), output })
}

/// Starts a thread that writes the input. The returned flag is set after the last byte.
fn spawn_writer(input: Vec<u8>, mut writer: PipeWriter) -> Result<Arc<AtomicBool>, RunError> {
    let is_written = Arc::new(AtomicBool::new(false));
    let has_written = Arc::clone(&is_written);
    spawn_thread(move || {
        // If the program closes its input early, its exit status shows a failure.
        if writer.write_all(&input).is_ok() {
            has_written.store(true, Ordering::SeqCst);
        }
    })?;
    Ok(is_written)
}

/// Starts a thread that reads the output and sends its beginning.
fn spawn_reader(output: PipeReader) -> Result<mpsc::Receiver<String>, RunError> {
    let (sender, receiver) = mpsc::channel();
    spawn_thread(move || {
        // The receiver is gone after a timeout.
        let _ = sender.send(read_output(output));
    })?;
    Ok(receiver)
}

fn spawn_thread(worker: impl FnOnce() + Send + 'static) -> Result<(), RunError> {
    thread::Builder::new().spawn(worker).map(drop).map_err(RunError::Thread)
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
        (Some(code), _) => format!("exit status {code}"),
        (None, signal) => format!("signal {}", signal.unwrap_or_default()),
    }
}
