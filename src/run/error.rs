//! Errors of a run, with hints on how to fix them.
use std::io;

use rustix::io::Errno;

use crate::{
    analysis::tally::OutOfMemory,
    output::Trouble,
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
    #[error("{name} has given no answer since an earlier look")]
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
    #[error("none of {} servers gave anything: {}", .0.len(), .0.first().map_or_else(String::new, |first| error_chain(first)))]
    AllTargetsFailed(Vec<Error>),
    /// Network namespaces that failed for the same reason.
    #[error("cannot look into {}", describe_namespaces(*n_namespaces, name))]
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
    #[error("no time was left for {n_unread} of {n_found} network namespaces")]
    NamespacesTimedOut {
        /// Number of namespaces that were not read.
        n_unread: usize,
        /// Number of namespaces in total.
        n_found: usize,
    },
    /// None of several sources gave a sample.
    #[error("cannot look at the {} of this machine: {}", table_name(*table_kind), error_chain(last))]
    AllSourcesFailed {
        /// Kind of table to read.
        table_kind: TableKind,
        /// Error of the last source.
        last: Box<Error>,
        /// Messages about the sources tried before the last one.
        earlier_attempts: Vec<String>,
    },
}

impl Error {
    /// Returns hints on how to fix the error, and the other errors that it stands
    /// for.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        if let Some(hint) = open_files_hint(self) {
            return vec![hint];
        }
        match self {
            Self::NetworkFile(error) => vec![error.hint()],
            Self::Source(error) => error.hint().into_iter().collect(),
            Self::Parse(error) => error.hint().into_iter().collect(),
            Self::AllSourcesFailed { last, earlier_attempts, .. } => {
                [earlier_attempts.clone(), last.hints()].concat()
            }
            Self::Namespace { source, .. } => source.hints(),
            Self::AllNamespacesFailed(errors) => {
                let mut hints = Vec::new();
                for error in errors.iter().skip(1) {
                    hints.push(format!("{}.", error_chain(error)));
                }
                // The required capabilities are the same for all namespaces, so list
                // each hint once.
                for hint in errors.iter().flat_map(Self::hints) {
                    if !hints.contains(&hint) {
                        hints.push(hint);
                    }
                }
                hints
            }
            Self::TimedOut { .. } | Self::Busy { .. } | Self::NamespacesTimedOut { .. } => {
                vec![
                    "Give it more time with --timeout, below what the monitoring allows."
                        .to_owned(),
                ]
            }
            Self::OutOfMemory(_) => {
                vec![
                    "Allow it more memory (ulimit -v, or LimitAS of its unit), or look at some \
                      ports alone with --port."
                        .to_owned(),
                ]
            }
            Self::Thread { .. } => vec!["Ask for fewer servers at once.".to_owned()],
            Self::AllTargetsFailed(errors) => errors
                .iter()
                .flat_map(|error| {
                    [vec![format!("{}.", error_chain(error))], error.hints()].concat()
                })
                .collect(),
        }
    }

    /// Converts the error to a problem in the report of a run that goes on.
    pub(super) fn to_problem(&self) -> Trouble {
        let hints = self.hints();
        Trouble { message: error_chain(self), hint: (!hints.is_empty()).then(|| hints.join(" ")) }
    }
}

fn table_name(table_kind: TableKind) -> &'static str {
    match table_kind {
        TableKind::Flows => "tracked connections",
        TableKind::Sockets | TableKind::Mixed => "sockets",
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

/// Joins the messages of an error and its causes to one line.
#[must_use]
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Converts an error of one stage to a problem in the report. `hint` applies unless
/// the limit on open files is the cause.
pub(super) fn problem_with_hint(
    error: &(dyn std::error::Error + 'static),
    hint: String,
) -> Trouble {
    Trouble { message: error_chain(error), hint: Some(hint_for(error, hint)) }
}

/// Returns the hint for an error: `hint`, unless the limit on open files is the
/// cause. That limit can be hit in any stage.
#[must_use]
pub fn hint_for(error: &(dyn std::error::Error + 'static), hint: String) -> String {
    open_files_hint(error).unwrap_or(hint)
}

/// Returns a hint if the limit on open files of this process (`EMFILE`) or of the
/// system (`ENFILE`) is the cause.
fn open_files_hint(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    let number = causes.find_map(|cause| cause.downcast_ref::<io::Error>())?.raw_os_error()?;
    match Errno::from_raw_os_error(number) {
        Errno::MFILE => Some(
            "Allow it more open files (ulimit -n, or LimitNOFILE of its unit), or ask for fewer \
             servers at once."
                .to_owned(),
        ),
        Errno::NFILE => Some(
            "This machine allows no more open files: see sysctl fs.file-nr and fs.file-max."
                .to_owned(),
        ),
        _ => None,
    }
}
