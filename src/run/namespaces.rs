//! Samples network namespaces one after another.
//!
//! Namespaces are not sampled in parallel: the kernel's walk through a table takes most of
//! the time, and a host may have thousands of namespaces.
use std::time::Instant;

use crate::{
    analysis::{
        filter::Filter,
        note::{Note, SourceDetail},
        observation::Observation,
    },
    model::problem::error_chain,
    source::{
        self, Activity, NetnsError, NetnsSelector, Resolution, ResolvedNamespace, Source,
        SourceError,
    },
};

use super::{run_error::Error, sample::sample_sources};

/// Samples each requested namespace and adds up the results.
///
/// # Errors
///
/// Returns an error if no namespace could be sampled. Failures of single namespaces
/// are problems in the result.
pub(super) fn sample_namespaces(
    selectors: &[NetnsSelector],
    sources: &[Source],
    filter: &Filter,
    activity: &Activity,
    deadline: Instant,
) -> Result<Observation, Error> {
    let Resolution { namespaces, errors, stale_names, owners_left_out } =
        source::resolve_namespaces(selectors);
    let mut totals = NamespaceTotals { owners_left_out, ..NamespaceTotals::default() };
    totals.failures.extend(errors.into_iter().map(|error| Error::from(SourceError::from(error))));
    let n_found = namespaces.len();
    for (index, resolved) in namespaces.into_iter().enumerate() {
        if Instant::now() >= deadline {
            totals.failures.push(Error::NamespacesTimedOut { n_unread: n_found - index, n_found });
            break;
        }
        let outcome = sample_sources(&sources_in_namespace(&resolved, sources), filter, activity);
        totals.add(&resolved, outcome);
    }
    totals.finish(stale_names, selectors.contains(&NetnsSelector::All))
}

/// Returns the same sources, for reading inside a namespace.
fn sources_in_namespace(resolved: &ResolvedNamespace, sources: &[Source]) -> Vec<Source> {
    sources
        .iter()
        .map(|source| Source::InNamespace {
            namespace: Box::new(resolved.clone()),
            source: Box::new(source.clone()),
        })
        .collect()
}

/// Results of the namespaces sampled so far.
#[derive(Default)]
struct NamespaceTotals {
    sum: Observation,
    failures: Vec<Error>,
    /// Details of namespaces whose tables were empty.
    empty_table_details: Vec<SourceDetail>,
    /// Namespaces that vanished before they were sampled.
    vanished: Vec<String>,
    /// User IDs of the owners of namespaces that are not selected.
    owners_left_out: Vec<u32>,
}

impl NamespaceTotals {
    fn add(&mut self, resolved: &ResolvedNamespace, outcome: Result<Observation, Error>) {
        let namespace = &resolved.namespace;
        match outcome {
            Ok(mut observation) => {
                let connections = observation.tally.connections();
                observation.namespaces = vec![(namespace.clone(), connections)];
                for counters in &mut observation.kernel_counters {
                    counters.name = Some(namespace.to_string());
                }
                // An empty table has no row that shows the format in which it was
                // read.
                if observation.parse_stats.dialects.is_empty() {
                    self.empty_table_details = std::mem::take(&mut observation.details);
                }
                self.sum.merge(observation);
            }
            Err(Error::Source(SourceError::Netns(NetnsError::Gone))) => {
                self.vanished.push(namespace.to_string());
            }
            Err(Error::Source(SourceError::Netns(NetnsError::NotSelected { uid }))) => {
                self.owners_left_out.push(uid);
            }
            Err(error) => self.add_failure(namespace.to_string(), error),
        }
    }

    /// Adds the failure of a namespace. Failures for the same reason are counted as
    /// one.
    fn add_failure(&mut self, name: String, error: Error) {
        let cause = error_chain(&error);
        let same_failure = self.failures.iter_mut().find_map(|failure| match failure {
            Error::Namespace { n_namespaces, source, .. } if error_chain(source) == cause => {
                Some(n_namespaces)
            }
            _ => None,
        });
        match same_failure {
            Some(n_namespaces) => *n_namespaces += 1,
            None => self.failures.push(Error::Namespace {
                n_namespaces: 1,
                name,
                source: Box::new(error),
            }),
        }
    }

    /// Returns the error for the case that all requested namespaces have vanished.
    fn all_vanished(self) -> Error {
        let n_namespaces = self.vanished.len();
        let name = self.vanished.into_iter().next().unwrap_or_else(|| "unknown".to_owned());
        let source = Box::new(SourceError::from(NetnsError::Gone).into());
        Error::Namespace { n_namespaces, name, source }
    }

    /// Returns the sum. If all namespaces are requested, adds a note about those of users that
    /// are not selected.
    fn finish(mut self, stale_names: Vec<String>, all: bool) -> Result<Observation, Error> {
        self.sum.namespaces.sort_by_key(|(_, connections)| std::cmp::Reverse(*connections));
        if self.sum.namespaces.is_empty() {
            return Err(match self.failures.len() {
                0 if self.vanished.is_empty() => SourceError::from(NetnsError::NoneOfUsers).into(),
                0 => self.all_vanished(),
                1 => self.failures.remove(0),
                _ => Error::AllNamespacesFailed(self.failures),
            });
        }
        if self.sum.details.is_empty() {
            self.sum.details = self.empty_table_details;
        }
        self.sum.problems = self.failures.iter().map(Error::to_partial_problem).collect();
        if !self.vanished.is_empty() {
            self.sum.notes.push(Note::VanishedNamespaces(self.vanished));
        }
        if all && !self.owners_left_out.is_empty() {
            let count = self.owners_left_out.len();
            self.owners_left_out.sort_unstable();
            self.owners_left_out.dedup();
            let owners = self.owners_left_out;
            self.sum.notes.push(Note::ForeignNamespaces { count, owners });
        }
        if !stale_names.is_empty() {
            self.sum.notes.push(Note::StaleNamespaceNames(stale_names));
        }
        Ok(self.sum)
    }
}
