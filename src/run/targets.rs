//! Samples all targets concurrently.
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
    analysis::{filter::Filter, observation::Observation},
    model::problem::Problem,
    parse::capture::ServerIdentity,
    source::{Activity, NetnsSelector, Source},
};

use super::{namespaces::sample_namespaces, run_error::Error, sample::sample_sources};

/// A server, or a file with its socket listing.
#[derive(Clone, Debug)]
pub struct Target {
    /// Display name.
    pub name: String,
    /// Sources of its connections, in order of preference; the next source is used if
    /// one fails.
    pub sources: Vec<Source>,
    /// Network namespaces to sample; empty for the current one.
    pub namespaces: Vec<NetnsSelector>,
    sampling_flag: SamplingFlag,
}

/// Flag that is set while a target is being sampled, shared by the clones of the
/// target. Without it, repeated sampling of a target that hangs would leave a thread
/// behind each time.
#[derive(Clone, Debug, Default)]
struct SamplingFlag(Arc<AtomicBool>);

impl SamplingFlag {
    /// Sets the flag until the guard is dropped. Returns `None` if it is already set.
    fn set(&self) -> Option<SamplingGuard> {
        let was_set = self.0.swap(true, Ordering::Relaxed);
        if was_set { None } else { Some(SamplingGuard(self.clone())) }
    }
}

/// Guard that clears the flag when it is dropped.
struct SamplingGuard(SamplingFlag);

impl Drop for SamplingGuard {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Relaxed);
    }
}

impl Target {
    /// Creates a target with these sources.
    #[must_use]
    pub fn new(name: String, sources: Vec<Source>) -> Self {
        Self { name, sources, namespaces: Vec::new(), sampling_flag: SamplingFlag::default() }
    }

    /// Returns the target with `namespaces` as the network namespaces to sample;
    /// empty for the current one.
    #[must_use]
    pub fn in_namespaces(self, namespaces: Vec<NetnsSelector>) -> Self {
        Self { namespaces, ..self }
    }

    /// Returns the names of the targets, sorted.
    #[must_use]
    pub fn sorted_names(targets: &[Self]) -> Vec<String> {
        let mut names: Vec<_> = targets.iter().map(|target| target.name.clone()).collect();
        names.sort();
        names
    }

    /// Returns whether the target is only the socket table of the current namespace
    /// of this host.
    pub(super) fn is_local_table(&self) -> bool {
        let mut sources = self.sources.iter();
        self.namespaces.is_empty()
            && sources.any(|source| {
                matches!(source, Source::Netlink { .. } | Source::BpfWalk(_) | Source::Proc)
            })
    }

    /// Returns whether the target is this host, or a part of it.
    pub(super) fn is_this_host(&self) -> bool {
        let mut sources = self.sources.iter();
        sources
            .any(|source| !source.is_remote() && !matches!(source, Source::File(_) | Source::Stdin))
    }

    /// Samples the target from its first usable source; in each network namespace, if
    /// some are requested.
    fn sample(
        &self,
        filter: &Filter,
        activity: &Activity,
        deadline: Instant,
    ) -> Result<Observation, Error> {
        match self.namespaces[..] {
            [] => sample_sources(&self.sources, filter, activity),
            _ => sample_namespaces(&self.namespaces, &self.sources, filter, activity, deadline),
        }
    }
}

/// Samples `targets` until `deadline`. Each target gets a thread if there are several
/// or if one may hang.
pub(super) fn sample_targets(
    targets: Vec<Target>,
    filter: &Filter,
    deadline: Instant,
) -> Result<Observation, Error> {
    match &targets[..] {
        [target] if !target.sources.iter().any(may_hang) => {
            return sample_here(target, filter, deadline);
        }
        _ => {}
    }
    let mut outcomes = sample_concurrently(targets, filter, deadline);
    if outcomes.len() == 1 {
        return outcomes.remove(0).1;
    }
    merge_outcomes(outcomes)
}

/// Adds up the observations of several targets. Each target that failed is a problem.
///
/// # Errors
///
/// Returns an error if all targets failed.
fn merge_outcomes(
    outcomes: Vec<(String, Result<Observation, Error>)>,
) -> Result<Observation, Error> {
    let mut total = Observation::default();
    let mut errors = Vec::new();
    let mut identities: Vec<(ServerIdentity, String)> = Vec::new();
    for (name, outcome) in outcomes {
        match outcome {
            Ok(mut observation) => {
                if let Some(identity) = observation.server_identity.take() {
                    let same = identities.iter().find(|(other, _)| *other == identity);
                    if let Some((_, other_name)) = same {
                        total.problems.push(same_server(&name, other_name, &identity));
                        continue;
                    }
                    identities.push((identity, name.clone()));
                }
                observation.servers = vec![(name, observation.tally.connections())];
                total.merge(observation);
            }
            Err(error) => errors.push(error),
        }
    }
    if total.servers.is_empty() {
        return Err(Error::AllTargetsFailed(errors));
    }
    total.problems.extend(errors.iter().map(Error::to_partial_problem));
    Ok(total)
}

/// Returns the problem of a server that is named twice. Its connections are counted once.
/// This is a problem rather than a note, because the identity that a server reports may be
/// false.
fn same_server(name: &str, other_name: &str, identity: &ServerIdentity) -> Problem {
    let ServerIdentity { boot_id, address } = identity;
    let message = format!(
        "{name} is the same server as {other_name}, and is counted once: both report the boot \
         ID {boot_id} and the address {address}"
    );
    Problem::new(message, "Name the server once with `--hostname`.")
}

/// Samples a target on this thread. If a server fails at the deadline, it has timed out.
fn sample_here(target: &Target, filter: &Filter, deadline: Instant) -> Result<Observation, Error> {
    let (started, activity) = (Instant::now(), Activity::default());
    let outcome = target.sample(filter, &activity, deadline);
    let is_remote = target.sources.iter().any(Source::is_remote);
    if outcome.is_err() && is_remote && Instant::now() >= deadline {
        let seconds = round_up_seconds(started.elapsed());
        let (name, activity) = (target.name.clone(), activity.current());
        return Err(Error::TimedOut { name, seconds, activity });
    }
    outcome
}

/// Returns whether reading a source may exceed its time limit.
fn may_hang(source: &Source) -> bool {
    matches!(source, Source::Ssh(_))
}

/// Samples a target on a new thread, which passes the result to `on_result`.
///
/// # Errors
///
/// Returns an error if no thread can be started, or if an earlier thread is still
/// sampling the target.
fn spawn_sampling(
    target: Target,
    (filter, deadline): (&Filter, Instant),
    activity: &Activity,
    on_result: impl FnOnce(Result<Observation, Error>) + Send + 'static,
) -> Result<(), Error> {
    let name = target.name.clone();
    let guard = target.sampling_flag.set().ok_or_else(|| Error::Busy { name: name.clone() })?;
    let (filter, activity) = (filter.clone(), activity.clone());
    let spawned = thread::Builder::new().spawn(move || {
        let outcome = target.sample(&filter, &activity, deadline);
        drop(guard);
        on_result(outcome);
    });
    spawned.map(drop).map_err(|source| Error::Thread { name, source })
}

/// Samples each target on its own thread. A thread that does not finish in time is
/// left running and ends with the process.
fn sample_concurrently(
    targets: Vec<Target>,
    filter: &Filter,
    deadline: Instant,
) -> Vec<(String, Result<Observation, Error>)> {
    let started = Instant::now();
    let (sender, receiver) = mpsc::channel();
    let mut results: Vec<_> = targets
        .into_iter()
        .enumerate()
        .map(|(index, target)| {
            let (name, activity) = (target.name.clone(), Activity::default());
            let sender = sender.clone();
            let spawned = spawn_sampling(target, (filter, deadline), &activity, move |outcome| {
                // The receiver is gone after a timeout.
                let _ = sender.send((index, outcome));
            });
            (name, activity, spawned.err().map(Err))
        })
        .collect();
    drop(sender);
    while results.iter().any(|(_, _, outcome)| outcome.is_none()) {
        let timeout = deadline.saturating_duration_since(Instant::now());
        match receiver.recv_timeout(timeout) {
            Ok((index, outcome)) => results[index].2 = Some(outcome),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    results
        .into_iter()
        .map(|(name, activity, outcome)| {
            let outcome = outcome.unwrap_or_else(|| {
                let seconds = round_up_seconds(started.elapsed());
                Err(Error::TimedOut { name: name.clone(), seconds, activity: activity.current() })
            });
            (name, outcome)
        })
        .collect()
}

fn round_up_seconds(time: Duration) -> u64 {
    time.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
}
