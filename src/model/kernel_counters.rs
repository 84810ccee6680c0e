//! Counters of the kernel for connections that no socket or flow table shows.
use serde::{Deserialize, Serialize};

/// Counters of a network namespace. They are 0 when the namespace is created (the kernel's
/// `Documentation/networking/snmp_counter.rst`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KernelCounters {
    /// Connection requests that were answered with a SYN cookie and are not in the socket
    /// table (`SyncookiesSent`).
    pub syn_cookies: u64,
    /// Connections that were dropped because the accept queue of their listening socket was
    /// full (`ListenOverflows`).
    pub listen_overflows: u64,
    /// Packets that connection tracking dropped, for example because its table was full (`drop`
    /// in `/proc/net/stat/nf_conntrack`). 0 if connection tracking is not in use.
    pub flow_drops: u64,
}

impl KernelCounters {
    /// Returns the increase of each counter since `earlier`. Returns `None` if a counter is
    /// lower: the host was restarted, or another namespace reuses the inode number.
    #[must_use]
    pub fn increase_since(self, earlier: Self) -> Option<Self> {
        Some(Self {
            syn_cookies: self.syn_cookies.checked_sub(earlier.syn_cookies)?,
            listen_overflows: self.listen_overflows.checked_sub(earlier.listen_overflows)?,
            flow_drops: self.flow_drops.checked_sub(earlier.flow_drops)?,
        })
    }
}

/// Number of flows in the table of connection tracking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowTableSize {
    /// Number of flows.
    pub count: u64,
    /// Maximum number of flows.
    pub max: u64,
}

impl FlowTableSize {
    /// Returns whether the table is full, so that the kernel drops packets of new flows.
    #[must_use]
    pub fn is_full(self) -> bool {
        self.count >= self.max
    }
}

/// Counters of one network namespace at the time of the sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceCounters {
    /// Inode number of the namespace.
    pub inode: u64,
    /// Display name; `None` if only one namespace was sampled.
    pub name: Option<String>,
    /// Values since the namespace was created.
    pub counters: KernelCounters,
    /// Increase since the previous sample; `None` if the previous sample has no counters of
    /// this namespace.
    pub increase: Option<KernelCounters>,
    /// Size of the flow table; `None` if connection tracking is not in use.
    pub flow_table: Option<FlowTableSize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn increase_needs_counters_that_have_not_decreased() {
        let earlier = KernelCounters { syn_cookies: 5, listen_overflows: 7, flow_drops: 0 };
        let now = KernelCounters { syn_cookies: 9, listen_overflows: 7, flow_drops: 2 };
        let increase = KernelCounters { syn_cookies: 4, listen_overflows: 0, flow_drops: 2 };
        assert_eq!(now.increase_since(earlier), Some(increase));
        assert_eq!(earlier.increase_since(now), None);
    }
}
