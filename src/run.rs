//! One run of the check: the order of its stages.
use std::{path::PathBuf, time::Instant};

use crate::{
    filter::{Filter, Selection},
    history::{History, Previous, Sample},
    labels::Label,
    network_file::NetworkFileError,
    parse::{ParseError, Subject},
    report::{self, Report, View},
    rule::{self, Rule},
    source::{self, SourceError},
    state_file::Place,
    tally::{Full, Grain},
};

mod alert;
mod excludes;
mod look;
mod mail;
mod memory;
mod progress;
mod review;
mod seen;
mod targets;
mod watch;
mod within;

pub use alert::{Alerts, Log, Sink};
pub use mail::MailOrder;
use memory::Memory;
pub use progress::{Progress, Stage};
pub use review::{Review, Reviewed, review};
use seen::{Seen, see};
pub use targets::Target;
use targets::look_at_all;
pub use watch::{Glance, Watcher};

/// What a run is asked for.
#[derive(Clone, Debug)]
pub struct Check {
    /// What is looked at; the counts add up.
    pub targets: Vec<Target>,
    /// What of it counts.
    pub selection: Selection,
    /// Files with more networks and hosts that do not.
    pub exclude_files: Vec<PathBuf>,
    /// What networks are called.
    pub labels: Vec<Label>,
    /// Files with more names.
    pub label_files: Vec<PathBuf>,
    /// What is one peer; where there are several, each is judged by itself. The
    /// first is the one that the ranges are for.
    pub grains: Vec<Grain>,
    /// How many of the top peers are judged; `None`: all.
    pub judged: Option<usize>,
    /// How many of them may be named.
    pub listed: usize,
    /// How they are judged.
    pub rule: Rule,
    /// Where the state file is.
    pub state: Place,
    /// Who is told where the verdict is an alert.
    pub alerts: Alerts,
    /// Whether it is to be said where the host's own table may not show all.
    pub hint: bool,
    /// Until when the targets, names of hosts, a lock and a log are waited for.
    pub deadline: Instant,
}

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
        source: std::io::Error,
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

/// Samples, judges and remembers.
///
/// `now` gives seconds since 1970-01-01 UTC. It is asked once the state file is
/// locked, so that runs that overlap are in the order of their locks.
///
/// # Errors
///
/// Where there is no sample to judge. What goes wrong beside that is in the
/// report.
pub fn check(check: Check, now: impl Fn() -> u64, progress: &Progress) -> Result<Report, Error> {
    let seen = see(&check, progress)?;
    // What takes long is done before the lock.
    let samples = seen.samples(&check);
    progress.enter(Stage::Locking);
    let mut memory = Memory::open(check.state.clone(), seen.servers.clone(), check.deadline);
    progress.enter(Stage::Remembering);
    memory.recall();
    let (views, records) = judged(samples, now(), &memory.records, &seen, &check.rule);
    // Who could not see does not know who was on top, and the next sample
    // would be compared with nobody.
    if !seen.is_blind && !seen.is_doubtful {
        memory.keep(records);
    }
    memory.unlock();
    let mut report = seen.report(views, &check);
    report.troubles.append(&mut memory.troubles);
    report.notes.append(&mut memory.notes);
    report.notes.extend(hint(&check));
    let path = memory.path.as_ref();
    report.details.extend(path.map(|path| format!("State file: {}", path.display())));
    report.details.extend(report::earlier(&report.views));
    report.details.extend(report::left_out(&report.left_out));
    progress.enter(Stage::Alerting);
    report.alerts = alert::alerts(&report, &memory.servers);
    alert::tell(&check.alerts, &memory, check.deadline, &mut report);
    progress.enter(Stage::Reporting);
    Ok(report)
}

/// What a host's own table may not show, where that alone was looked at.
fn hint(check: &Check) -> Option<String> {
    let is_due = check.hint && check.targets.iter().any(Target::is_own_table);
    is_due
        .then(|| source::elsewhere(check.deadline))
        .flatten()
        .map(|it| report::elsewhere(it.n_holding))
}

/// Judges the samples; gives what is to be said of them, and what is to be kept.
fn judged(
    samples: Vec<Sample>,
    now: u64,
    records: &[Previous],
    seen: &Seen,
    rule: &Rule,
) -> (Vec<View>, Vec<Previous>) {
    let views = samples.into_iter().enumerate().map(|(nth, sample)| {
        let mut sample = Sample { when: now, ..sample };
        let previous = records.iter().find(|record| record.is_of(sample.grain)).cloned();
        let history = History { previous };
        let verdict = rule::judge(&sample, &history, &rule.of_view(nth));
        let record = Previous::of(&sample, &history, verdict.row);
        for peer in &mut sample.top {
            peer.first_on_top = history.first_on_top(peer.network, now);
            peer.label = seen.labels.of(peer.network).map(str::to_owned);
        }
        (View { sample, verdict, earlier: history.previous }, record)
    });
    views.unzip()
}

/// Looks at `targets` and remembers nothing: whether there is a way to see them.
///
/// # Errors
///
/// Where there is none.
pub fn probe(targets: Vec<Target>, deadline: Instant) -> Result<(), Error> {
    look_at_all(targets, &Filter::new(Selection::default()), deadline).map(|_| ())
}
