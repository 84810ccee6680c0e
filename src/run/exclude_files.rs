//! What does not count, by the files that say so.
use std::{path::PathBuf, time::Instant};

use crate::{
    model::network::Network,
    output::Trouble,
    storage::network_list::{self, Exclude, NetworkFileError},
    sys::resolver,
};

use super::{
    error::chain,
    progress::{Progress, Stage},
};

/// Networks, and the troubles with what could not be turned into one.
type Excludes = (Vec<Network>, Vec<Trouble>);

/// Reads the files, and finds the addresses of the hosts in them. That takes
/// three quarters of the time until `deadline` at the most: a resolver that is
/// down must not keep the check from looking.
pub(super) fn excludes(
    files: &[PathBuf],
    deadline: Instant,
    progress: &Progress,
) -> Result<Excludes, NetworkFileError> {
    let (mut networks, mut hosts) = (Vec::new(), Vec::new());
    for path in files {
        for exclude in network_list::excludes(path)? {
            match exclude {
                Exclude::Network(network) => networks.push(network),
                Exclude::Host(name) => hosts.push(name),
            }
        }
    }
    hosts.sort();
    hosts.dedup();
    progress.enter(Stage::Resolving);
    let mut troubles = Vec::new();
    for found in resolver::addresses(&hosts, most_of(deadline)) {
        match found {
            Ok(addresses) => {
                let alone = |address| Network::of(address, u8::MAX);
                networks.extend(addresses.into_iter().map(alone));
            }
            Err(error) => troubles.push(Trouble {
                problem: chain(&error),
                advice: Some(
                    "It is to be excluded, and its connections were counted: nobody can be \
                     blamed. List its addresses instead."
                        .to_owned(),
                ),
            }),
        }
    }
    Ok((networks, troubles))
}

fn most_of(deadline: Instant) -> Instant {
    let now = Instant::now();
    now + deadline.saturating_duration_since(now) / 4 * 3
}
