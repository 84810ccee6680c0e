//! Passes bytes between a server and libssh2, and limits those of the server.
//!
//! libssh2 reads its socket until the socket is empty, and keeps each packet that
//! nothing has requested, without a limit. So libssh2 gets one end of a socket pair
//! instead of the network socket. When libssh2 has used all earlier bytes, the relay
//! moves the next ones from the network to the pair, and counts them.
//!
//! A server may send each row of a listing in a separate packet, whose headers are longer
//! than the row. Therefore, near the limit, the relay moves less than a packet at a time:
//! libssh2 then returns the content of one packet, and the length of that packet is known.
//! Only bytes that belong to no output count against the limit.
#![expect(clippy::disallowed_types, reason = "this module passes a socket on")]
use std::{
    io::{self, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use ssh2::ErrorCode;

use super::{packet_format::PacketFormat, ssh_error::quoted};

/// Number of bytes moved at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// Maximum wait for a socket before libssh2 is called again.
///
/// After an unusual packet, libssh2 may return although it has not used all bytes of its
/// socket, or although it has data of the other stream of a command. Then no socket
/// reports data.
const MAX_WAIT: Duration = Duration::from_millis(50);
/// Number of bytes kept for the message of a server that does not speak SSH.
const MAX_GREETING_BYTES: usize = 1024;
/// Share of the consumed bytes that a server may send in addition, for the headers of
/// packets: 1 in 32. A packet of 4 KiB has at most 93 bytes of headers.
const HEADER_SHARE: usize = 32;

/// Share of the limit below which the packets of the output are counted: 1 in 4.
const COUNTING_SHARE: usize = 4;
/// Minimum number of bytes that libssh2 gets at a time. Two packets with output are always
/// longer than this together.
const MIN_PIECE_BYTES: usize = 32;

/// Limit of the bytes that a server may send and the program does not consume.
///
/// libssh2 needs up to 16 bytes of memory for a byte of packets without content
/// before the key exchange, and up to 5 after it.
#[derive(Clone, Copy)]
struct ByteLimit {
    max_bytes: usize,
    /// Message for a server that exceeds the limit.
    message: &'static str,
}

/// Limit for all bytes up to the end of the login. A login takes a few KiB, and a banner
/// at most 40 KiB.
const LOGIN_LIMIT: ByteLimit = ByteLimit {
    max_bytes: 256 * 1024,
    message: "the server sent more than 256 KiB before the end of the login",
};
/// Limit for the bytes after the login that are not output of the command.
const COMMAND_LIMIT: ByteLimit = ByteLimit {
    max_bytes: 3 * 1024 * 1024,
    message: "the server sent more than 3 MiB that are not output of the command",
};

/// Code of the error for a server that exceeds its limit. libssh2 has no such code; its
/// own codes are between -1 and -100.
pub(super) const TOO_MANY_BYTES: ErrorCode = ErrorCode::Session(-1000);
/// Code of libssh2 for a timeout.
pub(super) const TIMEOUT: ErrorCode = ErrorCode::Session(-9);

/// Returns true for the errors of a relay: the server has exceeded a limit, of time or
/// of bytes.
pub(super) fn is_limit_exceeded(error: &ssh2::Error) -> bool {
    matches!(error.code(), TIMEOUT | TOO_MANY_BYTES)
}

/// Connection to a server, and the socket pair to libssh2.
pub(super) struct Relay {
    network: TcpStream,
    /// Opposite end of the socket that libssh2 has.
    pair_end: UnixStream,
    /// First bytes of the server, at most [`MAX_GREETING_BYTES`].
    greeting: Vec<u8>,
    incoming: Buffer,
    outgoing: Buffer,
    /// False after the server has closed the connection.
    is_receiving: bool,
    /// Number of bytes that the server may send before the program consumes more.
    bytes_left: usize,
    limit: ByteLimit,
    /// Format of the server's packets; `None` before the end of the login.
    packet_format: Option<PacketFormat>,
    /// Maximum number of bytes that libssh2 gets at a time: less than a packet if the packets
    /// of the output are counted.
    piece_bytes: usize,
    /// True after a piece that had no output.
    is_second_piece: bool,
    deadline: Instant,
}

impl Relay {
    /// Creates a relay that moves bytes until `deadline`; also returns the socket for
    /// libssh2.
    ///
    /// # Errors
    ///
    /// Returns an error if there are too many open files.
    pub(super) fn new(network: TcpStream, deadline: Instant) -> io::Result<(Self, UnixStream)> {
        let (pair_end, library_end) = UnixStream::pair()?;
        network.set_nonblocking(true)?;
        pair_end.set_nonblocking(true)?;
        let relay = Self {
            network,
            pair_end,
            greeting: Vec::new(),
            incoming: Buffer::default(),
            outgoing: Buffer::default(),
            is_receiving: true,
            bytes_left: LOGIN_LIMIT.max_bytes,
            limit: LOGIN_LIMIT,
            packet_format: None,
            piece_bytes: CHUNK_BYTES,
            is_second_piece: false,
            deadline,
        };
        Ok((relay, library_end))
    }

    /// Returns the connection to the server.
    pub(super) fn network(&self) -> &TcpStream {
        &self.network
    }

    /// Returns false after the server has closed the connection.
    pub(super) fn is_receiving(&self) -> bool {
        self.is_receiving
    }

    /// Returns the first line that the server has sent instead of the SSH identification
    /// (RFC 4253, section 4.2); `None` if it has identified itself or has sent no line.
    pub(super) fn refusal(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.greeting);
        let mut lines = text.lines().map(quoted).filter(|line| !line.is_empty());
        if text.lines().any(|line| line.starts_with("SSH-")) {
            return None;
        }
        lines.find(|line| line.chars().any(char::is_alphanumeric))
    }

    /// Starts the limit for the time after the login.
    pub(super) fn end_login(&mut self, packet_format: PacketFormat) {
        self.packet_format = Some(packet_format);
        self.limit = COMMAND_LIMIT;
        self.bytes_left = COMMAND_LIMIT.max_bytes;
    }

    /// Records that the program has consumed this number of bytes of the command's
    /// output, from one read.
    pub(super) fn add_consumed(&mut self, n_bytes: usize) {
        let n_sent = match self.packet_format {
            Some(format) if self.is_counting_packets() => {
                let packet_bytes = format.length(n_bytes);
                // A packet takes more than one piece, so that packets of different lengths do
                // not end in the same piece.
                self.piece_bytes = (packet_bytes / 2).clamp(MIN_PIECE_BYTES, CHUNK_BYTES - 1);
                self.is_second_piece = false;
                packet_bytes
            }
            _ => n_bytes + n_bytes / HEADER_SHARE,
        };
        let bytes_left = self.bytes_left + n_sent;
        self.bytes_left = bytes_left.min(self.limit.max_bytes);
    }

    /// Enlarges the next piece, in case this one contains no output.
    ///
    /// The first two pieces together are a packet and a quarter. If they contain no output,
    /// the server sends packets without output. Larger pieces then save calls of libssh2,
    /// which searches all packets that it keeps at each call.
    fn enlarge_piece(&mut self) {
        let piece_bytes =
            if self.is_second_piece { 8 * self.piece_bytes } else { 3 * self.piece_bytes / 2 };
        self.piece_bytes = piece_bytes.min(CHUNK_BYTES - 1);
        self.is_second_piece = true;
    }

    fn is_counting_packets(&self) -> bool {
        self.piece_bytes < CHUNK_BYTES
    }

    /// Moves the available bytes in both directions. If no bytes are available, waits for
    /// some, at most [`MAX_WAIT`].
    ///
    /// # Errors
    ///
    /// Returns an error at the deadline, or if the server exceeds its limit.
    pub(super) fn exchange(&mut self) -> Result<(), ssh2::Error> {
        if self.move_available()? {
            return Ok(());
        }
        self.wait();
        self.move_available().map(drop)
    }

    /// Moves available bytes; returns true if there were some.
    fn move_available(&mut self) -> Result<bool, ssh2::Error> {
        if Instant::now() >= self.deadline {
            return Err(ssh2::Error::new(TIMEOUT, "the server gave no answer in time"));
        }
        let has_sent = self.send();
        let has_received = self.receive()?;
        Ok(has_sent || has_received)
    }

    /// Sends the bytes that libssh2 has written; returns true if there were some.
    fn send(&mut self) -> bool {
        // libssh2 keeps its end open, so a failure means that no bytes are available.
        let has_read = matches!(self.outgoing.fill(&self.pair_end, CHUNK_BYTES), Ok(Some(1..)));
        if self.outgoing.drain(&self.network, CHUNK_BYTES).is_err() {
            // The server has closed the connection. The bytes that it sent before can be read.
            self.outgoing.clear();
        }
        has_read
    }

    /// Passes on the bytes that the server has sent; returns true if there were some, or
    /// if the connection has just ended.
    fn receive(&mut self) -> Result<bool, ssh2::Error> {
        if !self.is_receiving {
            return Ok(false);
        }
        let max_length = CHUNK_BYTES.min(self.bytes_left + 1);
        let n_read = match self.incoming.fill(&self.network, max_length) {
            Ok(None) => 0,
            Ok(Some(n_read @ 1..)) => n_read,
            Ok(Some(0)) | Err(_) => {
                self.close_library_end();
                return Ok(true);
            }
        };
        let greeting = &self.incoming.bytes[self.incoming.start..self.incoming.end];
        let n_kept = MAX_GREETING_BYTES.saturating_sub(self.greeting.len()).min(n_read);
        self.greeting.extend_from_slice(&greeting[..n_kept]);
        self.bytes_left = self
            .bytes_left
            .checked_sub(n_read)
            .ok_or_else(|| ssh2::Error::new(TOO_MANY_BYTES, self.limit.message))?;
        if self.packet_format.is_some()
            && !self.is_counting_packets()
            && self.bytes_left < self.limit.max_bytes / COUNTING_SHARE
        {
            self.piece_bytes = MIN_PIECE_BYTES;
        }
        match self.incoming.drain(&self.pair_end, self.piece_bytes) {
            Ok(n_written) => {
                if self.is_counting_packets() && n_written == self.piece_bytes {
                    self.enlarge_piece();
                }
                Ok(n_read > 0 || n_written > 0)
            }
            Err(_) => {
                self.close_library_end();
                Ok(n_read > 0)
            }
        }
    }

    /// Lets libssh2 read the end of the connection after the earlier bytes.
    fn close_library_end(&mut self) {
        self.is_receiving = false;
        // The call fails only if the socket is closed already.
        let _ = self.pair_end.shutdown(std::net::Shutdown::Write);
    }

    /// Waits until bytes can be moved, at most [`MAX_WAIT`].
    fn wait(&self) {
        let time_left = self.deadline.saturating_duration_since(Instant::now());
        let mut network_flags = PollFlags::empty();
        let mut pair_flags = PollFlags::empty();
        network_flags.set(PollFlags::IN, self.is_receiving && self.incoming.is_empty());
        network_flags.set(PollFlags::OUT, !self.outgoing.is_empty());
        pair_flags.set(PollFlags::OUT, !self.incoming.is_empty());
        pair_flags.set(PollFlags::IN, self.outgoing.is_empty());
        let mut poll_fds =
            [PollFd::new(&self.pair_end, pair_flags), PollFd::new(&self.network, network_flags)];
        // A closed connection would end each wait at once.
        let n_sockets = if network_flags.is_empty() { 1 } else { 2 };
        let timeout = Timespec::try_from(time_left.min(MAX_WAIT)).unwrap_or_default();
        // After an interrupted wait, libssh2 is called early, which does no harm.
        let _ = poll(&mut poll_fds[..n_sockets], Some(&timeout));
    }
}

impl Drop for Relay {
    /// Sends the last bytes that libssh2 has written, as far as possible without waiting.
    fn drop(&mut self) {
        while self.send() {}
    }
}

/// Bytes that were read from one socket and are not yet written to the other one.
#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Reads up to `max_length` bytes. Returns their number, 0 at the end of the source;
    /// `None` if none are available or the buffer is not empty.
    fn fill(&mut self, mut source: impl Read, max_length: usize) -> io::Result<Option<usize>> {
        if !self.is_empty() {
            return Ok(None);
        }
        self.bytes.resize(CHUNK_BYTES, 0);
        let n_read = if_ready(source.read(&mut self.bytes[..max_length]))?;
        self.start = 0;
        self.end = n_read.unwrap_or(0);
        Ok(n_read)
    }

    /// Writes as many bytes as the target takes, up to `max_length`. Returns their number.
    fn drain(&mut self, mut target: impl Write, max_length: usize) -> io::Result<usize> {
        let mut n_written = 0;
        while !self.is_empty() && n_written < max_length {
            let end = self.end.min(self.start + max_length - n_written);
            match if_ready(target.write(&self.bytes[self.start..end]))? {
                Some(length) => {
                    self.start += length;
                    n_written += length;
                }
                None => break,
            }
        }
        Ok(n_written)
    }
}

/// Converts the errors of a stream that is not ready to `None`.
pub(super) fn if_ready(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(length) => Ok(Some(length)),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const LIMIT: ByteLimit = ByteLimit { max_bytes: 1000, message: "it sent too much" };

    /// Relay with a limit of 1000 bytes, the socket of libssh2 and the server.
    struct Fixture {
        relay: Relay,
        library_end: UnixStream,
        server: TcpStream,
    }

    impl Fixture {
        fn new(time: Duration) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let network = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (server, _) = listener.accept().unwrap();
            let (mut relay, library_end) = Relay::new(network, Instant::now() + time).unwrap();
            library_end.set_nonblocking(true).unwrap();
            relay.limit = LIMIT;
            relay.bytes_left = LIMIT.max_bytes;
            Self { relay, library_end, server }
        }

        /// Reads as libssh2 does until `n_bytes` have arrived, or the end.
        fn read(&mut self, n_bytes: usize) -> Result<usize, ssh2::Error> {
            let (mut n_read, mut buffer) = (0, [0; 4096]);
            while n_read < n_bytes {
                match if_ready(self.library_end.read(&mut buffer)).unwrap() {
                    Some(0) => break,
                    Some(length) => n_read += length,
                    None => self.relay.exchange()?,
                }
            }
            Ok(n_read)
        }
    }

    #[test]
    fn server_may_send_up_to_its_limit() {
        let mut fixture = Fixture::new(Duration::from_secs(60));
        fixture.server.write_all(&[7; 1000]).unwrap();
        assert_eq!(fixture.read(1000).unwrap(), 1000);
        fixture.server.write_all(&[7]).unwrap();
        let error = fixture.read(1).unwrap_err();
        assert!(is_limit_exceeded(&error));
        assert_eq!(error.message(), LIMIT.message);
    }

    #[test]
    fn consumed_bytes_and_headers_do_not_count() {
        let mut fixture = Fixture::new(Duration::from_secs(60));
        for _ in 0..100 {
            fixture.server.write_all(&[7; 990]).unwrap();
            assert_eq!(fixture.read(990).unwrap(), 990);
            fixture.relay.add_consumed(960);
        }
        // Consumed bytes cannot be saved for later.
        fixture.relay.add_consumed(100_000);
        fixture.server.write_all(&[7; 1001]).unwrap();
        assert!(is_limit_exceeded(&fixture.read(1001).unwrap_err()));
    }

    #[test]
    fn end_of_connection_follows_the_last_bytes() {
        let mut fixture = Fixture::new(Duration::from_secs(60));
        fixture.server.write_all(&[7; 100]).unwrap();
        fixture.server.shutdown(std::net::Shutdown::Both).unwrap();
        assert_eq!(fixture.read(200).unwrap(), 100);
    }

    #[test]
    fn silent_server_times_out() {
        let mut fixture = Fixture::new(Duration::from_millis(20));
        let error = fixture.read(1).unwrap_err();
        assert_eq!(error.code(), TIMEOUT);
    }

    #[test]
    fn last_output_is_sent_when_the_relay_is_dropped() {
        let Fixture { relay, mut library_end, mut server } = Fixture::new(Duration::from_secs(60));
        library_end.write_all(b"last").unwrap();
        drop(relay);
        let mut sent = Vec::new();
        server.read_to_end(&mut sent).unwrap();
        assert_eq!(sent, b"last");
        assert_eq!(library_end.read(&mut [0]).unwrap(), 0);
    }
}
