//! Saved listings, and lists of networks: files that somebody names.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "this is where files that are named and standard input are opened"
)]
use std::{
    fs::File,
    io::{self, BufReader},
    path::Path,
};

use crate::parse::capture::{Capture, Format};

use super::dispatch::SourceError;

/// Opens a saved listing.
pub(super) fn file(path: &Path) -> Result<Capture, SourceError> {
    let failed = |source| SourceError::Open { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    // A folder can be opened, and says what it is only when it is read.
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(SourceError::Folder { path: path.to_owned() });
    }
    Ok(capture(path.display().to_string(), file))
}

/// Standard input, as a saved listing.
pub(super) fn standard() -> Capture {
    capture("standard input".to_owned(), io::stdin())
}

fn capture(origin: String, bytes: impl io::Read + Send + 'static) -> Capture {
    Capture {
        format: Format::Listing,
        origin,
        // It may come from another machine.
        byte_order: None,
        own: None,
        addresses: None,
        how: Vec::new(),
        bytes: Box::new(BufReader::new(bytes)),
    }
}
