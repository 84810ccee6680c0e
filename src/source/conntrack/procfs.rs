//! The flows that this machine tracks by `/proc`, which root may read, where
//! ctnetlink is not to be had.
#![expect(clippy::disallowed_types, reason = "this is where /proc is opened")]
use std::{
    fs::File,
    io::{BufRead, BufReader},
};

use crate::{
    parse::capture::{ByteOrder, Capture, Format},
    source::SourceError,
};

/// That of the thread which asks: it may be in another network namespace than
/// the rest of its process.
pub(in crate::source) const FLOWS: &str = "/proc/thread-self/net/nf_conntrack";

/// Opens the table.
pub(in crate::source) fn open() -> Result<Vec<Capture>, SourceError> {
    let failed = |source| SourceError::Open { path: FLOWS.into(), source };
    let mut bytes = BufReader::new(File::open(FLOWS).map_err(failed)?);
    if bytes.fill_buf().map_err(failed)?.is_empty() {
        return Err(SourceError::NothingTracked);
    }
    Ok(vec![Capture {
        format: Format::Listing,
        origin: FLOWS.to_owned(),
        byte_order: Some(ByteOrder::NATIVE),
        own: None,
        addresses: Some(super::addresses()?),
        how: Vec::new(),
        bytes: Box::new(bytes),
    }])
}
