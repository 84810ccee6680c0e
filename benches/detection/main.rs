//! Prints how often each rule raises a false alarm, and how often it finds an
//! offender, in Markdown; docs/detection.md has it.
#![allow(clippy::print_stdout, reason = "to print is what it is for")]

mod random;
mod scene;
mod score;

use scene::Offenders;
use score::{Alarms, Bound, Detections, LOGNORMAL, Shares, Target, average};

fn main() {
    let alarms = score::alarms(12_000);
    let detections = score::detections(1_000);
    println!("## False alarms\n");
    print_alarms(&alarms);
    println!("\n## Detection\n");
    print_addresses(&detections);
    println!();
    print_networks(&detections);
    println!();
    print_twice(&detections);
    println!("\n## Targets\n");
    print_targets(&score::targets(&alarms, &detections));
    let large = || detections.iter().filter(|it| it.large());
    println!(
        "\nThe last two are about {} of {} kinds of attack. With those in brackets, detection is \
         {} on average.",
        large().filter(|it| it.in_reach()).count(),
        large().count(),
        percent(average(large().map(|it| it.shares.once[LOGNORMAL]))),
    );
}

fn print_alarms(alarms: &[Alarms]) {
    println!(
        "| host, addresses | stddev | lognormal | stddev, two samples | lognormal, two samples |"
    );
    println!("|---|--:|--:|--:|--:|");
    let row = |name: &str, Shares { once, twice }: Shares| {
        let [once, twice] = [once, twice].map(|of| of.map(percent));
        println!("| {name} | {} | {} | {} | {} |", once[0], once[1], twice[0], twice[1]);
    };
    let counted = || alarms.iter().filter(|alarms| alarms.counts).map(|alarms| alarms.shares);
    for Alarms { site, shares, .. } in alarms.iter().filter(|alarms| alarms.counts) {
        row(site.name, *shares);
    }
    let mean = Shares {
        once: [0, 1].map(|rule| average(counted().map(|shares| shares.once[rule]))),
        twice: [0, 1].map(|rule| average(counted().map(|shares| shares.twice[rule]))),
    };
    row("**average**", mean);
    for Alarms { site, shares, .. } in alarms.iter().filter(|alarms| !alarms.counts) {
        row(&format!("*{}*", site.name), *shares);
    }
}

/// A row for each number of offenders, and in it the sizes.
fn print_addresses(detections: &[Detections]) {
    println!(
        "| host, addresses | offenders | stddev: 50 | 150 | 500 | lognormal: 50 | 150 | 500 |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|");
    let of_addresses: Vec<_> = detections
        .iter()
        .filter(|it| matches!(it.attack.offenders, Offenders::Addresses { .. }))
        .collect();
    for sizes in of_addresses.chunks(scene::SIZES.len()) {
        let Offenders::Addresses { n, .. } = sizes[0].attack.offenders else { continue };
        print!("| {} | {n} |", sizes[0].attack.site.name);
        for rule in [0, LOGNORMAL] {
            for detections in sizes {
                print!(" {} |", found(detections, rule));
            }
        }
        println!();
    }
}

fn print_networks(detections: &[Detections]) {
    println!("| host, networks | flood out of one more | stddev | lognormal |");
    println!("|---|---|--:|--:|");
    for detections in detections {
        if let Offenders::Network { addresses, most } = detections.attack.offenders {
            let name = detections.attack.site.name;
            let each = if most == 1 { "1".to_owned() } else { format!("1 to {most}") };
            let (stddev, lognormal) = (found(detections, 0), found(detections, LOGNORMAL));
            println!("| {name} | {addresses} addresses with {each} | {stddev} | {lognormal} |");
        }
    }
}

/// In brackets where not even a fixed limit of the host's own would do.
fn found(detections: &Detections, rule: usize) -> String {
    let share = percent(detections.shares.once[rule]);
    if detections.in_reach() { share } else { format!("({share})") }
}

fn print_twice(detections: &[Detections]) {
    let twice = |lone: bool, rule: usize| {
        let counted = detections.iter().filter(|it| it.large() && it.in_reach());
        let counted = counted.filter(|it| it.lone() == lone);
        percent(average(counted.map(|it| it.shares.twice[rule])))
    };
    println!("| offenders from 150 on, two samples | stddev | lognormal |");
    println!("|---|--:|--:|");
    println!("| a lone one, average | {} | {} |", twice(true, 0), twice(true, LOGNORMAL));
    println!("| 5 or 10, average | {} | {} |", twice(false, 0), twice(false, LOGNORMAL));
}

fn print_targets(targets: &[Target]) {
    println!("| lognormal | target | found | |");
    println!("|---|--:|--:|---|");
    for target in targets {
        let bound = match target.bound {
            Bound::AtMost(most) => format!("≤ {}", percent(most)),
            Bound::AtLeast(least) => format!("≥ {}", percent(least)),
        };
        let reached = if target.reached() { "reached" } else { "**missed**" };
        println!("| {} | {bound} | {} | {reached} |", target.name, percent_exact(target.found));
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn percent_exact(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}
