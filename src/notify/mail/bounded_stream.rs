//! A connection to an SMTP server with a deadline and a limit on received bytes.
#![expect(clippy::disallowed_types, reason = "the only module that connects to mail servers")]
use std::{
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// Maximum number of bytes received from a server, including TLS overhead.
const MAX_RECEIVED_BYTES: usize = 1024 * 1024;

/// TCP connection with a deadline and a limit on received bytes.
#[derive(Debug)]
pub(super) struct BoundedStream {
    stream: TcpStream,
    deadline: Instant,
    /// Number of bytes that may still be received.
    remaining_bytes: usize,
}

impl BoundedStream {
    /// Wraps an open connection.
    pub(super) fn new(stream: TcpStream, deadline: Instant) -> Self {
        Self { stream, deadline, remaining_bytes: MAX_RECEIVED_BYTES }
    }

    /// Connects to the first of `addresses` that accepts.
    ///
    /// # Errors
    ///
    /// Returns the error of the last address if none accepts, or a timeout.
    pub(super) fn connect(addresses: &[SocketAddr], deadline: Instant) -> io::Result<Self> {
        let mut last_error = None;
        for (index, address) in addresses.iter().enumerate() {
            // Divide the remaining time, so that an address that does not respond
            // leaves time for the others.
            let n_remaining = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
            match TcpStream::connect_timeout(address, time_left(deadline)? / n_remaining) {
                Ok(stream) => {
                    // SMTP exchanges short lines, which Nagle's algorithm would
                    // delay.
                    stream.set_nodelay(true)?;
                    return Ok(Self::new(stream, deadline));
                }
                Err(error) => last_error = Some(error),
            }
        }
        Err(last_error.unwrap_or_else(|| io::Error::other("the name has no address")))
    }

    /// Returns the address of this host on the connection.
    ///
    /// # Errors
    ///
    /// Returns an error if the kernel does not know it.
    pub(super) fn local_address(&self) -> io::Result<IpAddr> {
        self.stream.local_addr().map(|address| address.ip())
    }

    /// Moves the deadline to at most `time` from now.
    pub(super) fn shorten_deadline(&mut self, time: Duration) {
        self.deadline = self.deadline.min(Instant::now() + time);
    }
}

/// Returns the time until `deadline`. Zero is an error because a socket treats a zero
/// timeout as no timeout.
fn time_left(deadline: Instant) -> io::Result<Duration> {
    let remaining = deadline.saturating_duration_since(Instant::now());
    if remaining.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(remaining) }
}

/// Converts `WouldBlock` to `TimedOut`. The system reports an expired socket timeout
/// as `WouldBlock`, after which a reader such as TLS would try again.
fn would_block_as_timeout(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

impl Read for BoundedStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.remaining_bytes == 0 {
            return Err(io::Error::other("the server sent more than 1 MiB"));
        }
        let length = buffer.len().min(self.remaining_bytes);
        self.stream.set_read_timeout(Some(time_left(self.deadline)?))?;
        let n_read = self.stream.read(&mut buffer[..length]).map_err(would_block_as_timeout)?;
        self.remaining_bytes -= n_read;
        Ok(n_read)
    }
}

impl Write for BoundedStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(time_left(self.deadline)?))?;
        self.stream.write(bytes).map_err(would_block_as_timeout)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
