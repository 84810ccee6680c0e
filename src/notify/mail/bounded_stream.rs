//! A connection that takes no longer and gives no more than it may.
#![expect(clippy::disallowed_types, reason = "this is where mail servers are connected to")]
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// How much a server may say in all, TLS included.
const LONGEST: usize = 1024 * 1024;

/// A connection to a mail server.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    deadline: Instant,
    /// How many bytes more may come.
    room: usize,
}

impl Wire {
    /// A connection that is there already.
    pub(super) fn new(stream: TcpStream, deadline: Instant) -> Self {
        Self { stream, deadline, room: LONGEST }
    }

    /// Connects to the first of `addresses` that answers.
    pub(super) fn connect(addresses: &[SocketAddr], deadline: Instant) -> io::Result<Self> {
        let mut last = None;
        for (n_before, address) in addresses.iter().enumerate() {
            // One that is silent leaves the others their share of the time.
            let n_left = u32::try_from(addresses.len() - n_before).unwrap_or(u32::MAX);
            match TcpStream::connect_timeout(address, left(deadline)? / n_left) {
                Ok(stream) => {
                    // A dialogue of short lines should not wait for more of them.
                    stream.set_nodelay(true)?;
                    return Ok(Self::new(stream, deadline));
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| io::Error::other("it has no address")))
    }

    /// Leaves no more than `time` for what is still to come.
    pub(super) fn hurry(&mut self, time: Duration) {
        self.deadline = self.deadline.min(Instant::now() + time);
    }
}

/// How much time there is until `deadline`; a system call takes 0 for no limit.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// The system's word for a limit that has passed is "would block", on which a
/// reader may try again, and TLS would.
fn in_time(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.room == 0 {
            return Err(io::Error::other("it said more than 1 MiB"));
        }
        let length = buffer.len().min(self.room);
        self.stream.set_read_timeout(Some(left(self.deadline)?))?;
        let n = self.stream.read(&mut buffer[..length]).map_err(in_time)?;
        self.room -= n;
        Ok(n)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(left(self.deadline)?))?;
        self.stream.write(bytes).map_err(in_time)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
