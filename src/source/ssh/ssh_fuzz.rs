//! Doors for the fuzzer: files of host keys, and what a command prints on a
//! server.
use std::{
    io::{self, BufRead},
    path::PathBuf,
    time::Duration,
};

use super::{
    Credentials, HostKeyPolicy, Server, dial,
    host_key::KnownKeys,
    listing::{Begun, Listing},
    remote_command::Output,
};
use crate::parse::{
    Subject,
    capture::{ByteOrder, OwnConnection},
};

fn server(known_hosts: Vec<PathBuf>, command: Option<String>) -> Server {
    Server {
        host: "web1".to_owned(),
        port: 22,
        user: "monitor".to_owned(),
        credentials: Credentials::default(),
        known_hosts,
        known_hosts_asked_for: true,
        host_key_policy: HostKeyPolicy::Strict,
        subject: Subject::Sockets,
        command,
        patience: Duration::from_secs(10),
        dial,
    }
}

/// The keys of `web1` in a file, as text, and the algorithms that are asked for.
///
/// # Panics
///
/// Where the file cannot be read.
#[must_use]
pub fn known_hosts(file: PathBuf) -> (String, String) {
    let known = KnownKeys::read(&server(vec![file], None)).expect("it can be read");
    (format!("{known:?}"), known.preference())
}

/// What a server prints, some bytes at a time.
struct Printed<'a> {
    text: &'a [u8],
    at_once: usize,
    end: &'a Result<(), String>,
    complaint: Option<&'a str>,
}

impl Output for Printed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.text.len().min(self.at_once).min(buffer.len());
        let (read, rest) = self.text.split_at(length);
        buffer[..length].copy_from_slice(read);
        self.text = rest;
        Ok(length)
    }

    fn end(&mut self) -> io::Result<Result<(), String>> {
        Ok(self.end.clone())
    }

    fn last_complaint(&self) -> Option<String> {
        self.complaint.map(str::to_owned)
    }
}

/// What is known of a listing, and what is in it.
pub type Read = (String, Option<ByteOrder>, Option<OwnConnection>, Vec<u8>, Result<(), String>);

/// The listing in what a server prints, `at_once` bytes at a time, and how it
/// ends; or why there is none.
///
/// # Errors
///
/// Where it does not begin.
pub fn listing(
    text: &[u8],
    at_once: usize,
    end: &Result<(), String>,
    complaint: Option<&str>,
    command: Option<&str>,
) -> Result<Read, String> {
    let printed = Printed { text, at_once, end, complaint };
    let server = server(Vec::new(), command.map(str::to_owned));
    let mut listing = Listing::new(printed);
    let begun = listing.begin(&server, None).map_err(|error| error.to_string())?;
    let Begun { command, byte_order, own, .. } = begun;
    let mut bytes = Vec::new();
    let outcome = loop {
        let length = match listing.fill_buf() {
            Ok([]) => break Ok(()),
            Ok(piece) => {
                bytes.extend_from_slice(piece);
                piece.len()
            }
            Err(error) => break Err(error.to_string()),
        };
        listing.consume(length);
    };
    Ok((command, byte_order, own, bytes, outcome))
}
