//! The report as one JSON object on one line; check_topip(1) and
//! docs/check_topip.schema.json describe it.
use serde::Serialize;

use crate::{
    analysis::{
        filter::Skipped,
        peer_details::PeerDetails,
        sample::Sample,
        tally::{Peer, PrefixLengths},
        view::View,
    },
    model::{
        kernel_counters::{KernelCounters, NamespaceCounters},
        namespace::Namespace,
        network::Network,
        peer_id::GroupBy,
        problem::Problem,
        protocol::Protocol,
        sanitize,
        verdict::{Basis, Limit, Reason, Status},
    },
    parse::TableKind,
};

mod offenders;

pub use offenders::render_offenders;

use super::{
    notes::note_text,
    report::{Report, Verbosity, round_to_hundredths},
    text,
};

/// The version of the object. It is incremented if a field is removed or changes its
/// meaning, but not if a field is added.
const SCHEMA_VERSION: u32 = 1;
const PROGRAM: &str = concat!("topip ", env!("CARGO_PKG_VERSION"));

#[derive(Serialize)]
struct JsonReport<'a> {
    schema: u32,
    program: &'static str,
    status: String,
    exit_code: u8,
    message: String,
    timestamp: u64,
    table: &'static str,
    /// `None` for TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<&'static str>,
    views: Vec<JsonView<'a>>,
    servers: Vec<JsonServer<'a>>,
    /// Empty unless `--netns` is set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    namespaces: Vec<JsonNamespace>,
    /// Empty unless network namespaces of this host were sampled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kernel_counters: Vec<JsonKernelCounters>,
    skipped: JsonSkipped,
    problems: Vec<JsonProblem>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct JsonFailure {
    schema: u32,
    program: &'static str,
    status: String,
    exit_code: u8,
    message: String,
    hints: Vec<String>,
}

#[derive(Serialize)]
struct JsonView<'a> {
    prefix4: u8,
    prefix6: u8,
    prefix_members: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_by: Option<&'static str>,
    status: String,
    reasons: Vec<&'static str>,
    consecutive: u32,
    limit: f64,
    rule: &'static str,
    limit_is_floor: bool,
    over: usize,
    max: u64,
    avg: f64,
    stddev: f64,
    med: u64,
    min: u64,
    addresses: u64,
    connections: u64,
    peers: usize,
    top: Vec<JsonPeer<'a>>,
}

#[derive(Serialize)]
struct JsonPeer<'a> {
    #[serde(flatten)]
    details: PeerDetails<'a>,
    attributable: bool,
    over: bool,
    consecutive: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    over_since: Option<u64>,
}

#[derive(Serialize)]
struct JsonServer<'a> {
    name: &'a str,
    connections: u64,
}

#[derive(Serialize)]
struct JsonNamespace {
    inode: u64,
    current: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<String>,
    connections: u64,
}

#[derive(Serialize)]
struct JsonKernelCounters {
    inode: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    total: KernelCounters,
    /// `None` for the first sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    increase: Option<KernelCounters>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flows: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_flows: Option<u64>,
}

#[derive(Serialize)]
struct JsonSkipped {
    excluded: Vec<JsonExcluded>,
    other_family: u64,
    other_network: u64,
    other_port: u64,
    other_state: u64,
    outbound: u64,
    forwarded: u64,
    self_connections: u64,
}

#[derive(Serialize)]
struct JsonExcluded {
    network: String,
    connections: u64,
}

#[derive(Serialize)]
struct JsonProblem {
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// Returns the report with a line end.
#[must_use]
pub fn render_json(report: &Report, verbosity: Verbosity) -> String {
    let status = report.status();
    let kernel_counters = report.observation.kernel_counters.iter();
    serialize_line(&JsonReport {
        schema: SCHEMA_VERSION,
        program: PROGRAM,
        status: status.to_string(),
        exit_code: status.exit_code(),
        message: text::status_text(report),
        timestamp: report.worst_view().sample.timestamp,
        table: table_name(report.table_kind()),
        protocol: protocol_name(report.protocol),
        views: report
            .views
            .iter()
            .map(|view| JsonView::new(view, report.n_listed(view, verbosity)))
            .collect(),
        servers: report.observation.servers.iter().map(JsonServer::new).collect(),
        namespaces: report.observation.namespaces.iter().map(JsonNamespace::new).collect(),
        kernel_counters: kernel_counters.map(JsonKernelCounters::new).collect(),
        skipped: JsonSkipped::new(&report.observation.skipped),
        problems: report.problems().map(JsonProblem::new).collect(),
        notes: report
            .notes()
            .map(note_text)
            .chain(text::other_rule_alerts(report))
            .chain(text::rule_limitations(report))
            .map(|note| sanitized(&note))
            .collect(),
    })
}

/// Returns the output of a run without a verdict, with a line end.
#[must_use]
pub fn render_json_failure(status: Status, problem: &Problem) -> String {
    serialize_line(&JsonFailure {
        schema: SCHEMA_VERSION,
        program: PROGRAM,
        status: status.to_string(),
        exit_code: status.exit_code(),
        message: sanitize::truncate(&sanitized(&problem.message), text::MAX_STATUS_TEXT_BYTES),
        hints: problem.hints.iter().map(|hint| sanitized(hint)).collect(),
    })
}

fn table_name(table: TableKind) -> &'static str {
    match table {
        TableKind::Sockets => "sockets",
        TableKind::Flows => "flows",
        TableKind::Counts => "counts",
        TableKind::Mixed => "both",
    }
}

/// Returns the name of the counted protocols; `None` for TCP, the default.
fn protocol_name(protocol: Protocol) -> Option<&'static str> {
    if protocol == Protocol::Tcp { None } else { Some(protocol.name()) }
}

fn serialize_line(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("numbers and strings are serializable") + "\n"
}

impl JsonKernelCounters {
    fn new(namespace: &NamespaceCounters) -> Self {
        let NamespaceCounters { inode, name, counters, increase, flow_table } = namespace;
        Self {
            inode: *inode,
            namespace: name.as_deref().map(sanitized),
            total: *counters,
            increase: *increase,
            flows: flow_table.map(|size| size.count),
            max_flows: flow_table.map(|size| size.max),
        }
    }
}

impl<'a> JsonView<'a> {
    fn new(view: &'a View, n_listed: usize) -> Self {
        let View { sample, verdict, .. } = view;
        let streak = view.decisive_peer().and_then(|peer| peer.over);
        let Limit { connections, basis, is_floor } = sample.limit;
        let summary = &sample.summary;
        let PrefixLengths { v4, v6, min_members } = sample.aggregation.prefix_lengths();
        Self {
            prefix4: v4,
            prefix6: v6,
            prefix_members: min_members,
            group_by: sample.aggregation.group_by().map(GroupBy::name),
            status: verdict.status.to_string(),
            reasons: verdict.reasons.iter().map(reason_name).collect(),
            consecutive: streak.map_or(0, |streak| streak.consecutive),
            limit: connections,
            rule: match basis {
                Basis::Fixed => "fixed",
                Basis::Stddev { .. } => "stddev",
                Basis::Lognormal { is_confirmed: false, .. } => "lognormal",
                Basis::Lognormal { is_confirmed: true, .. } => "lognormal-stddev",
            },
            limit_is_floor: is_floor,
            over: sample.n_over,
            max: summary.max,
            avg: round_to_hundredths(summary.avg),
            stddev: round_to_hundredths(summary.stddev),
            med: summary.median,
            min: summary.min,
            addresses: sample.addresses,
            connections: sample.connections,
            peers: sample.peer_counts.len(),
            top: sample.top.iter().take(n_listed).map(|peer| JsonPeer::new(sample, peer)).collect(),
        }
    }
}

impl<'a> JsonPeer<'a> {
    fn new(sample: &Sample, peer: &'a Peer) -> Self {
        Self {
            attributable: sample.is_attributable(peer),
            details: PeerDetails::new(peer),
            over: peer.over.is_some(),
            consecutive: peer.over.map_or(0, |streak| streak.consecutive),
            over_since: peer.over.map(|streak| streak.since),
        }
    }
}

fn reason_name(reason: &Reason) -> &'static str {
    match reason {
        Reason::Limit => "limit",
        Reason::Warning(_) => "warning",
        Reason::Critical(_) => "critical",
    }
}

impl<'a> JsonServer<'a> {
    fn new((name, connections): &'a (String, u64)) -> Self {
        Self { name, connections: *connections }
    }
}

impl JsonNamespace {
    fn new((namespace, connections): &(Namespace, u64)) -> Self {
        let Namespace { inode, is_current, name, process } = namespace;
        let process = process.as_ref();
        let container = process.and_then(|process| process.container.as_deref());
        Self {
            inode: *inode,
            current: *is_current,
            name: name.as_deref().map(sanitize::single_line),
            pid: process.map(|it| it.pid),
            command: process.map(|it| sanitize::single_line(&it.command)),
            container: container.map(sanitize::single_line),
            connections: *connections,
        }
    }
}

impl JsonSkipped {
    fn new(skipped: &Skipped) -> Self {
        Self {
            excluded: skipped.excluded.iter().map(JsonExcluded::new).collect(),
            other_family: skipped.other_family,
            other_network: skipped.other_network,
            other_port: skipped.other_port,
            other_state: skipped.other_state,
            outbound: skipped.outbound,
            forwarded: skipped.forwarded,
            self_connections: skipped.self_connections,
        }
    }
}

impl JsonExcluded {
    fn new(&(network, connections): &(Network, u64)) -> Self {
        Self { network: network.to_string(), connections }
    }
}

impl JsonProblem {
    fn new(Problem { message, hints }: &Problem) -> Self {
        let hint = if hints.is_empty() { None } else { Some(sanitized(&hints.join(" "))) };
        Self { message: sanitized(message), hint }
    }
}

fn sanitized(text: &str) -> String {
    sanitize::single_line(&text::options_as_flags(text))
}
