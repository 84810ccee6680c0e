//! Resolves host names to addresses, and addresses to host names, in bounded time.
use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Instant,
};

use dns_lookup::{AddrInfoHints, LookupError, LookupErrorKind};

use crate::model::{host_name::is_host_name, network::canonical_address};

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

/// Stack size of a resolver thread. The resolver's modules (NSS) needed up to 100 KiB in
/// measurements.
const STACK_BYTES: usize = 512 * 1024;

/// Resolves all `names` concurrently, until `deadline`.
///
/// The system's resolver has no time limit. Each name has a separate thread, so that a
/// name that hangs does not delay the others; the thread of such a name is left running.
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
            // Without a socket type, each address is listed three times.
            socktype: nix::libc::SOCK_DGRAM,
            ..AddrInfoHints::default()
        };
        // The iterator panics if the name is not UTF-8; the receiver then gets no name.
        let mut addresses = dns_lookup::getaddrinfo(Some(&name), None, Some(hints)).ok()?;
        let first = addresses.next()?.ok()?;
        // The receiver is gone after the deadline.
        sender.send(first.canonname?).ok()
    };
    thread::Builder::new().stack_size(STACK_BYTES).spawn(lookup).ok()?;
    receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
}

/// Maximum number of names that are looked up concurrently. An address whose name server
/// does not answer keeps its thread busy for seconds.
const MAX_REVERSE_THREADS: usize = 64;

/// Result of looking up the name of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReverseName {
    /// A host name that resolves to the address.
    Confirmed(String),
    /// The address does not have such a name.
    Absent,
    /// The resolver did not answer before the deadline, or could not answer.
    Unknown,
}

/// Looks up the names of `addresses` in their order, several concurrently, until `deadline`.
///
/// The owner of an address chooses its name, so a name counts only if it resolves to the
/// address. The threads of names that hang are left running.
#[must_use]
pub fn reverse_names(addresses: Vec<IpAddr>, deadline: Instant) -> Vec<ReverseName> {
    let (sender, receiver) = mpsc::channel();
    let mut names = vec![ReverseName::Unknown; addresses.len()];
    let n_threads = addresses.len().min(MAX_REVERSE_THREADS);
    let queue = Arc::new((addresses, AtomicUsize::new(0)));
    for _ in 0..n_threads {
        let (queue, sender) = (Arc::clone(&queue), sender.clone());
        let worker = move || {
            let (addresses, next) = &*queue;
            while let Some((index, &address)) = take_next(addresses, next) {
                // The receiver is gone after the deadline.
                if sender.send((index, reverse_name(address))).is_err() {
                    return;
                }
            }
        };
        // If a thread cannot be started, fewer names are found in time.
        let _ = thread::Builder::new().stack_size(STACK_BYTES).spawn(worker);
    }
    drop(sender);
    loop {
        let time_left = deadline.saturating_duration_since(Instant::now());
        let Ok((index, name)) = receiver.recv_timeout(time_left) else {
            return names;
        };
        names[index] = name;
    }
}

fn take_next<'a>(addresses: &'a [IpAddr], next: &AtomicUsize) -> Option<(usize, &'a IpAddr)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    Some((index, addresses.get(index)?))
}

fn reverse_name(address: IpAddr) -> ReverseName {
    let socket = SocketAddr::new(address, 0);
    let flags = nix::libc::NI_NAMEREQD | nix::libc::NI_NUMERICSERV;
    let found = dns_lookup::getnameinfo(&socket, flags);
    let confirmed = found.and_then(|(name, _)| {
        let is_confirmed = is_host_name(&name) && has_address(&name, address)?;
        Ok(is_confirmed.then_some(name))
    });
    match confirmed {
        Ok(name) => name.map_or(ReverseName::Absent, ReverseName::Confirmed),
        Err(error) if is_without_answer(&error) => ReverseName::Unknown,
        Err(_) => ReverseName::Absent,
    }
}

/// Returns whether the host `name` has this address.
fn has_address(name: &str, address: IpAddr) -> Result<bool, LookupError> {
    // Without a socket type, each address is listed three times.
    let socktype = nix::libc::SOCK_DGRAM;
    let hints = AddrInfoHints { socktype, ..AddrInfoHints::default() };
    let mut found = dns_lookup::getaddrinfo(Some(name), None, Some(hints))?;
    let address = canonical_address(address);
    Ok(found.any(|it| it.is_ok_and(|it| canonical_address(it.sockaddr.ip()) == address)))
}

/// Returns whether a look-up failed without an answer, so that the name can exist.
fn is_without_answer(error: &LookupError) -> bool {
    matches!(
        error.kind(),
        LookupErrorKind::Again
            | LookupErrorKind::Fail
            | LookupErrorKind::Memory
            | LookupErrorKind::System
    )
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

    #[test]
    fn names_are_in_the_order_of_the_addresses() {
        let addresses = ["127.0.0.1".parse().expect("an address"); 200].to_vec();
        let deadline = Instant::now() + std::time::Duration::from_secs(20);
        let names = reverse_names(addresses.clone(), deadline);
        let is_localhost = |name: &ReverseName| match name {
            ReverseName::Confirmed(name) => name.starts_with("localhost"),
            _ => false,
        };
        assert!(names.iter().all(is_localhost), "{names:?}");
        assert_eq!(names.len(), 200);
        assert_eq!(reverse_names(Vec::new(), deadline), []);
        let names = reverse_names(addresses, Instant::now());
        assert_eq!(names.len(), 200);
    }
}
