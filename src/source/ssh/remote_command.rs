//! A command that runs on a server, and its two streams.
#![expect(clippy::disallowed_types, reason = "a socket is waited on")]
use std::{
    collections::VecDeque,
    io::{self, Read},
    net::TcpStream,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use ssh2::{BlockDirections, Channel, Session};

use super::ssh_error::problem;

/// How long a listing may be: some three million connections.
const LONGEST: u64 = 256 * 1024 * 1024;
/// How long is waited for the socket before libssh2 is asked again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How much of standard error is read at a time.
const CHUNK: usize = 16 * 1024;
/// How much of its complaints is kept.
const COMPLAINT: usize = 2048;

/// What a command prints, and how it ends.
pub(super) trait Output {
    /// Reads standard output; 0 at its end.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    /// How the command ended; only once its output has.
    fn end(&mut self) -> io::Result<Result<(), String>>;
    /// The last line of its complaints, to tell why there is nothing.
    fn last_complaint(&self) -> Option<String>;
}

/// The two streams of a running command.
pub(super) struct Remote {
    /// Another handle of the session's socket, to wait on.
    socket: TcpStream,
    session: Session,
    channel: Channel,
    /// The end of what it wrote to standard error.
    complaint: VecDeque<u8>,
    deadline: Instant,
    /// How much more it may write.
    left: u64,
}

impl Remote {
    /// Takes over a command that was started, until `deadline`.
    ///
    /// What is not read from one of its streams stops both, so nothing may
    /// block from now on.
    pub(super) fn new(
        (session, socket): (Session, TcpStream),
        channel: Channel,
        deadline: Instant,
    ) -> Self {
        session.set_blocking(false);
        Self { socket, session, channel, complaint: VecDeque::new(), deadline, left: LONGEST }
    }

    /// Reads what there is of standard error, some at a time; says whether there
    /// was any.
    fn read_complaint(&mut self) -> io::Result<bool> {
        let mut chunk = [0; CHUNK];
        let Some(length @ 1..) = none_yet(self.channel.stderr().read(&mut chunk))? else {
            return Ok(false);
        };
        self.allow(length)?;
        self.complaint.extend(&chunk[..length]);
        let over = self.complaint.len().saturating_sub(COMPLAINT);
        self.complaint.drain(..over);
        Ok(true)
    }

    fn allow(&mut self, length: usize) -> io::Result<()> {
        let left = self.left.checked_sub(length as u64);
        self.left = left.ok_or_else(|| io::Error::other("it wrote more than 256 MiB"))?;
        Ok(())
    }

    /// Waits until there is something to read or, for libssh2, to write.
    fn wait(&self) -> io::Result<()> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it gave no answer in time"));
        }
        let flags = match self.session.block_directions() {
            BlockDirections::Outbound => PollFlags::OUT,
            BlockDirections::Both => PollFlags::IN | PollFlags::OUT,
            BlockDirections::None | BlockDirections::Inbound => PollFlags::IN,
        };
        // libssh2 may have taken in, while it read one stream, what belongs to
        // the other: then nothing more comes, and there is something all the same.
        let timeout = Timespec::try_from(left.min(LOOK_AGAIN)).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&self.socket, flags)], Some(&timeout)) {
            Err(rustix::io::Errno::INTR) | Ok(_) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Output for Remote {
    /// Reads standard error by the way.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let complained = self.read_complaint()?;
            match none_yet(self.channel.read(buffer))? {
                Some(0) if self.channel.eof() => return Ok(0),
                Some(length) if length > 0 => {
                    self.allow(length)?;
                    return Ok(length);
                }
                // Reading the one may have brought something of the other.
                _ if complained => {}
                _ => self.wait()?,
            }
        }
    }

    fn end(&mut self) -> io::Result<Result<(), String>> {
        self.session.set_blocking(true);
        let left = self.deadline.saturating_duration_since(Instant::now()).as_millis().max(1);
        self.session.set_timeout(u32::try_from(left).unwrap_or(u32::MAX));
        self.channel.wait_close().map_err(|error| io::Error::other(problem(&error)))?;
        let signal = self.channel.exit_signal().map_err(io::Error::from)?;
        if let Some(name) = signal.exit_signal {
            return Ok(Err(format!("it was ended by SIG{name}")));
        }
        match self.channel.exit_status().map_err(io::Error::from)? {
            0 => Ok(Ok(())),
            status => Ok(Err(format!("it ended with {status}"))),
        }
    }

    fn last_complaint(&self) -> Option<String> {
        let bytes: Vec<_> = self.complaint.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
        Some(line.chars().take(120).collect())
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // A session that is dropped takes leave of the server, and would wait
        // for it.
        self.session.set_blocking(false);
    }
}

/// `None` where there is nothing yet.
fn none_yet(read: io::Result<usize>) -> io::Result<Option<usize>> {
    match read {
        Ok(length) => Ok(Some(length)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
