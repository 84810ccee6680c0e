//! Addresses of FreeBSD, macOS, OpenBSD, NetBSD and AIX, with a dot before the port:
//! `192.0.2.1.80`, `2001:db8::1.80`, `*.80`.
use std::net::SocketAddr;

use memchr::memrchr;

use crate::model::connection::TruncatedAddress;

use super::{endpoint, error::RowErrorKind, row::RowError};

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

    /// Parses an address and port and records the width of the address. Returns the visible
    /// part if the address may be truncated.
    pub(super) fn parse_endpoint<'a>(
        &mut self,
        word: &'a [u8],
        endpoint: &mut SocketAddr,
    ) -> Result<Option<TruncatedAddress>, RowError<'a>> {
        let address = memrchr(b'.', word).map_or(word, |at| &word[..at]);
        self.is_untruncated |= address.len() > Self::TRUNCATED_WIDTH;
        let may_be_truncated = !self.is_untruncated
            && address.len() == Self::TRUNCATED_WIDTH
            && address.contains(&b':');
        let parsed = endpoint::parse_with_dot(word, endpoint);
        if may_be_truncated {
            return truncated_endpoint(parsed.is_ok(), word, address, endpoint).map(Some);
        }
        parsed.map(|()| None).map_err(|kind| (kind, word))
    }
}

/// Returns the visible part of a possibly truncated `address`. If the word could not be
/// parsed, the endpoint becomes the known prefix of the address.
pub(super) fn truncated_endpoint<'a>(
    is_parsed: bool,
    word: &'a [u8],
    address: &[u8],
    endpoint: &mut SocketAddr,
) -> Result<TruncatedAddress, RowError<'a>> {
    let (prefix, n_known_bits) = endpoint::known_prefix(address);
    let port = word.get(address.len() + 1..).ok_or((RowErrorKind::InvalidEndpoint, word))?;
    let port = endpoint::parse_port(port).map_err(|kind| (kind, word))?;
    if !is_parsed {
        *endpoint = SocketAddr::new(prefix.into(), port);
    }
    Ok(TruncatedAddress::new(address, n_known_bits, is_parsed))
}
