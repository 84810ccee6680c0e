//! Reads the files of networks and hosts to exclude.
use std::{path::PathBuf, time::Instant};

use crate::{
    model::{
        network::Network,
        problem::{Problem, error_chain},
    },
    storage::network_list::{self, ExcludeEntry, NetworkListError},
    sys::resolver,
};

use super::progress::{Progress, Stage};

/// Networks to exclude, and problems with hosts that could not be resolved.
type ResolvedExcludes = (Vec<Network>, Vec<Problem>);

/// Reads the files and resolves the host names in them. Resolving uses at most three
/// quarters of the time until `deadline`, so that time for sampling is left when a
/// resolver is down.
pub(super) fn read_exclude_files(
    files: &[PathBuf],
    deadline: Instant,
    progress: &Progress,
) -> Result<ResolvedExcludes, NetworkListError> {
    let (mut networks, mut hosts) = (Vec::new(), Vec::new());
    for path in files {
        for exclude in network_list::read_excludes(path)? {
            match exclude {
                ExcludeEntry::Network(network) => networks.push(network),
                ExcludeEntry::Host(name) => hosts.push(name),
            }
        }
    }
    hosts.sort();
    hosts.dedup();
    progress.enter(Stage::Resolving);
    let mut problems = Vec::new();
    let now = Instant::now();
    let resolver_deadline = now + deadline.saturating_duration_since(now) / 4 * 3;
    for result in resolver::resolve_all(&hosts, resolver_deadline) {
        match result {
            Ok(addresses) => {
                let addresses = addresses.into_iter();
                networks.extend(addresses.map(|address| Network::new(address, u8::MAX)));
            }
            Err(error) => problems.push(Problem::new(
                error_chain(&error),
                "It is to be excluded, and its connections were counted: nobody can be blamed. \
                 List its addresses instead.",
            )),
        }
    }
    Ok((networks, problems))
}
