//! Why a run, or a part of it, came to nothing, and what to do about it.
use std::io;

use rustix::io::Errno;

use crate::{
    analysis::tally::Full,
    output::Trouble,
    parse::{ParseError, Subject},
    source::SourceError,
    storage::network_list::NetworkFileError,
};

/// Why a run came to no verdict.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A list of networks cannot be used.
    #[error(transparent)]
    NetworkFile(#[from] NetworkFileError),
    /// A source cannot be opened.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A source broke off, or gave what cannot be read.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// There are more addresses than can be counted.
    #[error(transparent)]
    Full(#[from] Full),
    /// A target did not answer in time.
    #[error("{name} gave no answer in {seconds} s{}", while_doing(doing))]
    NoAnswer {
        /// Which.
        name: String,
        /// How long it was waited for.
        seconds: u64,
        /// What it was at.
        doing: String,
    },
    /// A target that is looked at again and again has not answered yet.
    #[error("{name} has given no answer since an earlier look")]
    Busy {
        /// Which.
        name: String,
    },
    /// A target could not be looked at beside the others.
    #[error("cannot start a thread for {name}")]
    Thread {
        /// Which.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// None of several targets gave anything.
    #[error("none of {} servers gave anything: {}", .0.len(), .0.first().map_or_else(String::new, |first| chain(first)))]
    NoTarget(Vec<Error>),
    /// A network namespace gave nothing.
    #[error("cannot look into {}", namespaces(*n, name))]
    Namespace {
        /// How many failed alike.
        n: usize,
        /// The first of them.
        name: String,
        /// What came of it.
        source: Box<Error>,
    },
    /// None of the network namespaces gave anything.
    #[error("{}", .0.first().map_or_else(String::new, |first| chain(first)))]
    NoNamespace(Vec<Error>),
    /// There were more network namespaces than time.
    #[error("no time was left for {n_left} of {n_found} network namespaces")]
    NamespacesLate {
        /// How many were not looked into.
        n_left: usize,
        /// How many there are.
        n_found: usize,
    },
    /// None of several ways gave anything.
    #[error("cannot look at the {} of this machine: {}", of(*subject), chain(last))]
    NoWay {
        /// What was looked for.
        subject: Subject,
        /// What came of the last way.
        last: Box<Error>,
        /// What came of those before it, in words.
        before: Vec<String>,
    },
}

impl Error {
    /// What else there is to say: other ways that were tried, what to do.
    #[must_use]
    pub fn more(&self) -> Vec<String> {
        if let Some(advice) = too_many_files(self) {
            return vec![advice];
        }
        match self {
            Self::NetworkFile(error) => vec![error.advice()],
            Self::Source(error) => error.advice().into_iter().collect(),
            Self::Parse(error) => error.advice().into_iter().collect(),
            Self::NoWay { last, before, .. } => [before.clone(), last.more()].concat(),
            Self::Namespace { source, .. } => source.more(),
            Self::NoNamespace(errors) => {
                let mut more = Vec::new();
                for error in errors.iter().skip(1) {
                    more.push(format!("{}.", chain(error)));
                }
                // What to grant is the same for all.
                for advice in errors.iter().flat_map(Self::more) {
                    if !more.contains(&advice) {
                        more.push(advice);
                    }
                }
                more
            }
            Self::NoAnswer { .. } | Self::Busy { .. } | Self::NamespacesLate { .. } => {
                vec![
                    "Give it more time with --timeout, below what the monitoring allows."
                        .to_owned(),
                ]
            }
            Self::Full(_) => {
                vec![
                    "Allow it more memory (ulimit -v, or LimitAS of its unit), or look at some \
                      ports alone with --port."
                        .to_owned(),
                ]
            }
            Self::Thread { .. } => vec!["Ask for fewer servers at once.".to_owned()],
            Self::NoTarget(errors) => errors
                .iter()
                .flat_map(|error| [vec![format!("{}.", chain(error))], error.more()].concat())
                .collect(),
        }
    }

    /// What it comes to in the report, where it did not end the run.
    pub(super) fn trouble(&self) -> Trouble {
        let more = self.more();
        Trouble { problem: chain(self), advice: (!more.is_empty()).then(|| more.join(" ")) }
    }
}

fn of(subject: Subject) -> &'static str {
    match subject {
        Subject::Flows => "tracked connections",
        Subject::Sockets | Subject::Both => "sockets",
    }
}

fn namespaces(n: usize, first: &str) -> String {
    match n {
        1 => format!("network namespace {first}"),
        _ => format!("{n} network namespaces, {first} first"),
    }
}

fn while_doing(doing: &str) -> String {
    if doing.is_empty() { String::new() } else { format!(" (while {doing})") }
}

/// An error and its causes on one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// What a part of the run that failed comes to in the report.
pub(super) fn trouble(error: &(dyn std::error::Error + 'static), advice: String) -> Trouble {
    Trouble { problem: chain(error), advice: Some(advice_on(error, advice)) }
}

/// What to do about an error, where `advice` is for whatever it may be: that there
/// are too many open files is nobody's fault where it shows.
#[must_use]
pub fn advice_on(error: &(dyn std::error::Error + 'static), advice: String) -> String {
    too_many_files(error).unwrap_or(advice)
}

/// What to do where the limit on open files is the cause, of this process or of
/// the system, as errno(3) tells them.
fn too_many_files(error: &(dyn std::error::Error + 'static)) -> Option<String> {
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
