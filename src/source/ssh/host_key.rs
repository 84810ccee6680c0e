//! Verifies host keys by known_hosts files, as OpenSSH does (sshd(8),
//! "SSH_KNOWN_HOSTS FILE FORMAT").
//!
//! The check of libssh2 differs: it knows neither patterns nor revocations, stops at
//! a malformed line, and takes a key of another *type* for a changed key. Therefore this
//! module reads the files, and passes only hashed names to libssh2, line by line.
#![expect(clippy::disallowed_types, reason = "this module reads and writes known_hosts")]
use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use rustix::fs::{Mode, OFlags};
use ssh2::{CheckResult, HashType, HostKeyType, KnownHostFileKind, Session};

use super::{HostKeyPolicy, SshError, SshServer, ssh_error::is_open_files_limit};
use crate::sys::trusted_file::{self, Distrust, FilePolicy, TrustedDirError, TrustedFileError};

/// Maximum number of bytes read from a known_hosts file.
const MAX_KNOWN_HOSTS_BYTES: u64 = 64 * 1024 * 1024;

/// Host key algorithms that can be verified, best first, with the key type that
/// known_hosts uses for them. Certificates are missing: libssh2 cannot verify them.
const ALGORITHMS: [(&str, &str); 6] = [
    ("ssh-ed25519", "ssh-ed25519"),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"),
    ("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384"),
    ("ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521"),
    ("rsa-sha2-512", "ssh-rsa"),
    ("rsa-sha2-256", "ssh-rsa"),
];

/// Entries of the known_hosts files that match one server.
#[derive(Debug, Default)]
pub(super) struct KnownHosts {
    entries: Vec<KnownHostEntry>,
}

/// Entry that matches the server, with its position for messages.
#[derive(Debug)]
struct KnownHostEntry {
    file: PathBuf,
    /// Line number, from 1.
    line: usize,
    is_revoked: bool,
    key_type: String,
    /// Key in the wire format of SSH.
    blob: Vec<u8>,
    /// True if the entry names the port. Entries without the port count only if no
    /// entry names it.
    names_port: bool,
}

impl KnownHosts {
    /// Reads the entries for `server`. A missing file counts as empty, and malformed
    /// lines are skipped.
    pub(super) fn read(server: &SshServer) -> Result<Self, SshError> {
        let mut known_hosts = Self::default();
        if server.host_key_policy == HostKeyPolicy::Ignore {
            return Ok(known_hosts);
        }
        let hash_session = Session::new().map_err(|error| SshError::Handshake {
            host: server.name(),
            problem: error.message().to_owned(),
        })?;
        for path in &server.known_hosts {
            let policy = FilePolicy::known_hosts_to_read(path);
            let file = match trusted_file::open_named(path, policy) {
                Err(TrustedFileError::Open(error)) if may_be_missing(server, &error) => continue,
                Err(TrustedFileError::Distrust(_)) => {
                    Err(io::Error::other("others may write to it"))
                }
                result => result.map_err(io::Error::from),
            };
            let mut bytes = Vec::new();
            file.and_then(|file| file.take(MAX_KNOWN_HOSTS_BYTES).read_to_end(&mut bytes))
                .map_err(|source| known_hosts_error(server, "read", path, source))?;
            known_hosts.add_file(path, &String::from_utf8_lossy(&bytes), server, &hash_session);
        }
        // As in OpenSSH, entries with the bare name count only if no entry names the
        // port.
        if known_hosts.entries.iter().any(|entry| entry.names_port && !entry.is_revoked) {
            known_hosts.entries.retain(|entry| entry.names_port || entry.is_revoked);
        }
        Ok(known_hosts)
    }

    fn add_file(&mut self, file: &Path, text: &str, server: &SshServer, hash_session: &Session) {
        let name_with_port = server.name().to_ascii_lowercase();
        let host = server.host.to_ascii_lowercase();
        for (text, line) in text.lines().zip(1..) {
            let Some(parsed) = KnownHostsLine::parse(text) else { continue };
            let names_port = parsed.matches(&name_with_port, hash_session);
            if names_port || parsed.matches(&host, hash_session) {
                let KnownHostsLine { is_revoked, key_type, blob, .. } = parsed;
                let file = file.to_owned();
                self.entries.push(KnownHostEntry {
                    file,
                    line,
                    is_revoked,
                    key_type,
                    blob,
                    names_port,
                });
            }
        }
    }

    /// Returns the host key algorithms to request, separated by commas. Algorithms of
    /// known keys come first, so that a server with several keys presents a known
    /// one.
    pub(super) fn preferred_algorithms(&self) -> String {
        let known = ALGORITHMS.iter().filter(|(_, key_type)| self.has_valid(key_type));
        let unknown = ALGORITHMS.iter().filter(|(_, key_type)| !self.has_valid(key_type));
        known.chain(unknown).map(|&(algorithm, _)| algorithm).collect::<Vec<_>>().join(",")
    }

    /// Returns true if a key of this type is known and not revoked.
    fn has_valid(&self, key_type: &str) -> bool {
        self.entries.iter().any(|entry| !entry.is_revoked && entry.key_type == key_type)
    }
}

/// Parsed line of a known_hosts file.
struct KnownHostsLine<'a> {
    is_revoked: bool,
    /// Host patterns separated by commas, or a hashed name.
    hosts: &'a str,
    key_type: String,
    /// Key in the wire format of SSH.
    blob: Vec<u8>,
}

impl<'a> KnownHostsLine<'a> {
    /// Parses a line; `None` for comments, certificate authorities and malformed
    /// lines.
    fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
        let mut hosts = words.next().filter(|word| !word.starts_with('#'))?;
        let mut is_revoked = false;
        if let Some(marker) = hosts.strip_prefix('@') {
            // The other marker, @cert-authority, is for certificates, which are not
            // requested.
            is_revoked = marker == "revoked";
            if !is_revoked {
                return None;
            }
            hosts = words.next()?;
        }
        let (key_type, key) = (words.next()?, words.next()?);
        let key = key.trim_matches(|letter: char| letter.is_ascii_control());
        let blob = STANDARD.decode(key).or_else(|_| STANDARD_NO_PAD.decode(key)).ok()?;
        // A key begins with the length and the name of its type.
        let blob_type = blob.get(4..4 + key_type.len())?;
        if blob_type != key_type.as_bytes() || !is_well_formed(&blob) {
            return None;
        }
        Some(Self { is_revoked, hosts, key_type: key_type.to_owned(), blob })
    }

    fn matches(&self, name: &str, hash_session: &Session) -> bool {
        if self.hosts.starts_with("|1|") {
            matches_hashed(hash_session, self.hosts, &self.key_type, &self.blob, name)
        } else {
            matches_list(self.hosts, name)
        }
    }
}

/// Returns true if a key consists of strings, each preceded by its length (RFC 4253,
/// section 6.6). An Ed25519 key must have 32 bytes (RFC 8709).
fn is_well_formed(blob: &[u8]) -> bool {
    let mut rest = blob;
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some(tail) = tail.get(length..) else { return false };
        rest = tail;
    }
    let is_ed25519 = blob.get(4..15) == Some(b"ssh-ed25519");
    rest.is_empty() && (!is_ed25519 || blob.len() == 4 + 11 + 4 + 32)
}

/// Returns true if a hashed host name (HMAC-SHA1) is the hash of `name`: libssh2
/// then reports a mismatch for a different key under that name.
fn matches_hashed(session: &Session, hosts: &str, key_type: &str, blob: &[u8], name: &str) -> bool {
    let line = format!("{hosts} {key_type} {}", STANDARD.encode(blob));
    let Ok(mut known_hosts) = session.known_hosts() else { return false };
    if known_hosts.read_str(&line, KnownHostFileKind::OpenSSH).is_err() {
        return false;
    }
    matches!(known_hosts.check(name, b"another key"), CheckResult::Mismatch | CheckResult::Match)
}

/// Returns true if `name` matches at least one pattern of a comma-separated list, and
/// no pattern that is negated with `!`.
fn matches_list(patterns: &str, name: &str) -> bool {
    let mut is_match = false;
    for pattern in patterns.split(',') {
        let pattern = pattern.to_ascii_lowercase();
        match pattern.strip_prefix('!') {
            Some(pattern) if matches_pattern(pattern.as_bytes(), name.as_bytes()) => return false,
            Some(_) => {}
            None => is_match |= matches_pattern(pattern.as_bytes(), name.as_bytes()),
        }
    }
    is_match
}

/// Matches a pattern in which `*` stands for any text and `?` for any character.
fn matches_pattern(pattern: &[u8], name: &[u8]) -> bool {
    // Position of the latest `*`, and end of the text that it matches in the current
    // attempt.
    let (mut star, mut pattern_index, mut name_index) = (None, 0, 0);
    while name_index < name.len() {
        let letter = pattern.get(pattern_index);
        if letter == Some(&b'*') {
            star = Some((pattern_index, name_index));
            pattern_index += 1;
        } else if letter.is_some_and(|&letter| letter == b'?' || letter == name[name_index]) {
            (pattern_index, name_index) = (pattern_index + 1, name_index + 1);
        } else if let Some((star_index, star_end)) = star {
            star = Some((star_index, star_end + 1));
            (pattern_index, name_index) = (star_index + 1, star_end + 1);
        } else {
            return false;
        }
    }
    pattern[pattern_index..].iter().all(|&letter| letter == b'*')
}

/// Verifies the host key that the server has presented.
pub(super) fn verify(
    server: &SshServer,
    session: &Session,
    known_hosts: KnownHosts,
) -> Result<(), SshError> {
    if server.host_key_policy == HostKeyPolicy::Ignore {
        return Ok(());
    }
    let (blob, key_type) = session.host_key().ok_or_else(|| SshError::Handshake {
        host: server.name(),
        problem: "the server presented no host key".to_owned(),
    })?;
    let (revoked, valid): (Vec<_>, Vec<_>) =
        known_hosts.entries.into_iter().partition(|entry| entry.is_revoked);
    if let Some(KnownHostEntry { file, line, .. }) =
        revoked.into_iter().find(|entry| entry.blob == blob)
    {
        return Err(SshError::RevokedHostKey { host: server.name(), file, line });
    }
    if valid.iter().any(|entry| entry.blob == blob) {
        return Ok(());
    }
    // Only an entry that names the port proves a change: another server may run on
    // another port of the same host.
    if let Some(KnownHostEntry { file, line, .. }) =
        valid.into_iter().find(|entry| entry.names_port)
    {
        return Err(SshError::ChangedHostKey { host: server.name(), file, line });
    }
    if server.host_key_policy == HostKeyPolicy::AcceptNew {
        return append_key(server, blob);
    }
    let hash = session.host_key_hash(HashType::Sha256).unwrap_or_default();
    Err(SshError::UnknownHostKey {
        host: server.name(),
        key_type: key_type_name(key_type),
        fingerprint: format!("SHA256:{}", STANDARD_NO_PAD.encode(hash)),
    })
}

fn key_type_name(key_type: HostKeyType) -> &'static str {
    match key_type {
        HostKeyType::Ed25519 => "ED25519",
        HostKeyType::Ecdsa256 | HostKeyType::Ecdsa384 | HostKeyType::Ecdsa521 => "ECDSA",
        HostKeyType::Rsa => "RSA",
        _ => "unusual",
    }
}

/// Returns true if a file that failed to open counts as empty.
///
/// The default files need not be readable: the home directory of a service user may
/// be inaccessible. Skipping one for too many open files would report a known key as
/// unknown.
fn may_be_missing(server: &SshServer, error: &io::Error) -> bool {
    let is_skipped = !server.known_hosts_explicit && !is_open_files_limit(error);
    error.kind() == io::ErrorKind::NotFound || is_skipped
}

fn known_hosts_error(
    server: &SshServer,
    action: &'static str,
    file: &Path,
    source: io::Error,
) -> SshError {
    SshError::KnownHosts { host: server.name(), action, file: file.to_owned(), source }
}

/// Appends the key to the user's known_hosts file.
fn append_key(server: &SshServer, blob: &[u8]) -> Result<(), SshError> {
    let Some(path) = server.known_hosts.first() else { return Ok(()) };
    let length = blob.get(..4).map_or(0, |it| u32::from_be_bytes([it[0], it[1], it[2], it[3]]));
    let key_type = blob.get(4..4 + length as usize).unwrap_or_default();
    let line = format!(
        "{} {} {}\n",
        server.name(),
        String::from_utf8_lossy(key_type),
        STANDARD.encode(blob)
    );
    append_line(path, line).map_err(|source| known_hosts_error(server, "write to", path, source))
}

/// Appends a line with a single write, so that a concurrent reader sees either the
/// whole line or none of it.
fn append_line(path: &Path, mut line: String) -> io::Result<()> {
    let mut file = open_for_append(path)?;
    if trusted_file::ends_mid_line(&file)? {
        line.insert(0, '\n');
    }
    file.write_all(line.as_bytes())
}

/// Opens the user's known_hosts file and creates it if it does not exist. The file may
/// be a link of this user, but not a file or link that another user may have planted.
fn open_for_append(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE;
    let mode = Mode::from_raw_mode(0o600);
    let (location, file) =
        trusted_file::open_following_links(path, flags, mode).map_err(|error| match error {
            TrustedDirError::Open(errno) => errno.into(),
            untrusted => io::Error::other(untrusted.to_string()),
        })?;
    match FilePolicy::known_hosts_to_append(&location.directory).check(&file) {
        Err(TrustedFileError::Distrust(Distrust::NotRegularFile)) => {
            Err(io::Error::other("it is not a regular file"))
        }
        Err(TrustedFileError::Distrust(_)) => {
            Err(io::Error::other("another user may have created it"))
        }
        result => Ok(result.map(|()| file)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_patterns_match_as_in_openssh() {
        let check = |list: &str, name: &str, expected| {
            assert_eq!(matches_list(list, name), expected, "{list} {name}");
        };
        check("web1", "web1", true);
        check("WEB1", "web1", true);
        check("web1", "web10", false);
        check("web2,web1", "web1", true);
        check("*", "web1", true);
        check("web?", "web1", true);
        check("web?", "web", false);
        check("*.example.com", "web1.example.com", true);
        check("*.example.com,!web1.*", "web1.example.com", false);
        check("!web1", "web2", false);
        check("[127.0.0.*]:2222", "[127.0.0.1]:2222", true);
        check("[127.0.0.*]:2222", "[127.0.0.1]:2223", false);
        check("a*b*c", "aXbYbZc", true);
        check("a*b*c", "aXbYbZ", false);
        check("**", "", true);
    }

    #[test]
    fn only_complete_key_lines_are_parsed() {
        let key = "AAAAC3NzaC1lZDI1NTE5AAAAIGqYfLp4M5mVj7VJTMv4aYdxIqFJb1VtU5b0uC3kqkHc";
        let parse = |line: &str| {
            KnownHostsLine::parse(line).map(|line| (line.is_revoked, line.hosts.to_owned()))
        };
        let web1 = |is_revoked| Some((is_revoked, "web1".to_owned()));
        assert_eq!(parse(&format!("web1 ssh-ed25519 {key}")), web1(false));
        assert_eq!(parse(&format!("  web1\tssh-ed25519  {key} a comment")), web1(false));
        assert_eq!(parse(&format!("@revoked web1 ssh-ed25519 {key}")), web1(true));
        for line in [
            String::new(),
            "# comment".to_owned(),
            "badline".to_owned(),
            "web1 ssh-ed25519".to_owned(),
            "web1 1024 35 1234567890".to_owned(),
            format!("web1 ssh-rsa {key}"),
            format!("web1 ssh-ed25519 {}", &key[..64]),
            format!("@cert-authority * ssh-ed25519 {key}"),
            "web1 ssh-ed25519 !!!!".to_owned(),
        ] {
            assert_eq!(parse(&line), None, "{line}");
        }
    }
}
