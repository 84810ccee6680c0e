//! One run of the check: the order of its stages.
use std::{path::PathBuf, time::Instant};

use crate::{
    analysis::{
        filter::{Filter, Selection},
        history::{History, PreviousSample, Sample},
        label::Label,
        rule::{self, JudgeConfig},
        tally::Aggregation,
    },
    output::{self, Report, View},
    source,
    storage::state_file::StateLocation,
};

use super::{
    alert::{self, NotifyConfig},
    error::Error,
    observation::{Seen, observe},
    progress::{Progress, Stage},
    saved_state::SavedState,
    targets::{Target, sample_targets},
};

/// Configuration of one check run.
#[derive(Clone, Debug)]
pub struct CheckConfig {
    /// Servers and files to sample; their connection counts are summed.
    pub targets: Vec<Target>,
    /// Filter for the connections that are counted.
    pub selection: Selection,
    /// Files that list more networks and hosts to exclude.
    pub exclude_files: Vec<PathBuf>,
    /// Names for networks.
    pub labels: Vec<Label>,
    /// Files that list more names for networks.
    pub label_files: Vec<PathBuf>,
    /// Prefix lengths by which addresses are aggregated into peers; each gives a view
    /// that is judged separately. The threshold ranges apply to the first one.
    pub aggregations: Vec<Aggregation>,
    /// Number of top peers that are judged; `None` for all.
    pub n_judged: Option<usize>,
    /// Maximum number of top peers that are listed.
    pub n_listed: usize,
    /// Rule, limits and threshold ranges.
    pub judge_config: JudgeConfig,
    /// Location of the state file.
    pub state_location: StateLocation,
    /// Notifications to send when the verdict is an alert.
    pub notify: NotifyConfig,
    /// Add a note if other network namespaces hold connections that the local socket
    /// table does not list.
    pub report_hidden_namespaces: bool,
    /// Time limit for sampling, host name resolution, the state file lock and the
    /// log.
    pub deadline: Instant,
}

/// Takes a sample, judges it, saves it and sends notifications.
///
/// `now` returns seconds since 1970-01-01 UTC. It is called while the state file is
/// locked, so that overlapping runs have timestamps in the order of their locks.
///
/// # Errors
///
/// Returns an error if no sample could be taken. Other failures are in the report.
pub fn check(
    config: CheckConfig,
    now: impl Fn() -> u64,
    progress: &Progress,
) -> Result<Report, Error> {
    let observation = observe(&config, progress)?;
    // Aggregating can take long, so do it before taking the lock.
    let samples = observation.samples(&config);
    progress.enter(Stage::Locking);
    let mut saved_state = SavedState::open(
        config.state_location.clone(),
        observation.servers.clone(),
        config.deadline,
    );
    progress.enter(Stage::State);
    saved_state.load();
    let (views, records) =
        judge_samples(samples, now(), &saved_state.records, &observation, &config.judge_config);
    // A sample that missed connections does not know the top peer. Saving it would
    // break the comparison with the next sample.
    if !observation.nothing_visible && !observation.unreliable {
        saved_state.save(records);
    }
    saved_state.unlock();
    let mut report = observation.into_report(views, &config);
    report.problems.append(&mut saved_state.problems);
    report.notes.append(&mut saved_state.notes);
    report.notes.extend(hidden_namespaces_note(&config));
    let path = saved_state.path.as_ref();
    report.details.extend(path.map(|path| format!("State file: {}", path.display())));
    report.details.extend(output::previous_sample_lines(&report.views));
    report.details.extend(output::skipped_lines(&report.skipped));
    progress.enter(Stage::Notifying);
    report.alerts = alert::alerts(&report, &saved_state.servers);
    alert::notify(&config.notify, &saved_state, config.deadline, &mut report);
    progress.enter(Stage::Reporting);
    Ok(report)
}

/// Returns a note on connections in other network namespaces, if only the local
/// socket table was read.
fn hidden_namespaces_note(config: &CheckConfig) -> Option<String> {
    if !config.report_hidden_namespaces || !config.targets.iter().any(Target::is_local_table) {
        return None;
    }
    let hidden_namespaces = source::find_hidden_namespaces(config.deadline)?;
    Some(output::hidden_namespaces_note(hidden_namespaces.count))
}

/// Judges the samples. Returns the views to report and the records to save.
pub(super) fn judge_samples(
    samples: Vec<Sample>,
    now: u64,
    records: &[PreviousSample],
    observation: &Seen,
    judge_config: &JudgeConfig,
) -> (Vec<View>, Vec<PreviousSample>) {
    let views = samples.into_iter().enumerate().map(|(index, sample)| {
        let mut sample = Sample { timestamp: now, ..sample };
        let previous =
            records.iter().find(|record| record.has_same_prefixes(sample.aggregation)).cloned();
        let history = History { previous };
        let verdict = rule::judge(&sample, &history, &judge_config.for_view(index));
        let record = PreviousSample::new(&sample, &history, verdict.consecutive);
        for peer in &mut sample.top {
            peer.first_on_top = history.first_on_top(peer.network, now);
            peer.label = observation.labels.name_of(peer.network).map(str::to_owned);
        }
        (View { sample, verdict, previous: history.previous }, record)
    });
    views.unzip()
}

/// Samples `targets` without saving anything, to test whether they can be read.
///
/// # Errors
///
/// Returns an error if none of the targets can be sampled.
pub fn probe(targets: Vec<Target>, deadline: Instant) -> Result<(), Error> {
    sample_targets(targets, &Filter::new(Selection::default()), deadline).map(|_| ())
}
