//! Network namespaces of this host: resolves the requested ones and opens sources
//! inside them (network_namespaces(7)).
//!
//! A separate thread enters the namespace, opens the source and ends. The open
//! source stays in that namespace, whichever thread reads it. The other threads
//! never leave the original namespace: state files, mail and DNS queries always
//! use the host's network.
use std::{
    fmt,
    os::fd::{AsFd, OwnedFd},
    panic,
    path::{Path, PathBuf},
    thread,
};

use rustix::{
    fs::{Mode, OFlags, Stat, fstat, fstatfs, open},
    io::Errno,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use crate::parse::{TableKind, capture::Capture};

use super::{
    activity::Activity,
    dispatch::{Source, with_kernel_counters},
    procfs,
    source_error::SourceError,
};

mod netns_error;
mod resolve;
mod hidden;
mod process;
mod sockstat;

pub use hidden::{HiddenNamespaces, find_hidden_namespaces};
use netns_error::MissingCapability;
pub use netns_error::NetnsError;
pub(super) use process::read_proc_file;
use resolve::open_namespace;
pub use resolve::{Resolution, ResolvedNamespace, resolve_namespaces};
use sockstat::has_tcp_sockets;
pub(super) use sockstat::n_tcp_sockets;

/// Network namespace as requested by the user.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NetnsSelector {
    /// All namespaces that have a process or a name, except those of unprivileged users.
    All,
    /// All namespaces of the user with this ID.
    User(u32),
    /// Namespace with this name in `/run/netns` (ip-netns(8)).
    Name(String),
    /// Namespace file at this path.
    Path(PathBuf),
    /// Namespace of the process with this ID.
    Process(u32),
}

impl NetnsSelector {
    fn path(&self) -> PathBuf {
        match self {
            Self::All | Self::User(_) => PathBuf::from(CURRENT_NETNS),
            Self::Name(name) => Path::new(NAMED_NETNS_DIR).join(name),
            Self::Path(path) => path.clone(),
            Self::Process(pid) => PathBuf::from(format!("/proc/{pid}/ns/net")),
        }
    }
}

impl fmt::Display for NetnsSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::User(uid) => write!(f, "user:{uid}"),
            Self::Name(name) => f.write_str(name),
            Self::Path(path) => path.display().fmt(f),
            Self::Process(pid) => write!(f, "pid:{pid}"),
        }
    }
}

/// Directory of named namespaces, used by ip(8) and by the network plugins of
/// Kubernetes.
const NAMED_NETNS_DIR: &str = "/run/netns";
/// Namespace file of this process. The main thread never enters another namespace.
const CURRENT_NETNS: &str = "/proc/self/ns/net";

/// Identity of a namespace: device and inode number of its file, the same for every
/// path to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct NamespaceId {
    device: u64,
    inode: u64,
}

/// Returns the identity of the namespace at `path`, and a descriptor of its file.
///
/// The file is opened with `O_PATH`, which has no side effect on a device or pipe
/// that was named by mistake.
fn identify(path: &Path) -> Result<(OwnedFd, NamespaceId), NetnsError> {
    /// File system type of namespace files (`linux/magic.h`).
    const NSFS_MAGIC: u32 = 0x6e73_6673;
    let file = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| NetnsError::from_open(path, errno))?;
    let file_system = fstatfs(&file).map_err(|errno| NetnsError::from_open(path, errno))?;
    // The width and sign of `f_type` depend on the architecture.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a magic number")]
    let magic = file_system.f_type as u32;
    if magic != NSFS_MAGIC {
        return Err(NetnsError::NotANamespace { path: path.to_owned() });
    }
    let Stat { st_dev, st_ino, .. } =
        fstat(&file).map_err(|errno| NetnsError::from_open(path, errno))?;
    Ok((file, NamespaceId { device: st_dev, inode: st_ino }))
}

/// Opens `source` inside a namespace. Returns no capture if the namespace has no TCP
/// sockets: with a million of them in another namespace, an empty dump takes 0.1 s.
pub(super) fn open_in_namespace(
    resolved: &ResolvedNamespace,
    source: &Source,
    activity: &Activity,
) -> Result<Vec<Capture>, SourceError> {
    if resolved.namespace.is_current {
        return source.open(activity);
    }
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .spawn_scoped(scope, || enter_and_open(resolved, source, activity))
            .map_err(NetnsError::Thread)?;
        thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
    })
}

fn enter_and_open(
    resolved: &ResolvedNamespace,
    source: &Source,
    activity: &Activity,
) -> Result<Vec<Capture>, SourceError> {
    enter(resolved)?;
    let lists_sockets = source.table_kind() == Some(TableKind::Sockets);
    // Without the statistics, the table itself shows the sockets.
    if lists_sockets && has_tcp_sockets(Path::new("/proc/thread-self/net")).is_ok_and(|has| !has) {
        return Ok(Vec::new());
    }
    match source {
        // /proc/self shows the namespace of the main thread, which has not changed.
        Source::Proc => procfs::open_for_thread().map(with_kernel_counters),
        Source::BpfWalk(walk) => walk.open_for_thread().map(with_kernel_counters),
        source => source.open(activity),
    }
}

/// Moves this thread into a namespace. The thread never moves back.
fn enter(resolved: &ResolvedNamespace) -> Result<(), NetnsError> {
    let namespace = open_namespace(resolved)?;
    match move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)) {
        Ok(()) => Ok(()),
        Err(Errno::INVAL) => Err(NetnsError::NotANamespace { path: resolved.paths[0].clone() }),
        Err(errno) => Err(NetnsError::Enter {
            capability: MissingCapability::for_entering(),
            source: errno.into(),
        }),
    }
}
