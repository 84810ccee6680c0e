//! A network namespace, by what an administrator knows it by.
use std::fmt;

/// A network namespace of this machine. What names it is foreign text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its number, as in `net:[4026531840]`.
    pub inode: u64,
    /// Whether it is the one that this program runs in.
    pub is_own: bool,
    /// What it is called in `/run/netns`, or the path that it was named by.
    pub name: Option<String>,
    /// A process in it, the one with the lowest number.
    pub process: Option<Process>,
}

/// A process in a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its command (`/proc/PID/comm`).
    pub command: String,
    /// The first twelve digits of the container that it is in, as `docker ps`
    /// and `crictl ps` show them; the name of one of LXC.
    pub container: Option<String>,
}

/// `own`, `blue`, `blue (pid:17 sleep)`, `pid:17 sleep, container 0123456789ab`.
impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, &self.process) {
            _ if self.is_own => f.write_str("own"),
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
