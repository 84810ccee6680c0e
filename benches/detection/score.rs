//! Measures the share of addresses that exceed the limit of each rule, on clean hosts and on
//! hosts with offenders.
use std::cmp::Reverse;

use topip::{
    analysis::{
        rule::{Rule, limit_of},
        summary::Summary,
    },
    model::verdict::Limit,
};

use super::{
    random::Random,
    workload::{ATTACKED, Attack, BENIGN, Client, HARD, Offenders, Site, attacks},
};

/// The rules with their default settings.
pub const RULES: [Rule; 3] = [
    Rule::Stddev(5.0),
    Rule::Lognormal { false_alarm_rate: 0.015 },
    Rule::Auto { multiplier: 5.0, false_alarm_rate: 0.015 },
];
/// Names of the rules.
pub const NAMES: [&str; 3] = ["stddev", "lognormal", "auto"];
/// Index of the lognormal rule.
pub const LOGNORMAL: usize = 1;
/// Index of the rule that is the default.
pub const AUTO: usize = 2;

/// Results of each rule, as fractions of all samples or of all offenders.
#[derive(Clone, Copy)]
pub struct Shares {
    /// Over the limit in the first sample: WARNING.
    pub one_sample: [f64; 3],
    /// Over the limit in two consecutive samples: CRITICAL.
    pub two_samples: [f64; 3],
}

/// False-alarm rate of each rule on one clean host.
pub struct FalseAlarmResult {
    pub site: Site,
    /// False for the harder hosts, which the targets do not cover.
    pub is_in_target: bool,
    pub shares: Shares,
}

/// Detection rate of each rule for one attack.
pub struct DetectionResult {
    pub attack: Attack,
    pub shares: Shares,
    /// Detection rate of the best fixed limit for this host: the limit that 98 % of its
    /// clean samples do not exceed.
    pub best_fixed: f64,
}

impl DetectionResult {
    /// Returns whether connection counts can distinguish these offenders from ordinary
    /// clients. Only such attacks are part of the targets.
    pub fn is_detectable(&self) -> bool {
        self.best_fixed >= 0.97
    }

    /// Returns whether there is only one offender.
    pub fn is_single(&self) -> bool {
        !matches!(self.attack.offenders, Offenders::Addresses { n: 2.., .. })
    }

    /// Returns whether each offender has 150 connections or more.
    pub fn is_large(&self) -> bool {
        !matches!(self.attack.offenders, Offenders::Addresses { connections: ..150, .. })
    }
}

/// Measures the false-alarm rate of every clean host in `pairs` pairs of samples, and in a
/// quarter of them for hosts with more than 1,000 addresses, which are slow.
pub fn false_alarms(pairs: usize) -> Vec<FalseAlarmResult> {
    let all = BENIGN.map(|site| (site, true)).into_iter();
    all.chain(HARD.map(|site| (site, false)))
        .map(|(site, is_in_target)| {
            let pairs = if site.addresses > 1000 { pairs / 4 } else { pairs };
            let mut random = Random::new(seed(site.name));
            let runs: Vec<_> = (0..pairs)
                .map(|_| {
                    let clients = site.clients(&mut random);
                    judge_twice(&mut random, &site, &clients)
                })
                .collect();
            FalseAlarmResult { site, is_in_target, shares: Shares::of_samples(&runs) }
        })
        .collect()
}

/// Returns the false-alarm rate on each host of the targets, in one sample, of another
/// formula that was tried in place of `auto`: min(L(α), max(N σ, avg + 3 σ, L(7α))).
pub fn false_alarms_of_other_formula(samples: usize) -> Vec<f64> {
    let share = |site: Site| {
        let mut random = Random::new(seed(site.name));
        let samples = if site.addresses > 1000 { samples / 4 } else { samples };
        let is_over = |_: &usize| {
            let mut counts: Vec<_> =
                site.clients(&mut random).iter().map(|client| client.connections).collect();
            counts.sort_unstable_by_key(|&count| Reverse(count));
            let summary = Summary::new(&counts, None);
            let limit = |rule| limit_of(rule, &counts, &summary, 10.0).connections;
            let alone = limit(Rule::Lognormal { false_alarm_rate: 0.015 });
            let weaker = limit(Rule::Lognormal { false_alarm_rate: 7.0 * 0.015 });
            let agreed =
                limit(Rule::Stddev(5.0)).max(summary.avg + 3.0 * summary.stddev).max(weaker);
            counts[0] as f64 > if summary.n_peers < 24 { alone } else { alone.min(agreed) }
        };
        (0..samples).filter(is_over).count() as f64 / samples as f64
    };
    BENIGN.map(share).into()
}

/// Measures the detection rate of every attack in `pairs` pairs of samples.
pub fn detections(pairs: usize) -> Vec<DetectionResult> {
    let mut known: Option<(&str, u64)> = None;
    let detection = |attack: Attack| {
        let Attack { site, offenders } = attack;
        // Attacks on the same host are consecutive, so its limit is computed once.
        let best_limit = match known {
            Some((name, best_limit)) if name == site.name => best_limit,
            _ => best_fixed(&site, pairs),
        };
        known = Some((site.name, best_limit));
        let mut random = Random::new(seed(&format!("{} {offenders:?}", site.name)));
        let mut n_over_best_limit = 0;
        let runs: Vec<_> = (0..pairs)
            .map(|_| {
                let mut clients = site.clients(&mut random);
                offenders.add_to(&mut random, &mut clients);
                let top = clients.iter().max_by_key(|client| client.connections);
                let is_over = |top: &Client| top.is_offender && top.connections > best_limit;
                n_over_best_limit += usize::from(top.is_some_and(is_over));
                judge_twice(&mut random, &site, &clients)
            })
            .collect();
        let best_fixed = n_over_best_limit as f64 / pairs as f64;
        DetectionResult { attack, shares: Shares::of_clients(&runs), best_fixed }
    };
    attacks().into_iter().map(detection).collect()
}

/// Two offenders with 300 and 310 connections that change places from one sample to the
/// next, on one host.
pub struct TurnResult {
    pub site: Site,
    /// Share of the offenders that are over the limit.
    pub shares: Shares,
}

/// Measures offenders that take turns on top, in `pairs` pairs of samples.
pub fn turns(pairs: usize) -> Vec<TurnResult> {
    let result = |site: Site| {
        let mut random = Random::new(seed(&format!("{} turns", site.name)));
        let pair = |_| {
            let clients = site.clients(&mut random);
            let mut later = site.one_minute_later(&mut random, &clients);
            let mut clients = clients;
            for (at, [first, second]) in [[300, 310], [310, 300]].into_iter().enumerate() {
                clients.push(Client::offender(at, first));
                later.push(Client::offender(at, second));
            }
            judge_pair(&clients, &later)
        };
        TurnResult { site, shares: Shares::of_clients(&(0..pairs).map(pair).collect::<Vec<_>>()) }
    };
    ATTACKED.map(result).into()
}

/// Returns the limit that 98 % of a host's clean samples do not exceed, and at least 10.
fn best_fixed(site: &Site, samples: usize) -> u64 {
    let mut random = Random::new(seed(&format!("{} fixed", site.name)));
    let max = |_| site.clients(&mut random).iter().map(|client| client.connections).max();
    let mut tops: Vec<_> = (0..samples).filter_map(max).collect();
    tops.sort_unstable();
    tops[samples * 98 / 100].max(10)
}

/// Result of one rule for a pair of samples.
#[derive(Clone, Copy)]
struct Finding {
    /// Clients of interest over the limit in the first sample.
    n_over: usize,
    /// Clients of interest over the limit in both samples.
    n_over_twice: usize,
    /// Number of clients of interest.
    n: usize,
}

/// Judges two samples by each rule. The clients of interest are the offenders; on a clean
/// host all clients are, and any of them that is over is a false alarm.
fn judge_twice(random: &mut Random, site: &Site, clients: &[Client]) -> [Finding; 3] {
    judge_pair(clients, &site.one_minute_later(random, clients))
}

fn judge_pair(clients: &[Client], one_minute_later: &[Client]) -> [Finding; 3] {
    let is_clean = !clients.iter().any(|client| client.is_offender);
    let of_interest = |client: &&Client| is_clean || client.is_offender;
    RULES.map(|trigger| {
        let (before, after) = (limit(trigger, clients), limit(trigger, one_minute_later));
        // A client that stays has the same index in both samples.
        let pairs = clients.iter().zip(one_minute_later);
        let over = clients.iter().filter(of_interest);
        let over_twice = pairs.filter(|(first, second)| {
            of_interest(first)
                && first.address == second.address
                && before.is_exceeded_by(first.connections)
                && after.is_exceeded_by(second.connections)
        });
        Finding {
            n_over: over.filter(|client| before.is_exceeded_by(client.connections)).count(),
            n_over_twice: over_twice.count(),
            n: clients.iter().filter(of_interest).count(),
        }
    })
}

/// Returns the limit of a rule for a sample of these clients.
fn limit(rule: Rule, clients: &[Client]) -> Limit {
    let mut counts: Vec<_> = clients.iter().map(|client| client.connections).collect();
    counts.sort_unstable_by_key(|&count| Reverse(count));
    limit_of(rule, &counts, &Summary::new(&counts, None), 10.0)
}

impl Shares {
    /// Returns the share of samples, or pairs of samples, with a client over the limit.
    fn of_samples(runs: &[[Finding; 3]]) -> Self {
        let share = |rule: usize, is_over: fn(&Finding) -> bool| {
            runs.iter().filter(|run| is_over(&run[rule])).count() as f64 / runs.len() as f64
        };
        Self {
            one_sample: [0, 1, 2].map(|rule| share(rule, |found| found.n_over > 0)),
            two_samples: [0, 1, 2].map(|rule| share(rule, |found| found.n_over_twice > 0)),
        }
    }

    /// Returns the share of the clients of interest that are over the limit.
    fn of_clients(runs: &[[Finding; 3]]) -> Self {
        let share = |rule: usize, n_over: fn(&Finding) -> usize| {
            let n: usize = runs.iter().map(|run| run[rule].n).sum();
            runs.iter().map(|run| n_over(&run[rule])).sum::<usize>() as f64 / n as f64
        };
        Self {
            one_sample: [0, 1, 2].map(|rule| share(rule, |found| found.n_over)),
            two_samples: [0, 1, 2].map(|rule| share(rule, |found| found.n_over_twice)),
        }
    }
}

/// Derives a seed from a name, so that adding a workload does not change the others.
fn seed(name: &str) -> u64 {
    name.bytes().fold(0, |seed, byte| seed * 31 % 0xffff_ffff_ffc5 + u64::from(byte))
}

/// A target for one rule.
pub struct Target {
    pub name: &'static str,
    pub rule: usize,
    pub found: f64,
    /// Bound that `found` must satisfy.
    pub bound: Bound,
}

/// Upper or lower bound.
pub enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Target {
    pub fn is_reached(&self) -> bool {
        match self.bound {
            Bound::AtMost(max) => self.found <= max,
            Bound::AtLeast(min) => self.found >= min,
        }
    }
}

/// Compares the targets with the measured rates.
pub fn targets(false_alarms: &[FalseAlarmResult], detections: &[DetectionResult]) -> Vec<Target> {
    let mut targets = Vec::new();
    // Maxima of false alarms: in one sample on average and on the worst host, in two.
    for (rule, maxima) in [(LOGNORMAL, [0.02, 0.10, 0.006]), (AUTO, [0.02, 0.125, 0.01])] {
        let clean = || false_alarms.iter().filter(|it| it.is_in_target).map(|it| it.shares);
        let attacked = || detections.iter().filter(|it| it.is_large() && it.is_detectable());
        let one_sample = || attacked().map(|it| it.shares.one_sample[rule]);
        let several = attacked().filter(|it| !it.is_single());
        let mut add = |name, found, bound| targets.push(Target { name, rule, found, bound });
        add(
            "false alarms, one sample, average",
            average(clean().map(|shares| shares.one_sample[rule])),
            Bound::AtMost(maxima[0]),
        );
        add(
            "false alarms, one sample, worst host",
            clean().map(|shares| shares.one_sample[rule]).fold(0.0, f64::max),
            Bound::AtMost(maxima[1]),
        );
        add(
            "false alarms, two samples, average",
            average(clean().map(|shares| shares.two_samples[rule])),
            Bound::AtMost(maxima[2]),
        );
        add("detection from 150 on, average", average(one_sample()), Bound::AtLeast(0.97));
        add(
            "detection from 150 on, worst host",
            one_sample().fold(1.0, f64::min),
            Bound::AtLeast(0.85),
        );
        add(
            "5 or 10 offenders from 150 on, two samples, average",
            average(several.map(|it| it.shares.two_samples[rule])),
            Bound::AtLeast(0.97),
        );
    }
    targets
}

/// Returns the arithmetic mean.
pub fn average(shares: impl Iterator<Item = f64>) -> f64 {
    let shares: Vec<_> = shares.collect();
    shares.iter().sum::<f64>() / shares.len() as f64
}
