//! The answer for programs: one JSON object on a line, which check_topip(1) and
//! docs/check_topip.schema.json describe.
use serde::Serialize;

use crate::{
    analysis::{filter::LeftOut, peer_details::Evidence},
    model::{
        namespace::Namespace,
        sanitize,
        verdict::{Basis, Limit, Reason, Status},
    },
    parse::Subject,
};

use super::{
    report::{Report, Trouble, Verbosity, View, rounded},
    text,
};

/// The version of the object: it changes where a field goes or means another
/// thing, and not where one is added.
const SCHEMA: u32 = 1;
const PROGRAM: &str = concat!("topip ", env!("CARGO_PKG_VERSION"));

#[derive(Serialize)]
struct Answer<'a> {
    schema: u32,
    program: &'static str,
    status: String,
    exit_code: u8,
    message: String,
    when: u64,
    counted: &'static str,
    views: Vec<JsonView<'a>>,
    servers: Vec<Server<'a>>,
    /// Only where some were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    namespaces: Vec<JsonNamespace>,
    left_out: JsonLeftOut,
    problems: Vec<Problem>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct Failure {
    schema: u32,
    program: &'static str,
    status: String,
    exit_code: u8,
    message: String,
    advice: Vec<String>,
}

#[derive(Serialize)]
struct JsonView<'a> {
    prefix4: u8,
    prefix6: u8,
    prefix_members: u64,
    status: String,
    reasons: Vec<&'static str>,
    row: u32,
    limit: f64,
    rule: &'static str,
    is_floor: bool,
    max: u64,
    avg: f64,
    stddev: f64,
    med: u64,
    min: u64,
    addresses: u64,
    connections: u64,
    peers: usize,
    top: Vec<Evidence<'a>>,
}

#[derive(Serialize)]
struct Server<'a> {
    name: &'a str,
    connections: u64,
}

#[derive(Serialize)]
struct JsonNamespace {
    inode: u64,
    own: bool,
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
struct JsonLeftOut {
    excluded: Vec<Excluded>,
    other_family: u64,
    other_port: u64,
    other_state: u64,
    outbound: u64,
    through: u64,
    own: u64,
}

#[derive(Serialize)]
struct Excluded {
    network: String,
    connections: u64,
}

#[derive(Serialize)]
struct Problem {
    problem: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

/// The answer, with a line end.
#[must_use]
pub fn json(report: &Report, verbosity: Verbosity) -> String {
    let status = report.status();
    written(&Answer {
        schema: SCHEMA,
        program: PROGRAM,
        status: status.to_string(),
        exit_code: status.exit_code(),
        message: text::message(report),
        when: report.worst().sample.when,
        counted: counted(report.subject),
        views: report
            .views
            .iter()
            .map(|view| JsonView::of(view, report.listed(view, verbosity)))
            .collect(),
        servers: report
            .shares
            .iter()
            .map(|(name, connections)| Server { name, connections: *connections })
            .collect(),
        namespaces: report.namespaces.iter().map(JsonNamespace::of).collect(),
        left_out: JsonLeftOut::of(&report.left_out),
        problems: report.troubles.iter().map(Problem::of).collect(),
        notes: report
            .notes
            .iter()
            .cloned()
            .chain(text::blind_sides(report))
            .map(|note| sanitize::line(&note))
            .collect(),
    })
}

/// The answer of a run that came to no verdict, with a line end.
#[must_use]
pub fn json_failure(status: Status, problem: &str, more: &[String]) -> String {
    written(&Failure {
        schema: SCHEMA,
        program: PROGRAM,
        status: status.to_string(),
        exit_code: status.exit_code(),
        message: sanitize::beginning(&sanitize::line(problem), text::LONGEST_TEXT),
        advice: more.iter().map(|line| sanitize::line(line)).collect(),
    })
}

fn counted(subject: Subject) -> &'static str {
    match subject {
        Subject::Sockets => "sockets",
        Subject::Flows => "flows",
        Subject::Both => "both",
    }
}

fn written(answer: &impl Serialize) -> String {
    serde_json::to_string(answer).expect("numbers and text can be written") + "\n"
}

impl<'a> JsonView<'a> {
    fn of(View { sample, verdict, .. }: &'a View, listed: usize) -> Self {
        let Limit { connections, basis, is_floor } = verdict.limit;
        let summary = &sample.summary;
        Self {
            prefix4: sample.grain.v4,
            prefix6: sample.grain.v6,
            prefix_members: sample.grain.members,
            status: verdict.status.to_string(),
            reasons: verdict.reasons.iter().map(reason).collect(),
            row: verdict.row,
            limit: connections,
            rule: match basis {
                Basis::Stddev { .. } => "stddev",
                Basis::Lognormal { .. } => "lognormal",
            },
            is_floor,
            max: summary.max,
            avg: rounded(summary.avg),
            stddev: rounded(summary.stddev),
            med: summary.med,
            min: summary.min,
            addresses: sample.addresses,
            connections: sample.connections,
            peers: sample.counts.len(),
            top: sample.top.iter().take(listed).map(Evidence::of).collect(),
        }
    }
}

fn reason(reason: &Reason) -> &'static str {
    match reason {
        Reason::Trigger => "trigger",
        Reason::Warning(_) => "warning",
        Reason::Critical(_) => "critical",
    }
}

impl JsonNamespace {
    fn of((namespace, connections): &(Namespace, u64)) -> Self {
        let Namespace { inode, is_own, name, process } = namespace;
        let process = process.as_ref();
        let container = process.and_then(|it| it.container.as_deref());
        Self {
            inode: *inode,
            own: *is_own,
            name: name.as_deref().map(sanitize::line),
            pid: process.map(|it| it.pid),
            command: process.map(|it| sanitize::line(&it.command)),
            container: container.map(sanitize::line),
            connections: *connections,
        }
    }
}

impl JsonLeftOut {
    fn of(left_out: &LeftOut) -> Self {
        let excluded = |&(network, connections): &(crate::model::network::Network, u64)| Excluded {
            network: network.to_string(),
            connections,
        };
        Self {
            excluded: left_out.excluded.iter().map(excluded).collect(),
            other_family: left_out.other_family,
            other_port: left_out.other_port,
            other_state: left_out.other_state,
            outbound: left_out.outbound,
            through: left_out.through,
            own: left_out.own,
        }
    }
}

impl Problem {
    fn of(Trouble { problem, advice }: &Trouble) -> Self {
        Self { problem: sanitize::line(problem), advice: advice.as_deref().map(sanitize::line) }
    }
}
