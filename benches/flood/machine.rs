//! Describes the machine.
use std::{fs, process::Command};

/// Returns the machine, its kernel and the versions of the tools, in one sentence.
pub fn describe() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap();
    let n_cpus = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let model = value(&cpus, "model name").unwrap_or("unknown model");
    let memory = fs::read_to_string("/proc/meminfo").unwrap();
    let kib = value(&memory, "MemTotal").unwrap().trim_end_matches(" kB");
    let gib = kib.parse::<f64>().unwrap() / f64::from(1 << 20);
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let system = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let load = fs::read_to_string("/proc/loadavg").unwrap();
    let mut sections = vec![
        format!("{n_cpus} CPUs ({model}) with {gib:.0} GiB"),
        format!("Linux {}", kernel.trim()),
        system.unwrap_or("unknown system").trim_matches('"').to_owned(),
    ];
    sections.extend(
        [
            &["getconf", "GNU_LIBC_VERSION"][..],
            &["ss", "-V"],
            &["netstat", "--version"],
            &["awk", "-W", "version"],
            &["rustc", "--version"],
        ]
        .into_iter()
        .filter_map(first_line),
    );
    sections.push(format!("load at the beginning {}", load.split(' ').next().unwrap()));
    sections.join(", ")
}

fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim())
}

fn first_line(command: &[&str]) -> Option<String> {
    let output = Command::new(command[0]).args(&command[1..]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next()?;
    // The text in parentheses is usually a date.
    let line = line.split(" (").next()?.trim_start_matches("ss utility, ");
    (!line.is_empty()).then(|| line.to_owned())
}
