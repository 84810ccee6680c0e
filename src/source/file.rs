//! Saved listings, from a file or from standard input.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "this module opens files given by the user and standard input"
)]
use std::{
    fs::File,
    io::{self, BufReader},
    path::Path,
};

use crate::parse::capture::{Capture, CaptureFormat};

use super::source_error::SourceError;

/// Opens a saved listing.
pub(super) fn open(path: &Path) -> Result<Capture, SourceError> {
    let file = File::open(path).map_err(|source| open_error(path, source))?;
    // Opening a directory succeeds; only reading it fails, with a less clear error.
    if file.metadata().map_err(|source| open_error(path, source))?.is_dir() {
        return Err(SourceError::Directory { path: path.to_owned() });
    }
    Ok(capture(path.display().to_string(), file))
}

fn open_error(path: &Path, source: io::Error) -> SourceError {
    SourceError::Open { path: path.to_owned(), source }
}

/// Returns standard input as a saved listing.
pub(super) fn stdin() -> Capture {
    capture("standard input".to_owned(), io::stdin())
}

fn capture(origin: String, reader: impl io::Read + Send + 'static) -> Capture {
    // The listing may come from another host, with another byte order.
    Capture::new(CaptureFormat::Listing, origin, None, Box::new(BufReader::new(reader)))
}
