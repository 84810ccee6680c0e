//! Hands a mail to a program that takes it as `sendmail` does.
#![expect(clippy::disallowed_types, reason = "this is where that program is started")]
use std::{
    io::{self, Read, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Mutex, PoisonError, TryLockError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};

use super::{Delivered, Envelope, MailError};

/// How often it is looked whether the program has ended.
const INTERVAL: Duration = Duration::from_millis(5);
/// How long what it printed is waited for once it has ended: what it has
/// started may hold the other end.
const PATIENCE: Duration = Duration::from_millis(100);
/// How much of what it printed is kept.
const LONGEST: u64 = 1000;

/// The program that runs, and all that it has started.
static RUNNING: Mutex<Option<Pid>> = Mutex::new(None);
/// Set where no other one is to be started: this process is about to end.
static ENDS: AtomicBool = AtomicBool::new(false);

/// Gives `message` to `program`; ends that where it is not done by `deadline`.
pub(super) fn send(
    program: &Path,
    envelope: &Envelope,
    message: &[u8],
    deadline: Instant,
) -> Result<Delivered, MailError> {
    let failed = |source| MailError::Run { program: program.to_owned(), source };
    let mut child = start(program, envelope).map_err(failed)?;
    let mut input = child.stdin.take().expect("it is a pipe");
    let output = child.stderr.take().expect("it is a pipe");
    // A local program ends its lines as this system does.
    let text: Vec<u8> = message.iter().copied().filter(|&byte| byte != b'\r').collect();
    let (sender, printed) = mpsc::channel();
    // Who reads nothing and says a lot must not be waited for: each of these
    // threads ends with the program, which is ended in time.
    spawn(move || {
        // Why it took no more of it is what its exit code says.
        let _ = input.write_all(&text);
    })?;
    spawn(move || {
        // Nobody listens any more: the time was up.
        let _ = sender.send(beginning(output));
    })?;
    let Some(status) = wait(&mut child, deadline).map_err(failed)? else {
        end_running();
        // One that the kernel holds on to must not be waited for.
        let _ = child.try_wait();
        let server = program.display().to_string();
        return Err(MailError::Late { server, doing: "and was ended".to_owned() });
    };
    if status.success() {
        return Ok(Delivered { how: program.display().to_string(), refused: Vec::new() });
    }
    let output = printed.recv_timeout(PATIENCE).unwrap_or_default();
    Err(MailError::Ended { program: program.to_owned(), code: code(status), output })
}

/// `-i`: a dot is no end. `-f`: who gets what cannot be delivered.
fn start(program: &Path, envelope: &Envelope) -> io::Result<Child> {
    if ENDS.load(Ordering::SeqCst) {
        park();
    }
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    let child = Command::new(program)
        .args(["-i", "-f", &envelope.from.0, "--"])
        .args(envelope.to.iter().map(|address| &address.0))
        // It has no use for the password of the servers that are looked at.
        .env_remove("TOPIP_PASSWORD")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // It and what it starts can then be ended as one.
        .process_group(0)
        .spawn()?;
    *running = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    drop(running);
    if ENDS.load(Ordering::SeqCst) {
        end_running();
        park();
    }
    Ok(child)
}

fn spawn(work: impl FnOnce() + Send + 'static) -> Result<(), MailError> {
    thread::Builder::new().spawn(work).map(drop).map_err(MailError::Thread)
}

/// The beginning of what was printed, once all of it has been read.
fn beginning(mut output: impl Read) -> String {
    let mut bytes = Vec::new();
    let read = output.by_ref().take(LONGEST).read_to_end(&mut bytes);
    if read.is_ok() {
        let _ = io::copy(&mut output, &mut io::sink());
    }
    let text = String::from_utf8_lossy(&bytes);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn wait(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(status) = child.try_wait()? {
            // From now on its number may be another's.
            *running = None;
            return Ok(Some(status));
        }
        drop(running);
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(INTERVAL);
    }
}

/// Waits for the end of this process, which is near.
fn park() -> ! {
    loop {
        thread::park();
    }
}

/// Ends the program, if one runs, and lets no other one run: one that is being
/// started just now is ended by who starts it.
pub(super) fn end_for_good() {
    ENDS.store(true, Ordering::SeqCst);
    end_running();
}

/// Ends the program and what it has started, if one runs.
fn end_running() {
    // One that is being started is not waited for: the disk may not answer.
    let until = Instant::now() + 2 * INTERVAL;
    let mut running = loop {
        match RUNNING.try_lock() {
            Ok(running) => break running,
            Err(TryLockError::Poisoned(running)) => break running.into_inner(),
            Err(TryLockError::WouldBlock) if Instant::now() >= until => return,
            Err(TryLockError::WouldBlock) => thread::yield_now(),
        }
    };
    if let Some(group) = running.take() {
        // It may have ended just now.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

fn code(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => code.to_string(),
        (None, signal) => format!("signal {}", signal.unwrap_or_default()),
    }
}
