//! Tables of one text, to detect snapshots: the same table more than once.
//!
//! Tables of different address families are not snapshots, and neither are `/proc/net/tcp` of
//! different hosts.
use std::net::IpAddr;

use super::{capture::ByteOrder, dialect::Dialect};

/// Tables of a text that have counted connections.
#[derive(Debug, Default)]
pub(super) struct TableList {
    current: TableContents,
    /// Number of rows of the current table whose local address was recorded.
    n_recorded_rows: usize,
    earlier: Vec<TableContents>,
    /// Line number at which the first repeated table begins.
    pub(super) repeated_line: Option<u64>,
}

/// Counted connections of one table.
#[derive(Debug, Default)]
struct TableContents {
    /// Address families of the connections, a bit each; those of TCP flows and of UDP flows
    /// have bits of their own.
    families: u8,
    /// Line number of the heading or separator before the first connection; 0 for a table
    /// at the start of the text.
    start_line: u64,
    /// Host of a table of `/proc`; `None` for other tables.
    host: Option<Host>,
}

/// Properties of the host of a table.
#[derive(Debug, Default)]
struct Host {
    byte_order: Option<ByteOrder>,
    /// Distinct local addresses of the first rows.
    local_addresses: Vec<IpAddr>,
}

/// Address family and protocol of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct TableFamily {
    pub(super) is_ipv6: bool,
    pub(super) is_udp: bool,
}

impl TableList {
    /// Number of rows of a table whose local addresses are kept.
    const MAX_RECORDED_ROWS: usize = 16;
    /// Maximum number of tables; further tables are treated as snapshots.
    const MAX_TABLES: usize = 64;

    /// Returns true if the current table has a connection of this address family.
    #[inline]
    pub(super) fn has_family(&self, family: TableFamily) -> bool {
        let families = self.current.families;
        // A table has sockets or flows.
        let families = if family.is_udp { families >> 4 } else { families | families >> 2 };
        families & 1 << u8::from(family.is_ipv6) != 0
    }

    /// Records the first connection of an address family in the current table.
    #[cold]
    pub(super) fn record_family(&mut self, dialect: Dialect, family: TableFamily) {
        let kind = match dialect {
            Dialect::Conntrack if family.is_udp => 2,
            Dialect::Conntrack => 1,
            _ => 0,
        };
        self.current.families |= 1 << (u8::from(family.is_ipv6) + 2 * kind);
    }

    /// Records the local address of a row of `/proc`, for the first rows of a table.
    #[inline]
    pub(super) fn record_local_address(&mut self, address: IpAddr) {
        if self.n_recorded_rows < Self::MAX_RECORDED_ROWS {
            self.add_local_address(address);
        }
    }

    #[cold]
    fn add_local_address(&mut self, address: IpAddr) {
        self.n_recorded_rows += 1;
        let addresses = &mut self.current.host.get_or_insert_default().local_addresses;
        // Every host has loopback addresses.
        if !address.to_canonical().is_loopback() && !addresses.contains(&address) {
            addresses.push(address);
        }
    }

    /// Ends the current table at the heading or separator in line `number`. `byte_order` is
    /// that of its host, for a table of `/proc`.
    pub(super) fn end_table(&mut self, number: u64, byte_order: Option<ByteOrder>) {
        let mut table = std::mem::take(&mut self.current);
        self.current.start_line = match table.start_line {
            // A title or date belongs to the table that follows it.
            start_line @ 1.. if table.families == 0 => start_line,
            _ => number,
        };
        self.n_recorded_rows = 0;
        if let Some(host) = &mut table.host {
            host.byte_order = byte_order;
        }
        if table.families == 0 {
            return;
        }
        let is_repeated = self.earlier.iter().any(|earlier| earlier.is_same(&table));
        if is_repeated || self.earlier.len() >= Self::MAX_TABLES {
            self.repeated_line.get_or_insert(table.start_line);
        } else {
            self.earlier.push(table);
        }
    }
}

impl TableContents {
    /// Returns true if both tables have connections of the same family and may be from the
    /// same host.
    fn is_same(&self, other: &Self) -> bool {
        let is_other_host = match (&self.host, &other.host) {
            (Some(host), Some(other)) => host.is_other(other),
            _ => false,
        };
        self.families & other.families != 0 && !is_other_host
    }
}

impl Host {
    /// Returns true if the tables are certainly from different hosts.
    fn is_other(&self, other: &Self) -> bool {
        let is_common = |address| other.local_addresses.contains(address);
        let has_addresses = !self.local_addresses.is_empty() && !other.local_addresses.is_empty();
        self.byte_order != other.byte_order
            || (has_addresses && !self.local_addresses.iter().any(is_common))
    }
}
