//! Measures `check_topip` on the list of the BPF program, compared with netlink.
use std::{fs, process::Command};

use rustix::mount::{MountFlags, mount};

use crate::{
    compare::{self, Candidate},
    discard::CONNECTED,
    flood::{Flood, Method, Namespaces},
    report::{Report, Table, code, grouped},
    sections::{check, check_by, this_program},
};

/// Loads the program into this mount namespace, as topip-bpf.service does. Returns an error
/// message if the kernel refuses it or a tool is missing.
pub fn load() -> Result<(), String> {
    const DIRECTORY: &str = "/run/topip-bpf";
    mount("tmpfs", "/run", "tmpfs", MountFlags::empty(), None).unwrap();
    fs::create_dir(DIRECTORY).unwrap();
    mount("bpffs", DIRECTORY, "bpf", MountFlags::empty(), Some(c"mode=0755")).unwrap();
    let service = include_str!("../../packaging/systemd/topip-bpf.service");
    let commands = service.lines().filter_map(|line| line.strip_prefix("ExecStart="));
    let commands: Vec<_> = commands.filter(|command| command.contains("bpftool")).collect();
    let commands = commands.join("\n").replace("/usr/lib/topip/topip.bpf.o", "topip.bpf.o");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/bpf");
    let script = format!(
        "{source}/build {source}/topip.bpf.c topip.bpf.o
        {commands}
        chmod 0644 {DIRECTORY}/sockets"
    );
    let output = Command::new("sh").args(["-e", "-c", &script]).output().unwrap();
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Measures all sizes and writes the section of the report.
pub fn walks(
    sizes: &[usize],
    per_address: Option<usize>,
    runs: usize,
    namespaces: &Namespaces,
    report: &Report,
) {
    if let Err(refusal) = load() {
        println!("The BPF program is not measured: {refusal}");
        return;
    }
    let measured: Vec<_> = sizes
        .iter()
        .map(|&n| {
            let _flood = Flood::new(n, per_address, Method::Repair, namespaces);
            let mut candidates = candidates();
            compare::alternate(&mut candidates, runs);
            candidates
        })
        .collect();
    report.section("bpf", &tables(sizes, &measured));
}

fn candidates() -> Vec<Candidate> {
    vec![
        check_by("bpf", &[]),
        check(&[]),
        check_by("auto", &[]),
        this_program("discard", &["discard", &CONNECTED.to_string()]),
        Candidate::new("ss -Htn", &["ss", "-Htn"]),
        Candidate::new("cat /run/topip-bpf/sockets", &["cat", "/run/topip-bpf/sockets"]),
        check_by("bpf", &["--port", "9"]),
        check(&["--port", "9"]),
        check_by("bpf", &["--port", "443"]),
        check(&["--port", "443"]),
    ]
}

fn tables(sizes: &[usize], measured: &[Vec<Candidate>]) -> String {
    let heading = |first: &[&str]| {
        let first = first.iter().map(|&it| it.to_owned());
        first.chain(sizes.iter().map(|&n| grouped(n))).collect::<Vec<_>>()
    };
    let mut cpu = Table::new(heading(&["CPU ms"]));
    for (index, candidate) in measured[0].iter().enumerate() {
        let costs = measured.iter().map(|it| format!("{:.1}", it[index].cost().cpu));
        cpu.row(&code(&candidate.name), costs);
    }
    let mut ratio = Table::new(heading(&["`--source bpf` takes, of what is taken by", "aim"]));
    for (index, target) in [(1, "-"), (3, "0.35"), (4, "0.12")] {
        let ratios = measured.iter().map(|it| format!("{:.2}", it[0].relative_to(&it[index])));
        ratio
            .row(&code(&measured[0][index].name), std::iter::once(target.to_owned()).chain(ratios));
    }
    let mut memory = Table::new(heading(&["peak MiB"]));
    for (index, candidate) in measured[0].iter().enumerate().take(2) {
        let peaks = measured.iter().map(|it| format!("{:.1}", it[index].cost().memory));
        memory.row(&code(&candidate.name), peaks);
    }
    format!("{cpu}\n{ratio}\n{memory}")
}
