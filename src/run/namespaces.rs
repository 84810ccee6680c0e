//! Looks into one network namespace after the other.
//!
//! Not at several at once: the kernel's walk through a table is the time that it
//! takes, and a host may have thousands of them.
use std::time::Instant;

use crate::{
    analysis::filter::Filter,
    source::{self, Finding, Found, Netns, NetnsError, Source, SourceError, Watch},
};

use super::{
    error::{Error, chain},
    sample::{Looked, look},
};

/// Looks into every namespace that is asked for and adds up what there is.
///
/// # Errors
///
/// Where none gives anything. What else could not be seen is a trouble.
pub(super) fn look_within(
    asked: &[Netns],
    sources: &[Source],
    filter: &Filter,
    watch: &Watch,
    deadline: Instant,
) -> Result<Looked, Error> {
    let Finding { found, errors, left_over } = source::find(asked);
    let mut gathering = Gathering::default();
    gathering
        .failures
        .extend(errors.into_iter().map(|error| Error::from(SourceError::from(error))));
    let n_found = found.len();
    for (nth, one) in found.into_iter().enumerate() {
        if Instant::now() >= deadline {
            gathering.failures.push(Error::NamespacesLate { n_left: n_found - nth, n_found });
            break;
        }
        let outcome = look(&within(&one, sources), filter, watch);
        gathering.add(&one, outcome);
    }
    gathering.looked(&left_over)
}

/// The same ways, in there.
fn within(found: &Found, sources: &[Source]) -> Vec<Source> {
    let inside = |source: &Source| Source::Within {
        found: Box::new(found.clone()),
        source: Box::new(source.clone()),
    };
    sources.iter().map(inside).collect()
}

/// What the namespaces gave so far.
#[derive(Default)]
struct Gathering {
    sum: Looked,
    failures: Vec<Error>,
    /// How those were looked at that have no sockets at all.
    of_empty: Vec<String>,
    /// What went away before it was looked into.
    gone: Vec<String>,
}

impl Gathering {
    fn add(&mut self, found: &Found, outcome: Result<Looked, Error>) {
        let namespace = &found.namespace;
        match outcome {
            Ok(looked) => {
                let sum = &mut self.sum;
                sum.namespaces.push((namespace.clone(), looked.tally.connections()));
                sum.tally.add_all(looked.tally);
                sum.left_out.add(looked.left_out);
                // An empty table does not tell as what it was read.
                let details = match looked.reading.dialects.is_empty() {
                    true => &mut self.of_empty,
                    false => &mut sum.details,
                };
                // Nearly always the same of each.
                for detail in looked.details {
                    if !details.contains(&detail) {
                        details.push(detail);
                    }
                }
                sum.reading.add(looked.reading);
            }
            Err(error) if is_gone(&error) => self.gone.push(namespace.to_string()),
            Err(error) => self.failed(namespace.to_string(), error),
        }
    }

    /// A thousand namespaces that fail alike are one failure.
    fn failed(&mut self, name: String, error: Error) {
        let cause = chain(&error);
        let same = self.failures.iter_mut().find_map(|failure| match failure {
            Error::Namespace { n, source, .. } if chain(source) == cause => Some(n),
            _ => None,
        });
        match same {
            Some(n) => *n += 1,
            None => self.failures.push(Error::Namespace { n: 1, name, source: Box::new(error) }),
        }
    }

    /// Nothing that was to be looked into is there any more.
    fn all_gone(self) -> Error {
        let n = self.gone.len();
        let name = self.gone.into_iter().next().unwrap_or_else(|| "of nothing".to_owned());
        let source = Box::new(SourceError::from(NetnsError::Gone).into());
        Error::Namespace { n, name, source }
    }

    fn looked(mut self, left_over: &[String]) -> Result<Looked, Error> {
        self.sum.namespaces.sort_by_key(|(_, connections)| std::cmp::Reverse(*connections));
        if self.sum.namespaces.is_empty() {
            return Err(match self.failures.len() {
                0 => self.all_gone(),
                1 => self.failures.remove(0),
                _ => Error::NoNamespace(self.failures),
            });
        }
        if self.sum.details.is_empty() {
            self.sum.details = self.of_empty;
        }
        self.sum.troubles = self.failures.iter().map(Error::trouble).collect();
        let said = |names: &[String], one: &str, many: &str| match names {
            [] => None,
            [name] => Some(format!("Network namespace {name} {one}.")),
            [name, ..] => Some(format!("{} network namespaces {many}, {name} first.", names.len())),
        };
        let notes = [
            said(
                &self.gone,
                "went away before it was looked into",
                "went away before they were looked into",
            ),
            said(
                left_over,
                "is a name in /run/netns without one, as seen from here",
                "are names in /run/netns without one, as seen from here",
            ),
        ];
        self.sum.notes = notes.into_iter().flatten().collect();
        Ok(self.sum)
    }
}

/// Whether it is no failure, but the way of containers.
fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Source(SourceError::Netns(NetnsError::Gone)))
}
