//! Measures commands in alternating order.
use std::{
    env,
    process::{Command, Stdio},
    time::Instant,
};

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};

/// A command to measure, and the cost of its runs.
pub struct Candidate {
    pub name: String,
    command: Vec<String>,
    runs: Vec<Cost>,
}

/// Cost of one run.
#[derive(Clone, Copy, Default)]
pub struct Cost {
    /// User and system time, in milliseconds.
    pub cpu: f64,
    /// Elapsed time, in milliseconds.
    pub wall: f64,
    /// Peak resident memory of the largest process, in MiB.
    pub memory: f64,
}

impl Candidate {
    pub fn new(name: &str, command: &[&str]) -> Self {
        let command = command.iter().map(|&word| word.to_owned()).collect();
        Self { name: name.to_owned(), command, runs: Vec::new() }
    }

    /// Creates a candidate for a shell pipeline, named by its text.
    pub fn shell(pipeline: &str) -> Self {
        Self::new(pipeline, &["sh", "-c", pipeline])
    }

    /// Returns the median of each cost separately.
    pub fn cost(&self) -> Cost {
        let median_of = |part: fn(&Cost) -> f64| median(self.runs.iter().map(part).collect());
        Cost {
            cpu: median_of(|it| it.cpu),
            wall: median_of(|it| it.wall),
            memory: median_of(|it| it.memory),
        }
    }

    /// Returns the median, over the rounds, of the CPU time relative to that of `other`.
    pub fn relative_to(&self, other: &Self) -> f64 {
        let rounds = self.runs.iter().zip(&other.runs);
        median(rounds.map(|(own, other)| own.cpu / other.cpu).collect())
    }

    fn run(&self) -> Cost {
        // Run without CAP_NET_ADMIN, as a plugin does: with it, the kernel adds an attribute
        // to each socket, which makes the dump 5 % slower.
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", "-net_admin"]).arg(env::current_exe().unwrap());
        command.arg("cost").args(&self.command);
        // With cargo's LD_LIBRARY_PATH, the loader would search six more directories, which is
        // a tenth of the start-up time.
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
        let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
        let output = output.expect("util-linux is installed");
        let numbers_text = String::from_utf8(output.stdout).unwrap();
        let mut numbers = numbers_text.split_whitespace().map(|word| word.parse().unwrap());
        let mut next = || numbers.next().expect("the command printed three numbers");
        Cost { cpu: next(), wall: next(), memory: next() }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Runs the candidates in alternating order, so that a machine that slows down affects all
/// of them. The first round warms the caches and is not counted.
pub fn alternate(candidates: &mut [Candidate], runs: usize) {
    for run in 0..=runs {
        for candidate in &mut *candidates {
            let cost = candidate.run();
            if run > 0 {
                candidate.runs.push(cost);
            }
        }
    }
}

/// Runs a program and prints its cost. This needs a separate process, because the system sums
/// the resource usage of all children.
pub fn cost(program: &str, args: &[&str]) {
    let started = Instant::now();
    let status = Command::new(program).args(args).stdout(Stdio::null()).status();
    let wall = started.elapsed().as_secs_f64() * 1000.0;
    // The exit code does not matter, unless the program is missing.
    assert!(status.unwrap_or_else(|error| panic!("{program}: {error}")).code() != Some(127));
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let cpu = usage.user_time() + usage.system_time();
    let [cpu, memory] = [cpu.num_microseconds(), usage.max_rss()].map(|it| it as f64);
    println!("{} {wall} {}", cpu / 1000.0, memory / 1024.0);
}
