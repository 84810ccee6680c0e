//! The sections of the benchmark, in their order.
use std::{
    env, fs,
    path::Path,
    process::{Command, ExitCode},
};

use crate::{
    bpf,
    compare::{self, Candidate},
    discard::CONNECTED,
    dump::{dumps, memory},
    flood::{Flood, Method, Namespaces, lacks_memory},
    machine,
    release_build::CHECK,
    report::{Report, Table, code},
};

const SIZES: &str = "1000,10000,100000,500000,1000000";
const MILLION: usize = 1_000_000;

/// Runs the selected sections.
pub fn measure(words: &[&str]) -> ExitCode {
    let sizes = env::var("FLOOD").unwrap_or_else(|_| SIZES.to_owned());
    let sizes: Vec<usize> = sizes.split(',').map(|n| n.parse().unwrap()).collect();
    let per_address =
        env::var("ADDRESSES").ok().map(|m| sizes[0].div_ceil(m.parse::<usize>().unwrap()));
    if let ["shell", command @ ..] = words {
        return run_shell(sizes[0], per_address, &command.join(" "));
    }
    let runs = words.iter().find_map(|word| word.parse().ok()).unwrap_or(9);
    let sections: Vec<_> = words
        .iter()
        .filter(|word| word.parse::<usize>().is_err() && **word != "write")
        .copied()
        .collect();
    let known = ["start", "dump", "bpf", "memory", "listings"];
    if let Some(unknown) = sections.iter().find(|section| !known.contains(section)) {
        eprintln!("unknown section {unknown}; use {}", known.join(", "));
        return ExitCode::FAILURE;
    }
    let is_selected = |section| sections.is_empty() || sections.contains(&section);
    let max_sockets = sizes.iter().copied().filter(|_| is_selected("dump") || is_selected("bpf"));
    let max_sockets = max_sockets
        .chain((is_selected("memory") || is_selected("listings")).then_some(MILLION))
        .max();
    if let Some(shortage) = max_sockets
        .and_then(|max_sockets| lacks_memory(max_sockets, Method::for_count(max_sockets)))
    {
        eprintln!("{shortage}");
        return ExitCode::FAILURE;
    }

    let report = Report::new(words.contains(&"write"));
    let namespaces = Namespaces::enter();
    report.section("machine", &format!("{}.\n", machine::describe()));
    if is_selected("start") {
        measure_start(runs.max(41));
    }
    if is_selected("dump") {
        dumps(&sizes, per_address, runs, &namespaces, &report);
    }
    if is_selected("bpf") {
        bpf::walks(&sizes, per_address, runs, &namespaces, &report);
    }
    if is_selected("memory") {
        memory(MILLION, runs.min(3), &namespaces, &report);
    }
    if is_selected("listings") {
        measure_listings(MILLION, runs, &namespaces);
    }
    ExitCode::SUCCESS
}

/// Runs a command during a flood, to examine it with other tools.
fn run_shell(n: usize, per_address: Option<usize>, command: &str) -> ExitCode {
    let namespaces = Namespaces::enter();
    let _flood = Flood::new(n, per_address, Method::for_count(n), &namespaces);
    let mut shell = Command::new("sh");
    let shell = if command.is_empty() { &mut shell } else { shell.args(["-c", command]) };
    let status = shell.env("CHECK", CHECK).env("BENCH", env::current_exe().unwrap()).status();
    if status.unwrap().success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Returns a candidate for `check_topip` by netlink, with a state file.
pub fn check(options: &[&str]) -> Candidate {
    let name = ["check_topip", &options.join(" ")].join(" ");
    let command = [&[CHECK, "--source", "netlink", "--state-file", "state"], options].concat();
    Candidate::new(name.trim_end(), &command)
}

/// Returns a candidate for `check_topip` by another source, with a state file.
pub fn check_by(source: &str, options: &[&str]) -> Candidate {
    let options = [&["--source", source][..], options].concat();
    let name = ["check_topip", &options.join(" ")].join(" ");
    let command = [&[CHECK, "--state-file", "state"][..], &options].concat();
    Candidate::new(&name, &command)
}

/// Returns a candidate for this program in another role.
pub fn this_program(name: &str, role: &[&str]) -> Candidate {
    let program = env::current_exe().unwrap();
    Candidate::new(name, &[&[program.to_str().unwrap()], role].concat())
}

/// Prints a table with the cost of the first candidate relative to each.
fn print_table(title: &str, candidates: &[Candidate]) {
    let mut table = Table::new(["command", "CPU ms", "wall ms", "peak MiB", "first / this"]);
    for candidate in candidates {
        let cost = candidate.cost();
        let ratio = candidates[0].relative_to(candidate);
        let numbers = [
            format!("{:.2}", cost.cpu),
            format!("{:.2}", cost.wall),
            format!("{:.1}", cost.memory),
            format!("{ratio:.2}"),
        ];
        table.row(&code(&candidate.name), numbers);
    }
    println!("\n### {title}\n\n{table}");
}

fn measure_start(runs: usize) {
    let plugin = |name: &str, args: &[&str]| {
        let program = format!("/usr/lib/nagios/plugins/{name}");
        let found = Path::new(&program).exists();
        found.then(|| Candidate::new(name, &[&[&program[..]], args].concat()))
    };
    let mut candidates = vec![
        check(&[]),
        this_program("discard", &["discard", &CONNECTED.to_string()]),
        this_program("a Rust program that does nothing", &["nothing"]),
        Candidate::new("/bin/true", &["/bin/true"]),
        Candidate::new("ss -Htn", &["ss", "-Htn"]),
    ];
    candidates.extend(plugin("check_load", &["-w", "100", "-c", "100"]));
    candidates.extend(plugin("check_dummy", &["0"]));
    compare::alternate(&mut candidates, runs);
    print_table("No sockets: what it costs to start", &candidates);
}

fn measure_listings(n: usize, runs: usize, namespaces: &Namespaces) {
    let tools = ["ss -tan", "netstat -ntW", "cat /proc/self/net/tcp /proc/self/net/tcp6"];
    let flood = Flood::new(n, None, Method::Repair, namespaces);
    for (command, file) in tools.iter().zip(["ss", "netstat", "proc"]) {
        let command = Command::new("sh").args(["-c", &format!("{command} >{file}")]).status();
        assert!(command.unwrap().success());
    }
    drop(flood);
    for (command, file) in tools.iter().zip(["ss", "netstat", "proc"]) {
        let mut candidates = vec![
            Candidate::new(
                "check_topip --input",
                &[CHECK, "--state-file", "state", "--input", file],
            ),
            this_program("to rows alone", &["rows", file]),
            this_program("newlines", &["newlines", file]),
            Candidate::new("awk '{print $5}'", &["awk", "{print $5}", file]),
        ];
        compare::alternate(&mut candidates, runs);
        let size = fs::metadata(file).unwrap().len() / 1_000_000;
        print_table(&format!("A listing of {n} sockets, {size} MB, by {command}"), &candidates);
    }
}
