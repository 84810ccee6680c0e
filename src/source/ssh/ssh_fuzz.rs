//! Hooks for the fuzzer: known_hosts files, and the output of a command on a server.
use std::{
    io::{self, BufRead},
    path::PathBuf,
    time::Duration,
};

use super::{Credentials, HostKeyPolicy, SshServer, connect, host_key::KnownHosts};
use crate::{
    model::protocol::Protocol,
    parse::{
        TableKind,
        capture::{ByteOrder, SessionConnection},
    },
    source::remote_listing::{CommandOutput, ListingRequest, ListingStart, RemoteListing},
};

fn server(known_hosts: Vec<PathBuf>) -> SshServer {
    SshServer {
        host: "web1".to_owned(),
        port: 22,
        user: "monitor".to_owned(),
        credentials: Credentials::default(),
        known_hosts,
        known_hosts_explicit: true,
        host_key_policy: HostKeyPolicy::Strict,
        request: ListingRequest {
            table_kind: TableKind::Sockets,
            protocol: Protocol::Tcp,
            command: None,
        },
        timeout: Duration::from_secs(10),
        connect,
    }
}

/// Returns the entries for `web1` in a known_hosts file, as debug text, and the
/// algorithms to request.
///
/// # Panics
///
/// Panics if the file cannot be read.
#[must_use]
pub fn known_hosts(file: PathBuf) -> (String, String) {
    let known_hosts = KnownHosts::read(&server(vec![file])).expect("the fuzzer wrote the file");
    (format!("{known_hosts:?}"), known_hosts.preferred_algorithms())
}

/// Output of a command, passed on in chunks.
struct ChunkedOutput<'a> {
    text: &'a [u8],
    max_chunk_bytes: usize,
    exit_result: &'a Result<(), String>,
    error_line: Option<&'a str>,
}

impl CommandOutput for ChunkedOutput<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.text.len().min(self.max_chunk_bytes).min(buffer.len());
        let (chunk, rest) = self.text.split_at(length);
        buffer[..length].copy_from_slice(chunk);
        self.text = rest;
        Ok(length)
    }

    fn exit_result(&mut self) -> io::Result<Result<(), String>> {
        Ok(self.exit_result.clone())
    }

    fn last_error_line(&self) -> Option<String> {
        self.error_line.map(str::to_owned)
    }
}

/// Listing that was read: command, byte order, session connection, bytes, and the
/// result at its end.
pub type ListingResult =
    (String, Option<ByteOrder>, Option<SessionConnection>, Vec<u8>, Result<(), String>);

/// Reads the listing in the output of a command, at most `max_chunk_bytes` at a time.
///
/// # Errors
///
/// Returns an error if no listing begins in the output.
pub fn listing(
    text: &[u8],
    max_chunk_bytes: usize,
    exit_result: &Result<(), String>,
    error_line: Option<&str>,
    command: Option<&str>,
) -> Result<ListingResult, String> {
    let output = ChunkedOutput { text, max_chunk_bytes, exit_result, error_line };
    let request = ListingRequest {
        table_kind: TableKind::Sockets,
        protocol: Protocol::Tcp,
        command: command.map(str::to_owned),
    };
    let mut listing = RemoteListing::new(output);
    let start = listing.read_start(&request, None).map_err(|error| error.to_string())?;
    let ListingStart { command, byte_order, session_connection, .. } = start;
    let mut bytes = Vec::new();
    let result = loop {
        let length = match listing.fill_buf() {
            Ok([]) => break Ok(()),
            Ok(part) => {
                bytes.extend_from_slice(part);
                part.len()
            }
            Err(error) => break Err(error.to_string()),
        };
        listing.consume(length);
    };
    Ok((command, byte_order, session_connection, bytes, result))
}
