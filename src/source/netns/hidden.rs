//! Whether connections may be where the host's own table does not show them, as
//! far as anybody may see.
//!
//! Which namespace a process is in is for the privileged to see. What a process
//! sees of its network is not: `/proc/PID/net` is open to all, and its files have
//! numbers that differ from namespace to namespace.
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::Path,
    time::Instant,
};

use rustix::fs::stat;

use super::{
    id,
    process::read,
    resolve::{names, pids},
};

/// What else there is on a host that forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// How many other network namespaces are seen to hold sockets of TCP. Where
    /// none is, there are others nobody could see into.
    pub n_holding: usize,
}

/// Looks for other network namespaces, if this host forwards, until `deadline`;
/// none where there is no sign of any.
#[must_use]
pub fn elsewhere(deadline: Instant) -> Option<Elsewhere> {
    if !forwards() {
        return None;
    }
    let n_holding = n_holding(deadline);
    let is_sign = n_holding > 0 || has_names() || has_links();
    is_sign.then_some(Elsewhere { n_holding })
}

fn forwards() -> bool {
    ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"]
        .iter()
        .any(|path| read(path).is_ok_and(|text| text.trim() != "0"))
}

/// How many other namespaces have sockets in them, by a process in each.
fn n_holding(deadline: Instant) -> usize {
    let number = |whose: &str| stat(format!("/proc/{whose}/net/tcp")).map(|stat| stat.st_ino);
    let (Ok(own), Ok(pids)) = (number("self"), pids()) else {
        return 0;
    };
    let mut others = BTreeMap::new();
    for pid in pids.into_iter().take_while(|_| Instant::now() < deadline) {
        // It may be over.
        if let Ok(number) = number(&pid.to_string())
            && number != own
        {
            others.entry(number).or_insert(pid);
        }
    }
    others.into_values().filter(|&pid| holds_sockets(pid)).count()
}

fn holds_sockets(pid: u32) -> bool {
    let in_use = |file: &str, word: &str| {
        let text = read(&format!("/proc/{pid}/net/{file}")).unwrap_or_else(|_| String::new());
        // TCP: inuse 5 orphan 0 tw 0 alloc 9 mem 1
        let line = text.lines().find_map(|line| line.strip_prefix(word));
        line.is_some_and(|line| line.split_whitespace().nth(1) != Some("0"))
    };
    in_use("sockstat", "TCP: inuse") || in_use("sockstat6", "TCP6: inuse")
}

/// Whether a name stands for another namespace.
fn has_names() -> bool {
    let own = id(Path::new(super::OWN)).ok().map(|(_, id)| id);
    [super::NAMED, "/run/docker/netns"].iter().any(|folder| {
        // A folder that is not for this user tells nothing.
        let names = names(Path::new(folder)).unwrap_or_else(|_| Vec::new());
        let other = |name: &OsString| {
            id(&Path::new(folder).join(name)).is_ok_and(|(_, id)| Some(id) != own)
        };
        names.iter().any(other)
    })
}

/// Whether an interface is linked to one that is not here. Numbers of interfaces
/// are counted anew in each namespace: where one of here has that number, the
/// link may be to it, and is no sign.
fn has_links() -> bool {
    const INTERFACES: &str = "/sys/class/net";
    let Ok(names) = names(Path::new(INTERFACES)) else {
        return false;
    };
    let number = |name: &OsString, file: &str| -> Option<u32> {
        read(&format!("{INTERFACES}/{}/{file}", name.to_str()?)).ok()?.trim().parse().ok()
    };
    let here: BTreeSet<_> = names.iter().filter_map(|name| number(name, "ifindex")).collect();
    let mut links = names.iter().filter_map(|name| number(name, "iflink"));
    links.any(|link| link != 0 && !here.contains(&link))
}
