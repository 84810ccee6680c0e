//! Reads the kernel's counters for connections that no table shows.
use std::{io, path::Path};

use rustix::fs::stat;

use crate::{
    model::kernel_counters::{FlowTableSize, KernelCounters, NamespaceCounters},
    parse::kernel_counters::{conntrack_counter, tcp_ext_counter},
};

use super::netns::read_proc_file;

/// Returns the counters of the network namespace of the calling thread; `None` if `/proc`
/// does not have them. The counters only explain a sample: without them, it is complete.
pub(super) fn read() -> Option<NamespaceCounters> {
    let netstat = read_file("/proc/thread-self/net/netstat").ok()?;
    // The file is missing until connection tracking is in use.
    let conntrack = read_file("/proc/thread-self/net/stat/nf_conntrack").unwrap_or_default();
    Some(NamespaceCounters {
        inode: stat("/proc/thread-self/ns/net").ok()?.st_ino,
        name: None,
        counters: KernelCounters {
            syn_cookies: tcp_ext_counter(&netstat, "SyncookiesSent")?,
            listen_overflows: tcp_ext_counter(&netstat, "ListenOverflows")?,
            flow_drops: conntrack_counter(&conntrack, "drop").unwrap_or_default(),
        },
        increase: None,
        flow_table: flow_table_size(),
    })
}

fn flow_table_size() -> Option<FlowTableSize> {
    let value = |name| {
        let text = read_file(&format!("/proc/sys/net/netfilter/nf_conntrack_{name}")).ok()?;
        text.trim().parse::<u64>().ok()
    };
    Some(FlowTableSize { count: value("count")?, max: value("max")? })
}

fn read_file(path: &str) -> io::Result<String> {
    read_proc_file(Path::new(path))
}
