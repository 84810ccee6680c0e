//! Counts how often the busiest address exceeds the limit of each rule, on clean hosts and
//! on hosts with offenders.
use std::{cmp::Reverse, time::Duration};

use topip::{
    analysis::{
        history::History,
        rule::{self, JudgeConfig, Rule},
        sample::Sample,
        summary::Summary,
        tally::{Aggregation, Peer},
        view::{View, judge_sample},
    },
    model::{network::Network, verdict::Status},
};

use super::{
    random::Random,
    workload::{Attack, BENIGN, Client, HARD, Offenders, Site, attacks},
};

/// The rules with their default settings.
pub const TRIGGERS: [Rule; 2] = [Rule::Stddev(5.0), Rule::Lognormal { false_alarm_rate: 0.01 }];
/// Index of the rule that the targets apply to.
pub const LOGNORMAL: usize = 1;

/// Results of each rule, as fractions of all runs.
#[derive(Clone, Copy)]
pub struct Shares {
    /// The busiest address exceeds the limit in the first sample.
    pub one_sample: [f64; 2],
    /// The same address exceeds the limit in two samples.
    pub two_samples: [f64; 2],
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
                    judge_twice(&mut random, &site, clients)
                })
                .collect();
            FalseAlarmResult {
                site,
                is_in_target,
                shares: Shares::from_runs(&runs, |found| found.is_over_limit),
            }
        })
        .collect()
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
        let runs: Vec<_> = (0..pairs)
            .map(|_| {
                let mut clients = site.clients(&mut random);
                offenders.add_to(&mut random, &mut clients);
                judge_twice(&mut random, &site, clients)
            })
            .collect();
        let detected = |found: &Finding| found.is_offender && found.max > best_limit;
        let best_fixed = share(&runs, |[first, _]| detected(&first[0]));
        let shares = Shares::from_runs(&runs, |found| found.is_over_limit && found.is_offender);
        DetectionResult { attack, shares, best_fixed }
    };
    attacks().into_iter().map(detection).collect()
}

/// Returns the limit that 98 % of a host's clean samples do not exceed, and at least 10.
fn best_fixed(site: &Site, samples: usize) -> u64 {
    let mut random = Random::new(seed(&format!("{} fixed", site.name)));
    let max = |_| site.clients(&mut random).iter().map(|client| client.connections).max();
    let mut tops: Vec<_> = (0..samples).filter_map(max).collect();
    tops.sort_unstable();
    tops[samples * 98 / 100].max(10)
}

/// Result of one rule for one sample.
#[derive(Clone, Copy)]
struct Finding {
    is_over_limit: bool,
    /// An address exceeds the limit in both samples.
    critical: bool,
    /// The address that decides the status is an offender.
    is_offender: bool,
    max: u64,
}

/// Findings of each rule, for the first and the second sample.
type RunFindings = [[Finding; 2]; 2];

fn judge_twice(random: &mut Random, site: &Site, clients: Vec<Client>) -> RunFindings {
    let one_minute_later = site.one_minute_later(random, &clients);
    let samples = [busiest_first(clients), busiest_first(one_minute_later)];
    let found = TRIGGERS.map(|trigger| {
        let rule = rule(trigger);
        let [first, second] = &samples;
        let (before, record) = judge_sample(sample(0, first, &rule), History::default(), &rule);
        let history = History { previous: Some(record) };
        let (after, _) = judge_sample(sample(60, second, &rule), history, &rule);
        [found(&before, first), found(&after, second)]
    });
    [0, 1].map(|sample| found.map(|samples| samples[sample]))
}

fn busiest_first(mut clients: Vec<Client>) -> Vec<Client> {
    clients.sort_unstable_by_key(|client| (Reverse(client.connections), client.address));
    clients
}

fn found(view: &View, clients: &[Client]) -> Finding {
    Finding {
        is_over_limit: view.verdict.status >= Status::Warning,
        critical: view.verdict.status == Status::Critical,
        is_offender: clients[view.verdict.rank].is_offender,
        max: view.sample.summary.max,
    }
}

fn rule(trigger: Rule) -> JudgeConfig {
    JudgeConfig {
        rule: trigger,
        // Not evaluated here; the stddev rule is the cheapest one.
        other_rule: TRIGGERS[0],
        floor: 10.0,
        consecutive: 2,
        max_age: Some(Duration::from_secs(3600)),
        warning: None,
        critical: None,
    }
}

/// Returns the sample that a tally of these clients gives; they are sorted.
fn sample(when: u64, clients: &[Client], config: &JudgeConfig) -> Sample {
    let counts: Vec<_> = clients.iter().map(|client| client.connections).collect();
    let summary = Summary::new(&counts, None);
    let (limit, other_limit) = rule::limits(&counts, &summary, config);
    let n_over = limit.n_over(&counts);
    Sample {
        timestamp: when,
        aggregation: Aggregation::PER_ADDRESS,
        top: clients[..n_over.max(1)].iter().map(peer).collect(),
        summary,
        limit,
        other_limit,
        n_over,
        is_unreliable: false,
        addresses: counts.len() as u64,
        connections: counts.iter().sum(),
        peer_counts: counts,
    }
}

fn peer(client: &Client) -> Peer {
    Peer {
        network: Network::new(client.address.into(), u8::MAX),
        truncated: None,
        addresses: 1,
        connections: client.connections,
        ports: Vec::new(),
        tcp_states: Vec::new(),
        label: None,
        first_on_top: None,
        over: None,
    }
}

impl Shares {
    fn from_runs(runs: &[RunFindings], found: fn(&Finding) -> bool) -> Self {
        Self {
            one_sample: [0, 1].map(|rule| share(runs, |[first, _]| found(&first[rule]))),
            two_samples: [0, 1].map(|rule| {
                share(runs, |[_, second]| found(&second[rule]) && second[rule].critical)
            }),
        }
    }
}

fn share(runs: &[RunFindings], of: impl Fn(&RunFindings) -> bool) -> f64 {
    runs.iter().filter(|&runs| of(runs)).count() as f64 / runs.len() as f64
}

/// Derives a seed from a name, so that adding a workload does not change the others.
fn seed(name: &str) -> u64 {
    name.bytes().fold(0, |seed, byte| seed * 31 % 0xffff_ffff_ffc5 + u64::from(byte))
}

/// A target for the lognormal rule.
pub struct Target {
    pub name: &'static str,
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

/// Compares the targets of issue 4 with the measured rates.
pub fn targets(false_alarms: &[FalseAlarmResult], detections: &[DetectionResult]) -> [Target; 5] {
    let clean = || false_alarms.iter().filter(|it| it.is_in_target).map(|it| it.shares);
    let attacked = || {
        let counts = detections.iter().filter(|it| it.is_large() && it.is_detectable());
        counts.map(|it| it.shares.one_sample[LOGNORMAL])
    };
    let target = |name, found, bound| Target { name, found, bound };
    [
        target(
            "false alarms, one sample, average",
            average(clean().map(|shares| shares.one_sample[LOGNORMAL])),
            Bound::AtMost(0.02),
        ),
        target(
            "false alarms, one sample, worst host",
            clean().map(|shares| shares.one_sample[LOGNORMAL]).fold(0.0, f64::max),
            Bound::AtMost(0.10),
        ),
        target(
            "false alarms, two samples, average",
            average(clean().map(|shares| shares.two_samples[LOGNORMAL])),
            Bound::AtMost(0.005),
        ),
        target("detection from 150 on, average", average(attacked()), Bound::AtLeast(0.97)),
        target(
            "detection from 150 on, worst host",
            attacked().fold(1.0, f64::min),
            Bound::AtLeast(0.85),
        ),
    ]
}

/// Returns the arithmetic mean.
pub fn average(shares: impl Iterator<Item = f64>) -> f64 {
    let shares: Vec<_> = shares.collect();
    shares.iter().sum::<f64>() / shares.len() as f64
}
