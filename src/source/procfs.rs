//! This machine's sockets by `/proc`, for where netlink is not to be had.
#![expect(clippy::disallowed_types, reason = "this is where /proc is opened")]
use std::{
    fs::File,
    io::{self, BufReader},
};

use crate::parse::capture::{ByteOrder, Capture, Format};

use super::dispatch::SourceError;

/// Not `/proc/net`: where a service may see its own processes only
/// (`ProcSubset=pid`), that is not there, and this is.
pub(super) const TCP: &str = "/proc/self/net/tcp";
const TCP6: &str = "/proc/self/net/tcp6";

/// Opens both tables.
pub(super) fn open() -> Result<Vec<Capture>, SourceError> {
    open_both(TCP, TCP6)
}

/// Opens both tables of the network that this thread is in, and the others of
/// this program are not.
pub(super) fn open_of_this_thread() -> Result<Vec<Capture>, SourceError> {
    open_both("/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6")
}

/// IPv6 may be switched off; IPv4 cannot be.
fn open_both(tcp: &str, tcp6: &str) -> Result<Vec<Capture>, SourceError> {
    let mut captures = vec![open_one(tcp)?];
    match open_one(tcp6) {
        Err(SourceError::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        tcp6 => captures.push(tcp6?),
    }
    Ok(captures)
}

fn open_one(path: &str) -> Result<Capture, SourceError> {
    let file =
        File::open(path).map_err(|source| SourceError::Open { path: path.into(), source })?;
    Ok(Capture {
        format: Format::Listing,
        origin: path.to_owned(),
        byte_order: Some(ByteOrder::NATIVE),
        own: None,
        addresses: None,
        how: Vec::new(),
        bytes: Box::new(BufReader::new(file)),
    })
}
