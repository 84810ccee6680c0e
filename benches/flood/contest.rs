//! Commands that take turns, and what they cost.
use std::{
    env,
    process::{Command, Stdio},
    time::Instant,
};

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};

/// A command, and what is to be said of it.
pub struct Contestant {
    pub name: String,
    command: Vec<String>,
    runs: Vec<Cost>,
}

/// What one run took.
#[derive(Clone, Copy, Default)]
pub struct Cost {
    /// User and system time, in milliseconds.
    pub cpu: f64,
    /// In milliseconds.
    pub wall: f64,
    /// The largest process, in MiB.
    pub memory: f64,
}

impl Contestant {
    pub fn new(name: &str, command: &[&str]) -> Self {
        let command = command.iter().map(|&word| word.to_owned()).collect();
        Self { name: name.to_owned(), command, runs: Vec::new() }
    }

    /// A pipeline, named as it is written.
    pub fn shell(pipeline: &str) -> Self {
        Self::new(pipeline, &["sh", "-c", pipeline])
    }

    /// Medians, each by itself.
    pub fn cost(&self) -> Cost {
        let of = |part: fn(&Cost) -> f64| median(self.runs.iter().map(part).collect());
        Cost { cpu: of(|it| it.cpu), wall: of(|it| it.wall), memory: of(|it| it.memory) }
    }

    /// What it takes, in terms of what the other one takes: round by round, and
    /// the median of that.
    pub fn relative_to(&self, other: &Self) -> f64 {
        let rounds = self.runs.iter().zip(&other.runs);
        median(rounds.map(|(one, other)| one.cpu / other.cpu).collect())
    }

    fn run(&self) -> Cost {
        // As a plugin's user: to whoever administers networks the kernel gives one
        // attribute more, and that takes a twentieth of the dump.
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", "-net_admin"]).arg(env::current_exe().unwrap());
        command.arg("cost").args(&self.command);
        // With cargo's LD_LIBRARY_PATH, libraries would be looked for in six folders
        // more, which is a tenth of what it takes to start.
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
        let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
        let output = output.expect("util-linux is installed");
        let words = String::from_utf8(output.stdout).unwrap();
        let mut numbers = words.split_whitespace().map(|word| word.parse().unwrap());
        let mut next = || numbers.next().expect("the cost of a command");
        Cost { cpu: next(), wall: next(), memory: next() }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Lets them take turns, so that a machine that slows down slows them all. The
/// first turn is for the caches, and does not count.
pub fn hold(contestants: &mut [Contestant], runs: usize) {
    for run in 0..=runs {
        for contestant in &mut *contestants {
            let cost = contestant.run();
            if run > 0 {
                contestant.runs.push(cost);
            }
        }
    }
}

/// Runs a program and prints what it cost. It is done in a process of its own
/// because the system adds up what all children took.
pub fn cost(program: &str, args: &[&str]) {
    let begin = Instant::now();
    let status = Command::new(program).args(args).stdout(Stdio::null()).status();
    let wall = begin.elapsed().as_secs_f64() * 1000.0;
    // A check's verdict is of no interest here; a program that is missing is.
    assert!(status.unwrap_or_else(|error| panic!("{program}: {error}")).code() != Some(127));
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let cpu = usage.user_time() + usage.system_time();
    let [cpu, memory] = [cpu.num_microseconds(), usage.max_rss()].map(|it| it as f64);
    println!("{} {wall} {}", cpu / 1000.0, memory / 1024.0);
}
