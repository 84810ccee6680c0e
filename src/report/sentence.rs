//! The sentences that every form of report is made of.
use std::fmt::Write;

use crate::{
    connection::TcpState,
    filter::LeftOut,
    history::Sample,
    range::Alert,
    rule::{self, Trigger},
    tally::Peer,
    verdict::{Basis, FirstSample, Limit, Reason, Status, Verdict},
};

use super::Report;

/// A number as plain decimals, to hundredths, without zeros at its end.
pub(super) fn decimal(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `1 connection`, `2 connections`.
pub(super) fn count(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// Who has how many connections, and what that is held against.
pub(super) fn verdict(sample: &Sample, left_out: &LeftOut, verdict: &Verdict) -> String {
    let subject = match sample.top.first() {
        Some(peer) => {
            format!("{} has {}", peer.address, count(peer.connections, "connection", "connections"))
        }
        None => format!("no connections worth looking at{}", n_left_out(left_out)),
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
fn not_selected(left_out: &LeftOut) -> [(u64, &'static str); 4] {
    [
        (left_out.other_family, "of the other address family"),
        (left_out.other_port, "to other ports"),
        (left_out.other_state, "in other states"),
        (left_out.outbound, "opened by this host"),
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

/// An address and what is known of its connections.
pub(super) fn peer(peer: &Peer) -> String {
    const PORTS: usize = 5;
    let mut text =
        format!("{} {}", peer.address, count(peer.connections, "connection", "connections"));
    let ports = peer.ports.iter().take(PORTS).map(|(port, n)| format!("{port} ({n})"));
    let more = peer.ports.len().saturating_sub(PORTS);
    let more = (more > 0).then(|| format!("{more} more"));
    let ports: Vec<_> = ports.chain(more).collect();
    let word = if peer.ports.len() == 1 { "port" } else { "ports" };
    let _ = write!(text, " on {word} {}", ports.join(", "));
    let states: Vec<_> = peer
        .states
        .iter()
        .map(|(state, n)| format!("{} ({n})", state.map_or("state not told", TcpState::name)))
        .collect();
    let _ = write!(text, "; {}", states.join(", "));
    text
}

/// What a server has of the connections.
pub(super) fn share((server, connections): &(String, u64)) -> String {
    format!("{server}: {}", count(*connections, "connection", "connections"))
}

/// How many addresses are on the list, and of how many.
pub(super) fn heading(sample: &Sample, listed: usize) -> String {
    let all = format!(
        "{} from {}",
        count(sample.connections, "connection", "connections"),
        count(sample.addresses, "address", "addresses"),
    );
    match (sample.addresses as usize).saturating_sub(listed) {
        0 => format!("{all}:"),
        _ => format!("{all}, the top {listed}:"),
    }
}

/// How the limit came about, and what the other rule would have said.
pub(super) fn explanation(report: &Report) -> Vec<String> {
    let Report { verdict, .. } = report;
    let mut lines = Vec::new();
    if report.sample.addresses > 0 {
        lines.extend(rule_said(report, &verdict.limit, ""));
        #[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 connections")]
        let over = report.sample.summary.max as f64 > verdict.beside.connections;
        let would = if over { WOULD } else { WOULD_NOT };
        lines.extend(rule_said(report, &verdict.beside, would));
    }
    lines.extend(verdict.first.map(first_sample));
    lines
}

/// Where the rule is blind to what it should see: a top address that is above
/// the floor, and could not be over the limit whatever it did.
pub(super) fn blind_side(report: &Report) -> Option<String> {
    let Report { sample, rule, verdict, .. } = report;
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
fn rule_said(report: &Report, by: &Limit, would: &str) -> Vec<String> {
    let limit = limit(by);
    match by.basis {
        Basis::Stddev { times, .. } => {
            let figures = figures(report);
            let blind = out_of_reach(&report.sample, times).filter(|_| would == WOULD_NOT);
            std::iter::once(format!("Rule stddev{would}: {figures}; limit {limit}."))
                .chain(blind)
                .collect()
        }
        Basis::Lognormal { false_alarm_rate, others, median, scale, set_aside } => {
            let others = match others {
                0 => "no other address, one browser instead".to_owned(),
                _ => count(others, "other address", "other addresses"),
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

fn figures(report: &Report) -> String {
    let summary = &report.sample.summary;
    let judged = count(summary.addresses, "address", "addresses");
    format!(
        "{}{judged} with {} to {}, median {}, average {}, stddev {}",
        if report.judged.is_some() { "the top " } else { "" },
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
            count(addresses, "address", "addresses"),
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
