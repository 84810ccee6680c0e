//! Errors of a run, with hints on how to fix them.
use std::io;

use crate::{
    analysis::{note::FailedSource, tally::OutOfMemory},
    model::problem::{Hints, Problem, error_chain},
    parse::{ParseError, TableKind},
    source::SourceError,
    storage::network_list::NetworkListError,
};

/// Failure that leaves a run without a verdict.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A list of networks cannot be read.
    #[error(transparent)]
    NetworkFile(#[from] NetworkListError),
    /// A source cannot be opened.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A source ended early, or its content cannot be parsed.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// Counting the addresses takes more memory than is available.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
    /// A target did not answer before the deadline.
    #[error("{name} gave no answer in {seconds} s{}", while_active(activity))]
    TimedOut {
        /// Name of the target.
        name: String,
        /// Time waited, in seconds.
        seconds: u64,
        /// Activity at that time; empty if unknown.
        activity: String,
    },
    /// A repeatedly sampled target has not answered an earlier request yet.
    #[error("{name} has not answered an earlier request yet")]
    Busy {
        /// Name of the target.
        name: String,
    },
    /// No thread can be started to sample a target.
    #[error("cannot start a thread for {name}")]
    Thread {
        /// Name of the target.
        name: String,
        /// Error of the system.
        source: io::Error,
    },
    /// None of several targets gave a sample.
    #[error("cannot sample any of {} servers: {}", .0.len(), .0.first().map_or_else(String::new, |first| error_chain(first)))]
    AllTargetsFailed(Vec<Error>),
    /// Network namespaces that failed for the same reason.
    #[error("cannot sample {}", describe_namespaces(*n_namespaces, name))]
    Namespace {
        /// Number of these namespaces.
        n_namespaces: usize,
        /// Name of the first of them.
        name: String,
        /// Reason of the failure.
        source: Box<Error>,
    },
    /// None of the network namespaces gave a sample.
    #[error("{}", .0.first().map_or_else(String::new, |first| error_chain(first)))]
    AllNamespacesFailed(Vec<Error>),
    /// The deadline passed before all network namespaces were read.
    #[error("cannot sample {n_unread} of {n_found} network namespaces: no time left")]
    NamespacesTimedOut {
        /// Number of namespaces that were not read.
        n_unread: usize,
        /// Number of namespaces in total.
        n_found: usize,
    },
    /// None of several sources gave a sample.
    #[error("cannot read the {} of this host: {}", table_name(*table_kind), error_chain(last))]
    AllSourcesFailed {
        /// Kind of table to read.
        table_kind: TableKind,
        /// Error of the last source.
        last: Box<Error>,
        /// Sources tried before the last one.
        earlier: Vec<FailedSource>,
        /// Hints of the earlier sources of tracked connections: each needs its own
        /// capability and kernel module.
        flow_hints: Vec<String>,
    },
}

impl Hints for Error {
    /// Returns hints on how to fix the error, and the other errors that it represents.
    fn hints(&self) -> Vec<String> {
        match self {
            Self::NetworkFile(error) => error.hints(),
            Self::Source(error) => error.hints(),
            Self::Parse(error) => error.hints(),
            Self::AllSourcesFailed { last, earlier, flow_hints, .. } => {
                let earlier = earlier.iter().map(ToString::to_string).collect();
                [earlier, flow_hints.clone(), last.to_problem().hints].concat()
            }
            Self::Namespace { source, .. } => source.to_problem().hints,
            Self::AllNamespacesFailed(errors) => {
                let mut hints: Vec<_> = errors.iter().skip(1).map(sentence).collect();
                // The required capabilities are the same for all namespaces, so list
                // each hint once.
                for hint in errors.iter().flat_map(|error| error.to_problem().hints) {
                    if !hints.contains(&hint) {
                        hints.push(hint);
                    }
                }
                hints
            }
            Self::TimedOut { .. } | Self::Busy { .. } | Self::NamespacesTimedOut { .. } => {
                vec![
                    "Increase `--timeout`, but keep it below the timeout of the monitoring system."
                        .to_owned(),
                ]
            }
            Self::OutOfMemory(_) => {
                vec![
                    "Allow more memory (ulimit -v, or LimitAS= of the systemd unit), or count only \
                     some ports with `--port`."
                        .to_owned(),
                ]
            }
            Self::Thread { .. } => vec!["Check fewer servers in one run.".to_owned()],
            Self::AllTargetsFailed(errors) => errors
                .iter()
                .flat_map(|error| [vec![sentence(error)], error.to_problem().hints].concat())
                .collect(),
        }
    }
}

impl Error {
    /// Returns the error as a problem in the report of a run that continues, with all hints
    /// in one paragraph.
    pub(super) fn to_partial_problem(&self) -> Problem {
        let Problem { message, hints } = self.to_problem();
        if hints.is_empty() {
            return Problem::without_hints(message);
        }
        Problem::new(message, hints.join(" "))
    }
}

fn sentence(error: &Error) -> String {
    format!("{}.", error_chain(error))
}

fn table_name(table_kind: TableKind) -> &'static str {
    match table_kind {
        TableKind::Flows => "tracked connections",
        TableKind::Sockets | TableKind::Counts | TableKind::Mixed => "sockets",
    }
}

fn describe_namespaces(n_namespaces: usize, first: &str) -> String {
    match n_namespaces {
        1 => format!("network namespace {first}"),
        _ => format!("{n_namespaces} network namespaces, {first} first"),
    }
}

fn while_active(activity: &str) -> String {
    if activity.is_empty() { String::new() } else { format!(" (while {activity})") }
}
