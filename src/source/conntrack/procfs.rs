//! Flows that this host tracks, read from `/proc` where ctnetlink is not available.
//! Only root may read the table.
#![expect(clippy::disallowed_types, reason = "this module opens /proc")]
use std::{
    fs::File,
    io::{self, BufRead, BufReader},
};

use crate::{
    parse::capture::{ByteOrder, Capture, CaptureFormat},
    source::SourceError,
};

/// Table of the calling thread, whose network namespace can differ from that of the
/// other threads.
pub(in crate::source) const NF_CONNTRACK_PATH: &str = "/proc/thread-self/net/nf_conntrack";

/// Opens the table of tracked flows.
pub(in crate::source) fn open() -> Result<Vec<Capture>, SourceError> {
    let mut bytes = BufReader::new(File::open(NF_CONNTRACK_PATH).map_err(open_error)?);
    if bytes.fill_buf().map_err(open_error)?.is_empty() {
        return Err(SourceError::NothingTracked);
    }
    Ok(vec![Capture {
        local_addresses: Some(super::local_addresses()?),
        ..Capture::new(
            CaptureFormat::Listing,
            NF_CONNTRACK_PATH,
            Some(ByteOrder::NATIVE),
            Box::new(bytes),
        )
    }])
}

fn open_error(source: io::Error) -> SourceError {
    SourceError::Open { path: NF_CONNTRACK_PATH.into(), source }
}
