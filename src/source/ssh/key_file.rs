//! Reads key files: private keys, public keys and certificates.
use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use super::KeyFileError;
use crate::sys::trusted_file::{self, FilePolicy, TrustedFileError};

/// Maximum number of bytes read from a key file. The longest keys, RSA with 16384 bits,
/// have 13 KiB.
const MAX_KEY_BYTES: usize = 64 * 1024;
/// First bytes of a private key in OpenSSH's own format (`PROTOCOL.key` of OpenSSH).
const OPENSSH_MAGIC: &[u8] = b"openssh-key-v1\0";
/// End of the names of certificate types.
const CERTIFICATE_SUFFIX: &[u8] = b"-cert-v01@openssh.com";

/// Key in a file, for a login.
pub(super) enum KeyFile {
    Private(PrivateKey),
    /// The private key is in the agent.
    Public(PublicKey),
}

/// Private key as text, in any format that libssh2 reads.
pub(super) struct PrivateKey {
    pub(super) text: Zeroizing<String>,
    pub(super) is_encrypted: bool,
    /// Its public key; `None` if the file has another format than OpenSSH's.
    pub(super) public_key: Option<PublicKey>,
}

/// Public key or certificate.
pub(super) struct PublicKey {
    /// Line of the file, in the form of authorized_keys.
    pub(super) line: String,
    /// Key in the wire format of SSH.
    pub(super) blob: Vec<u8>,
}

impl KeyFile {
    /// Reads the file of a private or public key.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read or has no key, or if other users can
    /// read a private key.
    pub(super) fn read(path: &Path) -> Result<Self, KeyFileError> {
        match trusted_file::open_named(path, FilePolicy::secret()) {
            Ok(file) => Self::parse(read_bounded(file)?),
            Err(TrustedFileError::Distrust(_)) => match PublicKey::read(path)? {
                Some(public_key) => Ok(Self::Public(public_key)),
                None => Err(KeyFileError::NotPrivate),
            },
            Err(error) => Err(KeyFileError::Read(error.into())),
        }
    }

    fn parse(mut bytes: Zeroizing<Vec<u8>>) -> Result<Self, KeyFileError> {
        if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
            return Err(KeyFileError::Utf16);
        }
        // Editors of Windows begin a file with a byte order mark, which a key must not have.
        if bytes.starts_with("\u{feff}".as_bytes()) {
            bytes.drain(.."\u{feff}".len());
        }
        let text = match String::from_utf8(std::mem::take(&mut *bytes)) {
            Ok(text) => Zeroizing::new(text),
            Err(error) => {
                drop(Zeroizing::new(error.into_bytes()));
                return Err(KeyFileError::NotAPrivateKey);
            }
        };
        if let Some(public_key) = PublicKey::parse(&text) {
            return Ok(Self::Public(public_key));
        }
        if !text.contains("PRIVATE KEY-----") {
            return Err(KeyFileError::NotAPrivateKey);
        }
        Ok(Self::Private(PrivateKey::parse(text)))
    }
}

impl PrivateKey {
    fn parse(text: Zeroizing<String>) -> Self {
        let header = decode_openssh(&text).and_then(|bytes| OpenSshHeader::parse(&bytes));
        // PEM files have a text header for the encryption.
        let is_encrypted = text.contains("BEGIN ENCRYPTED")
            || text.contains("Proc-Type: 4,ENCRYPTED")
            || header.as_ref().is_some_and(|header| header.is_encrypted);
        let public_key = header.and_then(|header| PublicKey::from_blob(header.public_blob));
        Self { text, is_encrypted, public_key }
    }

    /// Returns the path of the certificate for a key: `KEY-cert.pub`.
    pub(super) fn certificate_path(key_path: &Path) -> PathBuf {
        with_suffix(key_path, "-cert.pub")
    }

    /// Reads the certificate for this key; returns `None` if the file does not exist.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read, or is not a certificate for this key.
    pub(super) fn certificate(&self, key_path: &Path) -> Result<Option<PublicKey>, KeyFileError> {
        let certificate = match PublicKey::read(&Self::certificate_path(key_path)) {
            Ok(Some(certificate)) => certificate,
            Ok(None) => return Err(KeyFileError::ForeignCertificate),
            Err(error) if error.is_missing() => return Ok(None),
            Err(error) => return Err(error),
        };
        // The public key of a PEM file is known only from the file next to it.
        let is_for_key = match &self.public_key {
            Some(public_key) => certificate.certifies(public_key),
            None => match PublicKey::read(&with_suffix(key_path, ".pub")) {
                Ok(Some(public_key)) => certificate.certifies(&public_key),
                _ => certificate.is_certificate(),
            },
        };
        if is_for_key { Ok(Some(certificate)) } else { Err(KeyFileError::ForeignCertificate) }
    }
}

/// Returns the path with `suffix` appended to its last component.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// Part of a private key in OpenSSH's format that is never encrypted.
struct OpenSshHeader {
    is_encrypted: bool,
    public_blob: Vec<u8>,
}

impl OpenSshHeader {
    fn parse(mut fields: &[u8]) -> Option<Self> {
        let cipher = take_string(&mut fields)?;
        let (_kdf, _kdf_options) = (take_string(&mut fields)?, take_string(&mut fields)?);
        let (_n_keys, mut keys) = fields.split_first_chunk::<4>()?;
        let public_blob = take_string(&mut keys)?.to_vec();
        Some(Self { is_encrypted: cipher != b"none", public_blob })
    }
}

impl PublicKey {
    /// Reads a public key or certificate; returns `None` if the file has none.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, KeyFileError> {
        let file = trusted_file::open_named(path, FilePolicy::default());
        let file = file.map_err(|error| KeyFileError::Read(error.into()))?;
        let bytes = read_bounded(file)?;
        Ok(std::str::from_utf8(&bytes).ok().and_then(Self::parse))
    }

    fn parse(text: &str) -> Option<Self> {
        let line = text.trim_start_matches('\u{feff}').lines().map(str::trim);
        let line = line.into_iter().find(|line| !line.is_empty() && !line.starts_with('#'))?;
        let mut words = line.split_ascii_whitespace();
        let (key_type, key) = (words.next()?, words.next()?);
        let blob = STANDARD.decode(key).ok()?;
        if take_string(&mut &blob[..]) != Some(key_type.as_bytes()) {
            return None;
        }
        Some(Self { line: format!("{key_type} {key}"), blob })
    }

    fn from_blob(blob: Vec<u8>) -> Option<Self> {
        let key_type = std::str::from_utf8(take_string(&mut &blob[..])?).ok()?;
        Some(Self { line: format!("{key_type} {}", STANDARD.encode(&blob)), blob })
    }

    /// Returns true if this is a certificate for `public_key`.
    fn certifies(&self, public_key: &Self) -> bool {
        // A certificate has a nonce between the type and the key (`PROTOCOL.certkeys` of
        // OpenSSH).
        let (mut key, mut rest) = (&public_key.blob[..], &self.blob[..]);
        take_string(&mut key);
        take_string(&mut rest);
        take_string(&mut rest);
        self.is_certificate() && rest.starts_with(key)
    }

    pub(super) fn is_certificate(&self) -> bool {
        take_string(&mut &self.blob[..]).is_some_and(|name| name.ends_with(CERTIFICATE_SUFFIX))
    }
}

/// Reads a file up to [`MAX_KEY_BYTES`]. The buffer never grows: a buffer that grows
/// leaves copies of the key in freed memory.
fn read_bounded(file: impl Read) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 * MAX_KEY_BYTES));
    let read: io::Result<_> = file.take(MAX_KEY_BYTES as u64).read_to_end(&mut bytes);
    read.map_err(KeyFileError::Read)?;
    Ok(bytes)
}

/// Returns the fields of a private key in OpenSSH's format; `None` for other formats.
fn decode_openssh(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    if !text.contains("BEGIN OPENSSH") {
        return None;
    }
    let mut body = Zeroizing::new(String::with_capacity(text.len()));
    body.extend(text.lines().map(str::trim).filter(|line| !line.starts_with("-----")));
    let mut bytes = STANDARD.decode(&*body).map(Zeroizing::new).ok()?;
    if !bytes.starts_with(OPENSSH_MAGIC) {
        return None;
    }
    bytes.drain(..OPENSSH_MAGIC.len());
    Some(bytes)
}

/// Removes a string from the front of a message: its length, and its bytes (RFC 4251,
/// section 5).
fn take_string<'a>(message: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = message.split_first_chunk::<4>()?;
    let (string, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *message = rest;
    Some(string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_without_a_usable_key_are_rejected() {
        let parse = |bytes: &[u8]| match KeyFile::parse(Zeroizing::new(bytes.to_vec())) {
            Ok(KeyFile::Private(_)) => "private".to_owned(),
            Ok(KeyFile::Public(_)) => "public".to_owned(),
            Err(error) => error.to_string(),
        };
        let public = b"# comment\r\nssh-ed25519 \
            AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA me\r\n";
        assert_eq!(parse(public), "public");
        let pem = b"\xef\xbb\xbf-----BEGIN RSA PRIVATE KEY-----\r\nAAAA\r\n";
        assert_eq!(parse(pem), "private");
        for bytes in [
            &b""[..],
            b"\xff",
            b"hello\n",
            b"ssh-ed25519 !!!\n",
            b"ssh-rsa AAAAC3NzaC1lZDI1NTE5\n",
            b"-----BEGIN PUBLIC KEY-----\n",
        ] {
            assert_eq!(parse(bytes), "it is not a private key");
        }
        assert_eq!(parse(b"\xff\xfe-\0-\0"), "it is UTF-16 text instead of ASCII");
    }

    /// The lengths in a file may be wrong.
    #[test]
    fn damaged_headers_have_no_public_key() {
        for fields in [&b""[..], b"\xff\xff\xff\xff", b"\0\0\0\x04none", &[0; 12], &[0; 16]] {
            let body = STANDARD.encode([OPENSSH_MAGIC, fields].concat());
            let text = format!(
                "-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----\n"
            );
            let key = PrivateKey::parse(Zeroizing::new(text));
            assert!(key.public_key.is_none(), "{fields:?}");
        }
    }
}
