//! Names to addresses, in bounded time.
use std::{
    io,
    net::{IpAddr, ToSocketAddrs},
    sync::mpsc,
    thread,
    time::Instant,
};

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The resolver says so, or cannot say.
    #[error("cannot find the address of {name}")]
    Failed {
        /// Which.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The resolver takes too long.
    #[error("cannot find the address of {name}: no answer in time")]
    Late {
        /// Which.
        name: String,
    },
}

/// How much stack the resolver gets: its modules have asked for 100 KiB.
const STACK: usize = 512 * 1024;

/// Finds the addresses of `names`, all at the same time, until `deadline`: the
/// system's resolver knows no time limit, so that each name has a thread of its
/// own, and one that hangs keeps no other waiting and is left behind.
#[must_use]
pub fn addresses(names: &[String], deadline: Instant) -> Vec<Result<Vec<IpAddr>, ResolveError>> {
    let (sender, answers) = mpsc::channel();
    let late = |name: &String| Err(ResolveError::Late { name: name.clone() });
    let mut found: Vec<_> = names.iter().map(late).collect();
    let mut n_asked = 0;
    for (index, name) in names.iter().cloned().enumerate() {
        let sender = sender.clone();
        let ask = move || {
            // Nobody waits any more: the time was up.
            let _ = sender.send((index, find(&name)));
        };
        match thread::Builder::new().stack_size(STACK).spawn(ask) {
            Ok(_) => n_asked += 1,
            Err(source) => {
                let name = names[index].clone();
                found[index] = Err(ResolveError::Failed { name, source });
            }
        }
    }
    for _ in 0..n_asked {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok((index, answer)) = answers.recv_timeout(left) else {
            break;
        };
        found[index] = answer;
    }
    found
}

fn find(name: &str) -> Result<Vec<IpAddr>, ResolveError> {
    let failed = |source| ResolveError::Failed { name: name.to_owned(), source };
    let found = (name, 0).to_socket_addrs().map_err(failed)?;
    Ok(found.map(|address| address.ip().to_canonical()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_or_said_not_to_be() {
        let names = ["localhost", "name.invalid"].map(str::to_owned);
        let deadline = Instant::now() + std::time::Duration::from_secs(20);
        let found = addresses(&names, deadline);
        assert!(found[0].as_ref().is_ok_and(|all| all.iter().all(IpAddr::is_loopback)));
        let error = found[1].as_ref().expect_err("nobody is called that");
        assert!(error.to_string().contains("name.invalid"), "{error}");
    }
}
