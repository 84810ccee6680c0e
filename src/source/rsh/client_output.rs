//! Output of an SSH client that runs as a child process.
use std::{
    ffi::OsStr,
    io::{self, Read},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::process::ExitStatusExt,
    },
    process::ExitStatus,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use crate::{
    source::remote_listing::{CommandOutput, OutputLimit},
    sys::{
        child_process::{self, ChildProcess, StandardStreams},
        pipe::{PipeReader, pipe},
    },
};

/// Maximum number of bytes of standard error read at a time.
const STDERR_CHUNK_BYTES: usize = 16 * 1024;
/// Interval between two reads of standard error while the client ends.
const STDERR_INTERVAL: Duration = Duration::from_millis(10);
/// Maximum time for the client to end after its listing was read. A killed client that is
/// a master connection (`ControlMaster`) would leave its socket behind.
const MAX_EXIT_TIME: Duration = Duration::from_secs(1);
/// Number of lines of standard error that explain a failure. If the client of a jump host
/// fails, the last line is that of the outer client.
const N_REASON_LINES: usize = 2;

/// Running client, with its two streams.
pub(super) struct ClientOutput {
    child: ChildProcess,
    /// `None` after its end.
    stdout: Option<PipeReader>,
    /// `None` after its end.
    stderr: Option<PipeReader>,
    limit: OutputLimit,
    deadline: Instant,
    /// True if the client has written to standard output.
    has_output: bool,
    /// `None` while the client runs.
    exit_status: Option<ExitStatus>,
}

impl ClientOutput {
    /// Starts the client with this command line.
    pub(super) fn start(words: &[&OsStr], deadline: Instant) -> io::Result<Self> {
        let (stdin, (stdout, to_stdout), (stderr, to_stderr)) =
            (child_process::open_null()?, pipe()?, pipe()?);
        let streams = StandardStreams { stdin, stdout: to_stdout.into(), stderr: to_stderr.into() };
        Ok(Self {
            child: ChildProcess::spawn(words, &streams)?,
            stdout: Some(stdout),
            stderr: Some(stderr),
            limit: OutputLimit::new(),
            deadline,
            has_output: false,
            exit_status: None,
        })
    }

    /// Returns the reason why the client failed before the server printed anything; `None`
    /// if the client has not failed or a command has run on the server.
    pub(super) fn client_failure(&self) -> Option<String> {
        let status = self.exit_status.filter(|status| !status.success() && !self.has_output)?;
        let lines = self.error_lines();
        let lines = &lines[lines.len().saturating_sub(N_REASON_LINES)..];
        let lines: Vec<_> = lines.iter().map(|line| line.trim_end_matches('.')).collect();
        let lines = lines.join("; ");
        // 255 is OpenSSH's exit status for failures of its own.
        match status.code() {
            Some(255) if !lines.is_empty() => Some(lines),
            _ if lines.is_empty() => Some(describe(status)),
            _ => Some(format!("{} ({lines})", describe(status))),
        }
    }

    /// Returns the last lines of standard error, without those about options of topip that
    /// the client does not know.
    fn error_lines(&self) -> Vec<String> {
        let mut lines = self.limit.error_lines();
        lines.retain(|line| !line.contains("Ignoring unknown "));
        lines
    }

    /// Waits until a stream may be readable; returns whether standard output and standard
    /// error are readable.
    fn wait_until_readable(&mut self) -> io::Result<[bool; 2]> {
        let time_left = self.deadline.saturating_duration_since(Instant::now());
        if time_left.is_zero() {
            self.child.kill();
            return Err(timed_out());
        }
        let (stdout, stderr) = (self.stdout.as_ref(), self.stderr.as_ref());
        are_readable([stdout.map(AsFd::as_fd), stderr.map(AsFd::as_fd)], time_left)
    }

    /// Reads one chunk of standard error.
    fn read_stderr(&mut self) -> io::Result<()> {
        let Some(stderr) = &mut self.stderr else { return Ok(()) };
        let mut chunk = [0; STDERR_CHUNK_BYTES];
        match stderr.read(&mut chunk)? {
            0 => self.stderr = None,
            length => self.limit.add_stderr(&chunk[..length])?,
        }
        Ok(())
    }

    /// Reads the available standard error. Does not wait for its end, because a master
    /// connection in the background may keep it open.
    fn drain_stderr(&mut self) -> io::Result<()> {
        while Instant::now() < self.deadline {
            match are_readable([self.stderr.as_ref().map(AsFd::as_fd)], Duration::ZERO)? {
                [true] => self.read_stderr()?,
                [false] => break,
            }
        }
        Ok(())
    }

    /// Waits for the end of the client.
    fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            self.drain_stderr()?;
            let step = self.deadline.min(Instant::now() + STDERR_INTERVAL);
            if let Some(status) = self.child.wait_until(step)? {
                self.drain_stderr()?;
                self.exit_status = Some(status);
                return Ok(status);
            }
            if Instant::now() >= self.deadline {
                self.child.kill();
                return Err(timed_out());
            }
        }
    }
}

impl CommandOutput for ClientOutput {
    /// Reads standard output, and also the standard error that is available meanwhile.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.stdout.is_some() {
            let [has_stdout, has_stderr] = self.wait_until_readable()?;
            if has_stderr {
                self.read_stderr()?;
            }
            let Some(stdout) = self.stdout.as_mut().filter(|_| has_stdout) else { continue };
            match stdout.read(buffer)? {
                0 => self.stdout = None,
                length => {
                    self.has_output = true;
                    self.limit.count(length)?;
                    return Ok(length);
                }
            }
        }
        Ok(0)
    }

    fn exit_result(&mut self) -> io::Result<Result<(), String>> {
        let status = self.wait()?;
        Ok(if status.success() { Ok(()) } else { Err(format!("the client {}", describe(status))) })
    }

    fn last_error_line(&self) -> Option<String> {
        self.error_lines().pop()
    }
}

impl Drop for ClientOutput {
    fn drop(&mut self) {
        // A client that still writes gets an error or SIGPIPE, because the reader is gone.
        self.stdout = None;
        self.stderr = None;
        let _ = self.child.wait_until(self.deadline.min(Instant::now() + MAX_EXIT_TIME));
    }
}

/// Waits until at least one of these descriptors is readable; returns which are readable.
/// None is readable after `timeout`, or if a signal interrupts the wait.
fn are_readable<const N: usize>(
    fds: [Option<BorrowedFd<'_>>; N],
    timeout: Duration,
) -> io::Result<[bool; N]> {
    let open_fds = fds.iter().flatten();
    let mut poll_fds: Vec<_> = open_fds.map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    match poll(&mut poll_fds, Timespec::try_from(timeout).ok().as_ref()) {
        Err(Errno::INTR) => return Ok([false; N]),
        result => result?,
    };
    let mut are_ready = poll_fds.iter().map(|fd| !fd.revents().is_empty());
    Ok(fds.map(|fd| fd.is_some() && are_ready.next().unwrap_or_default()))
}

fn timed_out() -> io::Error {
    io::Error::other("the client gave no answer in time")
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit status {code}"),
        (None, signal) => format!("ended with signal {}", signal.unwrap_or_default()),
    }
}
