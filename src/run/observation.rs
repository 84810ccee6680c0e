//! What a look gave, before anybody judges it.
use crate::{
    analysis::{
        filter::{Filter, LeftOut},
        history::Sample,
        label::Labels,
        tally::Counted,
    },
    model::namespace::Namespace,
    output::{self, Report, Trouble, View},
    parse::Subject,
    source::{HostKeyPolicy, Source},
    storage::network_list,
};

use super::{
    check::Check,
    error::Error,
    exclude_files::excludes,
    progress::{Progress, Stage},
    targets::{Sum, Target, look_at_all},
};

/// What a look gave.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) counted: Counted,
    /// What was looked at, in an order that is always the same.
    pub(super) servers: Vec<String>,
    pub(super) labels: Labels,
    left_out: LeftOut,
    subject: Subject,
    details: Vec<String>,
    shares: Vec<(String, u64)>,
    namespaces: Vec<(Namespace, u64)>,
    notes: Vec<String>,
    troubles: Vec<Trouble>,
    /// Whether nothing was counted, and something could not be seen.
    pub(super) is_blind: bool,
    /// Whether connections were counted that should not have been.
    pub(super) is_doubtful: bool,
}

/// Reads what does not count and what others are called, and counts the rest.
pub(super) fn see(check: &Check, progress: &Progress) -> Result<Seen, Error> {
    progress.enter(Stage::Excludes);
    let mut labels = Labels::default();
    for path in &check.label_files {
        labels.extend(network_list::labels(path)?);
    }
    // What is said on the command line counts more than what is written down.
    labels.extend(check.labels.iter().cloned());
    let mut selection = check.selection.clone();
    let (excludes, unresolved) = excludes(&check.exclude_files, check.deadline, progress)?;
    selection.excludes.extend(excludes);
    progress.enter(Stage::Sampling);
    let Sum { mut tally, left_out, reading, details, shares, namespaces, mut troubles, notes } =
        look_at_all(check.targets.clone(), &Filter::new(selection), check.deadline)?;
    tally.fits()?;
    let counted = tally.finish();
    let readings = [
        output::unreadable(&reading),
        output::cut(&reading),
        output::assumed(&reading),
        output::untold(&left_out),
    ];
    troubles.extend(readings.into_iter().flatten());
    let is_blind = counted.addresses() == 0 && !troubles.is_empty();
    let is_doubtful = !unresolved.is_empty();
    troubles.extend(unresolved);
    let servers = Target::names(&check.targets);
    Ok(Seen {
        counted,
        servers,
        labels,
        left_out,
        subject: reading.subject(),
        details,
        shares,
        namespaces,
        notes,
        troubles,
        is_blind,
        is_doubtful,
    })
}

/// What is said of servers that may be anybody.
fn unchecked(targets: &[Target]) -> Vec<String> {
    let is_unchecked = |source: &Source| matches!(source, Source::Ssh(server) if server.host_key_policy == HostKeyPolicy::Ignore);
    let names = targets.iter().filter(|target| target.sources.iter().any(is_unchecked));
    let names: Vec<_> = names.map(|target| target.name.as_str()).collect();
    match names[..] {
        [] => Vec::new(),
        _ => vec![format!(
            "Who answered as {} was not checked (--host-key ignore).",
            names.join(", ")
        )],
    }
}

impl Seen {
    /// A sample for each way to tell peers apart; nobody has said when yet.
    pub(super) fn samples(&self, check: &Check) -> Vec<Sample> {
        let of = |&grain| Sample::of(&self.counted, 0, grain, check.judged, check.listed);
        check.grains.iter().map(of).collect()
    }

    /// What there is to say about it.
    pub(super) fn report(self, views: Vec<View>, check: &Check) -> Report {
        Report {
            views,
            left_out: self.left_out,
            subject: self.subject,
            is_inbound: check.selection.inbound,
            rule: check.rule.clone(),
            judged: check.judged,
            is_whole: self.troubles.is_empty(),
            is_doubtful: self.is_doubtful,
            troubles: self.troubles,
            notes: [self.notes, unchecked(&check.targets)].concat(),
            details: self.details,
            shares: self.shares,
            namespaces: self.namespaces,
            alerts: Vec::new(),
        }
    }
}
