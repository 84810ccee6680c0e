//! Places that socket tables come from: this machine's kernel, or a file.
use std::{
    fmt, io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    model::connection::TcpStates,
    parse::{Subject, capture::Capture, netlink::Interface},
};

use super::{
    conntrack, file, netlink,
    netns::{self, Found, NetnsError},
    procfs,
    ssh::{Server, SshError},
};

/// Where to look.
#[derive(Clone, Debug)]
pub enum Source {
    /// This machine, by sock_diag. What the kernel leaves out costs next to
    /// nothing.
    Netlink {
        /// The states that are wanted.
        tcp_states: TcpStates,
        /// The ports of this machine that are wanted; none: all.
        ports: Vec<RangeInclusive<u16>>,
    },
    /// This machine, by `/proc`.
    Proc,
    /// The flows that this machine tracks, by ctnetlink.
    Conntrack {
        /// The ports that are wanted; none: all.
        ports: Vec<RangeInclusive<u16>>,
    },
    /// The same by `/proc`.
    ConntrackProc,
    /// A saved listing.
    File(PathBuf),
    /// A saved listing on standard input.
    StandardInput,
    /// Another machine, by SSH.
    Ssh(Box<Server>),
    /// This machine, in another network namespace.
    Within {
        /// Which.
        found: Box<Found>,
        /// By which way.
        source: Box<Self>,
    },
}

/// What a source is doing just now, for whoever waits for it.
#[derive(Clone, Debug, Default)]
pub struct Watch(Arc<Mutex<String>>);

impl Watch {
    pub(super) fn set(&self, doing: impl Into<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = doing.into();
    }

    /// `logging in`, `running ss`; empty before the beginning.
    #[must_use]
    pub fn doing(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Source {
    /// What its rows have to be; `None`: whatever they are.
    #[must_use]
    pub fn subject(&self) -> Option<Subject> {
        match self {
            Self::Conntrack { .. } | Self::ConntrackProc => Some(Subject::Flows),
            Self::Netlink { .. } | Self::Proc => Some(Subject::Sockets),
            Self::Ssh(server) if server.subject == Subject::Flows => Some(Subject::Flows),
            Self::Ssh(_) | Self::File(_) | Self::StandardInput => None,
            Self::Within { source, .. } => source.subject(),
        }
    }

    /// Opens the source. The captures belong together: what they hold is to be
    /// added up.
    ///
    /// # Errors
    ///
    /// Where there is nothing to be read. A source that breaks off later shows
    /// in the reading.
    pub fn open(&self, watch: &Watch) -> Result<Vec<Capture>, SourceError> {
        match self {
            Self::Netlink { tcp_states, ports } => netlink::open(*tcp_states, ports),
            Self::Proc => procfs::open(),
            Self::Conntrack { ports } => conntrack::open(ports),
            Self::ConntrackProc => conntrack::procfs::open(),
            Self::File(path) => Ok(vec![file::file(path)?]),
            Self::StandardInput => Ok(vec![file::standard()]),
            Self::Ssh(server) => server.open(watch),
            Self::Within { found, source } => netns::open_within(found, source, watch),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Netlink { .. } => f.write_str("netlink (sock_diag)"),
            Self::Proc => write!(f, "{} and tcp6", procfs::TCP),
            Self::Conntrack { .. } => f.write_str("netlink (ctnetlink)"),
            Self::ConntrackProc => f.write_str(conntrack::procfs::FLOWS),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::StandardInput => f.write_str("standard input"),
            Self::Ssh(server) => f.write_str(&server.name()),
            Self::Within { source, .. } => source.fmt(f),
        }
    }
}

/// [`Read`](io::Read) for what is a [`BufRead`](io::BufRead).
pub(super) fn read_buffered(bytes: &mut impl io::BufRead, buffer: &mut [u8]) -> io::Result<usize> {
    let available = bytes.fill_buf()?;
    let length = available.len().min(buffer.len());
    buffer[..length].copy_from_slice(&available[..length]);
    bytes.consume(length);
    Ok(length)
}

/// Why a server gives nothing, and what to do about it there.
#[derive(Debug)]
pub struct SshFailure {
    pub(super) error: SshError,
    pub(super) advice: String,
}

impl fmt::Display for SshFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for SshFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

/// Why a source gives nothing.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The kernel's door to its sockets is shut: no module, a sandbox, a policy.
    #[error("cannot {step} netlink")]
    Netlink {
        /// For what.
        interface: Interface,
        /// What was tried with it: `open`, `ask`, `read from`.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel took the question and has no answer.
    #[error("the kernel refused a dump by {interface}")]
    Refused {
        /// What was asked.
        interface: Interface,
        /// What the kernel said.
        source: io::Error,
    },
    /// Connection tracking knows nothing at all, not even of this host's own
    /// connections.
    #[error("the kernel tracks no connection here")]
    NothingTracked,
    /// It is not known which addresses are this host's own.
    #[error("cannot list the addresses of this host")]
    Addresses(#[source] io::Error),
    /// A file that cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A server that gives nothing.
    #[error(transparent)]
    Ssh(#[from] SshFailure),
    /// A network namespace that gives nothing.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// A folder where a file was asked for.
    #[error("cannot read {}: it is a folder", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
    },
}

impl SourceError {
    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        let advice = match self {
            Self::Netlink { interface: Interface::Ctnetlink, source, .. }
            | Self::Refused { interface: Interface::Ctnetlink, source } => {
                conntrack::advice(source).to_owned()
            }
            Self::Open { path, source } if path == Path::new(conntrack::procfs::FLOWS) => {
                conntrack::advice(source).to_owned()
            }
            Self::NothingTracked => conntrack::NO_RULE.to_owned(),
            Self::Addresses(_) => "May this user ask netlink? Try: ip address".to_owned(),
            Self::Netlink { .. } | Self::Refused { .. } => {
                "Load the kernel module tcp_diag, or use --source proc.".to_owned()
            }
            Self::Open { path, .. } if path.starts_with("/proc") => {
                "Is /proc mounted, and may this user read it?".to_owned()
            }
            Self::Open { path, .. } => {
                format!("Is it there, and may this user read it? ls -l {}", path.display())
            }
            Self::Ssh(failure) => failure.advice.clone(),
            Self::Netns(error) => return error.advice(),
            Self::Folder { .. } => "Name a file, or - for standard input.".to_owned(),
        };
        Some(advice)
    }
}
