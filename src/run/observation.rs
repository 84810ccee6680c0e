//! Samples all targets: from the configuration to an observation that can be judged.
use std::time::Instant;

use crate::{
    analysis::{
        filter::Filter,
        label::Labels,
        note::Note,
        observation::Observation,
        sample::{Sample, SampleSize},
        tally::Counts,
    },
    model::network::Network,
    output,
    source::{HostKeyPolicy, Source},
    storage::network_list,
};

use super::{
    check::CheckConfig,
    exclude_files::read_exclude_files,
    operators::Operators,
    progress::{Progress, Stage},
    run_error::Error,
    targets::{Target, sample_targets},
};

/// Counts of all targets, and everything else that was observed.
#[derive(Debug)]
pub(super) struct CountedObservation {
    pub(super) observation: Observation,
    pub(super) counts: Counts,
    pub(super) labels: Labels,
    /// The excluded networks, those of files included.
    pub(super) excludes: Vec<Network>,
}

/// Reads the exclude and label files, then samples the targets.
///
/// # Errors
///
/// Returns an error if a list cannot be read, if no sample could be taken, or if
/// there is not enough memory.
pub(super) fn observe(
    config: &CheckConfig,
    operators: &mut Operators,
    deadline: Instant,
    progress: &Progress,
) -> Result<CountedObservation, Error> {
    progress.enter(Stage::NetworkLists);
    let mut labels = Labels::default();
    for path in &config.label_files {
        labels.extend(network_list::read_labels(path)?);
    }
    // Labels on the command line take precedence over those in files.
    labels.extend(config.labels.iter().cloned());
    let mut selection = config.selection.clone();
    let (excludes, unresolved) =
        read_exclude_files(&config.exclude_files, operators, deadline, progress)?;
    selection.excludes.extend(excludes);

    progress.enter(Stage::Sampling);
    let excludes = selection.excludes.clone();
    let mut observation =
        sample_targets(config.targets.clone(), &Filter::new(selection), deadline)?;
    let mut tally = std::mem::take(&mut observation.tally);
    tally.check_memory()?;
    let counted = tally.connections();
    let counts = tally.finish();

    let parse_problems = output::parse_problems(&observation);
    observation.problems.extend(parse_problems);
    observation.unreliable = !unresolved.is_empty();
    observation.problems.extend(unresolved);
    observation.notes.extend(unverified_servers(&config.targets));
    let excluded = &observation.skipped.excluded;
    let note = most_excluded_by_default(counted, excluded, &config.default_excludes);
    observation.notes.extend(note);
    Ok(CountedObservation { observation, counts, labels, excludes })
}

/// Returns a note if more connections are excluded by default than counted. The loopback
/// connections of a host, such as those of its reverse proxy, matter only if no other
/// connection is counted.
fn most_excluded_by_default(
    counted: u64,
    excluded: &[(Network, u64)],
    default_excludes: &[Network],
) -> Option<Note> {
    let (mut n_excluded, mut networks) = (0, Vec::new());
    for &(network, n) in excluded {
        let is_relevant = counted == 0 || !network.first_address().is_loopback();
        if default_excludes.contains(&network) && is_relevant {
            n_excluded += n;
            networks.push(network);
        }
    }
    if n_excluded <= counted {
        return None;
    }
    let total = counted + n_excluded;
    Some(Note::MostExcludedByDefault { excluded: n_excluded, total, networks })
}

/// Returns a note on servers whose host keys were not verified.
fn unverified_servers(targets: &[Target]) -> Option<Note> {
    let mut names = Vec::new();
    for target in targets {
        if target.sources.iter().any(is_unverified) {
            names.push(target.name.clone());
        }
    }
    if names.is_empty() { None } else { Some(Note::UnverifiedServers(names)) }
}

fn is_unverified(source: &Source) -> bool {
    matches!(source, Source::Ssh(server) if server.host_key_policy == HostKeyPolicy::Ignore)
}

impl CountedObservation {
    /// Returns a sample for each aggregation whose peers are known. `timestamp` is 0: the
    /// time is read when the state file is locked.
    pub(super) fn samples(&self, config: &CheckConfig) -> Vec<Sample> {
        let size = SampleSize { max_judged: config.n_judged, max_listed: config.n_listed };
        let mut samples = Vec::new();
        for &aggregation in &config.aggregations {
            if !self.counts.has_peers_of(aggregation) {
                continue;
            }
            let mut sample = Sample::new(&self.counts, 0, aggregation, size, &config.judge_config);
            if self.observation.unreliable {
                sample.set_unreliable();
            }
            samples.push(sample);
        }
        samples
    }

    /// Returns `true` if the next sample can be compared with this one. A sample that
    /// missed all connections has no top peer, and a sample that counted excluded
    /// connections may have the wrong top peer.
    pub(super) fn is_comparable(&self) -> bool {
        let is_blind = self.counts.addresses() == 0 && !self.observation.problems.is_empty();
        !is_blind && !self.observation.unreliable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn note_needs_more_default_exclusions_than_counted_connections() {
        let network = |text: &str| text.parse::<Network>().expect("a network");
        let [lan, loopback] = [network("192.168.0.0/16"), network("127.0.0.0/8")];
        let excluded = [(lan, 5), (loopback, 9), (network("198.51.100.0/24"), 100)];
        let note = |counted| most_excluded_by_default(counted, &excluded, &[lan, loopback]);
        let expected = |excluded, total, networks: &[Network]| {
            let networks = networks.to_vec();
            Some(Note::MostExcludedByDefault { excluded, total, networks })
        };
        assert_eq!(note(5), None);
        assert_eq!(note(4), expected(5, 9, &[lan]));
        assert_eq!(note(0), expected(14, 14, &[lan, loopback]));
        assert_eq!(most_excluded_by_default(0, &excluded, &[]), None);
    }
}
