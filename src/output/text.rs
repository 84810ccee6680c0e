//! The sentences that every form of report is made of.
use std::fmt::Write;

use crate::{
    analysis::{
        filter::LeftOut,
        history::{Previous, Sample},
        rule::{self, Trigger},
        tally::{Grain, Peer},
    },
    model::{
        connection::TcpState,
        range::Alert,
        sanitize,
        verdict::{Basis, FirstSample, Limit, Reason, Status, Verdict},
    },
    parse::Subject,
};

use super::report::{Report, View};

/// A number as plain decimals, to hundredths, without zeros at its end.
pub(super) fn decimal(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `1 connection`, `2 connections`.
pub(super) fn count(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// How long the text of the status line may be, so that it and the perfdata
/// stay below the 1024 bytes of an old NRPE.
pub(super) const LONGEST_TEXT: usize = 600;

/// The run in one sentence, clean.
pub(super) fn message(report: &Report) -> String {
    let verdict = verdict(report, report.worst());
    match report.troubles.first() {
        Some(trouble) if report.status() == Status::Unknown => {
            // The rest of the verdict is worth less than room for the trouble.
            let room = LONGEST_TEXT - verdict.len() - 2;
            format!("{}; {verdict}", sanitize::beginning(&sanitize::line(&trouble.problem), room))
        }
        _ => verdict,
    }
}

/// Who has how many connections, and what that is held against.
pub(super) fn verdict(report: &Report, view: &View) -> String {
    let View { sample, verdict, .. } = view;
    let way = way(report);
    let subject = match sample.top.first() {
        Some(peer) => {
            let connections = count(peer.connections, "connection", "connections");
            format!("{} has {connections}{way}", who(peer))
        }
        None => {
            format!("no connections{way} worth looking at{}", n_left_out(&report.left_out))
        }
    };
    match verdict.reasons.first() {
        Some(Reason::Trigger) => {
            format!("{subject}, over {}{}", limit(&verdict.limit), in_a_row(verdict))
        }
        Some(Reason::Warning(alert)) => format!("{subject}, {} (--warning)", outside(*alert)),
        Some(Reason::Critical(alert)) => format!("{subject}, {} (--critical)", outside(*alert)),
        None if sample.top.is_empty() => subject,
        None => format!("{subject}, limit {}", decimal(verdict.limit.connections)),
    }
}

/// Which way the connections go that were counted: of sockets that needs no word.
fn way(report: &Report) -> &'static str {
    match (report.subject, report.is_inbound, report.shares.len() > 1) {
        (Subject::Sockets | Subject::Both, ..) => "",
        (Subject::Flows, false, false) => " through this gateway",
        (Subject::Flows, false, true) => " through these gateways",
        (Subject::Flows, true, false) => " to this gateway",
        (Subject::Flows, true, true) => " to these gateways",
    }
}

fn n_left_out(left_out: &LeftOut) -> String {
    let excluded = (left_out.n_excluded(), "excluded");
    let parts: Vec<_> = std::iter::once(excluded)
        .chain(not_selected(left_out))
        .filter(|&(n, _)| n > 0)
        .map(|(n, what)| format!("{n} {what}"))
        .collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

/// What did not count for not being asked for, and why.
fn not_selected(left_out: &LeftOut) -> [(u64, &'static str); 6] {
    [
        (left_out.other_family, "of the other address family"),
        (left_out.other_port, "to other ports"),
        (left_out.other_state, "in other states"),
        (left_out.outbound, "opened by this host"),
        (left_out.through, "to other hosts"),
        (left_out.own, "of this host to itself"),
    ]
}

/// What did not count, a line for each reason.
#[must_use]
pub fn left_out(left_out: &LeftOut) -> Vec<String> {
    let networks = left_out.excluded.iter().map(|(network, n)| format!("Excluded {network}: {n}"));
    let others = not_selected(left_out).into_iter().filter(|&(n, _)| n > 0);
    networks.chain(others.map(|(n, what)| format!("Excluded, {what}: {n}"))).collect()
}

/// `28.1 (5 x stddev 5.62)`
fn limit(limit: &Limit) -> String {
    let basis = match limit.basis {
        _ if limit.is_floor => "floor".to_owned(),
        Basis::Stddev { times, stddev } => {
            format!("{} x stddev {}", decimal(times), decimal(stddev))
        }
        Basis::Lognormal { .. } => "lognormal".to_owned(),
    };
    format!("{} ({basis})", decimal(limit.connections))
}

fn in_a_row(verdict: &Verdict) -> String {
    match verdict.row {
        0 | 1 => String::new(),
        row => format!(" in {row} samples"),
    }
}

fn outside(alert: Alert) -> String {
    match alert {
        Alert::Over(end) => format!("over {}", decimal(end)),
        Alert::Under(start) => format!("under {}", decimal(start)),
        Alert::Inside(start, end) => match (start.is_finite(), end.is_finite()) {
            (true, true) => format!("between {} and {}", decimal(start), decimal(end)),
            (true, false) => format!("{} or more", decimal(start)),
            (false, true) => format!("{} or less", decimal(end)),
            (false, false) => "any number".to_owned(),
        },
    }
}

/// An address, or a network and how many are in it; and what it is called.
pub(super) fn who(peer: &Peer) -> String {
    let addresses =
        (!peer.network.is_address()).then(|| count(peer.addresses, "address", "addresses"));
    let notes: Vec<_> = peer.label.iter().cloned().chain(addresses).collect();
    match notes[..] {
        [] => peer.network.to_string(),
        _ => format!("{} ({})", peer.network, notes.join(", ")),
    }
}

/// A peer and what is known of its connections at `now`.
pub(super) fn peer(peer: &Peer, now: u64) -> String {
    let connections = count(peer.connections, "connection", "connections");
    format!("{} {connections} {}", who(peer), evidence(peer, now))
}

/// By which ports and in which states a peer is connected, and since when it
/// has been seen on top.
pub(super) fn evidence(peer: &Peer, now: u64) -> String {
    let word = if peer.ports.len() == 1 { "port" } else { "ports" };
    let mut text = format!("on {word} {}; {}", ports(peer), states(peer));
    // Less than a minute is no news, and a clock that was set back tells none.
    let age = peer.first_on_top.and_then(|first| now.checked_sub(first));
    if let Some(age) = age.filter(|&age| age >= 60) {
        let _ = write!(text, "; first on top {} ago", span(age));
    }
    text
}

/// `443 (150), 80 (2)`
pub(super) fn ports(peer: &Peer) -> String {
    const PORTS: usize = 5;
    let ports = peer.ports.iter().take(PORTS).map(|(port, n)| format!("{port} ({n})"));
    let more = peer.ports.len().saturating_sub(PORTS);
    let more = (more > 0).then(|| format!("{more} more"));
    ports.chain(more).collect::<Vec<_>>().join(", ")
}

/// `ESTABLISHED (140), SYN_RECV (12)`
pub(super) fn states(peer: &Peer) -> String {
    let state = |state: &Option<TcpState>| state.map_or("state not told", TcpState::name);
    let states = peer.states.iter().map(|(it, n)| format!("{} ({n})", state(it)));
    states.collect::<Vec<_>>().join(", ")
}

/// What a server has of the connections.
pub(super) fn share((server, connections): &(String, u64)) -> String {
    format!("{server}: {}", count(*connections, "connection", "connections"))
}

/// So many seconds, in the largest unit that is not too coarse.
#[must_use]
pub fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        3600 | 7200..172_800 => format!("{} h", seconds / 3600),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// So many peers, as what they are.
fn peers(n: u64, grain: Grain) -> String {
    let is_full = [grain.v4 == Grain::ADDRESSES.v4, grain.v6 == Grain::ADDRESSES.v6];
    match is_full {
        [true, true] => count(n, "address", "addresses"),
        [false, false] if grain.members <= 1 => count(n, "network", "networks"),
        _ => count(n, "network or address", "networks and addresses"),
    }
}

/// `156 connections from 40 addresses in 7 networks`
pub(super) fn connections_from(sample: &Sample) -> String {
    let Sample { connections, addresses, grain, .. } = *sample;
    let mut all = format!(
        "{} from {}",
        count(connections, "connection", "connections"),
        count(addresses, "address", "addresses"),
    );
    let in_networks = Grain { members: 1, ..grain } != Grain::ADDRESSES;
    if in_networks {
        let _ = write!(all, " in {}", peers(sample.counts.len() as u64, grain));
    }
    all
}

/// How many peers are on the list, and of how many.
pub(super) fn heading(sample: &Sample, listed: usize) -> String {
    let all = connections_from(sample);
    match sample.counts.len().saturating_sub(listed) {
        0 => format!("{all}:"),
        _ => format!("{all}, the top {listed}:"),
    }
}

/// What was on record of the sample before, for each view that has it.
#[must_use]
pub fn earlier(views: &[View]) -> Vec<String> {
    let earlier = views.iter().filter_map(|view| Some((view, before(view)?)));
    earlier.map(|(view, it)| tagged(views, view, &format!("Earlier sample, {it}"))).collect()
}

/// When the sample before was taken, and who was on top.
pub(super) fn before(view: &View) -> Option<String> {
    let Previous { when, on_top, connections, row, .. } = view.earlier.as_ref()?;
    let who = on_top.map_or_else(
        || "no connections".to_owned(),
        |it| format!("{it} on top with {connections}, samples on end: {row}"),
    );
    Some(match view.sample.when.checked_sub(*when) {
        Some(age) => format!("{age} s ago: {who}"),
        None => format!("in the future: {who}"),
    })
}

/// A line about one of several views, which says about which.
pub(super) fn tagged(views: &[View], view: &View, line: &str) -> String {
    let Grain { v4, v6, .. } = view.sample.grain;
    match views {
        [_] => line.to_owned(),
        _ => format!("/{v4} /{v6}: {line}"),
    }
}

/// How the limit came about, and what the other rule would have said.
pub(super) fn explanation(report: &Report, view: &View) -> Vec<String> {
    let View { sample, verdict, .. } = view;
    let is_top = report.judged.is_some();
    let mut lines = Vec::new();
    if sample.addresses > 0 {
        lines.extend(rule_said(sample, is_top, &verdict.limit, ""));
        let over = verdict.beside.is_exceeded_by(sample.summary.max);
        let would = if over { WOULD } else { WOULD_NOT };
        lines.extend(rule_said(sample, is_top, &verdict.beside, would));
    }
    lines.extend(verdict.first.map(first_sample));
    lines
}

/// Where the rule is blind, for each view.
pub(super) fn blind_sides(report: &Report) -> Vec<String> {
    let views = &report.views;
    let line = |view| blind_side(report, view).map(|line| tagged(views, view, &line));
    views.iter().filter_map(line).collect()
}

/// Where the rule is blind to what it should see: a top address that is above
/// the floor, and could not be over the limit whatever it did.
fn blind_side(report: &Report, view: &View) -> Option<String> {
    let View { sample, verdict, .. } = view;
    let rule = &report.rule;
    let Trigger::Stddev(times) = rule.trigger else {
        return None;
    };
    let is_over = verdict.reasons.contains(&Reason::Trigger);
    #[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 connections")]
    let is_worth_it = sample.summary.max as f64 > rule.floor;
    out_of_reach(sample, times)
        .filter(|_| !is_over && is_worth_it)
        .map(|line| line + " Consider --rule lognormal, or --warning and --critical.")
}

const WOULD: &str = " would say over";
const WOULD_NOT: &str = " would not say over";

/// What a rule went by, and `would`: what it would say, were it asked.
fn rule_said(sample: &Sample, is_top: bool, by: &Limit, would: &str) -> Vec<String> {
    let limit = limit(by);
    match by.basis {
        Basis::Stddev { times, .. } => {
            let figures = figures(sample, is_top);
            let blind = out_of_reach(sample, times).filter(|_| would == WOULD_NOT);
            std::iter::once(format!("Rule stddev{would}: {figures}; limit {limit}."))
                .chain(blind)
                .collect()
        }
        Basis::Lognormal { false_alarm_rate, others, median, scale, set_aside } => {
            let others = match others {
                0 => "nobody else, one browser instead".to_owned(),
                _ => peers(others, sample.grain).replacen(' ', " other ", 1),
            };
            let aside = match set_aside {
                0 => String::new(),
                _ => format!(", {set_aside} more set aside as offenders"),
            };
            vec![format!(
                "Rule lognormal{would}: {others}, median {median}, scale {}{aside}; \
                 false alarm rate {false_alarm_rate}; limit {limit}.",
                decimal(scale)
            )]
        }
    }
}

/// The figures of a sample, and the limit that follows from them.
pub(super) fn figures_and_limit(report: &Report, view: &View) -> String {
    let figures = figures(&view.sample, report.judged.is_some());
    format!("limit {}; {figures}", limit(&view.verdict.limit))
}

fn figures(sample: &Sample, is_top: bool) -> String {
    let summary = &sample.summary;
    let judged = peers(summary.addresses, sample.grain);
    format!(
        "{}{judged} with {} to {}, median {}, average {}, stddev {}",
        if is_top { "the top " } else { "" },
        count(summary.min, "connection", "connections"),
        summary.max,
        summary.med,
        decimal(summary.avg),
        decimal(summary.stddev),
    )
}

fn out_of_reach(sample: &Sample, times: f64) -> Option<String> {
    let least = rule::least_addresses(times);
    let addresses = sample.summary.addresses;
    (1..least).contains(&addresses).then(|| {
        format!(
            "{} standard deviations are out of reach for a lone offender among {}: \
             this rule needs {least}.",
            decimal(times),
            peers(addresses, sample.grain),
        )
    })
}

fn first_sample(first: FirstSample) -> String {
    match first {
        FirstSample::NoHistory => "There is no earlier sample.".to_owned(),
        FirstSample::TooOld { age } => {
            format!("The earlier sample is {age} s old, over --max-age, and does not count.")
        }
        FirstSample::InFuture { ahead } => {
            format!("The earlier sample lies {ahead} s in the future, and does not count.")
        }
    }
}

/// Whether an explanation of the status is due without being asked for.
pub(super) fn wants_explaining(status: Status) -> bool {
    status != Status::Ok
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
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
            assert_eq!(span(seconds), expected);
        }
    }
}
