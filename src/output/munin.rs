//! The output for Munin: the configuration and the values of the graphs.
use crate::{
    analysis::{tally::Aggregation, view::View},
    model::{peer_id::GroupBy, problem::Problem, protocol::Protocol, sanitize},
};

use super::{
    notes::{self, note_text},
    noun::Noun,
    report::{Report, Verbosity},
    text,
};

/// Maximum length in bytes of `extinfo`, which Munin puts into its mails.
const MAX_EXTINFO_BYTES: usize = 600;

/// The graphs of one plugin link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graphs {
    /// Name of the first graph, and prefix of the second graph's name.
    pub name: String,
    /// The host that the graphs belong to; `None` for the node's own host.
    pub host_name: Option<String>,
    /// Counted protocols.
    pub protocol: Protocol,
    /// `true` if the master accepts several graphs from one plugin.
    pub is_multigraph: bool,
    /// Properties of the groups whose maximum is drawn.
    pub groups: Vec<GroupBy>,
    /// The thresholds at which the master alerts.
    pub thresholds: Vec<Threshold>,
}

/// A threshold at which the master alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// One of [`field_names`].
    pub field: &'static str,
    /// The severity.
    pub level: ThresholdLevel,
    /// The range of values without an alert.
    pub bound: ThresholdBound,
}

/// The severity of a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThresholdLevel {
    /// The level `warning` of Munin.
    Warning,
    /// The level `critical` of Munin.
    Critical,
}

impl ThresholdLevel {
    /// Both levels.
    pub const ALL: [Self; 2] = [Self::Warning, Self::Critical];

    /// Returns the name of the level in the Munin protocol.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// The source of a threshold's range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThresholdBound {
    /// A fixed range in the notation of Munin.
    Range(String),
    /// The limit of the rule, which each sample computes again.
    Limit,
}

/// The field that the rule judges.
pub const JUDGED_FIELD: &str = "connections_max";

/// A data series.
struct Field {
    /// Name of the field. The master uses it in file names, so it must not change.
    name: &'static str,
    label: &'static str,
    draw: &'static str,
    color: &'static str,
    info: &'static str,
    value: fn(&Report) -> String,
}

/// A graph with several data series.
struct Graph {
    suffix: &'static str,
    attributes: &'static str,
    fields: &'static [Field],
}

const PER_ADDRESS: Graph = Graph {
    suffix: "",
    attributes: "graph_title TCP connections per remote address\n\
           graph_args --base 1000 -l 0\n\
           graph_scale no\n\
           graph_vlabel connections\n\
           graph_category network\n\
           graph_info TCP connections per remote address. If the area is above the limit, one \
           address has more connections than expected from the others, and check_topip warns.\n",
    fields: &[
        Field {
            name: JUDGED_FIELD,
            label: "busiest address",
            draw: "AREA",
            color: "9ec5e8",
            info: "Connections of the remote address with the most connections. \
                   An alert names this address.",
            value: |report| graphed_view(report).sample.summary.max.to_string(),
        },
        Field {
            name: "connections_avg",
            label: "average",
            draw: "LINE1",
            color: "00802b",
            info: "Arithmetic mean of the connections per remote address.",
            value: |report| text::decimal(graphed_view(report).sample.summary.avg),
        },
        Field {
            name: "connections_stddev",
            label: "standard deviation",
            draw: "LINE1",
            color: "7a3e9d",
            info: "Population standard deviation of the connections per remote address.",
            value: |report| text::decimal(graphed_view(report).sample.summary.stddev),
        },
        Field {
            name: "connections_limit",
            label: "limit",
            draw: "LINE2",
            color: "d62728",
            info: "The number of connections above which an address is over the limit.",
            value: |report| text::decimal(graphed_view(report).sample.limit.connections),
        },
    ],
};

/// Fields of the first graph for groups, each drawn only if it is configured.
const GROUP_FIELDS: [(GroupBy, Field); 3] = [
    (
        GroupBy::Asn,
        Field {
            name: "connections_max_asn",
            label: "busiest operator",
            draw: "LINE2",
            color: "e6870d",
            info: "Connections of the network operator with the most connections.",
            value: |report| group_max(report, GroupBy::Asn),
        },
    ),
    (
        GroupBy::Country,
        Field {
            name: "connections_max_country",
            label: "busiest country",
            draw: "LINE2",
            color: "8c564b",
            info: "Connections of the country with the most connections.",
            value: |report| group_max(report, GroupBy::Country),
        },
    ),
    (
        GroupBy::Label,
        Field {
            name: "connections_max_label",
            label: "busiest label",
            draw: "LINE2",
            color: "17becf",
            info: "Connections of the label with the most connections.",
            value: |report| group_max(report, GroupBy::Label),
        },
    ),
];

/// Returns the connections of the busiest group; `U` (unknown) if the groups are not known.
fn group_max(report: &Report, by: GroupBy) -> String {
    let mut views = report.views.iter();
    let view = views.find(|view| view.sample.aggregation == Aggregation::Group(by));
    view.map_or_else(|| "U".to_owned(), |view| view.sample.max_attributable().to_string())
}

const TOTALS: Graph = Graph {
    suffix: "_addresses",
    attributes: "graph_title TCP connections and remote addresses\n\
           graph_args --base 1000 -l 0\n\
           graph_scale no\n\
           graph_vlabel number\n\
           graph_category network\n\
           graph_info Number of TCP connections, and number of their remote addresses. With more \
           visitors, both rise; with a few busy visitors, only the connections rise.\n",
    fields: &[
        Field {
            name: "connections",
            label: "connections",
            draw: "AREA",
            color: "9ec5e8",
            info: "Counted TCP connections of all remote addresses.",
            value: |report| graphed_view(report).sample.connections.to_string(),
        },
        Field {
            name: "addresses",
            label: "remote addresses",
            draw: "LINE2",
            color: "1f5fa8",
            info: "Distinct remote addresses that have at least one of these connections.",
            value: |report| graphed_view(report).sample.addresses.to_string(),
        },
    ],
};

/// Returns the names of all fields.
pub fn field_names() -> impl Iterator<Item = &'static str> {
    let fields = [PER_ADDRESS, TOTALS].into_iter().flat_map(|graph| graph.fields);
    fields.map(|field| field.name).chain(GROUP_FIELDS.map(|(_, field)| field.name))
}

/// The report of a run, or the problem of a run without a report.
pub type ReportResult<'a> = Result<&'a Report, &'a Problem>;

impl Graphs {
    /// Returns the configuration of the graphs, and with `result` their values as
    /// well (the dirtyconfig protocol).
    #[must_use]
    pub fn config(&self, result: Option<ReportResult<'_>>) -> String {
        let host = self.host_name.as_ref().map(|host| format!("host_name {host}\n"));
        let graphs = self.graphs().iter().map(|graph| {
            let fields: String =
                self.fields(graph).map(|field| self.field_lines(field, result)).collect();
            let attributes = self.noun().replace_in(graph.attributes);
            format!("{}{attributes}{fields}", self.heading(graph))
        });
        host.into_iter().chain(graphs).collect()
    }

    /// Returns the values of the graphs.
    #[must_use]
    pub fn fetch(&self, result: ReportResult<'_>) -> String {
        let graphs = self.graphs().iter().map(|graph| {
            let fields: String =
                self.fields(graph).map(|field| value_lines(field, result)).collect();
            format!("{}{fields}", self.heading(graph))
        });
        graphs.collect()
    }

    fn noun(&self) -> Noun {
        Noun::new(self.protocol)
    }

    fn graphs(&self) -> &'static [Graph] {
        const GRAPHS: [Graph; 2] = [PER_ADDRESS, TOTALS];
        if self.is_multigraph { &GRAPHS } else { &GRAPHS[..1] }
    }

    fn fields(&self, graph: &Graph) -> impl Iterator<Item = &'static Field> {
        const FIELDS: &[(GroupBy, Field)] = &GROUP_FIELDS;
        let is_drawn = |by| graph.suffix == PER_ADDRESS.suffix && self.groups.contains(by);
        let groups = FIELDS.iter().filter(move |(by, _)| is_drawn(by)).map(|(_, field)| field);
        graph.fields.iter().chain(groups)
    }

    /// Returns the `multigraph` line. The first graph is named as well, although
    /// the master would use the same name, so that the output is complete.
    fn heading(&self, graph: &Graph) -> String {
        if self.is_multigraph {
            format!("multigraph {}{}\n", self.name, graph.suffix)
        } else {
            String::new()
        }
    }

    fn field_lines(&self, field: &Field, result: Option<ReportResult<'_>>) -> String {
        let Field { name, label, draw, color, info, .. } = field;
        let report = result.and_then(Result::ok);
        let thresholds = self.thresholds.iter().filter(|threshold| threshold.field == *name);
        let thresholds: String =
            thresholds.filter_map(|threshold| threshold_line(threshold, report)).collect();
        let values = result.map_or_else(String::new, |result| value_lines(field, result));
        let (label, info) = (self.noun().replace_in(label), self.noun().replace_in(info));
        format!(
            "{name}.label {label}\n{name}.draw {draw}\n{name}.colour {color}\n{name}.min 0\n\
             {name}.info {info}\n{thresholds}{values}"
        )
    }
}

fn threshold_line(threshold: &Threshold, report: Option<&Report>) -> Option<String> {
    let Threshold { field, level, bound } = threshold;
    let range = match bound {
        ThresholdBound::Range(range) => range.clone(),
        ThresholdBound::Limit => limit_range(*level, report?)?,
    };
    Some(format!("{field}.{} {range}\n", level.name()))
}

/// Returns the view for the graphs: always the first one, even if another view
/// is worse, so that a graph shows one series.
fn graphed_view(report: &Report) -> &View {
    report.views.first().expect("a report has at least one view")
}

/// Returns the limit of the rule as a range. The critical range is set only if a peer was
/// over the limit in enough consecutive samples.
fn limit_range(level: ThresholdLevel, report: &Report) -> Option<String> {
    let sample = &graphed_view(report).sample;
    let is_critical = sample.peers_over().any(|peer| report.judge_config.is_alert(peer));
    let applies = level == ThresholdLevel::Warning || is_critical;
    if !report.is_complete() || !applies {
        return None;
    }
    Some(format!(":{}", text::decimal(sample.limit.connections)))
}

/// Returns the lines for the value of a field. The value of an incomplete sample
/// is unknown: a partial sum would look like a drop.
fn value_lines(field: &Field, result: ReportResult<'_>) -> String {
    let name = field.name;
    let value = match result {
        Ok(report) if report.is_complete() => (field.value)(report),
        _ => "U".to_owned(),
    };
    let mut lines = format!("{name}.value {value}\n");
    if name == JUDGED_FIELD {
        lines += &format!("{name}.extinfo {}\n", extinfo(result));
    }
    lines
}

/// Returns the text that Munin includes in an alert.
fn extinfo(result: ReportResult<'_>) -> String {
    let text = match result {
        Err(problem) => text::options_as_variables(&problem.message),
        Ok(report) => {
            let view = graphed_view(report);
            let verdict = text::verdict_text(report, view);
            let others_over = text::others_over(view);
            let decisive_peer = view.decisive_peer();
            let details = decisive_peer
                .into_iter()
                .flat_map(|peer| text::peer_details(report, peer, &view.sample, Verbosity::Terse));
            let problem = report.observation.problems.first();
            let problem = problem.map(|problem| text::options_as_variables(&problem.message));
            let parts: Vec<_> =
                problem.into_iter().chain([verdict]).chain(others_over).chain(details).collect();
            parts.join("; ")
        }
    };
    sanitize::truncate(&sanitize_extinfo(&text), MAX_EXTINFO_BYTES)
}

/// Returns `text` on one line, without `#` and `\`: the master reads `#` as the
/// start of a comment, and `\` as an escape.
fn sanitize_extinfo(text: &str) -> String {
    sanitize::single_line(text).replace(['#', '\\'], "?")
}

/// Returns the problems and notes of a run for the log of the node; with `is_debug`, its
/// details as comments.
#[must_use]
pub fn render_munin_log(result: ReportResult<'_>, is_debug: bool) -> String {
    let report = match result {
        Err(problem) => return render_munin_problem(problem),
        Ok(report) => report,
    };
    let problems: String = report.problems().map(render_munin_problem).collect();
    let notes: String = report.notes().map(|note| log_line(&note_text(note))).collect();
    // munin-node and munin-node-configure ignore lines that start with "#".
    let details: String = if is_debug {
        let lines = notes::detail_lines(report);
        lines.iter().map(|line| log_line(&format!("# {line}"))).collect()
    } else {
        String::new()
    };
    problems + &notes + &details
}

/// Returns a problem and its hints for the log of the node, with line ends.
#[must_use]
pub fn render_munin_problem(problem: &Problem) -> String {
    problem.lines().iter().map(|line| log_line(line)).collect()
}

/// Returns the output of `autoconf` for a host that cannot be sampled.
#[must_use]
pub fn render_autoconf_no(problem: &Problem) -> String {
    format!("no ({})\n", log_line(&problem.message).trim_end())
}

fn log_line(text: &str) -> String {
    sanitize::single_line(&text::options_as_variables(text)) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_names_are_stable() {
        let names: Vec<_> = field_names().collect();
        assert_eq!(
            names,
            [
                "connections_max",
                "connections_avg",
                "connections_stddev",
                "connections_limit",
                "connections",
                "addresses",
                "connections_max_asn",
                "connections_max_country",
                "connections_max_label",
            ]
        );
    }

    #[test]
    fn messages_cannot_inject_protocol_lines() {
        let graphs = Graphs { name: "topip".to_owned(), is_multigraph: true, ..Graphs::default() };
        let hostile = "a\nb.value 7\nmultigraph x |$(y) #c \\#d";
        let output = graphs.config(Some(Err(&Problem::without_hints(hostile))));
        assert!(!output.contains(['#', '\\', '|', '$']), "{output}");
        assert!(
            output.contains("\nconnections_max.extinfo a b.value 7 multigraph x ??(y) ?c ??d\n")
        );
        assert!(output.lines().all(|line| line.contains(' ')), "{output}");
        assert_eq!(output.matches("multigraph topip").count(), 2);
    }
}
