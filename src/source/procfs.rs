//! Sockets of this host, read from `/proc` where netlink is not available.
#![expect(clippy::disallowed_types, reason = "this module opens /proc")]
use std::{
    fs::File,
    io::{self, BufReader},
};

use crate::parse::capture::{ByteOrder, Capture, CaptureFormat};

use super::source_error::SourceError;

/// IPv4 table. `/proc/net` is not used: a service with `ProcSubset=pid` has only
/// `/proc/self/net`.
pub(super) const TCP_PATH: &str = "/proc/self/net/tcp";
/// IPv6 table.
const TCP6_PATH: &str = "/proc/self/net/tcp6";

/// Opens the IPv4 and the IPv6 table.
pub(super) fn open() -> Result<Vec<Capture>, SourceError> {
    open_tables(TCP_PATH, TCP6_PATH)
}

/// Opens the IPv4 and the IPv6 table of the network namespace of the calling thread,
/// which can differ from that of the other threads.
pub(super) fn open_for_thread() -> Result<Vec<Capture>, SourceError> {
    open_tables("/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6")
}

/// Opens both tables. The IPv6 table may be missing because IPv6 can be disabled,
/// unlike IPv4.
fn open_tables(tcp: &str, tcp6: &str) -> Result<Vec<Capture>, SourceError> {
    let mut captures = vec![open_table(tcp)?];
    match open_table(tcp6) {
        Err(SourceError::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        tcp6 => captures.push(tcp6?),
    }
    Ok(captures)
}

fn open_table(path: &str) -> Result<Capture, SourceError> {
    let file =
        File::open(path).map_err(|source| SourceError::Open { path: path.into(), source })?;
    Ok(Capture::new(
        CaptureFormat::Listing,
        path,
        Some(ByteOrder::NATIVE),
        Box::new(BufReader::new(file)),
    ))
}
