//! Prints the false-alarm rate and the detection rate of each rule as Markdown tables
//! for docs/detection.md.
#![allow(clippy::print_stdout, reason = "the benchmark prints its tables")]

mod random;
mod workload;
mod real;
mod score;

use random::Random;
use real::{AddressSummary, Crowd, Tally};
use score::{
    AUTO, Bound, DetectionResult, FalseAlarmResult, LOGNORMAL, NAMES, RULES, Shares, Target,
    TurnResult, average,
};
use workload::{BENIGN, Offenders};

fn main() {
    let crowds = real::crowds();
    println!("## Real crowds\n");
    print_real_alarms(&crowds);
    println!();
    print_real_detections(&crowds);
    println!();
    print_real_hosts(&crowds);
    println!();
    print_addresses_of_crowds(&crowds);
    println!();
    let false_alarms = score::false_alarms(12_000);
    let detections = score::detections(1_000);
    println!("## False alarms\n");
    print_alarms(&false_alarms);
    let other = score::false_alarms_of_other_formula(12_000);
    println!(
        "\nThe other formula below: {} on average, {} on the worst host.",
        percent(average(other.iter().copied())),
        percent(other.iter().copied().fold(0.0, f64::max)),
    );
    println!("\n## Detection\n");
    print_addresses(&detections);
    println!();
    print_networks(&detections);
    println!();
    print_two_samples(&detections);
    println!();
    print_turns(&score::turns(1_000));
    println!("\n## Targets\n");
    print_targets(&score::targets(&false_alarms, &detections));
    let is_large = || detections.iter().filter(|it| it.is_large());
    println!(
        "\nDetection is about {} of {} kinds of attack. With those in brackets, that of auto is \
         {} on average.",
        is_large().filter(|it| it.is_detectable()).count(),
        is_large().count(),
        percent(average(is_large().map(|it| it.shares.one_sample[AUTO]))),
    );
}

/// Prints the false alarms by the number of addresses.
fn print_real_alarms(crowds: &[Crowd]) {
    println!("| addresses | clean samples | {} |", NAMES.join(" | "));
    println!("|---|--:|{}", "--:|".repeat(RULES.len()));
    for (name, sizes) in real::SIZES {
        let clean = crowds.iter().filter(|it| !it.is_hostile && sizes.contains(&it.counts.len()));
        print_tally(name, Tally::new(clean));
    }
    print_tally("**all**", Tally::new(crowds.iter().filter(|it| !it.is_hostile)));
    let by_host = real::clean_by_host(crowds);
    let mean = |rule| percent_two_digits(average(by_host.values().map(|it| it.share(rule))));
    let means = [0, 1, 2].map(mean).join(" | ");
    println!("| mean of {} hosts | | {means} |", by_host.len());
}

/// Prints the shares of the hostile samples that are over, by the count of the top address.
fn print_real_detections(crowds: &[Crowd]) {
    println!("| top address, connections | hostile samples | {} |", NAMES.join(" | "));
    println!("|---|--:|{}", "--:|".repeat(RULES.len()));
    for least in [25, 50] {
        let hostile = crowds.iter().filter(|it| it.is_hostile && it.counts[0] >= least);
        print_tally(&format!("{least} and more"), Tally::new(hostile));
    }
}

/// Prints one row for each host with a false alarm of lognormal or auto.
fn print_real_hosts(crowds: &[Crowd]) {
    println!("| host | clean samples | {} |", NAMES.join(" | "));
    println!("|---|--:|{}", "--:|".repeat(RULES.len()));
    let by_host = real::clean_by_host(crowds);
    let has_alarms = |tally: &Tally| tally.n_over[LOGNORMAL] + tally.n_over[AUTO] > 0;
    for (host, tally) in by_host.iter().filter(|(_, tally)| has_alarms(tally)) {
        print_tally(host, *tally);
    }
    let n_quiet = by_host.values().filter(|tally| !has_alarms(tally)).count();
    println!();
    println!("On the other {n_quiet} hosts, lognormal and auto are never over.");
}

fn print_tally(name: &str, tally: Tally) {
    let cell = |rule| {
        let (low, high) = tally.interval(rule);
        let share = percent_two_digits(tally.share(rule));
        format!("{share} ({:.2} to {:.2})", low * 100.0, high * 100.0)
    };
    println!("| {name} | {} | {} |", tally.n, [0, 1, 2].map(cell).join(" | "));
}

/// Prints how the addresses of the clean crowds, and those of the simulated hosts, differ.
fn print_addresses_of_crowds(crowds: &[Crowd]) {
    println!("| addresses of | with one connection | mean | 99 % have at most |");
    println!("|---|--:|--:|--:|");
    let row = |name: &str, AddressSummary { single, mean, quantile_99 }: AddressSummary| {
        println!("| {name} | {} | {mean:.1} | {quantile_99} |", percent(single));
    };
    let clean = crowds.iter().filter(|it| !it.is_hostile);
    let addresses = clean.flat_map(|it| it.counts.iter().map(|&count| (count, it.n_samples)));
    row("real clean samples", real::describe_addresses(addresses));
    for site in BENIGN {
        let mut random = Random::new(1);
        let clients = (0..100).flat_map(|_| site.clients(&mut random));
        let addresses: Vec<_> = clients.map(|client| (client.connections, 1)).collect();
        row(site.name, real::describe_addresses(addresses.into_iter()));
    }
}

fn print_turns(turns: &[TurnResult]) {
    println!("| two offenders that take turns, two samples | {} |", NAMES.join(" | "));
    println!("|---|{}", "--:|".repeat(RULES.len()));
    for TurnResult { site, shares } in turns {
        println!("| {} | {} |", site.name, shares.two_samples.map(percent).join(" | "));
    }
    let mean = |rule| percent(average(turns.iter().map(|it| it.shares.two_samples[rule])));
    println!("| **average** | {} |", [0, 1, 2].map(mean).join(" | "));
}

fn print_alarms(false_alarms: &[FalseAlarmResult]) {
    let names = NAMES.join(" | ");
    println!("| host, addresses | {names} | two samples: {names} |");
    println!("|---|{}", "--:|".repeat(2 * RULES.len()));
    let row = |name: &str, Shares { one_sample, two_samples }: Shares| {
        let [one_sample, two_samples] =
            [one_sample, two_samples].map(|shares| shares.map(percent).join(" | "));
        println!("| {name} | {one_sample} | {two_samples} |");
    };
    let shares_in_target = || false_alarms.iter().filter(|it| it.is_in_target).map(|it| it.shares);
    for FalseAlarmResult { site, shares, .. } in false_alarms.iter().filter(|it| it.is_in_target) {
        row(site.name, *shares);
    }
    let mean = Shares {
        one_sample: [0, 1, 2]
            .map(|rule| average(shares_in_target().map(|shares| shares.one_sample[rule]))),
        two_samples: [0, 1, 2]
            .map(|rule| average(shares_in_target().map(|shares| shares.two_samples[rule]))),
    };
    row("**average**", mean);
    for FalseAlarmResult { site, shares, .. } in false_alarms.iter().filter(|it| !it.is_in_target) {
        row(&format!("*{}*", site.name), *shares);
    }
}

/// Prints one row for each number of offenders, with a column for each size.
fn print_addresses(detections: &[DetectionResult]) {
    let columns = NAMES.map(|name| format!("{name}: 50 | 150 | 500"));
    println!("| host, addresses | offenders | {} |", columns.join(" | "));
    println!("|---|{}", "--:|".repeat(1 + 3 * RULES.len()));
    let address_attacks: Vec<_> = detections
        .iter()
        .filter(|it| matches!(it.attack.offenders, Offenders::Addresses { .. }))
        .collect();
    for sizes in address_attacks.chunks(workload::SIZES.len()) {
        let Offenders::Addresses { n, .. } = sizes[0].attack.offenders else { continue };
        print!("| {} | {n} |", sizes[0].attack.site.name);
        for rule in 0..RULES.len() {
            for detections in sizes {
                print!(" {} |", detection_rate(detections, rule));
            }
        }
        println!();
    }
}

fn print_networks(detections: &[DetectionResult]) {
    println!("| host, networks | flood out of one more | {} |", NAMES.join(" | "));
    println!("|---|---|{}", "--:|".repeat(RULES.len()));
    for detections in detections {
        if let Offenders::Network { addresses, max_connections } = detections.attack.offenders {
            let name = detections.attack.site.name;
            let each = if max_connections == 1 {
                "1".to_owned()
            } else {
                format!("1 to {max_connections}")
            };
            let rates = [0, 1, 2].map(|rule| detection_rate(detections, rule)).join(" | ");
            println!("| {name} | {addresses} addresses with {each} | {rates} |");
        }
    }
}

/// Returns the detection rate, in parentheses if not even the best fixed limit detects
/// these offenders.
fn detection_rate(detections: &DetectionResult, rule: usize) -> String {
    let share = percent(detections.shares.one_sample[rule]);
    if detections.is_detectable() { share } else { format!("({share})") }
}

fn print_two_samples(detections: &[DetectionResult]) {
    let two_samples = |is_single: bool, rule: usize| {
        let shares_in_target = detections.iter().filter(|it| it.is_large() && it.is_detectable());
        let shares_in_target = shares_in_target.filter(|it| it.is_single() == is_single);
        percent(average(shares_in_target.map(|it| it.shares.two_samples[rule])))
    };
    println!("| offenders from 150 on, two samples | {} |", NAMES.join(" | "));
    println!("|---|{}", "--:|".repeat(RULES.len()));
    for (name, is_single) in [("a lone one, average", true), ("5 or 10, average", false)] {
        let shares = [0, 1, 2].map(|rule| two_samples(is_single, rule)).join(" | ");
        println!("| {name} | {shares} |");
    }
}

fn print_targets(targets: &[Target]) {
    println!("| rule | | target | found | |");
    println!("|---|---|--:|--:|---|");
    for target in targets {
        let bound = match target.bound {
            Bound::AtMost(max) => format!("≤ {}", percent(max)),
            Bound::AtLeast(min) => format!("≥ {}", percent(min)),
        };
        let is_reached = if target.is_reached() { "reached" } else { "**missed**" };
        println!(
            "| {} | {} | {bound} | {} | {is_reached} |",
            NAMES[target.rule],
            target.name,
            percent_two_digits(target.found)
        );
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn percent_two_digits(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}
