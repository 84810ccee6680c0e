//! One run of the check: the order of its stages.
use std::{collections::BTreeMap, path::PathBuf, time::Instant};

use crate::{
    analysis::view::View,
    analysis::view::judge_samples,
    analysis::{
        filter::{Filter, Selection},
        label::Label,
        note::{Note, kernel_notes},
        observation::Observation,
        protection::Protection,
        rule::JudgeConfig,
        tally::Aggregation,
    },
    model::{
        kernel_counters::{KernelCounters, NamespaceCounters},
        network::Network,
    },
    output::Report,
    source,
    storage::state_file::StateLocation,
};

use super::{
    alert::{self, NotifyConfig},
    observation::observe,
    operators::Operators,
    progress::{Progress, Stage},
    run_error::Error,
    saved_state::SavedState,
    targets::{Target, sample_targets},
};

/// Configuration of one check run.
#[derive(Clone, Debug)]
pub struct CheckConfig {
    /// Servers and files to sample; their connection counts are summed.
    pub targets: Vec<Target>,
    /// Names of the targets, sorted.
    pub servers: Vec<String>,
    /// Filter for the connections that are counted.
    pub selection: Selection,
    /// Networks of the selection that are excluded only by default.
    pub default_excludes: Vec<Network>,
    /// Files that list more networks and hosts to exclude.
    pub exclude_files: Vec<PathBuf>,
    /// Names for networks.
    pub labels: Vec<Label>,
    /// Files that list more names for networks.
    pub label_files: Vec<PathBuf>,
    /// Network databases, which have the operators of networks.
    pub network_dbs: Vec<PathBuf>,
    /// Aggregations of addresses into peers; each gives a view that is judged separately.
    /// The first one is by prefix length, and the threshold ranges apply to it.
    pub aggregations: Vec<Aggregation>,
    /// Number of top peers that are judged; `None` for all.
    pub n_judged: Option<usize>,
    /// Maximum number of top peers that are listed.
    pub n_listed: usize,
    /// `true` to count the connections in each TCP state for the report.
    pub count_tcp_states: bool,
    /// Rule, limits and threshold ranges.
    pub judge_config: JudgeConfig,
    /// Location of the state file.
    pub state_location: StateLocation,
    /// Notifications to send when the verdict is an alert.
    pub notify: NotifyConfig,
    /// `true` to add a note if other network namespaces have connections that the local
    /// socket table does not list.
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
    progress.enter(Stage::NetworkDbs);
    let mut operators = Operators::open(&config.network_dbs);
    let mut observed = observe(&config, &mut operators, config.deadline, progress)?;
    // Aggregation can take long, so it happens before the state file is locked.
    operators.set_groups(&mut observed.counts, &config.aggregations, &observed.labels);
    let mut samples = observed.samples(&config);

    progress.enter(Stage::Locking);
    let mut saved_state =
        SavedState::load(&config.state_location, &config.servers, config.deadline);
    let timestamp = now();
    for sample in &mut samples {
        sample.timestamp = timestamp;
    }
    let (mut views, records) = judge_samples(
        samples,
        &observed.counts,
        &saved_state.state.records,
        &observed.labels,
        &config.judge_config,
    );
    progress.enter(Stage::State);
    let kernel_counters = &mut observed.observation.kernel_counters;
    set_increases(kernel_counters, &saved_state.state.kernel_counters);
    if observed.is_comparable() {
        saved_state.save(records, &observed.observation.kernel_counters);
    }
    saved_state.unlock();

    observed.observation.details.extend(operators.details());
    operators.set_operators(&mut views);
    let mut report = config.report(views, observed.observation);
    if config.count_tcp_states {
        report.tcp_states = observed.counts.tcp_states();
    }
    report.problems.append(&mut operators.problems);
    report.problems.extend(saved_state.problems.iter().cloned());
    report.notes.append(&mut saved_state.notes);
    report.notes.extend(hidden_namespaces(&config));
    report.notes.extend(kernel_notes(&report.observation.kernel_counters));
    report.state_file.clone_from(&saved_state.path);
    progress.enter(Stage::Notifying);
    let protection = config.protection(&observed.excludes, &report);
    let alerts = alert::alerts(&report, &config.servers, &protection);
    (report.alerts, report.n_omitted_alerts) = (alerts.sent, alerts.n_omitted);
    (report.group_alerts, report.omitted_alerts) = (alerts.groups, alerts.not_logged);
    if config.notify.names_protected_peers() && !alerts.protected.is_empty() {
        report.notes.push(Note::NotLogged(alerts.protected));
    }
    alert::notify(&config, &saved_state, &mut report);
    progress.enter(Stage::Reporting);
    Ok(report)
}

impl CheckConfig {
    /// Returns a report of what was observed.
    pub(super) fn report(&self, views: Vec<View>, observation: Observation) -> Report {
        Report {
            views,
            observation,
            tcp_states: Vec::new(),
            protocol: self.selection.protocol,
            is_inbound: self.selection.inbound_only,
            judge_config: self.judge_config.clone(),
            n_judged: self.n_judged,
            problems: Vec::new(),
            notes: Vec::new(),
            state_file: None,
            alerts: Vec::new(),
            group_alerts: Vec::new(),
            n_omitted_alerts: 0,
            omitted_alerts: None,
            mail: None,
            passed_on: None,
        }
    }

    /// Returns the peers that must not be logged.
    fn protection(&self, excludes: &[Network], report: &Report) -> Protection {
        let mut protection = Protection::new(&self.notify.never_log, excludes);
        let mut alerting_peers = report.alerting_peers();
        if self.targets.iter().any(Target::is_this_host)
            && alerting_peers
                .any(|(_, peer)| peer.id.network().is_some_and(|it| !it.is_single_address()))
        {
            protection.set_local_addresses(source::local_addresses().ok());
        }
        protection
    }
}

/// Sets the increases of the counters since the previous sample.
fn set_increases(
    kernel_counters: &mut [NamespaceCounters],
    previous: &BTreeMap<u64, KernelCounters>,
) {
    for NamespaceCounters { inode, counters, increase, .. } in kernel_counters {
        *increase = previous.get(inode).and_then(|&earlier| counters.increase_since(earlier));
    }
}

/// Returns a note on connections in other network namespaces, if only the local
/// socket table was read.
fn hidden_namespaces(config: &CheckConfig) -> Option<Note> {
    if !config.report_hidden_namespaces || !config.targets.iter().any(Target::is_local_table) {
        return None;
    }
    let hidden_namespaces = source::find_hidden_namespaces(config.deadline)?;
    Some(Note::HiddenNamespaces { count: hidden_namespaces.count })
}

/// Samples `targets` without saving anything, to test whether they can be read.
///
/// # Errors
///
/// Returns an error if none of the targets can be sampled.
pub fn probe(targets: Vec<Target>, deadline: Instant) -> Result<(), Error> {
    sample_targets(targets, &Filter::new(Selection::default()), deadline).map(|_| ())
}
