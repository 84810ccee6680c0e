//! Prints the false-alarm rate and the detection rate of each rule as Markdown tables
//! for docs/detection.md.
#![allow(clippy::print_stdout, reason = "the benchmark prints its tables")]

mod random;
mod workload;
mod score;

use score::{
    AUTO, Bound, DetectionResult, FalseAlarmResult, NAMES, RULES, Shares, Target, average,
};
use workload::Offenders;

fn main() {
    let false_alarms = score::false_alarms(12_000);
    let detections = score::detections(1_000);
    println!("## False alarms\n");
    print_alarms(&false_alarms);
    println!("\n## Detection\n");
    print_addresses(&detections);
    println!();
    print_networks(&detections);
    println!();
    print_two_samples(&detections);
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
