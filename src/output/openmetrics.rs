//! The report as OpenMetrics text, for Prometheus and its node_exporter (openmetrics.io,
//! "OpenMetrics 1.0").
//!
//! All metrics are gauges: node_exporter reads the older text format of Prometheus, in which
//! the type line of a counter differs.
use std::fmt::{Display, Write};

use crate::{
    analysis::{
        operator::Operator,
        tally::{Aggregation, PrefixLengths},
        view::View,
    },
    model::{kernel_counters::NamespaceCounters, protocol::Protocol, sanitize, verdict::Status},
};

use super::report::Report;

/// Name of a label and its value.
type Label<'a> = (&'static str, &'a dyn Display);

/// Returns the report as text. Up to `max_addresses` of the busiest peers of each view have a
/// metric of their own; each of these metrics is a new time series.
#[must_use]
pub fn render_openmetrics(report: &Report, max_addresses: usize) -> String {
    let mut text = MetricsText::default();
    text.status(report.status());
    text.family("problems", "Failures of the check, such as a server that could not be read.");
    text.sample("problems", &[], report.problems().count());
    if report.protocol != Protocol::Tcp {
        text.family("protocol_info", "Protocols that are counted as connections.");
        text.sample("protocol_info", &[("protocol", &report.protocol.name())], 1);
    }
    text.views(&report.views);
    text.peers(&report.views, max_addresses);

    text.family("tcp_state_connections", "Connections in each TCP state.");
    for (tcp_state, connections) in &report.tcp_states {
        let name = tcp_state.map_or("UNKNOWN", |tcp_state| tcp_state.name());
        text.sample("tcp_state_connections", &[("state", &name)], connections);
    }
    text.family("server_connections", "Connections of each server, if there are several.");
    for (server, connections) in &report.observation.servers {
        text.sample("server_connections", &[("server", server)], connections);
    }
    text.family("namespace_connections", "Connections of each network namespace.");
    for (namespace, connections) in &report.observation.namespaces {
        text.sample("namespace_connections", &[("namespace", namespace)], connections);
    }
    text.kernel_counters(&report.observation.kernel_counters);
    text.finish()
}

/// Returns the text for a run without a verdict: only its status.
#[must_use]
pub fn render_openmetrics_failure(status: Status) -> String {
    let mut text = MetricsText::default();
    text.status(status);
    text.finish()
}

/// Text of metrics, one family after another.
#[derive(Default)]
struct MetricsText {
    text: String,
    /// Type and help lines of the current family, until it has a sample: a family without
    /// samples is left out.
    pending_header: String,
}

impl MetricsText {
    fn family(&mut self, name: &str, help: &str) {
        self.pending_header = format!("# HELP topip_{name} {help}\n# TYPE topip_{name} gauge\n");
    }

    fn unit(&mut self, name: &str, unit: &str) {
        self.pending_header += &format!("# UNIT topip_{name} {unit}\n");
    }

    fn sample(&mut self, name: &str, labels: &[Label<'_>], value: impl Display) {
        self.text += &std::mem::take(&mut self.pending_header);
        let labels: Vec<_> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        writeln!(self.text, "topip_{name}{labels} {value}").expect("a String accepts all text");
    }

    fn status(&mut self, status: Status) {
        self.family("status", "Status of the check: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.");
        self.sample("status", &[], status.exit_code());
    }

    /// Adds the numbers of each view, with its prefix lengths as labels.
    fn views(&mut self, views: &[View]) {
        let timestamp = views.first().map_or(0, |view| view.sample.timestamp);
        self.family("sample_timestamp_seconds", "Time of the sample, since 1970-01-01 UTC.");
        self.unit("sample_timestamp_seconds", "seconds");
        self.sample("sample_timestamp_seconds", &[], timestamp);

        self.view_family(views, "view_status", "Status of this view, like topip_status.", |view| {
            f64::from(view.verdict.status.exit_code())
        });
        for (name, help, value) in VIEW_METRICS {
            self.view_family(views, name, help, value);
        }
    }

    fn view_family(
        &mut self,
        views: &[View],
        name: &str,
        help: &str,
        value: impl Fn(&View) -> f64,
    ) {
        self.family(name, help);
        for view in views {
            let labels = ViewLabels::new(view);
            self.sample(name, &labels.list(), value(view));
        }
    }

    /// Adds the busiest peers of each view.
    fn peers(&mut self, views: &[View], max_addresses: usize) {
        self.family(
            "peer_connections",
            "Connections of the busiest addresses, networks or groups.",
        );
        for view in views {
            let view_labels = ViewLabels::new(view);
            for peer in view.sample.top.iter().take(max_addresses) {
                let name = peer.name();
                let mut labels = view_labels.list();
                labels.push((if peer.id.network().is_some() { "address" } else { "group" }, &name));
                labels.extend(peer.label.as_ref().map(|label| ("label", label as &dyn Display)));
                let Operator { asn, name: operator, country } = &peer.operator;
                labels.extend(asn.as_ref().map(|asn| ("asn", asn as &dyn Display)));
                labels.extend(operator.as_ref().map(|it| ("operator", it as &dyn Display)));
                labels.extend(country.as_ref().map(|it| ("country", it as &dyn Display)));
                self.sample("peer_connections", &labels, peer.connections);
            }
        }
    }

    fn kernel_counters(&mut self, kernel_counters: &[NamespaceCounters]) {
        type Value = fn(&NamespaceCounters) -> Option<u64>;
        let families: [(&str, &str, Value); 5] = [
            (
                "kernel_syn_cookies",
                "Connection requests answered with a SYN cookie since the creation of the network \
                 namespace.",
                |it| Some(it.counters.syn_cookies),
            ),
            (
                "kernel_listen_overflows",
                "Connections dropped at a full accept queue since the creation of the network \
                 namespace.",
                |it| Some(it.counters.listen_overflows),
            ),
            (
                "kernel_flow_drops",
                "Packets dropped by connection tracking since the creation of the network \
                 namespace.",
                |it| Some(it.counters.flow_drops),
            ),
            ("kernel_flows", "Flows in the connection tracking table.", |it| {
                it.flow_table.map(|size| size.count)
            }),
            (
                "kernel_flows_max",
                "Maximum number of flows in the connection tracking table.",
                |it| it.flow_table.map(|size| size.max),
            ),
        ];
        for (name, help, value) in families {
            self.family(name, help);
            for counters in kernel_counters {
                let Some(value) = value(counters) else { continue };
                let namespace = counters.name.as_deref().unwrap_or("own");
                self.sample(name, &[("namespace", &namespace)], value);
            }
        }
    }

    fn finish(self) -> String {
        self.text + "# EOF\n"
    }
}

/// Function that returns a number of a view.
type ViewValue = fn(&View) -> f64;

/// Metrics of a view: name, help and value.
#[expect(clippy::cast_precision_loss, reason = "a host has fewer than 2^53 connections")]
const VIEW_METRICS: [(&str, &str, ViewValue); 9] = [
    ("connections", "Connections of all addresses.", |view| view.sample.connections as f64),
    ("addresses", "Addresses with a connection.", |view| view.sample.addresses as f64),
    ("max", "Connections of the busiest address, network or group.", |view| {
        view.sample.summary.max as f64
    }),
    ("avg", "Average of the connections of an address, network or group.", |view| {
        view.sample.summary.avg
    }),
    ("stddev", "Population standard deviation of the connections.", |view| {
        view.sample.summary.stddev
    }),
    ("med", "Upper median of the connections.", |view| view.sample.summary.median as f64),
    ("min", "Connections of the least busy address, network or group.", |view| {
        view.sample.summary.min as f64
    }),
    ("limit", "Limit that each address, network or group is compared with.", |view| {
        view.sample.limit.connections
    }),
    ("over", "Addresses, networks or groups over the limit.", |view| view.sample.n_over as f64),
];

/// The labels of a view: its prefix lengths, or the property of its groups.
enum ViewLabels {
    Prefix(PrefixLengths),
    Group(&'static str),
}

impl ViewLabels {
    fn new(view: &View) -> Self {
        match view.sample.aggregation {
            Aggregation::Prefix(lengths) => Self::Prefix(lengths),
            Aggregation::Group(by) => Self::Group(by.name()),
        }
    }

    fn list(&self) -> Vec<Label<'_>> {
        match self {
            Self::Prefix(PrefixLengths { v4, v6, .. }) => vec![("prefix4", v4), ("prefix6", v6)],
            Self::Group(by) => vec![("group_by", by)],
        }
    }
}

/// Returns a label value: without characters that are special to a terminal, and with
/// backslashes and quotes escaped.
fn escaped(value: &dyn Display) -> String {
    let value = sanitize::printable(&value.to_string());
    value.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_are_escaped() {
        assert_eq!(escaped(&"a\\b\"c\nd\u{202e}"), "a\\\\b\\\"c d?");
    }

    #[test]
    fn families_without_samples_are_left_out() {
        let mut text = MetricsText::default();
        text.family("a", "A.");
        text.family("b", "B.");
        text.sample("b", &[("x", &1)], 2);
        text.sample("b", &[], 3);
        let expected = "# HELP topip_b B.\n# TYPE topip_b gauge\ntopip_b{x=\"1\"} 2\ntopip_b 3\n\
                        # EOF\n";
        assert_eq!(text.finish(), expected);
    }

    #[test]
    fn failure_has_only_the_status() {
        let text = render_openmetrics_failure(Status::Unknown);
        assert!(text.ends_with("\ntopip_status 3\n# EOF\n"), "{text}");
    }
}
