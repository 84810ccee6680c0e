//! Resolves host names to addresses in bounded time.
use std::{
    io,
    net::{IpAddr, ToSocketAddrs},
    sync::mpsc,
    thread,
    time::Instant,
};

#[cfg(feature = "mail")]
use dns_lookup::AddrInfoHints;

use crate::model::network::canonical_address;

/// Failure to resolve a host name.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The resolver reported a failure, or its thread could not be started.
    #[error("cannot find the address of {name}")]
    Failed {
        /// Host name.
        name: String,
        /// Cause from the operating system.
        source: io::Error,
    },
    /// The resolver did not answer before the deadline.
    #[error("cannot find the address of {name}: no answer in time")]
    TimedOut {
        /// Host name.
        name: String,
    },
}

/// Stack size of a resolver thread. The resolver's modules (NSS) were seen to need
/// 100 KiB.
const STACK_BYTES: usize = 512 * 1024;

/// Resolves all `names` concurrently, until `deadline`.
///
/// The system's resolver has no time limit. Each name has a thread of its own, so
/// that a name that hangs does not delay the others; the thread of such a name is
/// left running.
#[must_use]
pub fn resolve_all(names: &[String], deadline: Instant) -> Vec<Result<Vec<IpAddr>, ResolveError>> {
    let (sender, receiver) = mpsc::channel();
    let mut results: Vec<_> =
        names.iter().map(|name| Err(ResolveError::TimedOut { name: name.clone() })).collect();
    let mut n_started = 0;
    for (index, name) in names.iter().cloned().enumerate() {
        let sender = sender.clone();
        let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
            // The receiver is gone after the deadline.
            let _ = sender.send((index, resolve(&name)));
        });
        match thread {
            Ok(_) => n_started += 1,
            Err(source) => {
                let name = names[index].clone();
                results[index] = Err(ResolveError::Failed { name, source });
            }
        }
    }
    for _ in 0..n_started {
        let time_left = deadline.saturating_duration_since(Instant::now());
        let Ok((index, result)) = receiver.recv_timeout(time_left) else {
            break;
        };
        results[index] = result;
    }
    results
}

/// Returns the canonical name of the host `name`, as `hostname -f` finds it; `None` if the
/// resolver does not find it before `deadline`. The name is untrusted: it may come from a
/// name server.
#[cfg(feature = "mail")]
#[must_use]
pub fn canonical_name(name: &str, deadline: Instant) -> Option<String> {
    let (sender, receiver) = mpsc::channel();
    let name = name.to_owned();
    let lookup = move || {
        let hints = AddrInfoHints {
            flags: nix::libc::AI_CANONNAME,
            // Otherwise each address is listed three times.
            socktype: nix::libc::SOCK_DGRAM,
            ..AddrInfoHints::default()
        };
        // This panics if the name is not UTF-8; the receiver then gets no name.
        let mut addresses = dns_lookup::getaddrinfo(Some(&name), None, Some(hints)).ok()?;
        let first = addresses.next()?.ok()?;
        // The receiver is gone after the deadline.
        sender.send(first.canonname?).ok()
    };
    thread::Builder::new().stack_size(STACK_BYTES).spawn(lookup).ok()?;
    receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
}

fn resolve(name: &str) -> Result<Vec<IpAddr>, ResolveError> {
    let addresses = (name, 0)
        .to_socket_addrs()
        .map_err(|source| ResolveError::Failed { name: name.to_owned(), source })?;
    Ok(addresses.map(|address| canonical_address(address.ip())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_name_has_addresses_and_unknown_name_is_an_error() {
        let names = ["localhost", "name.invalid"].map(str::to_owned);
        let deadline = Instant::now() + std::time::Duration::from_secs(20);
        let results = resolve_all(&names, deadline);
        assert!(results[0].as_ref().is_ok_and(|all| all.iter().all(IpAddr::is_loopback)));
        let error = results[1].as_ref().expect_err("the domain .invalid is reserved (RFC 2606)");
        assert!(error.to_string().contains("name.invalid"), "{error}");
    }
}
