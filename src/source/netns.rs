//! Network namespaces of this machine: finds those that are asked for, and looks
//! into each (network_namespaces(7)).
//!
//! A thread enters, opens and ends. What it has opened stays in that namespace,
//! whoever reads it, and nothing else of the program was ever there: a state
//! file, a mail or a question to a name server is always the host's own.
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

use crate::parse::capture::Capture;

use super::{
    dispatch::{Source, SourceError, Watch},
    procfs,
};

mod netns_error;
mod resolve;
mod hidden;
mod process;

pub use hidden::{Elsewhere, elsewhere};
use netns_error::Grant;
pub use netns_error::NetnsError;
use resolve::namespace_file;
pub use resolve::{Finding, Found, find};

/// A network namespace as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Netns {
    /// Every one that has a process, or a name.
    All,
    /// The one of this name (ip-netns(8)).
    Name(String),
    /// The one at this path.
    Path(PathBuf),
    /// The one that a process is in.
    Process(u32),
}

impl Netns {
    fn path(&self) -> PathBuf {
        match self {
            Self::All => PathBuf::from(OWN),
            Self::Name(name) => Path::new(NAMED).join(name),
            Self::Path(path) => path.clone(),
            Self::Process(pid) => PathBuf::from(format!("/proc/{pid}/ns/net")),
        }
    }
}

impl fmt::Display for Netns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Name(name) => f.write_str(name),
            Self::Path(path) => path.display().fmt(f),
            Self::Process(pid) => write!(f, "pid:{pid}"),
        }
    }
}

/// Where ip(8) and the networks of Kubernetes keep names.
const NAMED: &str = "/run/netns";
/// The one of this program, whose first thread never enters another one.
const OWN: &str = "/proc/self/ns/net";

/// The same two numbers are the same namespace, by whatever path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Id {
    device: u64,
    inode: u64,
}

/// Which namespace is at `path`. Nothing is opened: a device or a pipe that is
/// named by mistake does not notice.
fn id(path: &Path) -> Result<(OwnedFd, Id), NetnsError> {
    /// What the files of namespaces are on (`linux/magic.h`).
    const NSFS_MAGIC: u32 = 0x6e73_6673;
    let refused = |errno: Errno| NetnsError::open(path, errno);
    let file = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(refused)?;
    // Its type is as wide as the machine likes.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a magic number")]
    let magic = fstatfs(&file).map_err(refused)?.f_type as u32;
    if magic != NSFS_MAGIC {
        return Err(NetnsError::Another { path: path.to_owned() });
    }
    let Stat { st_dev, st_ino, .. } = fstat(&file).map_err(refused)?;
    Ok((file, Id { device: st_dev, inode: st_ino }))
}

/// Opens `source` in a namespace.
pub(super) fn open_within(
    found: &Found,
    source: &Source,
    watch: &Watch,
) -> Result<Vec<Capture>, SourceError> {
    if found.namespace.is_own {
        return source.open(watch);
    }
    let there = || {
        enter(found)?;
        match source {
            // The first thread is where it always was, and its /proc too.
            Source::Proc => procfs::open_of_this_thread(),
            source => source.open(watch),
        }
    };
    thread::scope(|scope| {
        let thread =
            thread::Builder::new().spawn_scoped(scope, there).map_err(NetnsError::Thread)?;
        thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
    })
}

/// Takes this thread into a namespace. There is no way back.
fn enter(found: &Found) -> Result<(), NetnsError> {
    let namespace = namespace_file(found)?;
    match move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)) {
        Ok(()) => Ok(()),
        Err(Errno::INVAL) => Err(NetnsError::Another { path: found.paths[0].clone() }),
        Err(errno) => Err(NetnsError::Enter { grant: Grant::to_enter(), source: errno.into() }),
    }
}
