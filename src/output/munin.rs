//! What Munin is told: what the graphs are, and their values.
use crate::model::{
    sanitize,
    verdict::{Reason, Status},
};

use super::{
    report::{Report, View},
    text,
};

/// How long what is told of the top address may be: it is part of a mail.
const LONGEST_EXTINFO: usize = 600;

/// The graphs of one link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graphs {
    /// What the first one is called; the second one's name begins with it.
    pub name: String,
    /// The host that they belong to, where it is not that of the node.
    pub host_name: Option<String>,
    /// Whether the master takes several graphs from one plugin.
    pub is_multigraph: bool,
    /// From where on the master is to alert.
    pub thresholds: Vec<Threshold>,
}

/// From where on the master is to alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// One of [`fields`].
    pub field: &'static str,
    /// How bad that is.
    pub level: Level,
    /// Where it is.
    pub at: At,
}

/// How bad it is to be beyond a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Munin's warning.
    Warning,
    /// Munin's critical.
    Critical,
}

impl Level {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Warning, Self::Critical];

    /// What Munin calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Where a threshold is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// Outside a range, as Munin writes it.
    Range(String),
    /// Where the rule has its limit, which each sample sets anew.
    Limit,
}

/// The field that the rule is about.
pub const JUDGED: &str = "connections_max";

/// A curve.
struct Field {
    /// It is part of a file's name on the master, and stays what it is.
    name: &'static str,
    label: &'static str,
    draw: &'static str,
    colour: &'static str,
    info: &'static str,
    value: fn(&Report) -> String,
}

/// Some curves on one picture.
struct Graph {
    suffix: &'static str,
    head: &'static str,
    fields: &'static [Field],
}

const PER_ADDRESS: Graph = Graph {
    suffix: "",
    head: "graph_title TCP connections per remote address\n\
           graph_args --base 1000 -l 0\n\
           graph_scale no\n\
           graph_vlabel connections\n\
           graph_category network\n\
           graph_info How many TCP connections the remote addresses have, by address. \
           Where the area is above the limit, one address has more than the others let expect: \
           check_topip warns there.\n",
    fields: &[
        Field {
            name: JUDGED,
            label: "busiest address",
            draw: "AREA",
            colour: "9ec5e8",
            info: "Connections of the remote address that has the most. \
                   An alert names it.",
            value: |report| graphed(report).sample.summary.max.to_string(),
        },
        Field {
            name: "connections_avg",
            label: "average",
            draw: "LINE1",
            colour: "00802b",
            info: "Connections per remote address, the arithmetic mean.",
            value: |report| text::decimal(graphed(report).sample.summary.avg),
        },
        Field {
            name: "connections_stddev",
            label: "standard deviation",
            draw: "LINE1",
            colour: "7a3e9d",
            info: "How far the addresses are from that average: \
                   the population standard deviation of their connections.",
            value: |report| text::decimal(graphed(report).sample.summary.stddev),
        },
        Field {
            name: "connections_limit",
            label: "limit",
            draw: "LINE2",
            colour: "d62728",
            info: "What the busiest address is held against: by default 5 standard deviations, \
                   and at least 10 connections.",
            value: |report| text::decimal(graphed(report).verdict.limit.connections),
        },
    ],
};

const IN_ALL: Graph = Graph {
    suffix: "_addresses",
    head: "graph_title TCP connections and remote addresses\n\
           graph_args --base 1000 -l 0\n\
           graph_scale no\n\
           graph_vlabel number\n\
           graph_category network\n\
           graph_info How many TCP connections there are, and how many remote addresses they \
           come from. Both rise with many visitors; connections alone rise with a few busy ones.\n",
    fields: &[
        Field {
            name: "connections",
            label: "connections",
            draw: "AREA",
            colour: "9ec5e8",
            info: "TCP connections that count, of all remote addresses together.",
            value: |report| graphed(report).sample.connections.to_string(),
        },
        Field {
            name: "addresses",
            label: "remote addresses",
            draw: "LINE2",
            colour: "1f5fa8",
            info: "Distinct remote addresses that have at least one of these connections.",
            value: |report| graphed(report).sample.addresses.to_string(),
        },
    ],
};

/// The names of all fields.
pub fn fields() -> impl Iterator<Item = &'static str> {
    [PER_ADDRESS, IN_ALL].into_iter().flat_map(|graph| graph.fields).map(|field| field.name)
}

/// What a look gave: a report, or why there is none.
pub type Seen<'a> = Result<&'a Report, &'a str>;

impl Graphs {
    /// What the graphs are; with `seen`, their values as well.
    #[must_use]
    pub fn config(&self, seen: Option<Seen<'_>>) -> String {
        let host = self.host_name.as_ref().map(|host| format!("host_name {host}\n"));
        let graphs = self.graphs().iter().map(|graph| {
            let fields = graph.fields.iter().map(|field| self.field(field, seen));
            let fields: String = fields.collect();
            format!("{}{}{fields}", self.heading(graph), graph.head)
        });
        host.into_iter().chain(graphs).collect()
    }

    /// The values.
    #[must_use]
    pub fn fetch(&self, seen: Seen<'_>) -> String {
        let graphs = self.graphs().iter().map(|graph| {
            let fields: String = graph.fields.iter().map(|field| value(field, seen)).collect();
            format!("{}{fields}", self.heading(graph))
        });
        graphs.collect()
    }

    fn graphs(&self) -> &'static [Graph] {
        const GRAPHS: [Graph; 2] = [PER_ADDRESS, IN_ALL];
        if self.is_multigraph { &GRAPHS } else { &GRAPHS[..1] }
    }

    /// The first graph is named too, though the master would call it the same:
    /// nobody has to guess it from the name of the link.
    fn heading(&self, graph: &Graph) -> String {
        match self.is_multigraph {
            true => format!("multigraph {}{}\n", self.name, graph.suffix),
            false => String::new(),
        }
    }

    fn field(&self, field: &Field, seen: Option<Seen<'_>>) -> String {
        let Field { name, label, draw, colour, info, .. } = field;
        let report = seen.and_then(Result::ok);
        let thresholds = self.thresholds.iter().filter(|it| it.field == *name);
        let thresholds: String = thresholds.filter_map(|it| line(it, report)).collect();
        let value = seen.map_or_else(String::new, |seen| value(field, seen));
        format!(
            "{name}.label {label}\n{name}.draw {draw}\n{name}.colour {colour}\n{name}.min 0\n\
             {name}.info {info}\n{thresholds}{value}"
        )
    }
}

fn line(threshold: &Threshold, report: Option<&Report>) -> Option<String> {
    let Threshold { field, level, at } = threshold;
    let range = match at {
        At::Range(range) => range.clone(),
        At::Limit => limit(*level, report?)?,
    };
    Some(format!("{field}.{} {range}\n", level.name()))
}

/// What is drawn: always the same view, be another one worse or not.
fn graphed(report: &Report) -> &View {
    report.views.first().expect("there is a view")
}

/// The rule's limit as a range. Over it is critical only for an address that
/// has been on top for long enough, so that there is no such range for others.
fn limit(level: Level, report: &Report) -> Option<String> {
    let verdict = &graphed(report).verdict;
    let is_critical =
        verdict.status == Status::Critical && verdict.reasons.contains(&Reason::Trigger);
    let applies = level == Level::Warning || is_critical;
    (report.is_whole && applies).then(|| format!(":{}", text::decimal(verdict.limit.connections)))
}

/// A value is one of the whole: part of a sum would look like a fall.
fn value(field: &Field, seen: Seen<'_>) -> String {
    let name = field.name;
    let value = match seen {
        Ok(report) if report.is_whole => (field.value)(report),
        _ => "U".to_owned(),
    };
    let extinfo = (name == JUDGED).then(|| format!("{name}.extinfo {}\n", extinfo(seen)));
    format!("{name}.value {value}\n{}", extinfo.unwrap_or_default())
}

/// What goes into an alert beside the value.
fn extinfo(seen: Seen<'_>) -> String {
    let text = match seen {
        Err(problem) => problem.to_owned(),
        Ok(report) => {
            let view = graphed(report);
            let verdict = text::verdict(report, view);
            let top = view.sample.top.first();
            let evidence = top.map(|peer| text::evidence(peer, view.sample.when));
            let trouble = report.troubles.first().filter(|_| !report.is_whole);
            let trouble = trouble.map(|trouble| trouble.problem.clone());
            let parts: Vec<_> = trouble.into_iter().chain([verdict]).chain(evidence).collect();
            parts.join("; ")
        }
    };
    sanitize::beginning(&harmless(&text), LONGEST_EXTINFO)
}

/// `text` on one line. The master takes what is after a `#` for a comment, and a
/// `\` before it for its own.
fn harmless(text: &str) -> String {
    sanitize::line(text).replace(['#', '\\'], "?")
}

/// What went wrong, for the node's log, with line ends.
#[must_use]
pub fn complaint(lines: &[String]) -> String {
    lines.iter().map(|line| sanitize::line(line) + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_fields_stay() {
        let names: Vec<_> = fields().collect();
        assert_eq!(
            names,
            [
                "connections_max",
                "connections_avg",
                "connections_stddev",
                "connections_limit",
                "connections",
                "addresses"
            ]
        );
    }

    #[test]
    fn nothing_that_is_told_has_a_say_in_the_protocol() {
        let graphs = Graphs { name: "topip".to_owned(), is_multigraph: true, ..Graphs::default() };
        let hostile = "a\nb.value 7\nmultigraph x |$(y) #c \\#d";
        let told = graphs.config(Some(Err(hostile)));
        assert!(!told.contains(['#', '\\', '|', '$']), "{told}");
        assert!(told.contains("\nconnections_max.extinfo a b.value 7 multigraph x ??(y) ?c ??d\n"));
        assert!(told.lines().all(|line| line.contains(' ')), "{told}");
        assert_eq!(told.matches("multigraph topip").count(), 2);
    }
}
