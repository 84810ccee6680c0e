//! Measures the kernel's socket dump at several sizes, compared with other tools.
use crate::{
    compare::{self, Candidate},
    discard::{CONNECTED, TIME_WAIT},
    flood::{Flood, Method, Namespaces},
    plot::{self, Line},
    report::{Report, Table, code, grouped},
    sections::{check, this_program},
};

const COUNT_PIPELINE: &str = "sort | uniq -c | sort -rn";
/// Number of sockets from which the targets apply.
const MIN_FLOOD: usize = 100_000;
/// Sizes for the growth comparison. Only sockets that were created by the same method are
/// comparable.
const GROWTH_SIZES: (usize, usize) = (100_000, 1_000_000);
const UNUSED_PORT: &str = "9";

/// Measurements at one size.
struct Measurement {
    n: usize,
    dump: Vec<Candidate>,
    selection: Vec<Candidate>,
    /// `check_topip` and `discard` on sockets that were created by `TCP_REPAIR`, if `dump` was
    /// measured on sockets that were created by handshake.
    via_repair: Option<Vec<Candidate>>,
}

/// Measures all sizes and writes the sections of the report.
pub fn dumps(
    sizes: &[usize],
    per_address: Option<usize>,
    runs: usize,
    namespaces: &Namespaces,
    report: &Report,
) {
    let measurements: Vec<_> =
        sizes.iter().map(|&n| measure(n, per_address, runs, namespaces)).collect();
    report.section("dump", &dump_tables(&measurements));
    report.section("growth", &growth(&measurements));
    report.section("selection", &selection_tables(&measurements));
    let line = |index: usize| Line {
        name: ["check_topip", "the dump alone, discarded"].get(index).map_or_else(
            || measurements[0].dump[index].name.replace(" '{print $5}'", ""),
            |it| (*it).to_owned(),
        ),
        points: measurements.iter().map(|it| (it.n as f64, it.dump[index].cost().cpu)).collect(),
    };
    let lines: Vec<_> = (0..measurements[0].dump.len()).map(line).collect();
    report.plot(&plot::svg("CPU time of one sample of all sockets", &lines));
}

fn discard(name: &str, states: u32) -> Candidate {
    this_program(name, &["discard", &states.to_string()])
}

fn measure(
    n: usize,
    per_address: Option<usize>,
    runs: usize,
    namespaces: &Namespaces,
) -> Measurement {
    // Short runs can be repeated more often.
    let runs = if n < MIN_FLOOD { 3 * runs } else { runs };
    let flood = Flood::new(n, per_address, Method::for_count(n), namespaces);
    let mut dump = vec![
        check(&[]),
        discard("discard", CONNECTED),
        Candidate::new("ss -Htn", &["ss", "-Htn"]),
        Candidate::shell(&format!("ss -Htn | awk '{{print $5}}' | {COUNT_PIPELINE}")),
        Candidate::shell(&format!("netstat -nt | awk '{{print $5}}' | {COUNT_PIPELINE}")),
    ];
    compare::alternate(&mut dump, runs);
    let mut selection = vec![
        discard("discard, with no match", TIME_WAIT),
        check(&["--state", "time_wait"]),
        check(&["--port", UNUSED_PORT]),
        check(&["--port", "9,21,8000-8100"]),
        check(&["--port", "443"]),
        check(&["--port", "443,8000-8100"]),
    ];
    compare::alternate(&mut selection, runs);
    drop(flood);
    let via_repair = (n >= MIN_FLOOD && Method::for_count(n) == Method::Handshake).then(|| {
        let _flood = Flood::new(n, per_address, Method::Repair, namespaces);
        let mut candidates = vec![check(&[]), discard("discard", CONNECTED)];
        compare::alternate(&mut candidates, runs);
        candidates
    });
    Measurement { n, dump, selection, via_repair }
}

fn heading(first: &[&str], measurements: &[Measurement]) -> Vec<String> {
    let first = first.iter().map(|&it| it.to_owned());
    first.chain(measurements.iter().map(|it| grouped(it.n))).collect()
}

fn dump_tables(measurements: &[Measurement]) -> String {
    let mut cpu = Table::new(heading(&["CPU ms"], measurements));
    let mut peak = Table::new(heading(&["peak MiB"], measurements));
    for (index, candidate) in measurements[0].dump.iter().enumerate() {
        let cost = |it: &Measurement| it.dump[index].cost();
        cpu.row(
            &code(&candidate.name),
            measurements.iter().map(|it| format!("{:.1}", cost(it).cpu)),
        );
        peak.row(
            &code(&candidate.name),
            measurements.iter().map(|it| format!("{:.1}", cost(it).memory)),
        );
    }
    let mut ratio =
        Table::new(heading(&["`check_topip` takes, of what is taken by", "aim"], measurements));
    for (index, target) in [(1, 1.10), (2, 0.5), (3, 0.33), (4, 0.2)] {
        let ratio_cell = |it: &Measurement| {
            mark_if_over(it.dump[0].relative_to(&it.dump[index]), target, it.n >= MIN_FLOOD)
        };
        let target = std::iter::once(format!("{target:.2}"));
        ratio.row(
            &code(&measurements[0].dump[index].name),
            target.chain(measurements.iter().map(ratio_cell)),
        );
    }
    format!("{cpu}\n{ratio}\n{peak}")
}

/// Formats a number, in bold if it exceeds `target`.
fn mark_if_over(number: f64, target: f64, has_target: bool) -> String {
    // Compare the rounded number, as it is printed.
    let number = (number * 100.0).round() / 100.0;
    if has_target && number > target { format!("**{number:.2}**") } else { format!("{number:.2}") }
}

/// Returns the cost per socket at each size, for both methods of creating sockets.
fn growth(measurements: &[Measurement]) -> String {
    let mut table = Table::new(heading(&["ns per socket"], measurements));
    // Use the sockets created by repair if there are any, so that sizes are comparable.
    let comparable = |it: &Measurement, index: usize| {
        it.via_repair.as_ref().unwrap_or(&it.dump)[index].cost().cpu
    };
    for (index, name) in ["check_topip", "discard"].iter().enumerate() {
        let ns_per_socket = |ms: f64, n: usize| format!("{:.0}", ms * 1e6 / n as f64);
        let dump = |it: &Measurement| match Method::for_count(it.n) {
            Method::Handshake => ns_per_socket(it.dump[index].cost().cpu, it.n),
            Method::Repair => "".to_owned(),
        };
        let via_repair = |it: &Measurement| {
            if it.n < MIN_FLOOD {
                String::new()
            } else {
                ns_per_socket(comparable(it, index), it.n)
            }
        };
        table.row(&format!("{}, after handshakes", code(name)), measurements.iter().map(dump));
        table.row(&format!("{}, `TCP_REPAIR`", code(name)), measurements.iter().map(via_repair));
    }
    let at_size = |n: usize| measurements.iter().find(|it| it.n == n);
    let (Some(few), Some(many)) = (at_size(GROWTH_SIZES.0), at_size(GROWTH_SIZES.1)) else {
        return table.to_string();
    };
    let factor = GROWTH_SIZES.1 as f64 / GROWTH_SIZES.0 as f64;
    let growth = |index| comparable(many, index) / comparable(few, index) / factor;
    format!(
        "{table}\nFor each of a million sockets, `check_topip` takes {} times what it takes for \
         each of {} (aim: 1.3), `discard` {:.2} times.\n",
        mark_if_over(growth(0), 1.3, true),
        grouped(GROWTH_SIZES.0),
        growth(1)
    )
}

fn selection_tables(measurements: &[Measurement]) -> String {
    let mut cpu = Table::new(heading(&["CPU ms"], measurements));
    // Subtract the cost at the smallest size, which is the start-up cost.
    let (smallest, larger) = measurements.split_first().expect("at least one size is measured");
    let mut each = Table::new(heading(&["ns for each socket more"], larger));
    for (index, candidate) in smallest.selection.iter().enumerate() {
        let ms = |it: &Measurement| it.selection[index].cost().cpu;
        cpu.row(&code(&candidate.name), measurements.iter().map(|it| format!("{:.1}", ms(it))));
        let slope = |it: &Measurement| (ms(it) - ms(smallest)) * 1e6 / (it.n - smallest.n) as f64;
        each.row(&code(&candidate.name), larger.iter().map(|it| format!("{:.0}", slope(it))));
    }
    format!("{cpu}\n{each}")
}

/// Measures memory with many sockets from few addresses, and from as many addresses.
pub fn memory(n: usize, runs: usize, namespaces: &Namespaces, report: &Report) {
    let mut table = Table::new(["peak MiB, a million sockets", "10 000 addresses", "1 000 000"]);
    let measured = [(n / 10_000, 8.0), (1, 64.0)].map(|(per_address, target)| {
        let _flood = Flood::new(n, Some(per_address), Method::for_count(n), namespaces);
        let mut candidates = vec![
            check(&[]),
            check(&["--exclude", "10.1.0.0/16", "--inbound", "-vvv"]),
            discard("discard", CONNECTED),
        ];
        compare::alternate(&mut candidates, runs);
        (candidates, target)
    });
    for index in 0..measured[0].0.len() {
        let cells = measured.each_ref().map(|(candidates, target)| {
            mark_if_over(candidates[index].cost().memory, *target, true)
        });
        table.row(&code(&measured[0].0[index].name), cells);
    }
    table.row("aim", ["8".to_owned(), "64".to_owned()]);
    report.section("memory", &table.to_string());
}
