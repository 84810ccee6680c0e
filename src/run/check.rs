//! One run of the check: the order of its stages.
use std::{path::PathBuf, time::Instant};

use crate::{
    analysis::{
        filter::{Filter, Selection},
        history::{History, Previous, Sample},
        label::Label,
        rule::{self, Rule},
        tally::Grain,
    },
    output::{self, Report, View},
    source,
    storage::state_file::Place,
};

use super::{
    alert::{self, Alerts},
    error::Error,
    observation::{Seen, see},
    progress::{Progress, Stage},
    saved_state::Memory,
    targets::{Target, look_at_all},
};

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
    report.details.extend(output::earlier(&report.views));
    report.details.extend(output::left_out(&report.left_out));
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
        .map(|it| output::elsewhere(it.n_holding))
}

/// Judges the samples; gives what is to be said of them, and what is to be kept.
pub(super) fn judged(
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
