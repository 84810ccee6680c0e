//! Reads the files with networks and hosts to exclude.
use std::{collections::BTreeSet, path::PathBuf, time::Instant};

use crate::{
    model::{
        network::Network,
        problem::{Problem, error_chain},
    },
    storage::network_list::{self, ExcludeEntry, NetworkListError},
    sys::resolver,
};

use super::{
    operators::Operators,
    progress::{Progress, Stage},
};

/// Networks to exclude, and problems with hosts and operators whose networks are not known.
type ResolvedExcludes = (Vec<Network>, Vec<Problem>);

/// Suggested remedy for an entry whose networks are not known.
const LIST_NETWORKS: &str = "Its connections were not excluded but counted, so no peer can be \
                             over the limit. List its networks instead.";

/// Reads the files, finds the networks of operators, and resolves the host names. Resolving
/// uses at most three quarters of the time until `deadline`, so that enough time for sampling
/// remains if a name server is down.
pub(super) fn read_exclude_files(
    files: &[PathBuf],
    operators: &mut Operators,
    deadline: Instant,
    progress: &Progress,
) -> Result<ResolvedExcludes, NetworkListError> {
    let (mut networks, mut hosts) = (Vec::new(), Vec::new());
    let mut selectors = BTreeSet::new();
    for path in files {
        for exclude in network_list::read_excludes(path)? {
            match exclude {
                ExcludeEntry::Network(network) => networks.push(network),
                ExcludeEntry::Host(name) => hosts.push(name),
                ExcludeEntry::Operator(selector) => {
                    selectors.insert(selector);
                }
            }
        }
    }
    hosts.sort();
    hosts.dedup();
    progress.enter(Stage::Resolving);
    let mut problems = Vec::new();
    let (selected, not_found) = operators.networks_of(selectors);
    networks.extend(selected);
    for selector in not_found {
        let message = format!("cannot find the networks of {selector}");
        problems.push(Problem::new(message, LIST_NETWORKS));
    }
    let now = Instant::now();
    let resolver_deadline = now + deadline.saturating_duration_since(now) / 4 * 3;
    for result in resolver::resolve_all(&hosts, resolver_deadline) {
        match result {
            Ok(addresses) => {
                let addresses = addresses.into_iter();
                networks.extend(addresses.map(|address| Network::new(address, u8::MAX)));
            }
            Err(error) => {
                let message = format!("host of `--exclude-file`: {}", error_chain(&error));
                problems.push(Problem::new(message, LIST_NETWORKS));
            }
        }
    }
    Ok((networks, problems))
}
