//! The result of sampling all targets, before it is judged.
use crate::{
    analysis::{
        filter::{Filter, Skipped},
        history::Sample,
        label::Labels,
        tally::Counts,
    },
    model::namespace::Namespace,
    output::{self, Report, Trouble, View},
    parse::TableKind,
    source::{HostKeyPolicy, Source},
    storage::network_list,
};

use super::{
    check::CheckConfig,
    error::Error,
    exclude_files::read_exclude_files,
    progress::{Progress, Stage},
    targets::{Sum, Target, sample_targets},
};

/// Result of sampling all targets.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) counts: Counts,
    /// Names of the targets, sorted.
    pub(super) servers: Vec<String>,
    pub(super) labels: Labels,
    skipped: Skipped,
    table_kind: TableKind,
    details: Vec<String>,
    shares: Vec<(String, u64)>,
    namespaces: Vec<(Namespace, u64)>,
    notes: Vec<String>,
    problems: Vec<Trouble>,
    /// Nothing was counted, and some source could not be read completely.
    pub(super) nothing_visible: bool,
    /// Connections were counted that should have been excluded.
    pub(super) unreliable: bool,
}

/// Reads the exclude and label files, then samples the targets.
///
/// # Errors
///
/// Returns an error if a list cannot be read, if no sample could be taken, or if
/// there is not enough memory.
pub(super) fn observe(config: &CheckConfig, progress: &Progress) -> Result<Seen, Error> {
    progress.enter(Stage::NetworkLists);
    let mut labels = Labels::default();
    for path in &config.label_files {
        labels.extend(network_list::read_labels(path)?);
    }
    // Labels on the command line take precedence over those in files.
    labels.extend(config.labels.iter().cloned());
    let mut selection = config.selection.clone();
    let (excludes, unresolved) =
        read_exclude_files(&config.exclude_files, config.deadline, progress)?;
    selection.excludes.extend(excludes);
    progress.enter(Stage::Sampling);
    let Sum { mut tally, skipped, parse_stats, details, shares, namespaces, mut problems, notes } =
        sample_targets(config.targets.clone(), &Filter::new(selection), config.deadline)?;
    tally.check_memory()?;
    let counts = tally.finish();
    let parse_problems = [
        output::unreadable_rows_problem(&parse_stats),
        output::truncated_addresses_problem(&parse_stats),
        output::byte_order_problem(&parse_stats),
        output::unknown_tcp_states_problem(&skipped),
    ];
    problems.extend(parse_problems.into_iter().flatten());
    let nothing_visible = counts.addresses() == 0 && !problems.is_empty();
    let unreliable = !unresolved.is_empty();
    problems.extend(unresolved);
    let servers = Target::sorted_names(&config.targets);
    Ok(Seen {
        counts,
        servers,
        labels,
        skipped,
        table_kind: parse_stats.table_kind(),
        details,
        shares,
        namespaces,
        notes,
        problems,
        nothing_visible,
        unreliable,
    })
}

/// Returns a note on servers whose host keys were not verified.
fn unverified_servers_note(targets: &[Target]) -> Vec<String> {
    let is_unverified = |source: &Source| matches!(source, Source::Ssh(server) if server.host_key_policy == HostKeyPolicy::Ignore);
    let names = targets.iter().filter(|target| target.sources.iter().any(is_unverified));
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
    /// Returns a sample for each aggregation. The timestamp is set later, when the
    /// sample is judged.
    pub(super) fn samples(&self, config: &CheckConfig) -> Vec<Sample> {
        let sample = |&grain| Sample::new(&self.counts, 0, grain, config.n_judged, config.n_listed);
        config.aggregations.iter().map(sample).collect()
    }

    /// Converts the observation and its views to a report.
    pub(super) fn into_report(self, views: Vec<View>, config: &CheckConfig) -> Report {
        Report {
            views,
            skipped: self.skipped,
            table: self.table_kind,
            is_inbound: config.selection.inbound_only,
            judge_config: config.judge_config.clone(),
            n_judged: config.n_judged,
            complete: self.problems.is_empty(),
            unreliable: self.unreliable,
            problems: self.problems,
            notes: [self.notes, unverified_servers_note(&config.targets)].concat(),
            details: self.details,
            servers: self.shares,
            namespaces: self.namespaces,
            alerts: Vec::new(),
        }
    }
}
