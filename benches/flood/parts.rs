//! What is measured, in which order.
use std::{
    env, fs,
    path::Path,
    process::{Command, ExitCode},
};

use crate::{
    contest::{self, Contestant},
    discard::CONNECTED,
    dump::{dumps, memory},
    flood::{Flood, Namespaces, Way, lacks_memory},
    machine,
    report::{Report, Table, code},
    shipped::CHECK,
};

const SIZES: &str = "1000,10000,100000,500000,1000000";
const MILLION: usize = 1_000_000;

/// Measures what is asked for: parts by name, and how often.
pub fn measure(words: &[&str]) -> ExitCode {
    let sizes = env::var("FLOOD").unwrap_or_else(|_| SIZES.to_owned());
    let sizes: Vec<usize> = sizes.split(',').map(|n| n.parse().unwrap()).collect();
    let per_address =
        env::var("ADDRESSES").ok().map(|m| sizes[0].div_ceil(m.parse::<usize>().unwrap()));
    if let ["shell", command @ ..] = words {
        return shell(sizes[0], per_address, &command.join(" "));
    }
    let runs = words.iter().find_map(|word| word.parse().ok()).unwrap_or(9);
    let parts: Vec<_> = words
        .iter()
        .filter(|word| word.parse::<usize>().is_err() && **word != "write")
        .copied()
        .collect();
    let known = ["start", "dump", "memory", "listings"];
    if let Some(unknown) = parts.iter().find(|part| !known.contains(part)) {
        eprintln!("{unknown} is none of {}.", known.join(", "));
        return ExitCode::FAILURE;
    }
    let asked = |part| parts.is_empty() || parts.contains(&part);
    let most = sizes.iter().copied().filter(|_| asked("dump"));
    let most = most.chain((asked("memory") || asked("listings")).then_some(MILLION)).max();
    if let Some(lack) = most.and_then(|most| lacks_memory(most, Way::of(most))) {
        eprintln!("{lack}");
        return ExitCode::FAILURE;
    }

    let report = Report::new(words.contains(&"write"));
    let namespaces = Namespaces::enter();
    report.section("machine", &format!("{}.\n", machine::describe()));
    if asked("start") {
        start(runs.max(41));
    }
    if asked("dump") {
        dumps(&sizes, per_address, runs, &namespaces, &report);
    }
    if asked("memory") {
        memory(MILLION, runs.min(3), &namespaces, &report);
    }
    if asked("listings") {
        listings(MILLION, runs, &namespaces);
    }
    ExitCode::SUCCESS
}

/// Runs a command beside a flood, to look at it by other means.
fn shell(n: usize, per_address: Option<usize>, command: &str) -> ExitCode {
    let namespaces = Namespaces::enter();
    let _flood = Flood::of(n, per_address, Way::of(n), &namespaces);
    let mut shell = Command::new("sh");
    let shell = if command.is_empty() { &mut shell } else { shell.args(["-c", command]) };
    let status = shell.env("CHECK", CHECK).env("BENCH", env::current_exe().unwrap()).status();
    if status.unwrap().success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// `check_topip`, with all that a check does.
pub fn check(options: &[&str]) -> Contestant {
    let name = ["check_topip", &options.join(" ")].join(" ");
    let command = [&[CHECK, "--source", "netlink", "--state-file", "state"], options].concat();
    Contestant::new(name.trim_end(), &command)
}

/// This program in one of its other parts.
pub fn this(name: &str, part: &[&str]) -> Contestant {
    let program = env::current_exe().unwrap();
    Contestant::new(name, &[&[program.to_str().unwrap()], part].concat())
}

/// A table, with the cost of the first in terms of each.
fn print(title: &str, contestants: &[Contestant]) {
    let mut table = Table::new(["command", "CPU ms", "wall ms", "peak MiB", "first / this"]);
    for contestant in contestants {
        let cost = contestant.cost();
        let ratio = contestants[0].relative_to(contestant);
        let numbers = [
            format!("{:.2}", cost.cpu),
            format!("{:.2}", cost.wall),
            format!("{:.1}", cost.memory),
            format!("{ratio:.2}"),
        ];
        table.row(&code(&contestant.name), numbers);
    }
    println!("\n### {title}\n\n{table}");
}

fn start(runs: usize) {
    let plugin = |name: &str, args: &[&str]| {
        let program = format!("/usr/lib/nagios/plugins/{name}");
        let found = Path::new(&program).exists();
        found.then(|| Contestant::new(name, &[&[&program[..]], args].concat()))
    };
    let mut contestants = vec![
        check(&[]),
        this("discard", &["discard", &CONNECTED.to_string()]),
        this("a Rust program that does nothing", &["nothing"]),
        Contestant::new("/bin/true", &["/bin/true"]),
        Contestant::new("ss -Htn", &["ss", "-Htn"]),
    ];
    contestants.extend(plugin("check_load", &["-w", "100", "-c", "100"]));
    contestants.extend(plugin("check_dummy", &["0"]));
    contest::hold(&mut contestants, runs);
    print("No sockets: what it costs to start", &contestants);
}

fn listings(n: usize, runs: usize, namespaces: &Namespaces) {
    let made_by = ["ss -tan", "netstat -ntW", "cat /proc/self/net/tcp /proc/self/net/tcp6"];
    let flood = Flood::of(n, None, Way::Repair, namespaces);
    for (command, file) in made_by.iter().zip(["ss", "netstat", "proc"]) {
        let command = Command::new("sh").args(["-c", &format!("{command} >{file}")]).status();
        assert!(command.unwrap().success());
    }
    drop(flood);
    for (command, file) in made_by.iter().zip(["ss", "netstat", "proc"]) {
        let mut contestants = vec![
            Contestant::new(
                "check_topip --input",
                &[CHECK, "--state-file", "state", "--input", file],
            ),
            this("to rows alone", &["rows", file]),
            this("newlines", &["newlines", file]),
            Contestant::new("awk '{print $5}'", &["awk", "{print $5}", file]),
        ];
        contest::hold(&mut contestants, runs);
        let size = fs::metadata(file).unwrap().len() / 1_000_000;
        print(&format!("A listing of {n} sockets, {size} MB, by {command}"), &contestants);
    }
}
