//! Parsing of captures into connections.
//!
//! A parser receives bytes and does not depend on the source of the bytes. It
//! passes on each connection as soon as the row is parsed, so that memory use does
//! not grow with the size of the table.
use super::{
    bpf_walk,
    capture::{ByteOrder, Capture, CaptureFormat},
    conntrack,
    error::ParseError,
    inet_diag, listing,
    stats::ParseStats,
};
use crate::model::{connection::Connection, protocol::Protocol};

/// Parses `capture` and passes each connection, including listening sockets, to
/// `accept`, which returns `true` if the connection is counted.
///
/// # Errors
///
/// Returns an error if the source fails or if the capture is not a recognized listing
/// or dump. A single row of a listing that cannot be parsed is not an error; it is
/// counted in the [`ParseStats`].
pub fn read(
    capture: Capture,
    accept: &mut impl FnMut(&Connection) -> bool,
) -> Result<ParseStats, ParseError> {
    read_protocol(capture, Protocol::Tcp, accept)
}

/// Parses `capture` like [`read`], and passes on the connections of these protocols. Only
/// flow tables have UDP.
///
/// # Errors
///
/// Returns the errors of [`read`].
pub fn read_protocol(
    capture: Capture,
    protocol: Protocol,
    accept: &mut impl FnMut(&Connection) -> bool,
) -> Result<ParseStats, ParseError> {
    let Capture { format, origin, byte_order, bytes, .. } = capture;
    match format {
        CaptureFormat::InetDiag => {
            inet_diag::read(bytes, byte_order.unwrap_or(ByteOrder::NATIVE), accept)
        }
        CaptureFormat::BpfWalk => {
            bpf_walk::read(bytes, &origin, byte_order.unwrap_or(ByteOrder::NATIVE), accept)
        }
        CaptureFormat::Ctnetlink => {
            let byte_order = byte_order.unwrap_or(ByteOrder::NATIVE);
            conntrack::messages::read(bytes, byte_order, protocol, accept)
        }
        CaptureFormat::Listing => {
            let mut stats = listing::read(bytes, &origin, (byte_order, protocol), accept)?;
            if let Some(row) = &mut stats.first_unreadable {
                row.origin = Some(origin).filter(|origin| origin.starts_with("/proc/self/"));
            }
            Ok(stats)
        }
    }
}
