//! Addresses of FreeBSD, macOS, OpenBSD, NetBSD and AIX, with a dot before the port:
//! `192.0.2.1.80`, `2001:db8::1.80`, `*.80`.
use std::net::SocketAddr;

use memchr::memrchr;

use super::{endpoint, error::RowErrorKind, row::RowError};

/// End of a connection, with the number of known leading bits if its address may be
/// truncated.
pub(super) type Endpoint = (SocketAddr, Option<u8>);

/// Detection of truncated addresses in one listing of a BSD.
///
/// Without `-W` (FreeBSD), `-l` (macOS) or `-v` (OpenBSD, NetBSD), an address is
/// truncated to [`TRUNCATED_WIDTH`](Self::TRUNCATED_WIDTH) characters before the port is
/// appended (`inetprint` in their `inet.c`).
#[derive(Debug, Default)]
pub(super) struct BsdAddressWidth {
    /// True if an address was wider than the truncation width.
    pub(super) is_untruncated: bool,
}

impl BsdAddressWidth {
    /// Width of a truncated address, without the port.
    const TRUNCATED_WIDTH: usize = 16;

    /// Parses an address and port and records the width of the address.
    pub(super) fn parse_endpoint<'a>(&mut self, word: &'a [u8]) -> Result<Endpoint, RowError<'a>> {
        let address = memrchr(b'.', word).map_or(word, |at| &word[..at]);
        self.is_untruncated |= address.len() > Self::TRUNCATED_WIDTH;
        let may_be_truncated = !self.is_untruncated
            && address.len() == Self::TRUNCATED_WIDTH
            && address.contains(&b':');
        complete_or_truncated(endpoint::parse_with_dot(word), word, address, may_be_truncated)
    }
}

/// Adds the number of known bits to the endpoint parsed from `word`. A truncated
/// `address` that cannot be parsed is replaced by its known prefix.
pub(super) fn complete_or_truncated<'a>(
    parsed: Result<SocketAddr, RowErrorKind>,
    word: &'a [u8],
    address: &[u8],
    may_be_truncated: bool,
) -> Result<Endpoint, RowError<'a>> {
    if !may_be_truncated {
        return parsed.map(|endpoint| (endpoint, None)).map_err(|kind| (kind, word));
    }
    let (prefix, n_known_bits) = endpoint::known_prefix(address);
    let port = word.get(address.len() + 1..).ok_or((RowErrorKind::InvalidEndpoint, word))?;
    let port = endpoint::parse_port(port).map_err(|kind| (kind, word))?;
    Ok((parsed.unwrap_or_else(|_| SocketAddr::new(prefix.into(), port)), Some(n_known_bits)))
}
