//! Sentences shared by all output formats.
use std::fmt::Write;

use crate::{
    analysis::view::View,
    analysis::{
        filter::Skipped,
        history::PreviousSample,
        rule::{self, Rule},
        sample::Sample,
        tally::{Aggregation, Peer, PrefixLengths, Streak},
    },
    model::{
        connection::TcpState,
        metric::Metric,
        peer_id::GroupBy,
        range::RangeViolation,
        sanitize,
        verdict::{Basis, FirstSampleReason, Limit, MetricViolation, Reason, Status},
    },
    parse::TableKind,
};

use super::report::{Report, Verbosity};

/// Returns `number` rounded to hundredths, without trailing zeros.
pub(super) fn decimal(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Returns a count with its noun: `1 connection`, `2 connections`.
pub(super) fn pluralize(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// Returns the share of `part` in `whole` in percent, rounded down, so that 100 means all.
pub(super) fn percent(part: u64, whole: u64) -> u64 {
    let percent = u128::from(part) * 100 / u128::from(whole.max(1));
    u64::try_from(percent.min(100)).expect("at most 100")
}

/// Returns `text` with the options that are marked in it (`` `--timeout` ``) as flags of
/// a command line.
pub(super) fn options_as_flags(text: &str) -> String {
    replace_options(text, str::to_owned)
}

/// Returns `text` with the options that are marked in it as variables of Munin's
/// plugin-conf.d: `env.timeout`.
pub(super) fn options_as_variables(text: &str) -> String {
    replace_options(text, |flag| format!("env.{}", flag.trim_start_matches('-').replace('-', "_")))
}

/// Replaces each marked option by what `render` returns for it, without the marks.
fn replace_options(text: &str, render: fn(&str) -> String) -> String {
    let mut rendered = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("`-") {
        rendered.push_str(before);
        let Some((flag, after)) = after.split_once('`') else {
            rendered.push_str("`-");
            rest = after;
            break;
        };
        rendered.push_str(&render(&format!("-{flag}")));
        rest = after;
    }
    rendered + rest
}

/// Maximum number of peers over the limit that are named on one line.
const MAX_NAMED_PEERS: usize = 20;

/// Maximum length of the text of the status line in bytes. With the perfdata,
/// the line stays below the limit of an old NRPE, 1024 bytes.
pub(super) const MAX_STATUS_TEXT_BYTES: usize = 600;

/// Returns the text of the status line, sanitized.
pub(super) fn status_text(report: &Report) -> String {
    let verdict = verdict_text(report, report.worst_view());
    match report.problems().next() {
        Some(problem) if report.status() == Status::Unknown => {
            // If the two do not fit, the problem is truncated, not the verdict.
            let max_message_bytes = MAX_STATUS_TEXT_BYTES.saturating_sub(verdict.len() + 2);
            let message = sanitize::single_line(&options_as_flags(&problem.message));
            format!("{}; {verdict}", sanitize::truncate(&message, max_message_bytes))
        }
        _ => verdict,
    }
}

/// Returns the peer that decides the status with its connections, and the limit or
/// threshold that they are compared with.
pub(super) fn verdict_text(report: &Report, view: &View) -> String {
    let View { sample, verdict, .. } = view;
    let direction = direction(report);
    let subject = match view.decisive_peer() {
        Some(peer) => {
            let connections = report.noun().count(peer.connections);
            let verb = if peer.truncated.is_some() { "may have" } else { "has" };
            format!("{} {verb} {connections}{direction}", peer_label(peer))
        }
        None => {
            let skipped = skipped_summary(&report.observation.skipped);
            format!("no {}{direction} counted{skipped}", report.noun().many)
        }
    };
    match verdict.reasons.first() {
        Some(Reason::Limit) => {
            let consecutive = consecutive_suffix(view);
            let others = others_over_suffix(sample);
            format!("{subject}, over {}{consecutive}{others}", format_limit(&sample.limit))
        }
        Some(Reason::Warning(violation)) => violation_text(violation, &subject, view, "--warning"),
        Some(Reason::Critical(violation)) => {
            violation_text(violation, &subject, view, "--critical")
        }
        None if sample.top.is_empty() => subject,
        None => format!("{subject}, {}", relation_to_limit(view)),
    }
}

/// Returns a metric that violates a range of `option`. If the metric is about all peers, the
/// top peer is not the reason, so the top peer follows the metric.
fn violation_text(violation: &MetricViolation, subject: &str, view: &View, option: &str) -> String {
    let MetricViolation { metric, value, violation } = *violation;
    let violation = format_violation(violation);
    if metric == Metric::Max {
        return format!("{subject}, {violation} ({option})");
    }
    let (name, value) = (metric.name(), decimal(value));
    let relation = relation_to_limit(view);
    format!("{name} {value}, {violation} ({option}); {subject}, {relation}")
}

/// Returns the limit as it relates to the decisive peer. A peer that is above the limit, but
/// is not attributable, is not over the limit.
fn relation_to_limit(view: &View) -> String {
    let limit = &view.sample.limit;
    let relation = match view.decisive_peer() {
        Some(peer) if peer.over.is_some() => "over the limit",
        Some(peer) if limit.is_exceeded_by(peer.connections) => "above the limit",
        _ => "limit",
    };
    let suffix = if limit.basis == Basis::Fixed { " (fixed)" } else { "" };
    format!("{relation} {}{suffix}", decimal(limit.connections))
}

/// Returns the direction of the counted flows; empty for sockets.
fn direction(report: &Report) -> &'static str {
    match (report.table_kind(), report.is_inbound, report.observation.servers.len() > 1) {
        (TableKind::Sockets | TableKind::Counts | TableKind::Mixed, ..) => "",
        (TableKind::Flows, false, false) => " through this gateway",
        (TableKind::Flows, false, true) => " through these gateways",
        (TableKind::Flows, true, false) => " to this gateway",
        (TableKind::Flows, true, true) => " to these gateways",
    }
}

fn skipped_summary(skipped: &Skipped) -> String {
    let excluded = (skipped.n_excluded(), "excluded");
    let parts: Vec<_> = std::iter::once(excluded)
        .chain(not_selected_counts(skipped))
        .filter(|&(n, _)| n > 0)
        .map(|(n, what)| format!("{n} {what}"))
        .collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

/// Returns the connections that did not match the selection, by reason.
fn not_selected_counts(skipped: &Skipped) -> [(u64, &'static str); 7] {
    [
        (skipped.other_family, "of the other address family"),
        (skipped.other_network, "of other networks"),
        (skipped.other_port, "to other ports"),
        (skipped.other_state, "in other states"),
        (skipped.outbound, "opened by this host"),
        (skipped.forwarded, "to other hosts"),
        (skipped.self_connections, "of this host to itself"),
    ]
}

/// Returns the skipped connections, one line per reason.
#[must_use]
pub fn skipped_lines(skipped: &Skipped) -> Vec<String> {
    let networks = skipped.excluded.iter().map(|(network, n)| format!("Excluded {network}: {n}"));
    let others = not_selected_counts(skipped).into_iter().filter(|&(n, _)| n > 0);
    networks.chain(others.map(|(n, what)| format!("Excluded, {what}: {n}"))).collect()
}

/// Returns a limit with its basis: `28.1 (5 x stddev 5.62)`.
fn format_limit(limit: &Limit) -> String {
    let basis = match limit.basis {
        _ if limit.is_floor => "floor".to_owned(),
        Basis::Fixed => "fixed".to_owned(),
        Basis::Stddev { multiplier, stddev } => {
            format!("{} x stddev {}", decimal(multiplier), decimal(stddev))
        }
        Basis::Lognormal { is_confirmed: false, .. } => "lognormal".to_owned(),
        Basis::Lognormal { is_confirmed: true, .. } => "lognormal with stddev".to_owned(),
    };
    format!("{} ({basis})", decimal(limit.connections))
}

fn consecutive_suffix(view: &View) -> String {
    match view.decisive_peer().and_then(|peer| peer.over) {
        Some(Streak { consecutive: n_samples @ 2.., .. }) => format!(" in {n_samples} samples"),
        _ => String::new(),
    }
}

/// Returns the number of peers over the limit that the verdict does not name.
fn others_over_suffix(sample: &Sample) -> String {
    match sample.n_over {
        0 | 1 => String::new(),
        n_over => format!("; {} more over", n_over - 1),
    }
}

/// Returns the peers over the limit that the verdict does not name, with their
/// connections; `None` without such peers.
pub(super) fn others_over(view: &View) -> Option<String> {
    let decisive = &view.decisive_peer()?.id;
    let others = view.sample.peers_over().filter(|peer| peer.id != *decisive);
    let others: Vec<_> = others
        .take(MAX_NAMED_PEERS)
        .map(|peer| format!("{} ({})", peer.name(), peer.connections))
        .collect();
    if others.is_empty() { None } else { Some(format!("also over: {}", others.join(", "))) }
}

fn format_violation(violation: RangeViolation) -> String {
    match violation {
        RangeViolation::Above(end) => format!("over {}", decimal(end)),
        RangeViolation::Below(start) => format!("under {}", decimal(start)),
        RangeViolation::Inside(start, end) => match (start.is_finite(), end.is_finite()) {
            (true, true) => format!("between {} and {}", decimal(start), decimal(end)),
            (true, false) => format!("{} or more", decimal(start)),
            (false, true) => format!("{} or less", decimal(end)),
            (false, false) => "any number".to_owned(),
        },
    }
}

/// Returns the address with its label and operator; a network or group with its number of
/// addresses as well.
pub(super) fn peer_label(peer: &Peer) -> String {
    let mut notes: Vec<_> = peer.label.iter().cloned().collect();
    // The name of a group is that of its operator.
    if peer.id.network().is_some() && !peer.operator.is_unknown() {
        notes.push(peer.operator.to_string());
    }
    if peer.truncated.is_some() {
        notes.push("cut off".to_owned());
    } else if !peer.is_single_address() {
        notes.push(pluralize(peer.addresses, "address", "addresses"));
    }
    match notes[..] {
        [] => peer.name(),
        _ => format!("{} ({})", peer.name(), notes.join(", ")),
    }
}

/// Returns a peer of `sample` with the details of its connections.
pub(super) fn peer_line(
    report: &Report,
    peer: &Peer,
    sample: &Sample,
    verbosity: Verbosity,
) -> String {
    let connections = report.noun().count(peer.connections);
    let mut text = format!("{} {connections}", peer_label(peer));
    for (nth, detail) in peer_details(report, peer, sample, verbosity).iter().enumerate() {
        let separator = if nth == 0 && has_ports(peer) { " " } else { "; " };
        text += &format!("{separator}{detail}");
    }
    text
}

/// Returns the ports and TCP states of a peer's connections, the time since the peer was
/// first on top, and for a peer over the limit the number of samples and its share of all
/// counted connections. Unknown details are omitted.
pub(super) fn peer_details(
    report: &Report,
    peer: &Peer,
    sample: &Sample,
    verbosity: Verbosity,
) -> Vec<String> {
    let now = sample.timestamp;
    let mut details = Vec::new();
    if has_ports(peer) {
        let word = if peer.ports.len() == 1 { "port" } else { "ports" };
        details.push(format!("on {word} {}", format_ports(peer)));
        if verbosity >= Verbosity::Addresses && !peer.local_addresses.is_empty() {
            details.push(format!("at {}", format_local_addresses(peer)));
        }
        details.push(format_tcp_states(peer));
    }
    // An age below a minute is not informative, and after the clock was set back
    // the age is unknown.
    let age = peer.first_on_top.and_then(|first| now.checked_sub(first));
    if let Some(age) = age.filter(|&age| age >= 60) {
        details.push(format!("first on top {} ago", format_duration(age)));
    }
    let Some(streak) = peer.over else {
        return details;
    };
    details.push(format_streak(streak, now));
    if let percent @ 1.. = percent(peer.connections, sample.connections) {
        details.push(format!("{percent} % of all {}", report.noun().many));
    }
    details
}

/// Returns whether the ports and TCP states of a peer are known. Counts by address do not
/// include them.
fn has_ports(peer: &Peer) -> bool {
    !peer.ports.is_empty()
}

/// Returns the number of samples with a peer over the limit, and their time.
fn format_streak(Streak { consecutive, since }: Streak, now: u64) -> String {
    if consecutive <= 1 {
        return "over the limit".to_owned();
    }
    match now.saturating_sub(since) {
        0..60 => format!("over the limit in {consecutive} samples"),
        age => format!("over the limit in {consecutive} samples, for {}", format_duration(age)),
    }
}

/// Returns the busiest ports of a peer: `443 (150), 80 (2)`.
pub(super) fn format_ports(peer: &Peer) -> String {
    format_busiest(&peer.ports, u16::to_string)
}

/// Returns the busiest local addresses of a peer: `192.0.2.10 (150), 192.0.2.11 (2)`.
fn format_local_addresses(peer: &Peer) -> String {
    format_busiest(&peer.local_addresses, |address| {
        address.map_or_else(|| "other addresses".to_owned(), |address| address.to_string())
    })
}

/// Returns the first of these counts, and the number of the others.
fn format_busiest<T>(counts: &[(T, u64)], name: impl Fn(&T) -> String) -> String {
    const MAX_LISTED: usize = 5;
    let listed = counts.iter().take(MAX_LISTED);
    let mut parts: Vec<_> = listed.map(|(value, n)| format!("{} ({n})", name(value))).collect();
    if counts.len() > MAX_LISTED {
        parts.push(format!("{} more", counts.len() - MAX_LISTED));
    }
    parts.join(", ")
}

/// Returns the TCP states of a peer: `ESTABLISHED (140), SYN_RECV (12)`.
pub(super) fn format_tcp_states(peer: &Peer) -> String {
    let states = peer.tcp_states.iter().map(|(tcp_state, n)| {
        let name = tcp_state.map_or("unknown state", TcpState::name);
        format!("{name} ({n})")
    });
    states.collect::<Vec<_>>().join(", ")
}

/// Returns each server with its number of connections.
pub(super) fn server_lines(report: &Report) -> impl Iterator<Item = String> {
    let servers = report.observation.servers.iter();
    servers.map(|(server, n)| format!("{server}: {}", report.noun().count(*n)))
}

/// Formats a number of seconds in the largest unit that is precise enough.
#[must_use]
pub fn format_duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        3600 | 7200..172_800 => format!("{} h", seconds / 3600),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Returns a number of peers with the noun that fits the aggregation.
fn pluralize_peers(n: u64, aggregation: Aggregation) -> String {
    let lengths = match aggregation {
        Aggregation::Prefix(lengths) => lengths,
        Aggregation::Group(GroupBy::Asn) => {
            return pluralize(n, "operator or address", "operators and addresses");
        }
        Aggregation::Group(GroupBy::Country) => {
            return pluralize(n, "country or address", "countries and addresses");
        }
        Aggregation::Group(GroupBy::Label) => {
            return pluralize(n, "label or address", "labels and addresses");
        }
    };
    let PrefixLengths { v4, v6, .. } = PrefixLengths::PER_ADDRESS;
    match (lengths.v4 == v4, lengths.v6 == v6) {
        (true, true) => pluralize(n, "address", "addresses"),
        (false, false) if lengths.min_members <= 1 => pluralize(n, "network", "networks"),
        _ => pluralize(n, "network or address", "networks and addresses"),
    }
}

/// Returns the totals of a sample:
/// `156 connections from 40 addresses in 7 networks`.
pub(super) fn connections_summary(report: &Report, sample: &Sample) -> String {
    let Sample { connections, addresses, aggregation, .. } = *sample;
    let mut text = format!(
        "{} from {}",
        report.noun().count(connections),
        pluralize(addresses, "address", "addresses"),
    );
    let lengths = aggregation.prefix_lengths();
    let is_per_address = aggregation.group_by().is_none()
        && PrefixLengths { min_members: 1, ..lengths } == PrefixLengths::PER_ADDRESS;
    if !is_per_address {
        let _ =
            write!(text, " in {}", pluralize_peers(sample.peer_counts.len() as u64, aggregation));
    }
    text
}

/// Returns the heading of a list of the busiest `n_listed` peers.
pub(super) fn peer_list_heading(report: &Report, sample: &Sample, n_listed: usize) -> String {
    let mut totals = connections_summary(report, sample);
    if report.table_kind() == TableKind::Counts {
        totals += ", counted without ports and states";
    }
    match sample.peer_counts.len().saturating_sub(n_listed) {
        0 => format!("{totals}:"),
        _ => format!("{totals}, the top {n_listed}:"),
    }
}

/// Returns the previous sample of each view that has one.
#[must_use]
pub fn previous_sample_lines(views: &[View]) -> Vec<String> {
    views
        .iter()
        .filter_map(|view| {
            let text = previous_sample(view)?;
            Some(prefixed(views, view, &format!("Previous sample, {text}")))
        })
        .collect()
}

/// Returns the age of the previous sample and its top peer.
pub(super) fn previous_sample(view: &View) -> Option<String> {
    let PreviousSample { timestamp, top_address, connections, over, .. } =
        view.previous.as_ref()?;
    let top = match top_address {
        Some(address) if over.is_empty() => format!("{address} on top with {connections}"),
        Some(address) => {
            format!("{address} on top with {connections}, {} over the limit", over.len())
        }
        None if *connections > 0 => format!("an address that is cut off on top with {connections}"),
        None => "no connections".to_owned(),
    };
    Some(match view.sample.timestamp.checked_sub(*timestamp) {
        Some(age) => format!("{age} s ago: {top}"),
        None => format!("in the future: {top}"),
    })
}

/// Returns `line`, prefixed with the prefix lengths or groups of `view` if there are
/// several views.
pub(super) fn prefixed(views: &[View], view: &View, line: &str) -> String {
    match (views, view.sample.aggregation) {
        ([_], _) => line.to_owned(),
        (_, Aggregation::Prefix(PrefixLengths { v4, v6, .. })) => format!("/{v4} /{v6}: {line}"),
        (_, Aggregation::Group(by)) => format!("{}: {line}", by.name()),
    }
}

/// Explains the limit, and the limit of the rule that is not in use.
pub(super) fn explain_limits(report: &Report, view: &View) -> Vec<String> {
    let mut lines = Vec::new();
    if view.sample.addresses > 0 {
        lines.extend(explain_rule(report, view, report.judge_config.rule));
        lines.extend(explain_rule(report, view, report.judge_config.other_rule));
    }
    lines.extend(view.verdict.first_sample.map(explain_first_sample));
    lines
}

/// Returns a line for each view in which the top address is within its limit, but over
/// the limit of the rule that is not in use.
pub(super) fn other_rule_alerts(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    for view in &report.views {
        let sample = &view.sample;
        let max = sample.max_attributable();
        let is_over = sample.limit.is_exceeded_by(max);
        // A fixed limit is set on purpose, so the other rule is not reported.
        let is_fixed = sample.limit.basis == Basis::Fixed;
        if !is_over && !is_fixed && sample.other_limit.is_exceeded_by(max) {
            for line in explain_rule(report, view, report.judge_config.other_rule) {
                lines.push(prefixed(&report.views, view, &line));
            }
        }
    }
    lines
}

/// Returns the limitation of the rule for each view that is affected by it.
pub(super) fn rule_limitations(report: &Report) -> Vec<String> {
    let views = &report.views;
    views
        .iter()
        .filter_map(|view| Some(prefixed(views, view, &rule_limitation(report, view)?)))
        .collect()
}

/// Returns the limitation of the stddev rule if the top address is above the value of
/// `--floor`, but could not exceed the limit with any number of connections.
fn rule_limitation(report: &Report, view: &View) -> Option<String> {
    let sample = &view.sample;
    let judge_config = &report.judge_config;
    let Rule::Stddev(multiplier) = judge_config.rule else {
        return None;
    };
    #[expect(clippy::cast_precision_loss, reason = "a host has fewer than 2^53 connections")]
    let is_above_floor = sample.summary.max as f64 > judge_config.floor;
    if sample.n_over > 0 || !is_above_floor {
        return None;
    }
    let line = unreachable_limit(sample, multiplier)?;
    Some(line + " Consider `--rule` auto, or `--warning` and `--critical`.")
}

/// Explains the limit of `rule` by its basis. For the rule that is not in use, also states
/// whether the maximum is over its limit.
fn explain_rule(report: &Report, view: &View, rule: Rule) -> Vec<String> {
    let sample = &view.sample;
    let is_in_use = rule == report.judge_config.rule;
    let limit = if is_in_use { &sample.limit } else { &sample.other_limit };
    let is_over = limit.is_exceeded_by(sample.summary.max);
    let relation = match (is_in_use, is_over) {
        (true, _) => "",
        (false, true) => " would warn",
        (false, false) => " would not warn",
    };
    let name = match rule {
        Rule::Auto { .. } => "auto",
        Rule::Fixed(_) => return vec![format!("The limit is {}.", format_limit(limit))],
        Rule::Stddev(_) => "stddev",
        Rule::Lognormal { .. } => "lognormal",
    };
    let basis = match limit.basis {
        Basis::Fixed | Basis::Stddev { .. } => statistics(report, sample),
        Basis::Lognormal {
            false_alarm_rate, n_others, center, scale, excluded_outliers, ..
        } => {
            let others = match n_others {
                0 => "no other addresses, one browser assumed".to_owned(),
                _ => pluralize_peers(n_others, sample.aggregation).replacen(' ', " other ", 1),
            };
            let excluded = match excluded_outliers {
                0 => String::new(),
                1 => ", 1 outlier excluded".to_owned(),
                n => format!(", {n} outliers excluded"),
            };
            format!(
                "{others}, center {}, scale {}{excluded}; false alarm rate {false_alarm_rate}",
                decimal(center),
                decimal(scale)
            )
        }
    };
    let mut lines = vec![format!("Rule {name}{relation}: {basis}; limit {}.", format_limit(limit))];
    match rule {
        Rule::Stddev(multiplier) if !is_in_use && !is_over => {
            lines.extend(unreachable_limit(sample, multiplier));
        }
        _ => {}
    }
    lines
}

/// Returns the limit with its basis, and the statistics of the sample.
pub(super) fn limit_and_statistics(report: &Report, view: &View) -> String {
    let statistics = statistics(report, &view.sample);
    format!("limit {}; {statistics}", format_limit(&view.sample.limit))
}

fn statistics(report: &Report, sample: &Sample) -> String {
    let summary = &sample.summary;
    let judged_peers = pluralize_peers(summary.n_peers, sample.aggregation);
    format!(
        "{}{judged_peers} with {} to {}, median {}, average {}, stddev {}",
        if report.n_judged.is_some() { "the top " } else { "" },
        report.noun().count(summary.min),
        summary.max,
        summary.median,
        decimal(summary.avg),
        decimal(summary.stddev),
    )
}

fn unreachable_limit(sample: &Sample, multiplier: f64) -> Option<String> {
    let min_addresses = rule::min_addresses(multiplier);
    let n_peers = sample.summary.n_peers;
    if !(1..min_addresses).contains(&n_peers) {
        return None;
    }
    Some(format!(
        "With {}, a single offender cannot exceed {} standard deviations: the rule stddev needs \
         at least {min_addresses}.",
        pluralize_peers(n_peers, sample.aggregation),
        decimal(multiplier),
    ))
}

fn explain_first_sample(reason: FirstSampleReason) -> String {
    match reason {
        FirstSampleReason::NoHistory => "No previous sample exists.".to_owned(),
        FirstSampleReason::TooOld { age_secs } => {
            format!("The previous sample is {age_secs} s old, over `--max-age`, and was ignored.")
        }
        FirstSampleReason::InFuture { ahead_secs } => {
            format!("The previous sample is {ahead_secs} s in the future, and was ignored.")
        }
    }
}

/// Returns `true` if the status is explained even without `-v`.
pub(super) fn needs_explanation(status: Status) -> bool {
    status != Status::Ok
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_the_largest_precise_unit() {
        for (seconds, expected) in [
            (0, "0 s"),
            (90, "90 s"),
            (120, "2 min"),
            (3600, "1 h"),
            (7199, "119 min"),
            (7200, "2 h"),
            (86_400, "24 h"),
            (172_800, "2 days"),
        ] {
            assert_eq!(format_duration(seconds), expected);
        }
    }
}
