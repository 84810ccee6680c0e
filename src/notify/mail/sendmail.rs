//! Sends email through a program with the interface of `sendmail`.
#![expect(clippy::disallowed_types, reason = "the only module that starts sendmail")]
use std::{
    io::{self, Read, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError, TryLockError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::ioctl_fionread,
    process::{Pid, Signal, kill_process_group},
};

use super::{
    Delivery, Envelope, MailError, local_name,
    message::{Draft, compose},
};

/// Interval between two checks whether the program has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// Maximum wait for the output of the program after it has ended: a child of the
/// program may keep the pipe open.
const OUTPUT_TIMEOUT: Duration = Duration::from_millis(100);
/// Maximum number of output bytes that are kept.
const MAX_OUTPUT_BYTES: u64 = 1000;

/// Process group of the running program.
static RUNNING_GROUP: Mutex<Option<Pid>> = Mutex::new(None);
/// Set once the process is about to exit, to prevent new programs from starting.
static IS_EXITING: AtomicBool = AtomicBool::new(false);

/// Passes the message to `program`; kills the program if it has not ended by
/// `deadline`.
pub(super) fn send(
    program: &Path,
    draft: &Draft,
    deadline: Instant,
) -> Result<Delivery, MailError> {
    let local_name = local_name::qualified_name(deadline);
    let message = compose(draft, &local_name.unwrap_or_else(local_name::address_literal))?;
    let (input_reader, mut input) = io::pipe().map_err(|source| run_error(program, source))?;
    // It shows how much of the mail the program has not read. It is closed when this
    // function returns; the thread that writes then ends.
    let unread_input = input_reader.try_clone().map_err(|source| run_error(program, source))?;
    let mut child = start_program(program, &draft.envelope, input_reader.into())
        .map_err(|source| run_error(program, source))?;
    let output = child.stderr.take().expect("stderr is a pipe");
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
    let status = wait_until(&mut child, deadline).map_err(|source| run_error(program, source))?;
    let Some(status) = status else {
        kill_running();
        // A process in uninterruptible sleep survives SIGKILL for a while, so do not
        // wait for it.
        let _ = child.try_wait();
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
fn start_program(program: &Path, envelope: &Envelope, input: Stdio) -> io::Result<Child> {
    if IS_EXITING.load(Ordering::SeqCst) {
        park_forever();
    }
    let mut running = RUNNING_GROUP.lock().unwrap_or_else(PoisonError::into_inner);
    let child = Command::new(program)
        .args(["-i", "-f", &envelope.from.0, "--"])
        .args(envelope.to.iter().map(|address| &address.0))
        // The program does not need the SSH password of the checked servers.
        .env_remove("TOPIP_PASSWORD")
        .stdin(input)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // A process group of its own, so that the program and its children can be
        // killed together.
        .process_group(0)
        .spawn()?;
    *running = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    drop(running);
    if IS_EXITING.load(Ordering::SeqCst) {
        kill_running();
        park_forever();
    }
    Ok(child)
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

fn wait_until(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        let mut running = RUNNING_GROUP.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(status) = child.try_wait()? {
            // The process is reaped, so its ID may be reused.
            *running = None;
            return Ok(Some(status));
        }
        drop(running);
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// Blocks until the process exits, which is imminent.
fn park_forever() -> ! {
    loop {
        thread::park();
    }
}

/// Kills the running program, if any, and prevents new ones from starting. A program
/// that is being started at this moment is killed by the thread that starts it.
pub(super) fn kill_and_forbid() {
    IS_EXITING.store(true, Ordering::SeqCst);
    kill_running();
}

/// Kills the running program and its children, if any.
fn kill_running() {
    // Do not wait for a program that is being started: its disk may not respond.
    let deadline = Instant::now() + 2 * POLL_INTERVAL;
    let mut running = loop {
        match RUNNING_GROUP.try_lock() {
            Ok(running) => break running,
            Err(TryLockError::Poisoned(running)) => break running.into_inner(),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => return,
            Err(TryLockError::WouldBlock) => thread::yield_now(),
        }
    };
    if let Some(group) = running.take() {
        // The group may have ended just now.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

fn exit_code_or_signal(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => code.to_string(),
        (None, signal) => format!("signal {}", signal.unwrap_or_default()),
    }
}
