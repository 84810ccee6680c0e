//! Whose host key is whose, as OpenSSH judges it (sshd(8), "SSH_KNOWN_HOSTS FILE
//! FORMAT").
//!
//! libssh2 has an answer of its own, which differs: it knows no patterns and no
//! revocations, stops at a line that it cannot read, and takes another *type* of
//! key for another key. So the files are read here. Only names that are hashed
//! are left to it, line by line.
#![expect(clippy::disallowed_types, reason = "this is where known_hosts is opened")]
use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    process::geteuid,
};
use ssh2::{CheckResult, HashType, HostKeyType, KnownHostFileKind, Session};

use super::{HostKeyPolicy, Server, SshError};
use crate::sys::trusted_file::{Folder, FolderError, Missing};

/// How long such a file may be.
const LONGEST: u64 = 64 * 1024 * 1024;

/// The host key algorithms that can be checked here, the best first, and the
/// type that known_hosts calls their keys. No certificates: libssh2 cannot
/// check them.
const ALGORITHMS: [(&str, &str); 6] = [
    ("ssh-ed25519", "ssh-ed25519"),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"),
    ("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384"),
    ("ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521"),
    ("rsa-sha2-512", "ssh-rsa"),
    ("rsa-sha2-256", "ssh-rsa"),
];

/// The lines of known_hosts that are about one server.
#[derive(Debug, Default)]
pub(super) struct KnownKeys {
    keys: Vec<KnownKey>,
}

#[derive(Debug)]
struct KnownKey {
    file: PathBuf,
    line: usize,
    revoked: bool,
    key_type: String,
    /// The key as SSH sends it.
    blob: Vec<u8>,
    /// Whether the line names the port; one that does not is asked only where
    /// none does.
    names_port: bool,
}

impl KnownKeys {
    /// Reads what is known of `server`. A file that is not there knows nothing,
    /// and a line that cannot be read is skipped.
    pub(super) fn read(server: &Server) -> Result<Self, SshError> {
        let mut known = Self::default();
        if server.host_key_policy == HostKeyPolicy::Ignore {
            return Ok(known);
        }
        let hashes = Session::new().map_err(|error| SshError::Handshake {
            host: server.host.clone(),
            problem: error.message().to_owned(),
        })?;
        for file in &server.known_hosts {
            let failed = |source| failed(server, "read", file, source);
            let mut bytes = Vec::new();
            match File::open(file) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                // A service may have no home to speak of.
                Err(error) if !server.known_hosts_asked_for && is_of_the_file(&error) => continue,
                opened => opened
                    .and_then(|opened| {
                        ones_own(file, opened)?.take(LONGEST).read_to_end(&mut bytes)
                    })
                    .map_err(failed)?,
            };
            known.add(file, &String::from_utf8_lossy(&bytes), server, &hashes);
        }
        // As OpenSSH does: the name alone counts where nothing is said of the
        // port.
        if known.keys.iter().any(|key| key.names_port && !key.revoked) {
            known.keys.retain(|key| key.names_port || key.revoked);
        }
        Ok(known)
    }

    fn add(&mut self, file: &Path, text: &str, server: &Server, hashes: &Session) {
        let (with_port, host) =
            (server.name().to_ascii_lowercase(), server.host.to_ascii_lowercase());
        for (line, number) in text.lines().zip(1..) {
            let Some(Line { revoked, hosts, key_type, blob }) = Line::read(line) else { continue };
            let names = |name: &str| {
                if hosts.starts_with("|1|") {
                    names_hashed(hashes, hosts, &key_type, &blob, name)
                } else {
                    matches_list(hosts, name)
                }
            };
            let names_port = names(&with_port);
            if names_port || names(&host) {
                let file = file.to_owned();
                let key = KnownKey { file, line: number, revoked, key_type, blob, names_port };
                self.keys.push(key);
            }
        }
    }

    /// The algorithms to ask for: those of known keys first, so that a server
    /// with several keys shows one that is known.
    pub(super) fn preference(&self) -> String {
        let is_known =
            |key_type: &str| self.keys.iter().any(|key| !key.revoked && key.key_type == key_type);
        let known = ALGORITHMS.iter().filter(|(_, key_type)| is_known(key_type));
        let unknown = ALGORITHMS.iter().filter(|(_, key_type)| !is_known(key_type));
        known.chain(unknown).map(|&(algorithm, _)| algorithm).collect::<Vec<_>>().join(",")
    }
}

/// Refuses a file that anybody may have written: whose key it is would be his
/// to say.
fn ones_own(path: &Path, file: File) -> io::Result<File> {
    let metadata = file.metadata()?;
    let is_own = metadata.uid() == 0 || metadata.uid() == geteuid().as_raw();
    let is_planted = || {
        let folder = Folder::of(path, Missing::Fail);
        folder.is_err() || folder.is_ok_and(|(folder, _)| folder.is_shared())
    };
    let is_open = metadata.mode() & 0o002 != 0;
    match metadata.is_file() && (is_open || (!is_own && is_planted())) {
        true => Err(io::Error::other("others may write to it")),
        false => Ok(file),
    }
}

/// One line that is about keys.
struct Line<'a> {
    revoked: bool,
    hosts: &'a str,
    key_type: String,
    blob: Vec<u8>,
}

impl<'a> Line<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
        let mut hosts = words.next().filter(|word| !word.starts_with('#'))?;
        let mut revoked = false;
        if let Some(marker) = hosts.strip_prefix('@') {
            // An authority signs certificates, which are not asked for.
            revoked = marker == "revoked";
            if !revoked {
                return None;
            }
            hosts = words.next()?;
        }
        let (key_type, key) = (words.next()?, words.next()?);
        let key = key.trim_matches(|letter: char| letter.is_ascii_control());
        let blob = STANDARD.decode(key).or_else(|_| STANDARD_NO_PAD.decode(key)).ok()?;
        // A key begins with the name of its type, after its length.
        let named = blob.get(4..4 + key_type.len())?;
        (named == key_type.as_bytes() && is_well_formed(&blob)).then(|| Self {
            revoked,
            hosts,
            key_type: key_type.to_owned(),
            blob,
        })
    }
}

/// Whether a key is texts with their lengths before them, to its end (RFC 4253,
/// section 6.6); one of ed25519 has 32 bytes (RFC 8709).
fn is_well_formed(blob: &[u8]) -> bool {
    let mut rest = blob;
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some(behind) = behind.get(length..) else { return false };
        rest = behind;
    }
    let is_ed25519 = blob.get(4..15) == Some(b"ssh-ed25519");
    rest.is_empty() && (!is_ed25519 || blob.len() == 4 + 11 + 4 + 32)
}

/// Whether a hashed name, which is HMAC-SHA1 of it, stands for `name`: libssh2
/// says so by finding another key under it.
fn names_hashed(session: &Session, hosts: &str, key_type: &str, blob: &[u8], name: &str) -> bool {
    let line = format!("{hosts} {key_type} {}", STANDARD.encode(blob));
    let Ok(mut known_hosts) = session.known_hosts() else { return false };
    if known_hosts.read_str(&line, KnownHostFileKind::OpenSSH).is_err() {
        return false;
    }
    matches!(known_hosts.check(name, b"another key"), CheckResult::Mismatch | CheckResult::Match)
}

/// Whether a list of patterns, separated by commas, takes `name`: one of them
/// has to, and none with a `!` before it may.
fn matches_list(patterns: &str, name: &str) -> bool {
    let mut found = false;
    for pattern in patterns.split(',') {
        let pattern = pattern.to_ascii_lowercase();
        match pattern.strip_prefix('!') {
            Some(pattern) if matches_pattern(pattern.as_bytes(), name.as_bytes()) => return false,
            Some(_) => {}
            None => found |= matches_pattern(pattern.as_bytes(), name.as_bytes()),
        }
    }
    found
}

/// `*` is any text, `?` any letter.
fn matches_pattern(pattern: &[u8], name: &[u8]) -> bool {
    // Where the latest * stood, and what it was last tried to take.
    let (mut star, mut p, mut n) = (None, 0, 0);
    while n < name.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, n));
            p += 1;
        } else if pattern.get(p).is_some_and(|&it| it == b'?' || it == name[n]) {
            (p, n) = (p + 1, n + 1);
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            (p, n) = (at + 1, taken + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&letter| letter == b'*')
}

/// Makes sure that the server is who it should be.
pub(super) fn verify(server: &Server, session: &Session, known: KnownKeys) -> Result<(), SshError> {
    if server.host_key_policy == HostKeyPolicy::Ignore {
        return Ok(());
    }
    let host = || server.host.clone();
    let (blob, key_type) = session.host_key().ok_or_else(|| SshError::Handshake {
        host: host(),
        problem: "it showed no host key".to_owned(),
    })?;
    let same = |key: &&KnownKey| key.blob == blob;
    if let Some(key) = known.keys.iter().filter(|key| key.revoked).find(same) {
        return Err(SshError::RevokedKey { host: host(), file: key.file.clone(), line: key.line });
    }
    let mut live = known.keys.iter().filter(|key| !key.revoked);
    if live.clone().any(|key| key.blob == blob) {
        return Ok(());
    }
    // A line without the port is no promise about this port.
    if let Some(key) = live.find(|key| key.names_port) {
        return Err(SshError::ChangedKey { host: host(), file: key.file.clone(), line: key.line });
    }
    if server.host_key_policy == HostKeyPolicy::AcceptNew {
        return write_down(server, blob);
    }
    let hash = session.host_key_hash(HashType::Sha256).unwrap_or_default();
    Err(SshError::UnknownKey {
        host: host(),
        key_type: type_name(key_type),
        fingerprint: format!("SHA256:{}", STANDARD_NO_PAD.encode(hash)),
    })
}

fn type_name(key_type: HostKeyType) -> &'static str {
    match key_type {
        HostKeyType::Ed25519 => "ED25519",
        HostKeyType::Ecdsa256 | HostKeyType::Ecdsa384 | HostKeyType::Ecdsa521 => "ECDSA",
        HostKeyType::Rsa => "RSA",
        _ => "unusual",
    }
}

/// Whether a file cannot be opened for what it is, and not for how many of them
/// are open: that would be told as a host key that nobody knows.
fn is_of_the_file(error: &io::Error) -> bool {
    let number = error.raw_os_error().map(Errno::from_raw_os_error);
    !matches!(number, Some(Errno::MFILE | Errno::NFILE))
}

fn failed(server: &Server, action: &'static str, file: &Path, source: io::Error) -> SshError {
    SshError::KnownHosts { host: server.host.clone(), action, file: file.to_owned(), source }
}

/// Adds a line to the user's file, by one write at its end: who reads it
/// meanwhile sees all of the line or nothing.
fn write_down(server: &Server, blob: &[u8]) -> Result<(), SshError> {
    let Some(file) = server.known_hosts.first() else { return Ok(()) };
    let failed = |source| failed(server, "write to", file, source);
    let length = blob.get(..4).map_or(0, |it| u32::from_be_bytes([it[0], it[1], it[2], it[3]]));
    let key_type = blob.get(4..4 + length as usize).unwrap_or_default();
    let line = format!(
        "{} {} {}\n",
        server.name(),
        String::from_utf8_lossy(key_type),
        STANDARD.encode(blob)
    );
    let mut opened = open_to_append(file).map_err(failed)?;
    let line =
        if ends_in_a_line(&mut opened).map_err(failed)? { line } else { format!("\n{line}") };
    opened.write_all(line.as_bytes()).map_err(failed)
}

/// Opens the user's file, and makes it where there is none. It may be a link of
/// his own, but nothing that somebody else has put there.
fn open_to_append(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::NONBLOCK;
    let (folder, opened) = Folder::open_linked(path, flags, Mode::from_raw_mode(0o600)).map_err(
        |error| match error {
            FolderError::Open { source, .. } => source,
            planted => io::Error::other(planted.to_string()),
        },
    )?;
    let opened = File::from(opened);
    let metadata = opened.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let is_own = metadata.uid() == 0 || metadata.uid() == geteuid().as_raw();
    if folder.is_shared() && (!is_own || metadata.nlink() > 1) {
        return Err(io::Error::other("somebody else may have put it there"));
    }
    Ok(opened)
}

fn ends_in_a_line(file: &mut File) -> io::Result<bool> {
    use std::os::unix::fs::FileExt;
    let length = file.metadata()?.len();
    let mut last = [b'\n'];
    if length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
    }
    Ok(last == [b'\n'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
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
    fn lines() {
        let key = "AAAAC3NzaC1lZDI1NTE5AAAAIGqYfLp4M5mVj7VJTMv4aYdxIqFJb1VtU5b0uC3kqkHc";
        let reads = |line: &str| Line::read(line).map(|line| (line.revoked, line.hosts.to_owned()));
        let web1 = |revoked| Some((revoked, "web1".to_owned()));
        assert_eq!(reads(&format!("web1 ssh-ed25519 {key}")), web1(false));
        assert_eq!(reads(&format!("  web1\tssh-ed25519  {key} a comment")), web1(false));
        assert_eq!(reads(&format!("@revoked web1 ssh-ed25519 {key}")), web1(true));
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
            assert_eq!(reads(&line), None, "{line}");
        }
    }
}
