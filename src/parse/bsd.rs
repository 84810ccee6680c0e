//! Addresses as FreeBSD, macOS, OpenBSD, NetBSD and AIX print them, with a dot
//! before the port: `192.0.2.1.80`, `2001:db8::1.80`, `*.80`.
use std::net::SocketAddr;

use memchr::memrchr;

use super::{endpoint, reader::Problem, row::Faulty};

/// An end of a connection and, where its address may be cut, how many of its
/// leading bits are certain.
pub(super) type Endpoint = (SocketAddr, Option<u8>);

/// How far the addresses of one listing can be trusted.
///
/// Without `-W` (FreeBSD), `-l` (macOS) or `-v` (OpenBSD, NetBSD), an address is
/// cut to [`WIDTH`](Self::WIDTH) characters before its port is put behind it
/// (`inetprint` in their `inet.c`).
#[derive(Debug, Default)]
pub(super) struct Width {
    pub(super) wide: bool,
}

impl Width {
    const WIDTH: usize = 16;

    /// Reads an address and port.
    pub(super) fn endpoint<'a>(&mut self, word: &'a [u8]) -> Result<Endpoint, Faulty<'a>> {
        let address = memrchr(b'.', word).map_or(word, |at| &word[..at]);
        self.wide |= address.len() > Self::WIDTH;
        let may_be_cut = !self.wide && address.len() == Self::WIDTH && address.contains(&b':');
        whole_or_cut(endpoint::dot(word), word, address, may_be_cut)
    }
}

/// What was read of `word`, or what is certain of its `address` where that may
/// be cut and cannot be read.
pub(super) fn whole_or_cut<'a>(
    read: Result<SocketAddr, Problem>,
    word: &'a [u8],
    address: &[u8],
    may_be_cut: bool,
) -> Result<Endpoint, Faulty<'a>> {
    if !may_be_cut {
        return read.map(|whole| (whole, None)).map_err(|problem| (problem, word));
    }
    let (beginning, bits) = endpoint::beginning(address);
    let port = word.get(address.len() + 1..).ok_or((Problem::Endpoint, word))?;
    let port = endpoint::port(port).map_err(|problem| (problem, word))?;
    Ok((read.unwrap_or_else(|_| SocketAddr::new(beginning.into(), port)), Some(bits)))
}
