//! A network namespace and the names by which an administrator knows it.
use std::fmt;

/// A network namespace of this host. Its names are untrusted text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Inode number, as in `net:[4026531840]`.
    pub inode: u64,
    /// `true` for the namespace that this program runs in.
    pub is_current: bool,
    /// Name in `/run/netns`, or the path by which the namespace was given.
    pub name: Option<String>,
    /// The process with the lowest process ID in the namespace.
    pub process: Option<Process>,
}

/// A process in a network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Process ID.
    pub pid: u32,
    /// Command name (`/proc/PID/comm`).
    pub command: String,
    /// The first twelve digits of the ID of the process's container, as `docker ps`
    /// and `crictl ps` show them; for LXC, the container's name.
    pub container: Option<String>,
}

/// `own`, `blue`, `blue (pid:17 sleep)`, `pid:17 sleep, container 0123456789ab`.
impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, &self.process) {
            _ if self.is_current => f.write_str("own"),
            (Some(name), None) => f.write_str(name),
            (Some(name), Some(process)) => write!(f, "{name} ({process})"),
            (None, Some(process)) => process.fmt(f),
            (None, None) => write!(f, "net:[{}]", self.inode),
        }
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid:{} {}", self.pid, self.command)?;
        match &self.container {
            Some(container) => write!(f, ", container {container}"),
            None => Ok(()),
        }
    }
}
