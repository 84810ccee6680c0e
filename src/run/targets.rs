//! Looks at all that is asked for, at the same time.
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    analysis::{
        filter::{Filter, LeftOut},
        tally::Tally,
    },
    model::namespace::Namespace,
    output::Trouble,
    parse::Reading,
    source::{Netns, Source, Watch},
};

use super::{
    error::Error,
    namespaces::look_within,
    sample::{Looked, look},
};

/// A machine, or a file that stands for one.
#[derive(Clone, Debug)]
pub struct Target {
    /// What an administrator calls it.
    pub name: String,
    /// Ways to its sockets, the best first; the next one is taken where one
    /// gives nothing.
    pub sources: Vec<Source>,
    /// The network namespaces that are looked into; none: the one that this
    /// program runs in.
    pub namespaces: Vec<Netns>,
    busy: Busy,
}

/// Whether a target is being looked at, which its clones know too: who looks
/// again and again at one that hangs would leave a thread behind each time.
#[derive(Clone, Debug, Default)]
struct Busy(Arc<AtomicBool>);

impl Busy {
    /// `None` where somebody looks already.
    fn begin(&self) -> Option<Looking> {
        let was_busy = self.0.swap(true, Ordering::Relaxed);
        (!was_busy).then(|| Looking(self.clone()))
    }
}

/// A look that is under way as long as this is there.
struct Looking(Busy);

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Relaxed);
    }
}

impl Target {
    /// A target of that name, with these ways to its sockets.
    #[must_use]
    pub fn new(name: String, sources: Vec<Source>) -> Self {
        Self { name, sources, namespaces: Vec::new(), busy: Busy::default() }
    }

    /// The same in these network namespaces; none: in the one of this program.
    #[must_use]
    pub fn within(self, namespaces: Vec<Netns>) -> Self {
        Self { namespaces, ..self }
    }

    /// What targets are called, in an order that is always the same.
    #[must_use]
    pub fn names(targets: &[Self]) -> Vec<String> {
        let mut names: Vec<_> = targets.iter().map(|target| target.name.clone()).collect();
        names.sort();
        names
    }

    /// Whether it is this host, by nothing but the table of its own network.
    pub(super) fn is_own_table(&self) -> bool {
        let is_table = |it: &Source| matches!(it, Source::Netlink { .. } | Source::Proc);
        self.namespaces.is_empty() && self.sources.iter().any(is_table)
    }

    /// By the first way that gives something; into each namespace, where some
    /// are asked for.
    fn look(&self, filter: &Filter, watch: &Watch, deadline: Instant) -> Result<Looked, Error> {
        match self.namespaces[..] {
            [] => look(&self.sources, filter, watch),
            _ => look_within(&self.namespaces, &self.sources, filter, watch, deadline),
        }
    }
}

/// What all targets gave together.
#[derive(Debug, Default)]
pub(super) struct Sum {
    pub(super) tally: Tally,
    pub(super) left_out: LeftOut,
    pub(super) reading: Reading,
    pub(super) details: Vec<String>,
    /// How many connections each target has, where there are several.
    pub(super) shares: Vec<(String, u64)>,
    /// How many each network namespace has, where some were asked for.
    pub(super) namespaces: Vec<(Namespace, u64)>,
    /// The targets that gave nothing, and what they could not see.
    pub(super) troubles: Vec<Trouble>,
    /// What is worth telling all the same.
    pub(super) notes: Vec<String>,
}

/// Looks at `targets`, each on a thread of its own where there are several or
/// one may hang, until `deadline`.
pub(super) fn look_at_all(
    targets: Vec<Target>,
    filter: &Filter,
    deadline: Instant,
) -> Result<Sum, Error> {
    let several = targets.len() > 1;
    let outcomes = match &targets[..] {
        [target] if !target.sources.iter().any(may_hang) => {
            vec![(target.name.clone(), target.look(filter, &Watch::default(), deadline))]
        }
        _ => at_once(targets, filter, deadline),
    };
    let mut sum = Sum::default();
    let mut errors = Vec::new();
    for (name, outcome) in outcomes {
        match outcome {
            Ok(looked) => sum.add(name, looked),
            Err(error) => errors.push(error),
        }
    }
    if !several {
        sum.shares.clear();
        if let Some(error) = errors.pop() {
            return Err(error);
        }
    }
    if sum.shares.is_empty() && several {
        return Err(Error::NoTarget(errors));
    }
    sum.troubles.extend(errors.iter().map(Error::trouble));
    Ok(sum)
}

fn may_hang(source: &Source) -> bool {
    matches!(source, Source::Ssh(_))
}

impl Sum {
    fn add(&mut self, name: String, looked: Looked) {
        self.shares.push((name, looked.tally.connections()));
        self.tally.add_all(looked.tally);
        self.left_out.add(looked.left_out);
        self.reading.add(looked.reading);
        self.details.extend(looked.details);
        self.namespaces.extend(looked.namespaces);
        self.troubles.extend(looked.troubles);
        self.notes.extend(looked.notes);
    }
}

/// Looks at a target on a thread of its own, which tells what came of it; fails
/// where there is no thread, or one is still at it.
fn begin(
    target: Target,
    (filter, deadline): (&Filter, Instant),
    watch: &Watch,
    tell: impl FnOnce(Result<Looked, Error>) + Send + 'static,
) -> Result<(), Error> {
    let name = target.name.clone();
    let looking = target.busy.begin().ok_or_else(|| Error::Busy { name: name.clone() })?;
    let (filter, watch) = (filter.clone(), watch.clone());
    let worker = move || {
        let outcome = target.look(&filter, &watch, deadline);
        drop(looking);
        tell(outcome);
    };
    let spawned = thread::Builder::new().spawn(worker);
    spawned.map(drop).map_err(|source| Error::Thread { name, source })
}

/// One thread for each target. Who does not answer in time is left behind: the
/// thread ends with the process.
fn at_once(
    targets: Vec<Target>,
    filter: &Filter,
    deadline: Instant,
) -> Vec<(String, Result<Looked, Error>)> {
    let started = Instant::now();
    let (sender, answers) = mpsc::channel();
    let mut waiting: Vec<_> = targets
        .into_iter()
        .enumerate()
        .map(|(index, target)| {
            let (name, watch) = (target.name.clone(), Watch::default());
            let sender = sender.clone();
            let begun = begin(target, (filter, deadline), &watch, move |outcome| {
                // Nobody waits any more: the time was up.
                let _ = sender.send((index, outcome));
            });
            (name, watch, begun.err().map(Err))
        })
        .collect();
    drop(sender);
    while waiting.iter().any(|(_, _, outcome)| outcome.is_none()) {
        let left = deadline.saturating_duration_since(Instant::now());
        match answers.recv_timeout(left) {
            Ok((index, outcome)) => waiting[index].2 = Some(outcome),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    waiting
        .into_iter()
        .map(|(name, watch, outcome)| {
            let no_answer = || {
                let seconds = round(started.elapsed());
                Err(Error::NoAnswer { name: name.clone(), seconds, doing: watch.doing() })
            };
            let outcome = outcome.unwrap_or_else(no_answer);
            (name, outcome)
        })
        .collect()
}

fn round(time: Duration) -> u64 {
    time.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
}
