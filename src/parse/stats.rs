//! Counts and anomalies of parsed captures.
use super::{
    capture::ByteOrder,
    dialect::{Dialect, TableKind},
    error::UnreadableRow,
};

/// Counts and anomalies of one or more parsed captures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParseStats {
    /// Distinct listing formats, in order of first appearance.
    pub dialects: Vec<Dialect>,
    /// Byte order assumed for addresses of counted connections; `None` if it was
    /// given, was detected in the listing, or does not matter.
    pub assumed_byte_order: Option<ByteOrder>,
    /// Number of rows that are TCP sockets or flows, including listening sockets; not
    /// counted for [`Dialect::InetDiag`] and [`Dialect::BpfWalk`].
    pub n_rows: u64,
    /// Number of recognized rows that are not TCP, such as UDP or Unix sockets.
    pub n_other: u64,
    /// Number of rows that should be connections and could not be parsed.
    pub n_unreadable: u64,
    /// First row that could not be parsed.
    pub first_unreadable: Option<UnreadableRow>,
    /// Number of counted connections whose address the tool may have truncated.
    pub n_truncated: u64,
    /// Line number, from 1, of the first connection in `n_truncated`.
    pub first_truncated_line: Option<u64>,
    /// Line number, from 1, at which the second copy of a table starts: connections of both
    /// copies are counted.
    pub repeated_table_line: Option<u64>,
}

impl ParseStats {
    /// Returns the kind of the parsed rows; `Sockets` if no row was parsed.
    #[must_use]
    pub fn table_kind(&self) -> TableKind {
        let mut kinds = self.dialects.iter().map(|dialect| dialect.table_kind());
        let first = kinds.next().unwrap_or_default();
        if kinds.all(|kind| kind == first) { first } else { TableKind::Mixed }
    }

    /// Adds the counts of another capture of the same source.
    pub fn merge(&mut self, other: Self) {
        let new_dialects: Vec<_> =
            other.dialects.into_iter().filter(|it| !self.dialects.contains(it)).collect();
        self.dialects.extend(new_dialects);
        self.assumed_byte_order = self.assumed_byte_order.or(other.assumed_byte_order);
        self.n_rows += other.n_rows;
        self.n_other += other.n_other;
        self.n_unreadable += other.n_unreadable;
        self.first_unreadable = self.first_unreadable.take().or(other.first_unreadable);
        self.n_truncated += other.n_truncated;
        self.first_truncated_line = self.first_truncated_line.or(other.first_truncated_line);
        self.repeated_table_line = self.repeated_table_line.or(other.repeated_table_line);
    }
}
