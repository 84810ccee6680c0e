//! Detects network namespaces whose connections the host's own table does not show,
//! as far as an unprivileged user can see them.
//!
//! Only a privileged user can see which namespace a process of another user is in.
//! `/proc/PID/net` is readable by everyone, and the inode numbers of its files
//! differ from namespace to namespace.
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    path::Path,
    time::Instant,
};

use rustix::fs::stat;

use super::{
    identify,
    process::read_proc_file,
    resolve::{dir_names, list_pids, stat_in_process},
    sockstat::has_tcp_sockets,
};

/// Directory of the interfaces of the current namespace.
const INTERFACES: &str = "/sys/class/net";

/// Other network namespaces on a host that forwards packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HiddenNamespaces {
    /// Number of other namespaces with TCP sockets. 0 if there are signs of other
    /// namespaces, but none with TCP sockets was found.
    pub count: usize,
}

/// Searches for other network namespaces until `deadline`. Returns `None` if this
/// host does not forward packets, or if nothing indicates another namespace.
#[must_use]
pub fn find_hidden_namespaces(deadline: Instant) -> Option<HiddenNamespaces> {
    if !is_forwarding() {
        return None;
    }
    let count = count_with_sockets(deadline);
    if count > 0 || has_named_namespaces() || has_links_to_other_namespaces() {
        return Some(HiddenNamespaces { count });
    }
    None
}

fn is_forwarding() -> bool {
    ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"]
        .iter()
        .any(|path| read_proc_file(Path::new(path)).is_ok_and(|text| text.trim() != "0"))
}

/// Returns the number of other namespaces with TCP sockets. Each namespace is read
/// through one process in it.
fn count_with_sockets(deadline: Instant) -> usize {
    let (Ok(own_table), Ok(pids)) = (stat("/proc/self/net/tcp"), list_pids()) else {
        return 0;
    };
    let mut table_by_inode = BTreeMap::new();
    for pid in pids.into_iter().take_while(|_| Instant::now() < deadline) {
        // The process may have ended.
        let Ok((path, table)) = stat_in_process(pid, "net/tcp") else { continue };
        if table.st_ino != own_table.st_ino {
            table_by_inode.entry(table.st_ino).or_insert(path);
        }
    }
    table_by_inode.into_values().filter(|path| may_have_sockets(path)).count()
}

/// Returns true if the namespace with this table of TCP sockets has any, or if that is
/// unknown.
fn may_have_sockets(table: &Path) -> bool {
    table.parent().is_none_or(|net_dir| has_tcp_sockets(net_dir).unwrap_or(true))
}

/// Returns true if another namespace has a name from ip(8) or Docker.
fn has_named_namespaces() -> bool {
    let current = identify(Path::new(super::CURRENT_NETNS)).ok().map(|(_, id)| id);
    [super::NAMED_NETNS_DIR, "/run/docker/netns"].iter().any(|dir| {
        // A directory that this user cannot read gives no information.
        let names = dir_names(Path::new(dir)).unwrap_or_else(|_| Vec::new());
        names.iter().any(|name| {
            identify(&Path::new(dir).join(name)).is_ok_and(|(_, id)| Some(id) != current)
        })
    })
}

/// Returns true if an interface is linked to one in another namespace.
///
/// Each namespace numbers its interfaces independently: if an interface of this
/// namespace has the linked number, the link may lead to that interface and indicates
/// nothing.
fn has_links_to_other_namespaces() -> bool {
    let Ok(names) = dir_names(Path::new(INTERFACES)) else {
        return false;
    };
    let indexes: BTreeSet<_> =
        names.iter().filter_map(|name| read_index(name, "ifindex")).collect();
    let mut linked_indexes = names.iter().filter_map(|name| read_index(name, "iflink"));
    linked_indexes.any(|index| index != 0 && !indexes.contains(&index))
}

fn read_index(interface: &OsStr, file: &str) -> Option<u32> {
    let path = format!("{INTERFACES}/{}/{file}", interface.to_str()?);
    read_proc_file(Path::new(&path)).ok()?.trim().parse().ok()
}
