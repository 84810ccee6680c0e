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

/// How many names are asked for at the same time.
const AT_ONCE: usize = 16;

/// Finds the addresses of `names`, several at a time, until `deadline`: the
/// system's resolver knows no time limit, so that one who does not answer is
/// left behind.
#[must_use]
pub fn addresses(names: &[String], deadline: Instant) -> Vec<Result<Vec<IpAddr>, ResolveError>> {
    let (sender, answers) = mpsc::channel();
    let n_threads = names.len().min(AT_ONCE);
    for nth in 0..n_threads {
        let sender = sender.clone();
        let share: Vec<_> =
            names.iter().cloned().enumerate().skip(nth).step_by(n_threads).collect();
        // Where no thread is to be had, its names are not found in time.
        let _ = thread::Builder::new().spawn(move || {
            for (index, name) in share {
                let found = find(&name);
                if sender.send((index, found)).is_err() {
                    return;
                }
            }
        });
    }
    drop(sender);
    let mut found: Vec<_> =
        names.iter().map(|name| Err(ResolveError::Late { name: name.clone() })).collect();
    for _ in names {
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
