//! Extracts the listing from the output of a command that runs on a server.
//!
//! Both SSH clients use it: the built-in one, and an external one.
use std::{
    io::{self, BufRead, Read},
    net::{IpAddr, SocketAddr},
};

use super::dispatch::read_buffered;
use crate::model::protocol::Protocol;
use crate::parse::{
    TableKind,
    capture::{ByteOrder, Capture, CaptureFormat, CaptureNote, ServerIdentity, SessionConnection},
};

mod command_output;
mod script;

pub(super) use command_output::{CommandOutput, MAX_QUOTED_CHARS, OutputLimit};

/// Maximum length of other output before the listing, such as login banners, and of
/// a line.
const MAX_BANNER_BYTES: usize = 64 * 1024;
/// Maximum number of bytes read at a time.
const CHUNK_BYTES: usize = 32 * 1024;
/// Maximum length of a command in messages, in characters.
const MAX_COMMAND_CHARS: usize = 60;

/// Facts about a listing that are known when it begins.
pub(super) struct ListingStart {
    /// Command that prints the listing, for messages.
    pub(super) command: String,
    /// Byte order of the server; `None` if it is unknown.
    pub(super) byte_order: Option<ByteOrder>,
    /// TCP connection of this session; `None` if it is unknown.
    pub(super) session_connection: Option<SessionConnection>,
    /// Identity of the server; `None` if it has not reported one.
    pub(super) identity: Option<ServerIdentity>,
    /// Sorted addresses of the server; `None` if it has not reported any.
    pub(super) local_addresses: Option<Vec<IpAddr>>,
}

/// The command that lists the connections of a server.
#[derive(Clone, Debug)]
pub struct ListingRequest {
    /// Kind of table to list.
    pub table_kind: TableKind,
    /// Protocols of the listed flows.
    pub protocol: Protocol,
    /// Command to run instead of the built-in script.
    pub command: Option<String>,
}

impl ListingRequest {
    /// Returns the command line for the login shell of the server.
    pub(super) fn command_line(&self) -> &str {
        self.command.as_deref().unwrap_or(script::for_table(self.table_kind, self.protocol))
    }

    /// Returns the kind of table that the listing must have; `None` if any kind is
    /// accepted.
    pub(super) fn required_kind(&self) -> Option<TableKind> {
        if self.table_kind == TableKind::Flows { Some(TableKind::Flows) } else { None }
    }

    /// Returns a hint for a server that gave no listing to this user.
    pub(super) fn no_listing_hint(&self, user: Option<&str>) -> String {
        if self.table_kind == TableKind::Flows {
            let user = user.unwrap_or("USER");
            let sudoers_user = sudoers_word(user);
            let protocols = script::protocols(self.protocol).split(' ');
            let commands = protocols.map(|protocol| {
                format!(
                    "/usr/sbin/conntrack -L -f ipv4 -p {protocol}, \
                     /usr/sbin/conntrack -L -f ipv6 -p {protocol}"
                )
            });
            return format!(
                "Allow {user} to list the flows there, in sudoers: {sudoers_user} ALL=(root) \
                 NOPASSWD: {}",
                commands.collect::<Vec<_>>().join(", ")
            );
        }
        "With `--command`, name a command that lists the sockets of the server, such as netstat \
         -n for Windows."
            .to_owned()
    }
}

/// Returns a user name as sudoers(5) reads it: a backslash escapes special characters.
fn sudoers_word(text: &str) -> String {
    let mut word = String::new();
    for letter in text.chars() {
        if "!=:,()@\"\\ ".contains(letter) {
            word.push('\\');
        }
        word.push(letter);
    }
    word
}

impl ListingStart {
    /// Returns the capture of this listing.
    pub(super) fn into_capture(
        self,
        reader: impl BufRead + Send + 'static,
        origin: String,
        notes: Vec<CaptureNote>,
    ) -> Capture {
        Capture {
            format: CaptureFormat::Listing,
            origin,
            byte_order: self.byte_order,
            session_connection: self.session_connection,
            server_identity: self.identity,
            local_addresses: self.local_addresses,
            kernel_counters: None,
            notes,
            bytes: Box::new(reader),
        }
    }
}

/// Reader of the listing in a command's output. Output that does not belong to the
/// listing is skipped.
pub(super) struct RemoteListing<R> {
    command_output: R,
    /// Bytes that have been read. `start..end` is the part of the listing that is
    /// ready for the caller.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    section: Section,
    /// Machine of the server by its name in `uname -m`, if it has reported one.
    machine: Option<String>,
    /// Addresses of the server that it has reported so far.
    local_addresses: Vec<IpAddr>,
    /// First line of output without markers, to explain the lack of a listing.
    first_line: Option<String>,
}

/// Position of the reader in the output.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Section {
    /// Output without markers: all of it is the listing.
    Unmarked,
    /// Output with markers.
    Marked {
        /// True between the markers that begin and end a listing.
        is_inside: bool,
        /// Commands tried so far, the current one last.
        commands: Vec<String>,
        /// Number of non-blank lines of the current listing that were passed on.
        n_lines: usize,
    },
    /// End of the listing.
    Done,
}

const BEGIN_MARKER: &[u8] = b"topip-begin";
const ADDRESS_MARKER: &[u8] = b"topip-own ";
const MACHINE_MARKER: &[u8] = b"topip-machine ";
const TRY_MARKER: &[u8] = b"topip-try ";
const END_MARKER: &[u8] = b"topip-end ";

impl<R: CommandOutput> RemoteListing<R> {
    pub(super) fn new(command_output: R) -> Self {
        Self {
            command_output,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            section: Section::Unmarked,
            machine: None,
            local_addresses: Vec::new(),
            first_line: None,
        }
    }

    /// Returns the output of the command.
    pub(super) fn into_output(self) -> R {
        self.command_output
    }

    /// Reads up to the first line of the listing. Output without the script's first
    /// marker comes from another command: a forced command on the server, or one
    /// that the user has requested.
    pub(super) fn read_start(
        &mut self,
        request: &ListingRequest,
        session_connection: Option<SessionConnection>,
    ) -> io::Result<ListingStart> {
        let unmarked = |command: &str| ListingStart {
            command: command.to_owned(),
            byte_order: None,
            session_connection,
            identity: None,
            local_addresses: None,
        };
        if let Some(command) = &request.command {
            return Ok(unmarked(command));
        }
        let (marker_start, marker_end) = loop {
            if let Some(marker) = find_marker_line(&self.buffer, BEGIN_MARKER) {
                break marker;
            }
            let has_more = self.buffer.len() < MAX_BANNER_BYTES && self.read_more()?;
            if !has_more {
                if self.buffer.is_empty() {
                    return Err(match self.command_output.exit_result()? {
                        Ok(()) => self.fail_without_listing(&[]),
                        Err(problem) => self.fail(&problem),
                    });
                }
                let text = String::from_utf8_lossy(&self.buffer);
                let line = text.lines().map(str::trim).find(|line| !line.is_empty());
                self.first_line = line.map(|line| line.chars().take(MAX_QUOTED_CHARS).collect());
                return Ok(unmarked("the forced command of the server"));
            }
        };
        let marker = String::from_utf8_lossy(&self.buffer[marker_start..marker_end]).into_owned();
        let words: Vec<_> = marker.split_whitespace().skip(1).collect();
        let system = words.first().copied();
        self.machine = words.get(1).map(|&machine| machine.to_owned());
        let session_connection =
            parse_ssh_connection(words.get(3..).unwrap_or_default()).or(session_connection);
        let identity = server_identity(words.get(2).copied(), session_connection);
        self.start = (marker_end + 1).min(self.buffer.len());
        self.end = self.start;
        self.section = Section::Marked { is_inside: false, commands: Vec::new(), n_lines: 0 };

        // Read up to the first line of a listing: then the command is known.
        self.fill_buf()?;
        let Section::Marked { commands, .. } = &self.section else {
            return Err(self.fail_without_listing(&[]));
        };
        let command = commands.last().cloned().unwrap_or_default();
        let command = format!("{command} ({})", system.unwrap_or("unknown system"));
        let byte_order = byte_order_of_machine(self.machine.as_deref().unwrap_or_default());
        let mut addresses = std::mem::take(&mut self.local_addresses);
        addresses.sort_unstable();
        let local_addresses = if addresses.is_empty() { None } else { Some(addresses) };
        Ok(ListingStart {
            command,
            byte_order: Some(byte_order),
            session_connection,
            identity,
            local_addresses,
        })
    }

    /// Appends more output to the buffer; returns false at the end of the output.
    fn read_more(&mut self) -> io::Result<bool> {
        if self.start > 0 && self.start == self.end {
            self.buffer.drain(..self.start);
            (self.start, self.end) = (0, 0);
        }
        let length = self.buffer.len();
        self.buffer.resize(length + CHUNK_BYTES, 0);
        let result = self.command_output.read(&mut self.buffer[length..]);
        self.buffer.truncate(length + result.as_ref().map_or(0, |n_read| *n_read));
        Ok(result? > 0)
    }

    /// Makes the next part of the listing available; it is empty at the end of the
    /// listing.
    fn prepare_part(&mut self) -> io::Result<()> {
        while self.start == self.end {
            match self.section {
                Section::Done => return Ok(()),
                Section::Unmarked => self.prepare_unmarked()?,
                Section::Marked { .. } => self.prepare_marked()?,
            }
        }
        Ok(())
    }

    /// Takes whole lines of output without markers, and the rest at its end.
    fn prepare_unmarked(&mut self) -> io::Result<()> {
        let rest = &self.buffer[self.start..];
        let whole_lines = memchr::memrchr(b'\n', rest).map_or(0, |newline| newline + 1);
        // No listing has lines of this length. Pass the part on; the parser rejects it.
        let is_overlong = whole_lines == 0 && rest.len() > MAX_BANNER_BYTES;
        let length = if is_overlong { rest.len() } else { whole_lines };
        if find_marker_line(&rest[..length], BEGIN_MARKER).is_some() {
            // The output comes from the script, after a long banner.
            return Err(self.fail("the login shell prints more than 64 KiB before the listing"));
        }
        if length > 0 {
            self.end = self.start + length;
        } else if !self.read_more()? {
            if self.start < self.buffer.len() {
                self.end = self.buffer.len();
                return Ok(());
            }
            self.section = Section::Done;
            if let Err(problem) = self.command_output.exit_result()? {
                return Err(self.fail(&problem));
            }
        }
        Ok(())
    }

    /// Takes whole lines up to a marker, or the marker itself.
    fn prepare_marked(&mut self) -> io::Result<()> {
        let rest = &self.buffer[self.start..];
        let Some(last_newline) = memchr::memrchr(b'\n', rest) else {
            if rest.len() > MAX_BANNER_BYTES {
                // No listing has lines of this length. Pass the part on; the parser
                // rejects it.
                self.end = self.buffer.len();
                return Ok(());
            }
            return if self.read_more()? { Ok(()) } else { Err(self.fail_at_early_end()) };
        };
        let lines = &rest[..=last_newline];
        let marker_start = find_marker(lines);
        if marker_start == Some(0) {
            let length = memchr::memchr(b'\n', lines).expect("the part ends with a newline");
            let marker = String::from_utf8_lossy(&lines[..length]).into_owned();
            self.start += length + 1;
            self.end = self.start;
            return self.apply_marker(marker.trim());
        }
        let length = marker_start.unwrap_or(lines.len());
        let is_blank = lines[..length].iter().all(u8::is_ascii_whitespace);
        let Section::Marked { is_inside, n_lines, .. } = &mut self.section else {
            return Ok(());
        };
        self.end = self.start + length;
        // The script prints a blank line before each marker, in case the output of a
        // tool does not end with a newline.
        if *is_inside && !is_blank {
            let rows = lines[..length].split(|&byte| byte == b'\n');
            *n_lines += rows.filter(|row| !row.trim_ascii().is_empty()).count();
        } else {
            self.start = self.end;
        }
        Ok(())
    }

    /// Updates the section as a marker line indicates.
    fn apply_marker(&mut self, marker: &str) -> io::Result<()> {
        if let Some(address) = marker.strip_prefix("topip-own ") {
            // A prefix length may follow the address. A word that is not an address is
            // ignored: no flow can have it.
            let address = address.split('/').next().unwrap_or_default();
            self.local_addresses.extend(address.parse::<IpAddr>());
            return Ok(());
        }
        if let Some(machine) = marker.strip_prefix("topip-machine ") {
            self.machine = Some(machine.to_owned());
            return Ok(());
        }
        let Section::Marked { is_inside, commands, n_lines } = &mut self.section else {
            return Ok(());
        };
        if let Some(command) = marker.strip_prefix("topip-try ") {
            *is_inside = true;
            *n_lines = 0;
            commands.push(match command {
                "proc" => "cat /proc/net/tcp".to_owned(),
                "both" => "netstat -an -f inet".to_owned(),
                command => match command.strip_prefix("c ") {
                    Some(conntrack) => format!("{conntrack} -L"),
                    None => command.chars().take(MAX_COMMAND_CHARS).collect(),
                },
            });
            return Ok(());
        }
        let exit_status = marker.split(' ').nth(1).unwrap_or_default();
        *is_inside = false;
        if exit_status == "0" {
            self.section = Section::Done;
            return Ok(());
        }
        // A heading alone does not affect the next listing. Rows that were passed on
        // cannot be taken back.
        if *n_lines > 1 {
            let command = commands.last().map_or("the command", |command| command);
            let problem = format!("{command} ended with exit status {exit_status}");
            return Err(self.fail(&problem));
        }
        Ok(())
    }

    /// Ends the listing because the output has ended before the end of the listing;
    /// returns the error.
    fn fail_at_early_end(&mut self) -> io::Error {
        let exit_result = match self.command_output.exit_result() {
            Ok(exit_result) => exit_result,
            Err(error) => {
                self.section = Section::Done;
                return error;
            }
        };
        let Section::Marked { is_inside, commands, .. } = self.section.clone() else {
            return self.fail("the output ended early");
        };
        self.section = Section::Done;
        if !is_inside {
            return self.fail_without_listing(&commands);
        }
        match exit_result {
            Err(problem) => self.fail(&problem),
            Ok(()) => self.fail("the output ended early"),
        }
    }

    /// Ends the listing because no command has printed one; returns the error.
    fn fail_without_listing(&mut self, commands: &[String]) -> io::Error {
        if commands.is_empty() {
            return self.fail("the command printed nothing");
        }
        self.fail(&format!("none of these commands worked: {}", commands.join(", ")))
    }

    /// Ends the listing; returns the error, with a line of the output that may
    /// explain it.
    fn fail(&mut self, problem: &str) -> io::Error {
        self.section = Section::Done;
        let explanation = self.command_output.last_error_line().or_else(|| self.first_line.take());
        io::Error::other(match explanation {
            Some(explanation) => format!("{problem} ({explanation})"),
            None => problem.to_owned(),
        })
    }
}

impl<R: CommandOutput> BufRead for RemoteListing<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.prepare_part()?;
        Ok(&self.buffer[self.start..self.end])
    }

    fn consume(&mut self, amount: usize) {
        self.start = self.end.min(self.start + amount);
    }
}

impl<R: CommandOutput> Read for RemoteListing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, buffer)
    }
}

/// Returns the range of the first complete line that begins with `marker`.
fn find_marker_line(bytes: &[u8], marker: &[u8]) -> Option<(usize, usize)> {
    let start = memchr::memmem::find_iter(bytes, marker)
        .find(|&start| start == 0 || bytes[start - 1] == b'\n')?;
    let length = memchr::memchr(b'\n', &bytes[start..])?;
    Some((start, start + length))
}

/// Returns the offset of the first line that is a marker within the listings.
fn find_marker(lines: &[u8]) -> Option<usize> {
    memchr::memmem::find_iter(lines, b"topip-").find(|&start| {
        let is_line_start = start == 0 || lines[start - 1] == b'\n';
        is_line_start
            && [ADDRESS_MARKER, MACHINE_MARKER, TRY_MARKER, END_MARKER]
                .iter()
                .any(|marker| lines[start..].starts_with(marker))
    })
}

/// Returns the byte order of a machine by its name in `uname -m`.
fn byte_order_of_machine(machine: &str) -> ByteOrder {
    let big = ["s390", "ppc", "powerpc", "mips", "sparc", "m68k", "parisc", "aarch64_be", "armeb"];
    let little = ["ppc64le", "ppcle", "powerpc64le", "mipsel", "mips64el"];
    if big.iter().any(|prefix| machine.starts_with(prefix)) && !little.contains(&machine) {
        ByteOrder::Big
    } else {
        ByteOrder::Little
    }
}

/// Returns the identity of a server: its boot ID, which is a UUID (random(4)), and its end
/// of the session connection. `None` if the server has not reported both.
fn server_identity(
    boot_id: Option<&str>,
    session_connection: Option<SessionConnection>,
) -> Option<ServerIdentity> {
    const UUID_LENGTH: usize = 36;
    let boot_id = boot_id.filter(|boot_id| boot_id.len() == UUID_LENGTH)?;
    let session_connection = session_connection.filter(|connection| connection.is_confirmed)?;
    Some(ServerIdentity { boot_id: boot_id.to_owned(), address: session_connection.local })
}

/// Parses `$SSH_CONNECTION`, the TCP connection of this session as the server sees
/// it: address and port of the client, then of the server.
fn parse_ssh_connection(words: &[&str]) -> Option<SessionConnection> {
    let [client, client_port, server, server_port] = words else { return None };
    let end = |address: &str, port: &str| {
        // A zone ID may follow an address.
        let address = address.split('%').next()?.parse::<IpAddr>().ok()?;
        Some(SocketAddr::new(address.to_canonical(), port.parse().ok()?))
    };
    let (local, peer) = (end(server, server_port)?, end(client, client_port)?);
    Some(SessionConnection { local, peer, is_confirmed: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_in_sudoers_advice_is_escaped() {
        let request =
            ListingRequest { table_kind: TableKind::Flows, protocol: Protocol::Tcp, command: None };
        let hint = request.no_listing_hint(Some("DOM\\user,2"));
        assert!(hint.contains(": DOM\\\\user\\,2 ALL=(root) NOPASSWD: "), "{hint}");
        assert_eq!(sudoers_word("monitor"), "monitor");
    }

    #[test]
    fn byte_order_follows_the_machine_name() {
        for machine in ["x86_64", "aarch64", "ppc64le", "mips64el", "riscv64", "armv7l", ""] {
            assert_eq!(byte_order_of_machine(machine), ByteOrder::Little, "{machine}");
        }
        for machine in ["s390x", "ppc64", "mips", "sparc64"] {
            assert_eq!(byte_order_of_machine(machine), ByteOrder::Big, "{machine}");
        }
    }

    #[test]
    fn markers_are_found_only_at_line_starts() {
        let output = b"x topip-begin\ntopip-begin a\n";
        assert_eq!(find_marker_line(output, BEGIN_MARKER), Some((14, 27)));
        assert_eq!(find_marker_line(b"topip-begin", BEGIN_MARKER), None);
        assert_eq!(find_marker(b"a\ntopip-end 0 ss\n"), Some(2));
        assert_eq!(find_marker(b"a topip-end 0 ss\n"), None);
    }

    /// Output of a command that succeeds.
    struct Output(&'static [u8]);

    impl CommandOutput for Output {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }

        fn exit_result(&mut self) -> io::Result<Result<(), String>> {
            Ok(Ok(()))
        }

        fn last_error_line(&self) -> Option<String> {
            None
        }
    }

    #[test]
    fn machine_may_be_reported_with_the_listing() {
        for (output, byte_order) in [
            (&b"topip-begin SunOS sparc\ntopip-try a\nrow\n"[..], ByteOrder::Big),
            (b"topip-begin Linux unknown\ntopip-try a\nrow\n", ByteOrder::Little),
            (
                b"topip-begin Linux unknown\ntopip-try proc\ntopip-machine s390x\nrow\n",
                ByteOrder::Big,
            ),
        ] {
            let mut listing = RemoteListing::new(Output(output));
            let request = ListingRequest {
                table_kind: TableKind::Sockets,
                protocol: Protocol::Tcp,
                command: None,
            };
            let start = listing.read_start(&request, None).expect("a listing begins");
            assert_eq!(start.byte_order, Some(byte_order));
            assert_eq!(listing.fill_buf().expect("there is a row"), b"row\n");
        }
    }

    #[test]
    fn session_connection_is_parsed_from_four_words() {
        let connection = parse_ssh_connection(&["::ffff:192.0.2.1", "50000", "192.0.2.10", "22"]);
        let connection = connection.expect("the words are complete");
        assert_eq!(connection.peer.to_string(), "192.0.2.1:50000");
        assert_eq!(connection.local.to_string(), "192.0.2.10:22");
        assert_eq!(parse_ssh_connection(&["192.0.2.1", "50000"]), None);
    }
}
