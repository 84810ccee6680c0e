//! Servers that are sampled over SSH, with one command each.
//!
//! libssh2 implements the protocol. The modules below implement what libssh2 lacks or
//! does differently from OpenSSH: known host keys (`host_key`), the order of login
//! methods (`login`), running the listing command and reading its output (`listing`),
//! and limits for the time and the bytes of a server (`relay`).
//!
//! The time limit does not cover everything: a name server or an agent may hang. The
//! caller must open such a source on a separate thread, and stop waiting for it at the
//! deadline.
use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::ValueEnum;

use crate::{model::secret::Secret, parse::capture::Capture};

use super::{
    activity::Activity,
    remote_listing::ListingRequest,
    source_error::{SourceError, SshFailure},
};

#[cfg(feature = "ssh")]
mod stopwatch;
#[cfg(feature = "ssh")]
mod connect;
#[cfg(all(fuzzing, feature = "ssh"))]
pub mod ssh_fuzz;
#[cfg(feature = "ssh")]
mod host_key;
#[cfg(feature = "ssh")]
mod key_file;
#[cfg(feature = "ssh")]
mod listing;
#[cfg(feature = "ssh")]
mod login;
#[cfg(feature = "ssh")]
mod login_failure;
#[cfg(feature = "ssh")]
mod ssh_error;
#[cfg(feature = "ssh")]
mod packet_format;
#[cfg(feature = "ssh")]
mod password_responder;
#[cfg(feature = "ssh")]
mod relay;
#[cfg(feature = "ssh")]
mod remote_command;
#[cfg(feature = "ssh")]
mod session;

/// Type of [`connect()`]. Passing the function as a value keeps SSH out of executables that
/// never name it.
pub type ConnectFn = fn(&SshServer, &Activity) -> Result<Capture, SshError>;

/// Connects to a server over SSH and starts its listing. An executable that names
/// this function links libssh2 and OpenSSL.
///
/// # Errors
///
/// Returns an error if the server gives no listing. No credential is sent to a server
/// whose host key was rejected.
#[cfg(feature = "ssh")]
pub fn connect(server: &SshServer, activity: &Activity) -> Result<Capture, SshError> {
    connect::open_capture(server, activity)
}

/// Stands in for SSH support in a build without the `ssh` feature.
///
/// # Errors
///
/// Always returns [`SshError::NotBuiltIn`].
#[cfg(not(feature = "ssh"))]
pub fn connect(_server: &SshServer, activity: &Activity) -> Result<Capture, SshError> {
    activity.set("nothing");
    Err(SshError::NotBuiltIn)
}

/// SSH server, with the settings for the connection and the listing.
#[derive(Clone, Debug)]
pub struct SshServer {
    /// Name or address, without brackets.
    pub host: String,
    /// TCP port of the SSH daemon.
    pub port: u16,
    /// Login name on the server.
    pub user: String,
    /// Credentials of the login.
    pub credentials: Credentials,
    /// known_hosts files. New keys are added to the first one, the user's.
    pub known_hosts: Vec<PathBuf>,
    /// True if the user has named the known_hosts files. Then they must be readable
    /// if they exist.
    pub known_hosts_explicit: bool,
    /// Treatment of unknown host keys.
    pub host_key_policy: HostKeyPolicy,
    /// Request for the listing of the server.
    pub request: ListingRequest,
    /// Time limit for the whole sample, as far as libssh2 can enforce it.
    pub timeout: Duration,
    /// Function that connects to the server.
    pub connect: ConnectFn,
}

/// Credentials of a login, tried in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Private key files that the user has named.
    pub identities: Vec<PathBuf>,
    /// Passphrase of encrypted private keys.
    pub passphrase: Option<Secret>,
    /// Password, also used for keyboard-interactive.
    pub password: Option<Secret>,
    /// Socket of the SSH agent.
    pub agent: Option<PathBuf>,
    /// Default private key files, tried if they exist.
    pub default_identities: Vec<PathBuf>,
    /// True if the user can be prompted for a passphrase or password.
    pub interactive: bool,
}

/// Treatment of unknown host keys. A changed host key is rejected, except with
/// `Ignore`. The variants are the values of `--host-key`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum HostKeyPolicy {
    /// Reject the key.
    #[default]
    #[value(help = None)]
    Strict,
    /// Accept the key and append it to known_hosts.
    #[value(help = None)]
    AcceptNew,
    /// Accept any key.
    #[value(help = None)]
    Ignore,
}

impl SshServer {
    /// Logs in and starts the command. The capture reads the output as it arrives.
    pub(super) fn open(&self, activity: &Activity) -> Result<Vec<Capture>, SourceError> {
        match (self.connect)(self, activity) {
            Ok(capture) => Ok(vec![capture]),
            Err(error) => {
                let hint = error.hint(self);
                Err(SshFailure { error, hint }.into())
            }
        }
    }

    /// Returns the name in the form of known_hosts: `web1`, `[2001:db8::1]:2222`. Port
    /// 22 is omitted.
    #[must_use]
    pub fn name(&self) -> String {
        Self::name_of(&self.host, self.port)
    }

    /// Returns the [`name`](Self::name) of a server by its host and port.
    #[must_use]
    pub fn name_of(host: &str, port: u16) -> String {
        if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") }
    }
}

/// Failure to get a listing from a server.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are host, user, file and cause, as each sentence says")]
// `host` is the name of the server with its port, as in known_hosts.
pub enum SshError {
    /// This executable was built without SSH.
    #[error("this topip was built without SSH")]
    NotBuiltIn,
    /// The name cannot be resolved.
    #[error("cannot find the address of {host}")]
    Resolve { host: String, source: io::Error },
    /// No address of the server answers; the error is that of the last one.
    #[error("cannot connect to {host}, {address}")]
    Connect { host: String, address: IpAddr, source: io::Error },
    /// The SSH handshake failed.
    #[error("cannot establish an SSH session with {host}: {problem}")]
    Handshake { host: String, problem: String },
    /// No known_hosts file has a host key of the server.
    #[error("cannot log in to {host}: its {key_type} host key {fingerprint} is not known")]
    UnknownHostKey { host: String, key_type: &'static str, fingerprint: String },
    /// The host key differs from the one in known_hosts.
    #[error("cannot log in to {host}: host key does not match {} line {line}", file.display())]
    ChangedHostKey { host: String, file: PathBuf, line: usize },
    /// The host key is marked as revoked in known_hosts.
    #[error("cannot log in to {host}: its host key is revoked by {} line {line}", file.display())]
    RevokedHostKey { host: String, file: PathBuf, line: usize },
    /// A known_hosts file cannot be read or written.
    #[error("cannot log in to {host}: cannot {action} {}", file.display())]
    KnownHosts { host: String, action: &'static str, file: PathBuf, source: io::Error },
    /// A private key file that the user has named cannot be read.
    #[error("cannot log in to {host}: cannot use the key {}", path.display())]
    KeyFile { host: String, path: PathBuf, source: io::Error },
    /// A private key file that the user has named can be read but not used.
    #[error("cannot log in to {host}: cannot use the key {}: {problem}", path.display())]
    UnusableKey { host: String, path: PathBuf, problem: KeyFileError },
    /// No credential was accepted.
    #[error("cannot log in to {host} as {user}: {reason}")]
    Login { host: String, user: String, reason: String, advice: LoginAdvice },
    /// The password has expired, and the server runs no command before it is changed.
    #[error("cannot run a command on {host} as {user}: {problem}")]
    PasswordExpired { host: String, user: String, problem: String },
    /// The connection has ended before the listing.
    #[error("cannot read the listing of {host}: {problem}")]
    Disconnected { host: String, problem: String },
    /// The command could not be started.
    #[error("cannot run a command on {host}: {problem}")]
    Exec { host: String, problem: String },
    /// The command ran but printed no listing.
    #[error("{host} gave no listing: {problem}")]
    NoListing { host: String, problem: String },
}

/// Reason why the file of a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read.
    #[error("{0}")]
    Read(io::Error),
    /// Other users may read the file.
    #[error("others may read it")]
    NotPrivate,
    /// The file does not contain a private key.
    #[error("it is not a private key")]
    NotAPrivateKey,
    /// The file is UTF-16, as redirected output of PowerShell is.
    #[error("it is UTF-16 text instead of ASCII")]
    Utf16,
    /// The certificate is for another key, or the file is not a certificate.
    #[error("it is not a certificate for this key")]
    ForeignCertificate,
}

/// Advice after a failed login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginAdvice {
    /// Name a key or a password: neither was available.
    AddCredential,
    /// Name the password that the server wants in addition to what it has accepted.
    AddPassword,
    /// Name the right key: the server closes the connection before that key is tried.
    NameKey,
    /// Change the password, which has expired.
    ChangePassword,
    /// Try the keys with ssh.
    TryKeys,
    /// Try the password with ssh.
    TryPassword,
    /// Try the keys and the password with ssh.
    TryKeysAndPassword,
}

impl KeyFileError {
    /// Returns true if the file does not exist.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Read(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

impl SshError {
    /// Creates the error for a key file that cannot be used.
    #[must_use]
    pub fn from_key_file(server: &SshServer, path: PathBuf, error: KeyFileError) -> Self {
        let host = server.name();
        match error {
            KeyFileError::Read(source) => Self::KeyFile { host, path, source },
            problem => Self::UnusableKey { host, path, problem },
        }
    }

    /// Returns a hint on how to fix the problem.
    #[must_use]
    pub fn hint(&self, server: &SshServer) -> String {
        match self {
            Self::NotBuiltIn => {
                "Build topip with the feature ssh, which is enabled by default.".to_owned()
            }
            Self::Resolve { .. } => format!("Try: getent hosts {}", server.host),
            Self::UnknownHostKey { .. } => {
                let file = server
                    .known_hosts
                    .first()
                    .map_or_else(String::new, |file| format!(" to {}", file.display()));
                format!(
                    "Compare the fingerprint, and add the output of ssh-keyscan {}{}{file}, \
                     or use `--host-key` accept-new once.",
                    server.port_option(),
                    server.host
                )
            }
            Self::ChangedHostKey { file, .. } => format!(
                "If the server was reinstalled, remove the old key: ssh-keygen -f {} -R {}. If \
                 not, an attacker may intercept the connection.",
                file.display(),
                server.name()
            ),
            Self::RevokedHostKey { .. } => {
                "Do not log in to a server that has this key.".to_owned()
            }
            Self::KnownHosts { .. } => "Name another file with `--known-hosts`.".to_owned(),
            Self::UnusableKey { path, problem, .. } => key_file_hint(path, problem),
            Self::KeyFile { path, .. } => {
                format!("Check that it is a private key: ls -l {}", path.display())
            }
            Self::NoListing { .. } => server.request.no_listing_hint(Some(&server.user)),
            Self::Login { advice, .. } => server.login_hint(*advice),
            Self::PasswordExpired { .. } => server.login_hint(LoginAdvice::ChangePassword),
            Self::Connect { .. } | Self::Handshake { .. } => {
                server.login_hint(LoginAdvice::TryKeys)
            }
            Self::Exec { .. } | Self::Disconnected { .. } => {
                server.login_hint(server.credentials.advice())
            }
        }
    }
}

fn key_file_hint(path: &Path, problem: &KeyFileError) -> String {
    let path = path.display();
    match problem {
        KeyFileError::NotPrivate => format!("chmod 600 {path}"),
        KeyFileError::Utf16 => {
            format!("Convert the file: iconv -f UTF-16 -t ASCII {path}, into a file with mode 600.")
        }
        KeyFileError::ForeignCertificate => {
            format!("Compare the certificate with the key: ssh-keygen -L -f {path}")
        }
        KeyFileError::Read(_) | KeyFileError::NotAPrivateKey => {
            format!("Check that it is a private key: ls -l {path}")
        }
    }
}

impl Credentials {
    /// Returns the advice to try the credentials of the check with ssh.
    fn advice(&self) -> LoginAdvice {
        match self.password {
            Some(_) if self.identities.is_empty() => LoginAdvice::TryPassword,
            Some(_) => LoginAdvice::TryKeysAndPassword,
            None => LoginAdvice::TryKeys,
        }
    }
}

impl SshServer {
    fn login_hint(&self, advice: LoginAdvice) -> String {
        let command = match advice {
            LoginAdvice::AddCredential => {
                return "Name a key with `--identity`, or the file of a password with \
                        `--password-file`."
                    .to_owned();
            }
            LoginAdvice::AddPassword => {
                return "Name the file of the password with `--password-file`.".to_owned();
            }
            LoginAdvice::NameKey => {
                return "Name the key of this server with `--identity`; the file of a public key \
                        selects a key of the agent."
                    .to_owned();
            }
            LoginAdvice::ChangePassword => {
                return format!("Log in and change the password: {}", self.ssh_command("", ""));
            }
            LoginAdvice::TryKeys => self.ssh_command("-o BatchMode=yes ", " true"),
            LoginAdvice::TryPassword => self.ssh_command("-o PubkeyAuthentication=no ", " true"),
            LoginAdvice::TryKeysAndPassword => self.ssh_command("", " true"),
        };
        format!("Try, as the user that runs the check: {command}")
    }

    /// Returns the command of ssh that logs in with the same keys and known hosts.
    /// `options` ends with a space, and `remote_command` begins with one.
    fn ssh_command(&self, options: &str, remote_command: &str) -> String {
        let mut command = format!("ssh {options}");
        if !options.contains("PubkeyAuthentication=no") {
            for path in &self.credentials.identities {
                command += &format!("-i {} ", path.display());
            }
        }
        match &self.known_hosts[..] {
            [file] if self.known_hosts_explicit => {
                command += &format!("-o UserKnownHostsFile={} ", file.display());
            }
            _ => {}
        }
        command += &self.port_option();
        format!("{command}{}@{}{remote_command}", self.user, self.host)
    }

    /// Returns the option of ssh and ssh-keyscan for the port, followed by a space; empty
    /// for port 22.
    fn port_option(&self) -> String {
        if self.port == 22 { String::new() } else { format!("-p {} ", self.port) }
    }
}
