//! One run of the check: the order of its stages.
use std::{path::PathBuf, time::Instant};

use crate::{
    filter::{Filter, Selection},
    history::{History, Previous, Sample},
    labels::{Label, Labels},
    network_file::{self, NetworkFileError},
    parse::ParseError,
    report::{self, Report, Trouble, View},
    rule::{self, Rule},
    source::SourceError,
    state_file::{Damage, Loaded, Place, StateFile},
    tally::Grain,
};

mod excludes;
mod look;
mod progress;
mod targets;

use excludes::excludes;
pub use progress::{Progress, Stage};
pub use targets::Target;
use targets::{Sum, look_at_all};

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
    /// Until when a lock may be waited for.
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
    /// None of several ways gave anything.
    #[error("cannot look at the sockets of this machine: {}", chain(last))]
    NoWay {
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
            Self::NoWay { last, before } => [before.clone(), last.more()].concat(),
            Self::NoAnswer { .. } => {
                vec![
                    "Give it more time with --timeout, below what the monitoring allows."
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
    progress.enter(Stage::Excludes);
    let mut labels = Labels::default();
    labels.extend(check.labels);
    for path in &check.label_files {
        labels.extend(network_file::labels(path)?);
    }
    let mut selection = check.selection;
    let (excludes, unresolved) = excludes(&check.exclude_files, check.deadline)?;
    selection.excludes.extend(excludes);
    progress.enter(Stage::Sampling);
    let filter = Filter::new(selection);
    let servers = Target::names(&check.targets);
    let Sum { tally, left_out, reading, mut details, shares, mut troubles } =
        look_at_all(check.targets, &filter, check.deadline)?;
    let counted = tally.finish();
    troubles.extend(
        [
            report::unreadable(&reading),
            report::cut(&reading),
            report::assumed(&reading),
            report::untold(&left_out),
        ]
        .into_iter()
        .flatten(),
    );
    // Who saw nothing because he could not see does not know who was on top.
    let could_not_see = !troubles.is_empty();
    troubles.extend(unresolved);
    let is_whole = troubles.is_empty();
    let mut notes = Vec::new();

    progress.enter(Stage::Locking);
    let state_file = StateFile::open(&check.state, servers, check.deadline);
    progress.enter(Stage::Remembering);
    let (state_file, histories) = match state_file.and_then(|file| Ok((file.load()?, file))) {
        Ok((Loaded { histories, damage }, file)) => {
            details.push(format!("State file: {}", file.path().display()));
            match damage.as_ref().map(damaged) {
                // What cannot be put aside is not written over.
                Some(Err(trouble)) => {
                    troubles.push(trouble);
                    (None, histories)
                }
                note => {
                    notes.extend(note.and_then(Result::ok));
                    (Some(file), histories)
                }
            }
        }
        Err(error) => {
            let advice = Some(error.advice());
            troubles.push(Trouble { problem: chain(&error), advice });
            (None, Vec::new())
        }
    };
    let now = now();
    let histories = histories.into_iter().chain(std::iter::repeat(History::default()));
    let (views, records): (Vec<_>, Vec<_>) = std::iter::zip(&check.grains, histories)
        .enumerate()
        .map(|(nth, (&grain, history))| {
            let sample = Sample::of(&counted, now, grain, check.judged, check.listed);
            view(sample, &history, &labels, &check.rule.of_view(nth))
        })
        .unzip();
    let is_blind = counted.addresses() == 0 && could_not_see;
    if let Some(file) = state_file
        && !is_blind
        && let Err(error) = file.save(&records)
    {
        let advice = Some(error.advice());
        troubles.push(Trouble { problem: chain(&error), advice });
    }
    progress.enter(Stage::Reporting);
    details
        .extend(views.iter().filter_map(|view| view.earlier.as_ref()).map(|it| earlier(it, now)));
    details.extend(report::left_out(&left_out));
    Ok(Report {
        views,
        left_out,
        rule: check.rule,
        judged: check.judged,
        troubles,
        is_whole,
        notes,
        details,
        shares,
    })
}

/// Looks at `targets` and remembers nothing: whether there is a way to see them.
///
/// # Errors
///
/// Where there is none.
pub fn probe(targets: Vec<Target>, deadline: Instant) -> Result<(), Error> {
    look_at_all(targets, &Filter::new(Selection::default()), deadline).map(|_| ())
}

/// Judges a sample; gives what is to be said of it, and what is to be kept.
fn view(mut sample: Sample, history: &History, labels: &Labels, rule: &Rule) -> (View, Previous) {
    let verdict = rule::judge(&sample, history, rule);
    let record = Previous::of(&sample, history, verdict.row);
    for peer in &mut sample.top {
        peer.first_on_top = history.first_on_top(peer.network);
        peer.label = labels.of(peer.network).map(str::to_owned);
    }
    (View { sample, verdict, earlier: history.previous.clone() }, record)
}

/// A state file that was put aside is over and done with. One that is still
/// there is a trouble, as long as it is.
fn damaged(Damage { path, problem, kept_as }: &Damage) -> Result<String, Trouble> {
    match kept_as {
        Ok(aside) => Ok(format!(
            "The state file was damaged ({problem}) and is kept as {}; this is a first sample.",
            aside.display()
        )),
        Err(error) => Err(Trouble {
            problem: format!(
                "the state file {} is damaged ({problem}) and cannot be put aside: {error}",
                path.display()
            ),
            advice: Some(format!("Remove {}.bad", path.display())),
        }),
    }
}

fn earlier(previous: &Previous, now: u64) -> String {
    let who = previous.on_top.map_or_else(
        || "no connections".to_owned(),
        |network| {
            let Previous { connections, row, .. } = previous;
            format!("{network} on top with {connections}, samples on end: {row}")
        },
    );
    match now.checked_sub(previous.when) {
        Some(age) => format!("Earlier sample, {age} s ago: {who}"),
        None => format!("Earlier sample, in the future: {who}"),
    }
}
