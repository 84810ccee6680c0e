//! The kernel's dump: what it costs at several sizes, and what it is compared with.
use crate::{
    contest::{self, Contestant},
    discard::{CONNECTED, TIME_WAIT},
    flood::{Flood, Namespaces, Way},
    parts::{check, this},
    plot::{self, Line},
    report::{Report, Table, code, grouped},
};

const COUNT: &str = "sort | uniq -c | sort -rn";
/// Fewer than that are no flood, and what is aimed at is not for them.
const FLOOD: usize = 100_000;
/// What is compared over sizes has to be of sockets that came about alike.
const GROWTH: (usize, usize) = (100_000, 1_000_000);
const SHUT_PORT: &str = "9";

/// One size, and what it took.
struct Measured {
    n: usize,
    dump: Vec<Contestant>,
    selection: Vec<Contestant>,
    /// `check_topip` and `discard`, where no handshake was made.
    repaired: Option<Vec<Contestant>>,
}

/// Measures at all sizes.
pub fn dumps(
    sizes: &[usize],
    per_address: Option<usize>,
    runs: usize,
    namespaces: &Namespaces,
    report: &Report,
) {
    let all: Vec<_> = sizes.iter().map(|&n| measure(n, per_address, runs, namespaces)).collect();
    report.section("dump", &dump_tables(&all));
    report.section("growth", &growth(&all));
    report.section("selection", &selection_tables(&all));
    let line = |index: usize| Line {
        name: ["check_topip", "the dump alone, thrown away"].get(index).map_or_else(
            || all[0].dump[index].name.replace(" '{print $5}'", ""),
            |it| (*it).to_owned(),
        ),
        points: all.iter().map(|it| (it.n as f64, it.dump[index].cost().cpu)).collect(),
    };
    let lines: Vec<_> = (0..all[0].dump.len()).map(line).collect();
    report.plot(&plot::svg("CPU time of one look at all sockets", &lines));
}

fn bare(name: &str, states: u32) -> Contestant {
    this(name, &["discard", &states.to_string()])
}

fn measure(n: usize, per_address: Option<usize>, runs: usize, namespaces: &Namespaces) -> Measured {
    // What is over soon can be repeated more often.
    let runs = if n < FLOOD { 3 * runs } else { runs };
    let flood = Flood::of(n, per_address, Way::of(n), namespaces);
    let mut dump = vec![
        check(&[]),
        bare("discard", CONNECTED),
        Contestant::new("ss -Htn", &["ss", "-Htn"]),
        Contestant::shell(&format!("ss -Htn | awk '{{print $5}}' | {COUNT}")),
        Contestant::shell(&format!("netstat -nt | awk '{{print $5}}' | {COUNT}")),
    ];
    contest::hold(&mut dump, runs);
    let mut selection = vec![
        bare("discard, with no match", TIME_WAIT),
        check(&["--state", "time_wait"]),
        check(&["--port", SHUT_PORT]),
        check(&["--port", "9,21,8000-8100"]),
        check(&["--port", "443"]),
        check(&["--port", "443,8000-8100"]),
    ];
    contest::hold(&mut selection, runs);
    drop(flood);
    let repaired = (n >= FLOOD && Way::of(n) == Way::Handshake).then(|| {
        let _flood = Flood::of(n, per_address, Way::Repair, namespaces);
        let mut contestants = vec![check(&[]), bare("discard", CONNECTED)];
        contest::hold(&mut contestants, runs);
        contestants
    });
    Measured { n, dump, selection, repaired }
}

fn heading(first: &[&str], all: &[Measured]) -> Vec<String> {
    let first = first.iter().map(|&it| it.to_owned());
    first.chain(all.iter().map(|it| grouped(it.n))).collect()
}

fn dump_tables(all: &[Measured]) -> String {
    let mut cpu = Table::new(heading(&["CPU ms"], all));
    let mut peak = Table::new(heading(&["peak MiB"], all));
    for (index, contestant) in all[0].dump.iter().enumerate() {
        let cost = |it: &Measured| it.dump[index].cost();
        cpu.row(&code(&contestant.name), all.iter().map(|it| format!("{:.1}", cost(it).cpu)));
        peak.row(&code(&contestant.name), all.iter().map(|it| format!("{:.1}", cost(it).memory)));
    }
    let mut ratio = Table::new(heading(&["`check_topip` takes, of what is taken by", "aim"], all));
    for (index, aim) in [(1, 1.10), (2, 0.5), (3, 0.33), (4, 0.2)] {
        let of = |it: &Measured| aimed(it.dump[0].relative_to(&it.dump[index]), aim, it.n >= FLOOD);
        let aim = std::iter::once(format!("{aim:.2}"));
        ratio.row(&code(&all[0].dump[index].name), aim.chain(all.iter().map(of)));
    }
    format!("{cpu}\n{ratio}\n{peak}")
}

/// A number that should not be more than `aim`, marked where it is.
fn aimed(number: f64, aim: f64, is_aimed_at: bool) -> String {
    // As it is shown, so it is judged.
    let number = (number * 100.0).round() / 100.0;
    if is_aimed_at && number > aim { format!("**{number:.2}**") } else { format!("{number:.2}") }
}

/// What a socket costs, of few and of many, and how it came about.
fn growth(all: &[Measured]) -> String {
    let mut table = Table::new(heading(&["ns per socket"], all));
    // Sockets alike: by repair wherever there is a choice.
    let alike =
        |it: &Measured, index: usize| it.repaired.as_ref().unwrap_or(&it.dump)[index].cost().cpu;
    for (index, name) in ["check_topip", "discard"].iter().enumerate() {
        let each = |ms: f64, n: usize| format!("{:.0}", ms * 1e6 / n as f64);
        let dump = |it: &Measured| match Way::of(it.n) {
            Way::Handshake => each(it.dump[index].cost().cpu, it.n),
            Way::Repair => "".to_owned(),
        };
        let repaired = |it: &Measured| {
            if it.n < FLOOD { String::new() } else { each(alike(it, index), it.n) }
        };
        table.row(&format!("{}, after handshakes", code(name)), all.iter().map(dump));
        table.row(&format!("{}, `TCP_REPAIR`", code(name)), all.iter().map(repaired));
    }
    let of = |n: usize| all.iter().find(|it| it.n == n);
    let (Some(few), Some(many)) = (of(GROWTH.0), of(GROWTH.1)) else {
        return table.to_string();
    };
    let factor = GROWTH.1 as f64 / GROWTH.0 as f64;
    let growth = |index| alike(many, index) / alike(few, index) / factor;
    format!(
        "{table}\nFor each of a million sockets, `check_topip` takes {} times what it takes for \
         each of {} (aim: 1.3), `discard` {:.2} times.\n",
        aimed(growth(0), 1.3, true),
        grouped(GROWTH.0),
        growth(1)
    )
}

fn selection_tables(all: &[Measured]) -> String {
    let mut cpu = Table::new(heading(&["CPU ms"], all));
    // What it takes to start is no matter of sockets.
    let (least, more) = all.split_first().expect("there is a size");
    let mut each = Table::new(heading(&["ns for each socket more"], more));
    for (index, contestant) in least.selection.iter().enumerate() {
        let ms = |it: &Measured| it.selection[index].cost().cpu;
        cpu.row(&code(&contestant.name), all.iter().map(|it| format!("{:.1}", ms(it))));
        let slope = |it: &Measured| (ms(it) - ms(least)) * 1e6 / (it.n - least.n) as f64;
        each.row(&code(&contestant.name), more.iter().map(|it| format!("{:.0}", slope(it))));
    }
    format!("{cpu}\n{each}")
}

/// Many sockets from few addresses, and from as many.
pub fn memory(n: usize, runs: usize, namespaces: &Namespaces, report: &Report) {
    let mut table = Table::new(["peak MiB, a million sockets", "10 000 addresses", "1 000 000"]);
    let measured = [(n / 10_000, 8.0), (1, 64.0)].map(|(per_address, aim)| {
        let _flood = Flood::of(n, Some(per_address), Way::of(n), namespaces);
        let mut contestants = vec![
            check(&[]),
            check(&["--exclude", "10.1.0.0/16", "--inbound", "-vvv"]),
            bare("discard", CONNECTED),
        ];
        contest::hold(&mut contestants, runs);
        (contestants, aim)
    });
    for index in 0..measured[0].0.len() {
        let cells = measured
            .each_ref()
            .map(|(contestants, aim)| aimed(contestants[index].cost().memory, *aim, true));
        table.row(&code(&measured[0].0[index].name), cells);
    }
    table.row("aim", ["8".to_owned(), "64".to_owned()]);
    report.section("memory", &table.to_string());
}
