//! Real crowds: counts of connections per address that were derived from public logs.
use std::collections::BTreeMap;

use topip::analysis::{
    rule::{Rule, limit_of},
    summary::Summary,
};

use super::score::RULES;

/// Samples of one host that have the same counts.
pub struct Crowd {
    /// Name of the host, and the model by which connections were derived from its log.
    pub host: &'static str,
    /// True if the top address was hostile, by the content of its requests.
    pub is_hostile: bool,
    /// Number of samples.
    pub n_samples: u64,
    /// Connections per address, highest first.
    pub counts: Vec<u64>,
}

/// Groups of crowds by their number of addresses, small ones first.
pub const SIZES: [(&str, std::ops::RangeInclusive<usize>); 4] =
    [("1", 1..=1), ("2 to 5", 2..=5), ("6 to 23", 6..=23), ("24 and more", 24..=usize::MAX)];

/// Returns the recorded crowds.
pub fn crowds() -> Vec<Crowd> {
    let mut host = "";
    let mut crowds = Vec::new();
    for line in include_str!("crowds.txt").lines() {
        if let Some(name) = line.strip_prefix("host ") {
            host = name;
        } else if let Some((label, counts)) = line.split_once(": ")
            && let Some((label, n)) = label.split_once(' ')
            && !line.starts_with('#')
        {
            crowds.push(Crowd {
                host,
                is_hostile: label == "hostile",
                n_samples: n.parse().expect("a number of samples"),
                counts: counts.split(' ').flat_map(repeated).collect(),
            });
        }
    }
    crowds
}

/// Reads `COUNT` or `COUNT*N`.
fn repeated(text: &str) -> Vec<u64> {
    let (count, n) = text.split_once('*').unwrap_or((text, "1"));
    vec![count.parse().expect("a count"); n.parse().expect("a number of addresses")]
}

/// Number of samples, and for each rule the number of samples with the top address over its
/// limit.
#[derive(Clone, Copy, Default)]
pub struct Tally {
    pub n: u64,
    pub n_over: [u64; 3],
}

impl Tally {
    /// Counts the samples of these crowds.
    pub fn new<'a>(crowds: impl Iterator<Item = &'a Crowd>) -> Self {
        let mut tally = Self::default();
        for crowd in crowds {
            tally.n += crowd.n_samples;
            for (n_over, rule) in tally.n_over.iter_mut().zip(RULES) {
                if is_over(rule, &crowd.counts) {
                    *n_over += crowd.n_samples;
                }
            }
        }
        tally
    }

    /// Returns the share of the samples that are over the limit of a rule.
    pub fn share(&self, rule: usize) -> f64 {
        self.n_over[rule] as f64 / self.n as f64
    }

    /// Returns the 95 % interval of that share, by Wilson (JASA 22, 1927). The method assumes
    /// independent samples, but the samples of one host are not independent.
    pub fn interval(&self, rule: usize) -> (f64, f64) {
        const Z: f64 = 1.959_964;
        let (n, share) = (self.n as f64, self.share(rule));
        let center = (share + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
        let half_width =
            Z / (1.0 + Z * Z / n) * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
        ((center - half_width).max(0.0), (center + half_width).min(1.0))
    }
}

fn is_over(rule: Rule, counts: &[u64]) -> bool {
    limit_of(rule, counts, &Summary::new(counts, None), 10.0).is_exceeded_by(counts[0])
}

/// Returns the clean samples of each host. Its models are counted together.
pub fn clean_by_host(crowds: &[Crowd]) -> BTreeMap<&'static str, Tally> {
    let hosts = crowds.iter().map(|crowd| host_name(crowd.host));
    let hosts: std::collections::BTreeSet<_> = hosts.collect();
    let of_host = |host: &'static str| {
        let clean = crowds.iter().filter(|it| !it.is_hostile && host_name(it.host) == host);
        (host, Tally::new(clean))
    };
    hosts.into_iter().map(of_host).filter(|(_, tally)| tally.n > 0).collect()
}

/// Returns the name of a host without that of the model.
fn host_name(host: &'static str) -> &'static str {
    host.rsplit_once(" (").map_or(host, |(name, _)| name)
}

/// Connections of single addresses in the clean samples.
pub struct AddressSummary {
    /// Share of the addresses that have one connection.
    pub single: f64,
    pub mean: f64,
    /// Connections that 99 % of the addresses do not exceed.
    pub quantile_99: u64,
}

/// Summarizes the addresses in `counts`, which has each count with its number of occurrences.
pub fn describe_addresses(counts: impl Iterator<Item = (u64, u64)>) -> AddressSummary {
    let mut by_count = BTreeMap::new();
    for (count, n) in counts {
        *by_count.entry(count).or_insert(0) += n;
    }
    let n: u64 = by_count.values().sum();
    let total: u64 = by_count.iter().map(|(count, n)| count * n).sum();
    let mut n_below = 0;
    let mut quantile_99 = 0;
    for (count, n_addresses) in &by_count {
        if n_below * 100 < n * 99 {
            quantile_99 = *count;
        }
        n_below += n_addresses;
    }
    AddressSummary {
        single: by_count.get(&1).copied().unwrap_or(0) as f64 / n as f64,
        mean: total as f64 / n as f64,
        quantile_99,
    }
}
