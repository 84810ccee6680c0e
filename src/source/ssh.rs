//! Servers reached by SSH: their socket tables, by one command.
//!
//! libssh2 does the protocol. What it does not do, or does otherwise than
//! OpenSSH, stands in the modules below: whose host key is known (`host_key`),
//! which ways of logging in are tried (`login`), and what is run there and how
//! its output is read (`listing`).
//!
//! Nothing here is bounded in time by itself: a name server, an agent or a peer
//! may hang in places that no time limit of libssh2 covers. Whoever opens such
//! a source does so on a thread of its own, and stops waiting for it.
use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

use crate::{
    model::secret::Secret,
    parse::{Subject, capture::Capture},
};

use super::dispatch::{SourceError, SshFailure, Watch};

#[cfg(feature = "ssh")]
mod stopwatch;
#[cfg(feature = "ssh")]
mod connect;
#[cfg(all(fuzzing, feature = "ssh"))]
pub mod ssh_fuzz;
#[cfg(feature = "ssh")]
mod host_key;
#[cfg(feature = "ssh")]
mod listing;
#[cfg(feature = "ssh")]
mod login;
#[cfg(feature = "ssh")]
mod ssh_error;
#[cfg(feature = "ssh")]
mod remote_command;
#[cfg(feature = "ssh")]
mod script;

/// Reaches a server and starts its listing: a value, so that an executable in which
/// nobody gives one links nothing of SSH.
pub type Dial = fn(&Server, &Watch) -> Result<Capture, SshError>;

/// Reaches it by SSH. Whoever names this function links libssh2 and OpenSSL.
///
/// # Errors
///
/// Where the server gives no listing. No credential is sent to a server whose host
/// key was refused.
#[cfg(feature = "ssh")]
pub fn dial(server: &Server, watch: &Watch) -> Result<Capture, SshError> {
    connect::capture(server, watch)
}

/// Reaches nothing: this topip was built without SSH.
///
/// # Errors
///
/// Always.
#[cfg(not(feature = "ssh"))]
pub fn dial(_server: &Server, watch: &Watch) -> Result<Capture, SshError> {
    watch.set("nothing");
    Err(SshError::NotBuilt)
}

/// A server and how to get there.
#[derive(Clone, Debug)]
pub struct Server {
    /// Name or address, without brackets.
    pub host: String,
    /// Where its SSH server listens.
    pub port: u16,
    /// Whom to log in as.
    pub user: String,
    /// What may prove it.
    pub credentials: Credentials,
    /// Files of known host keys, the user's first: that one takes new keys.
    pub known_hosts: Vec<PathBuf>,
    /// Whether they were asked for: then they have to be readable.
    pub known_hosts_asked_for: bool,
    /// What becomes of a host key that is not known.
    pub host_key_policy: HostKeyPolicy,
    /// Which of its tables is wanted.
    pub subject: Subject,
    /// What to run instead of the built-in choice.
    pub command: Option<String>,
    /// How long the whole may take; what libssh2 can keep to it, does.
    pub patience: Duration,
    /// By what it is reached.
    pub dial: Dial,
}

/// What may prove who one is. All are tried, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Private keys that were asked for.
    pub identities: Vec<PathBuf>,
    /// What they are encrypted with.
    pub passphrase: Option<Secret>,
    /// A password, also for keyboard-interactive.
    pub password: Option<Secret>,
    /// The agent's socket, whose keys are tried.
    pub agent: Option<PathBuf>,
    /// Private keys that are tried where they are there.
    pub default_identities: Vec<PathBuf>,
    /// Whether a person is there to be asked.
    pub may_ask: bool,
}

/// What becomes of a host key that is not known. One that has changed is
/// refused by each but the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostKeyPolicy {
    /// It is refused.
    Strict,
    /// It is taken and written down.
    AcceptNew,
    /// Whatever comes is taken.
    Ignore,
}

impl Server {
    /// Logs in and starts the command. Its output is read while it comes.
    pub(super) fn open(&self, watch: &Watch) -> Result<Vec<Capture>, SourceError> {
        match (self.dial)(self, watch) {
            Ok(capture) => Ok(vec![capture]),
            Err(error) => {
                let advice = error.advice(self);
                Err(SshFailure { error, advice }.into())
            }
        }
    }

    /// `web1`, `[2001:db8::1]:2222`: as known_hosts writes it, without a port
    /// where it is the usual one.
    #[must_use]
    pub fn name(&self) -> String {
        match self.port {
            22 => self.host.clone(),
            port => format!("[{}]:{port}", self.host),
        }
    }
}

/// Why a server gives nothing.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are host, user, file and cause, as each sentence says")]
pub enum SshError {
    /// This executable was built without it.
    #[error("this topip was built without SSH")]
    NotBuilt,
    /// The name stands for nothing.
    #[error("cannot find {host}")]
    Resolve { host: String, source: io::Error },
    /// None of its addresses answers.
    #[error("cannot connect to {host}, {address}")]
    Connect { host: String, address: SocketAddr, source: io::Error },
    /// The protocol came to nothing.
    #[error("cannot talk SSH with {host}: {problem}")]
    Handshake { host: String, problem: String },
    /// Nobody has said whose key this is.
    #[error("cannot log in to {host}: its {key_type} host key {fingerprint} is not known")]
    UnknownKey { host: String, key_type: &'static str, fingerprint: String },
    /// It has another key than it had.
    #[error("cannot log in to {host}: host key does not match {} line {line}", file.display())]
    ChangedKey { host: String, file: PathBuf, line: usize },
    /// Its key is one that was stolen.
    #[error("cannot log in to {host}: its host key is revoked by {} line {line}", file.display())]
    RevokedKey { host: String, file: PathBuf, line: usize },
    /// A file of host keys cannot be read or written.
    #[error("cannot log in to {host}: cannot {action} {}", file.display())]
    KnownHosts { host: String, action: &'static str, file: PathBuf, source: io::Error },
    /// A private key that was asked for cannot be read.
    #[error("cannot log in to {host}: cannot use the key {}", path.display())]
    KeyFile { host: String, path: PathBuf, source: io::Error },
    /// It can be read, and is of no use.
    #[error("cannot log in to {host}: cannot use the key {}: {problem}", path.display())]
    Key { host: String, path: PathBuf, problem: KeyProblem },
    /// Nothing proved who one is.
    #[error("cannot log in to {host} as {user}: {tried}")]
    Login { host: String, user: String, tried: String },
    /// The command could not be started.
    #[error("cannot run a command on {host}: {problem}")]
    Exec { host: String, problem: String },
    /// The command ran, and gave no listing.
    #[error("{host} gave no listing: {problem}")]
    NoListing { host: String, problem: String },
}

/// Why a file is of no use as a private key.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum KeyProblem {
    /// It is no secret.
    #[error("others may read it")]
    Open,
    /// It is something else.
    #[error("it is no private key")]
    NoKey,
}

impl SshError {
    /// What to do about it.
    #[must_use]
    pub fn advice(&self, server: &Server) -> String {
        let port = if server.port == 22 { String::new() } else { format!("-p {} ", server.port) };
        let ssh = |command: &str| {
            let Server { user, host, .. } = server;
            format!(
                "Try, as the user that runs the check: \
                 ssh -o BatchMode=yes {port}{user}@{host} {command}"
            )
        };
        match self {
            Self::NotBuilt => "Build it with the feature ssh, which is on by default.".to_owned(),
            Self::Resolve { host, .. } => format!("Try: getent hosts {host}"),
            Self::UnknownKey { .. } => {
                let file = server
                    .known_hosts
                    .first()
                    .map_or_else(String::new, |file| format!(" to {}", file.display()));
                format!(
                    "Compare that fingerprint, and add what ssh-keyscan {port}{} prints{file}, \
                     or use --host-key accept-new once.",
                    server.host
                )
            }
            Self::ChangedKey { file, .. } => format!(
                "Was the server set up anew? Then: ssh-keygen -f {} -R {}. If not, somebody \
                 stands in between.",
                file.display(),
                server.name()
            ),
            Self::RevokedKey { .. } => "Do not log in there with this key.".to_owned(),
            Self::KnownHosts { .. } => "Name another file with --known-hosts.".to_owned(),
            Self::Key { path, problem: KeyProblem::Open, .. } => {
                format!("chmod 600 {}", path.display())
            }
            Self::Key { path, .. } | Self::KeyFile { path, .. } => {
                format!("Is it a private key? ls -l {}", path.display())
            }
            Self::NoListing { .. } if server.subject == Subject::Flows => format!(
                "May {user} see the flows there? Let it, in sudoers: {user} ALL=(root) NOPASSWD: \
                 /usr/sbin/conntrack -L -f ipv4 -p tcp, /usr/sbin/conntrack -L -f ipv6 -p tcp",
                user = server.user
            ),
            Self::NoListing { .. } => "Name a command that lists its sockets with --command, \
                                       such as netstat -n for Windows."
                .to_owned(),
            Self::Connect { .. }
            | Self::Handshake { .. }
            | Self::Login { .. }
            | Self::Exec { .. } => ssh("true"),
        }
    }
}
