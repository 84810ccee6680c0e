//! What is run on a server, and its output as the bytes of a listing.
#![expect(clippy::disallowed_types, reason = "a socket is handed on")]
use std::{
    io::{self, BufRead, Read},
    net::{IpAddr, SocketAddr, TcpStream},
    time::Instant,
};

use ssh2::Session;

use super::{
    Server, SshError,
    remote_command::{Output, Remote},
    script,
    ssh_error::problem,
    stopwatch::Clock,
};
use crate::{
    parse::capture::{ByteOrder, OwnConnection},
    source::read_buffered,
};

/// How much may stand before the listing: banners of a login.
const BANNER: usize = 64 * 1024;
/// How much is read at a time.
const CHUNK: usize = 32 * 1024;

/// What is known where a listing begins.
pub(super) struct Begun {
    pub(super) command: String,
    pub(super) byte_order: Option<ByteOrder>,
    pub(super) own: Option<OwnConnection>,
    pub(super) addresses: Option<Vec<IpAddr>>,
}

/// Starts the command and waits for the first of its listing.
pub(super) fn start(
    server: &Server,
    (session, socket): (Session, TcpStream),
    clock: &Clock,
) -> Result<(Listing<Remote>, Begun), SshError> {
    let failed =
        |error: ssh2::Error| SshError::Exec { host: server.host.clone(), problem: problem(&error) };
    clock.bound(&session);
    let mut channel = session.channel_session().map_err(failed)?;
    let command = server.command.as_deref().unwrap_or(script::of(server.subject));
    channel.exec(command).map_err(failed)?;
    // It has nothing to read, and must not wait for it.
    channel.send_eof().map_err(failed)?;
    let deadline = Instant::now() + clock.left();
    let own = own_ends(&socket);
    let mut listing = Listing::new(Remote::new((session, socket), channel, deadline));
    let begun = listing.begin(server, own).map_err(|problem| SshError::NoListing {
        host: server.host.clone(),
        problem: problem.to_string(),
    })?;
    Ok((listing, begun))
}

/// The output of the command, without what is not of the listing.
pub(super) struct Listing<R> {
    remote: R,
    /// What is read, and in what part of it what is asked for lies.
    pending: Vec<u8>,
    start: usize,
    end: usize,
    body: Body,
    /// The server's own addresses, as far as it has told them.
    addresses: Vec<IpAddr>,
    /// The first line, where all of it is taken for the listing: if it is none,
    /// it may say why.
    first: Option<String>,
}

/// Where the reading of the output stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Body {
    /// All of it is the listing: nothing marks its parts.
    Raw,
    /// Marks say where listings begin and end; this is within one, or not.
    Marked { within: bool, tried: Vec<String>, lines: usize },
    /// There is no more of it.
    Done,
}

const BEGIN: &[u8] = b"topip-begin";
const OWN: &[u8] = b"topip-own ";
const TRY: &[u8] = b"topip-try ";
const END: &[u8] = b"topip-end ";

impl<R: Output> Listing<R> {
    /// Before anything of it is read.
    pub(super) fn new(remote: R) -> Self {
        Self {
            remote,
            pending: Vec::new(),
            start: 0,
            end: 0,
            body: Body::Raw,
            addresses: Vec::new(),
            first: None,
        }
    }

    /// Reads up to the mark that the script makes first. Where there is none,
    /// something else was run: a forced command, or one that was asked for.
    pub(super) fn begin(
        &mut self,
        server: &Server,
        own: Option<OwnConnection>,
    ) -> io::Result<Begun> {
        let raw = |command: &str| Begun {
            command: command.to_owned(),
            byte_order: None,
            own,
            addresses: None,
        };
        if let Some(command) = &server.command {
            return Ok(raw(command));
        }
        let (mark, mark_end) = loop {
            if let Some(mark) = line_with(&self.pending, BEGIN) {
                break mark;
            }
            let more = self.pending.len() < BANNER && self.more()?;
            if !more {
                let text = String::from_utf8_lossy(&self.pending);
                let line = text.lines().map(str::trim).find(|line| !line.is_empty());
                self.first = line.map(|line| line.chars().take(120).collect());
                return match self.pending.is_empty() {
                    true => match self.remote.end()? {
                        Ok(()) => Err(self.nothing(&[])),
                        Err(problem) => Err(self.broken(&problem)),
                    },
                    false => Ok(raw("what the server runs for this key")),
                };
            }
        };
        let words = String::from_utf8_lossy(&self.pending[mark..mark_end]).into_owned();
        let words: Vec<_> = words.split_whitespace().skip(1).collect();
        let (system, machine) = (words.first().copied(), words.get(1).copied());
        let begun = Begun {
            command: String::new(),
            byte_order: Some(byte_order(machine.unwrap_or_default())),
            own: own_connection(words.get(2..).unwrap_or_default()).or(own),
            addresses: None,
        };
        self.start = (mark_end + 1).min(self.pending.len());
        self.end = self.start;
        self.body = Body::Marked { within: false, tried: Vec::new(), lines: 0 };
        // To the first line of a listing, so that it can be told what it is of.
        self.fill_buf()?;
        let Body::Marked { tried, .. } = &self.body else {
            return Err(self.nothing(&[]));
        };
        let command = tried.last().cloned().unwrap_or_default();
        let command = format!("{command} ({})", system.unwrap_or("unknown system"));
        let mut addresses = std::mem::take(&mut self.addresses);
        addresses.sort_unstable();
        let addresses = (!addresses.is_empty()).then_some(addresses);
        Ok(Begun { command, addresses, ..begun })
    }

    /// Reads more behind what is pending; says whether there was any.
    fn more(&mut self) -> io::Result<bool> {
        if self.start > 0 && self.start == self.end {
            self.pending.drain(..self.start);
            (self.start, self.end) = (0, 0);
        }
        let length = self.pending.len();
        self.pending.resize(length + CHUNK, 0);
        let read = self.remote.read(&mut self.pending[length..]);
        self.pending.truncate(length + read.as_ref().map_or(0, |read| *read));
        Ok(read? > 0)
    }

    /// Makes the next piece of the listing available; empty at its end.
    fn next_piece(&mut self) -> io::Result<()> {
        while self.start == self.end {
            match self.body {
                Body::Done => return Ok(()),
                Body::Raw => self.next_raw()?,
                Body::Marked { .. } => self.next_lines()?,
            }
        }
        Ok(())
    }

    /// Takes whole lines of what has no marks, and at the end what is left.
    fn next_raw(&mut self) -> io::Result<()> {
        let rest = &self.pending[self.start..];
        let whole = memchr::memrchr(b'\n', rest).map_or(0, |last| last + 1);
        // No line of a listing is so long: it will be unreadable.
        let length = if whole == 0 && rest.len() > BANNER { rest.len() } else { whole };
        if line_with(&rest[..length], BEGIN).is_some() {
            // Then it is the script after all, behind a banner.
            return Err(self.broken("its shell prints more than 64 KiB before the listing"));
        }
        if length > 0 {
            self.end = self.start + length;
        } else if !self.more()? {
            if self.start < self.pending.len() {
                self.end = self.pending.len();
                return Ok(());
            }
            self.body = Body::Done;
            if let Err(problem) = self.remote.end()? {
                return Err(self.broken(&problem));
            }
        }
        Ok(())
    }

    /// Takes whole lines up to a mark, or the mark.
    fn next_lines(&mut self) -> io::Result<()> {
        let rest = &self.pending[self.start..];
        let Some(last) = memchr::memrchr(b'\n', rest) else {
            if rest.len() > BANNER {
                // No line of a listing is so long: it will be unreadable.
                self.end = self.pending.len();
                return Ok(());
            }
            return if self.more()? { Ok(()) } else { Err(self.ended_early()) };
        };
        let lines = &rest[..=last];
        match first_mark(lines) {
            Some(0) => {
                let length = memchr::memchr(b'\n', lines).expect("it is a line");
                let mark = String::from_utf8_lossy(&lines[..length]).into_owned();
                self.start += length + 1;
                self.end = self.start;
                self.mark(mark.trim())
            }
            mark => {
                let length = mark.unwrap_or(lines.len());
                let is_blank = lines[..length].iter().all(u8::is_ascii_whitespace);
                let Body::Marked { within, lines: n_lines, .. } = &mut self.body else {
                    return Ok(());
                };
                self.end = self.start + length;
                // Blank lines come before the marks, in case a tool ends without.
                if *within && !is_blank {
                    let rows = lines[..length].split(|&byte| byte == b'\n');
                    *n_lines += rows.filter(|row| !row.trim_ascii().is_empty()).count();
                } else {
                    self.start = self.end;
                }
                Ok(())
            }
        }
    }

    /// Does what a mark says.
    fn mark(&mut self, mark: &str) -> io::Result<()> {
        if let Some(address) = mark.strip_prefix("topip-own ") {
            // The length of its network may stand behind it. Of what is no address,
            // no flow can be.
            let address = address.split('/').next().unwrap_or_default();
            self.addresses.extend(address.parse::<IpAddr>());
            return Ok(());
        }
        let Body::Marked { within, tried, lines } = &mut self.body else { return Ok(()) };
        if let Some(command) = mark.strip_prefix("topip-try ") {
            *within = true;
            *lines = 0;
            tried.push(match command {
                "proc" => "cat /proc/net/tcp".to_owned(),
                "both" => "netstat -an -f inet".to_owned(),
                command => match command.strip_prefix("c ") {
                    Some(conntrack) => format!("{conntrack} -L"),
                    None => command.chars().take(60).collect(),
                },
            });
            return Ok(());
        }
        let status = mark.split(' ').nth(1).unwrap_or_default();
        *within = false;
        if status == "0" {
            self.body = Body::Done;
            return Ok(());
        }
        // A heading does no harm before the next one. Rows that were handed on
        // cannot be taken back.
        if *lines > 1 {
            let problem = format!("{} ended with {status}", tried.last().map_or("it", |it| it));
            return Err(self.broken(&problem));
        }
        Ok(())
    }

    fn ended_early(&mut self) -> io::Error {
        let Body::Marked { within, tried, .. } = self.body.clone() else {
            return self.broken("it broke off");
        };
        self.body = Body::Done;
        match within {
            false => self.nothing(&tried),
            true => {
                let end = self.remote.end();
                let why = match end {
                    Ok(Err(problem)) => problem,
                    _ => "it broke off".to_owned(),
                };
                self.broken(&why)
            }
        }
    }

    fn nothing(&mut self, tried: &[String]) -> io::Error {
        let tried = match tried {
            [] => "nothing was printed".to_owned(),
            _ => format!("none of these worked: {}", tried.join(", ")),
        };
        self.broken(&tried)
    }

    fn broken(&mut self, problem: &str) -> io::Error {
        self.body = Body::Done;
        io::Error::other(match self.remote.last_complaint().or_else(|| self.first.take()) {
            Some(complaint) => format!("{problem} ({complaint})"),
            None => problem.to_owned(),
        })
    }
}

impl<R: Output> BufRead for Listing<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.next_piece()?;
        Ok(&self.pending[self.start..self.end])
    }

    fn consume(&mut self, amount: usize) {
        self.start = self.end.min(self.start + amount);
    }
}

impl<R: Output> Read for Listing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, buffer)
    }
}

/// The first line that begins with `mark`, where it is whole.
fn line_with(bytes: &[u8], mark: &[u8]) -> Option<(usize, usize)> {
    let at =
        memchr::memmem::find_iter(bytes, mark).find(|&at| at == 0 || bytes[at - 1] == b'\n')?;
    let length = memchr::memchr(b'\n', &bytes[at..])?;
    Some((at, at + length))
}

/// Where the first line stands that is a mark.
fn first_mark(lines: &[u8]) -> Option<usize> {
    memchr::memmem::find_iter(lines, b"topip-").find(|&at| {
        let is_first = at == 0 || lines[at - 1] == b'\n';
        is_first && [OWN, TRY, END].iter().any(|mark| lines[at..].starts_with(mark))
    })
}

/// The byte order of a machine, by what `uname -m` calls it.
fn byte_order(machine: &str) -> ByteOrder {
    let big = ["s390", "ppc", "powerpc", "mips", "sparc", "m68k", "parisc", "aarch64_be", "armeb"];
    let little = ["ppc64le", "ppcle", "powerpc64le", "mipsel", "mips64el"];
    if big.iter().any(|it| machine.starts_with(it)) && !little.contains(&machine) {
        ByteOrder::Big
    } else {
        ByteOrder::Little
    }
}

/// The connection that this very session is, as it is seen from here. The
/// server sees the same, unless somebody between rewrites addresses.
fn own_ends(socket: &TcpStream) -> Option<OwnConnection> {
    let canonical = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
    let (here, there) = (socket.local_addr().ok()?, socket.peer_addr().ok()?);
    Some(OwnConnection { local: canonical(there), peer: canonical(here), is_certain: false })
}

/// The connection that this very session is, as the server sees it:
/// `$SSH_CONNECTION` has the client's address and port, and its own.
fn own_connection(words: &[&str]) -> Option<OwnConnection> {
    let [client, client_port, server, server_port] = words else { return None };
    let end = |address: &str, port: &str| {
        // A scope may stand behind an address.
        let address = address.split('%').next()?.parse::<std::net::IpAddr>().ok()?;
        Some(SocketAddr::new(address.to_canonical(), port.parse().ok()?))
    };
    let (local, peer) = (end(server, server_port)?, end(client, client_port)?);
    Some(OwnConnection { local, peer, is_certain: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_and_their_byte_order() {
        for machine in ["x86_64", "aarch64", "ppc64le", "mips64el", "riscv64", "armv7l", ""] {
            assert_eq!(byte_order(machine), ByteOrder::Little, "{machine}");
        }
        for machine in ["s390x", "ppc64", "mips", "sparc64"] {
            assert_eq!(byte_order(machine), ByteOrder::Big, "{machine}");
        }
    }

    #[test]
    fn marks_are_whole_lines() {
        assert_eq!(line_with(b"x topip-begin\ntopip-begin a\n", BEGIN), Some((14, 27)));
        assert_eq!(line_with(b"topip-begin", BEGIN), None);
        assert_eq!(first_mark(b"a\ntopip-end 0 ss\n"), Some(2));
        assert_eq!(first_mark(b"a topip-end 0 ss\n"), None);
    }

    #[test]
    fn ones_own_connection() {
        let own = own_connection(&["::ffff:192.0.2.1", "50000", "192.0.2.10", "22"]);
        let own = own.expect("four words");
        assert_eq!(own.peer.to_string(), "192.0.2.1:50000");
        assert_eq!(own.local.to_string(), "192.0.2.10:22");
        assert_eq!(own_connection(&["192.0.2.1", "50000"]), None);
    }
}
