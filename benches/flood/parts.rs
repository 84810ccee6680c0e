//! What is measured, in which order, and the tables of it.
use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use nix::sched::{CloneFlags, unshare};

use crate::{
    contest::{self, Contestant},
    discard::{CONNECTED, TIME_WAIT},
};

const CHECK: &str = env!("CARGO_BIN_EXE_check_topip");
const COUNT: &str = "sort | uniq -c | sort -rn";

/// Measures what is asked for: parts by name, and how often.
pub fn measure(words: &[&str]) {
    let runs = words.iter().find_map(|word| word.parse().ok()).unwrap_or(9);
    let asked = |part| {
        let mut parts = words.iter().filter(|word| word.parse::<usize>().is_err()).peekable();
        parts.peek().is_none() || parts.any(|it| *it == part)
    };
    enter_namespace();
    let folder = tempfile::tempdir().unwrap();
    env::set_current_dir(&folder).unwrap();
    if asked("start") {
        start(runs.max(41));
    }
    if asked("dump") {
        let sizes = env::var("FLOOD").unwrap_or_else(|_| "100000,500000,1000000".to_owned());
        for n in sizes.split(',').map(|n| n.parse().unwrap()) {
            dump(n, runs);
        }
    }
    if asked("memory") {
        memory(1_000_000, runs.min(3));
    }
    if asked("listings") {
        listings(1_000_000, runs);
    }
}

/// A network of its own, in which every address can be reached by way of `lo`.
fn enter_namespace() {
    unshare(CloneFlags::CLONE_NEWNET).expect("root may make a network namespace");
    for args in [
        "link set lo up",
        "addr add 192.0.2.10/32 dev lo",
        "addr add 2001:db8::10/128 dev lo nodad",
        "route add default dev lo",
        "-6 route add default dev lo",
    ] {
        let status = Command::new("ip").args(args.split(' ')).status();
        assert!(status.expect("iproute2 is installed").success(), "ip {args}");
    }
}

/// Sockets that other processes hold, as many each as a process may open. To
/// start a program from one that has them open would take longer than it runs.
struct Flood(Vec<Child>);

impl Flood {
    const EACH: usize = 16_000;

    fn of(n: usize, per_address: Option<usize>) -> Self {
        let per_address = per_address.map_or("mixed".to_owned(), |n| n.to_string());
        let holder = |from: usize| {
            let to = n.min(from + Self::EACH);
            let mut holder = Command::new(env::current_exe().unwrap())
                .args(["hold", &n.to_string(), &per_address])
                .args([from.to_string(), to.to_string()])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut line = String::new();
            BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
            assert_eq!(line, format!("{} sockets\n", to - from));
            holder
        };
        Self((0..n).step_by(Self::EACH).map(holder).collect())
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        for holder in &mut self.0 {
            // They hold on for as long as their standard input is open.
            drop(holder.stdin.take());
            holder.wait().unwrap();
        }
    }
}

/// `check_topip`, with all that a check does.
fn check(options: &[&str]) -> Contestant {
    let name = ["check_topip", &options.join(" ")].join(" ");
    let command = [&[CHECK, "--source", "netlink", "--state-file", "state"], options].concat();
    Contestant::new(name.trim_end(), &command)
}

/// This program in one of its other parts.
fn this(name: &str, part: &[&str]) -> Contestant {
    let program = env::current_exe().unwrap();
    Contestant::new(name, &[&[program.to_str().unwrap()], part].concat())
}

/// A table, with the cost of the first in terms of each.
fn print(title: &str, contestants: &[Contestant]) {
    println!("\n### {title}\n");
    println!("| command | CPU ms | wall ms | peak MiB | first / this |");
    println!("|---|--:|--:|--:|--:|");
    let first = contestants[0].cost().cpu;
    for contestant in contestants {
        let cost = contestant.cost();
        println!(
            "| {} | {:.2} | {:.2} | {:.1} | {:.2} |",
            cell(&contestant.name),
            cost.cpu,
            cost.wall,
            cost.memory,
            first / cost.cpu
        );
    }
}

fn cell(command: &str) -> String {
    format!("`{}`", command.replace('|', "\\|"))
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

fn dump(n: usize, runs: usize) {
    let _flood = Flood::of(n, None);
    let mut contestants = vec![
        check(&[]),
        this("discard", &["discard", &CONNECTED.to_string()]),
        Contestant::new("ss -Htn", &["ss", "-Htn"]),
        Contestant::shell(&format!("ss -Htn | awk '{{print $5}}' | {COUNT}")),
        Contestant::shell(&format!("netstat -nt | awk '{{print $5}}' | {COUNT}")),
    ];
    contest::hold(&mut contestants, runs);
    print(&format!("{n} sockets"), &contestants);

    let mut contestants = vec![
        this("discard, with no match", &["discard", &TIME_WAIT.to_string()]),
        check(&["--state", "time_wait"]),
        check(&["--port", "9"]),
        check(&["--port", "9,21,8000-8100"]),
        check(&["--port", "443"]),
        check(&["--port", "443,8000-8100"]),
    ];
    contest::hold(&mut contestants, runs);
    print(&format!("{n} sockets, some of them selected"), &contestants);
}

fn memory(n: usize, runs: usize) {
    for (name, per_address) in [("10 thousand addresses", n / 10_000), ("as many addresses", 1)] {
        let _flood = Flood::of(n, Some(per_address));
        let mut contestants = vec![
            check(&[]),
            check(&["--exclude", "10.1.0.0/16", "--inbound", "-vvv"]),
            this("discard", &["discard", &CONNECTED.to_string()]),
        ];
        contest::hold(&mut contestants, runs);
        print(&format!("{n} sockets from {name}"), &contestants);
    }
}

fn listings(n: usize, runs: usize) {
    let made_by = ["ss -tan", "netstat -ntW", "cat /proc/self/net/tcp /proc/self/net/tcp6"];
    let flood = Flood::of(n, None);
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
            this("newlines", &["newlines", file]),
            Contestant::new("awk '{print $5}'", &["awk", "{print $5}", file]),
        ];
        contest::hold(&mut contestants, runs);
        let size = fs::metadata(file).unwrap().len() / 1_000_000;
        print(&format!("A listing of {n} sockets, {size} MB, by {command}"), &contestants);
    }
}
