//! The addresses of this host's network interfaces.
use std::{io, net::IpAddr};

use nix::ifaddrs::getifaddrs;

/// Returns all addresses of this host in its current network namespace, sorted: IPv4
/// first.
///
/// # Errors
///
/// Returns an error if the kernel does not list them.
pub fn addresses() -> io::Result<Vec<IpAddr>> {
    let mut addresses: Vec<IpAddr> = getifaddrs()?
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|it| IpAddr::from(it.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|it| IpAddr::from(it.ip())))
        })
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}
