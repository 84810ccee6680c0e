//! Fuzz findings and all fixtures satisfy the invariants of `fuzz/src`, as far as the
//! public interface of the library reaches.
use std::{fs, path::PathBuf};

use proptest::prelude::*;

use crate::support;

#[path = "../../fuzz/src/bpf_walk.rs"]
mod bpf_walk;
#[path = "../../fuzz/src/inet_diag.rs"]
mod inet_diag;
#[path = "../../fuzz/src/listing.rs"]
mod listing;
#[path = "../../fuzz/src/log_line.rs"]
mod log_line;
#[path = "../../fuzz/src/log_reader.rs"]
mod log_reader;
#[path = "../../fuzz/src/report.rs"]
mod report;
#[path = "../../fuzz/src/room.rs"]
mod room;
#[path = "../../fuzz/src/state_file.rs"]
mod state_file;
#[path = "../../fuzz/src/values.rs"]
mod values;

type Check = fn(&[u8]);

const CHECKS: [(&str, Check); 8] = [
    ("bpf_walk", bpf_walk::check),
    ("inet_diag", inet_diag::check),
    ("listing", listing::check),
    ("log_line", log_line::check),
    ("log_reader", log_reader::check),
    ("report", report::check),
    ("state_file", state_file::check),
    ("values", values::check),
];

/// Returns the findings of a fuzz target, by name.
fn findings(target: &str) -> Vec<PathBuf> {
    let directory = support::test_file("fixtures/hostile").join(target);
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut findings: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    findings.sort();
    findings
}

#[test]
fn fuzz_findings_stay_fixed() {
    let mut n_found = 0;
    for (target, check) in CHECKS {
        for path in findings(target) {
            eprintln!("{}", path.display());
            check(&fs::read(path).unwrap());
            n_found += 1;
        }
    }
    let directories = fs::read_dir(support::test_file("fixtures/hostile")).unwrap();
    let names: Vec<_> = directories.map(|it| it.unwrap().file_name()).collect();
    let is_replayed = |name| CHECKS.iter().any(|(target, _)| *target == name);
    assert!(names.iter().all(|name| is_replayed(name.to_str().unwrap())), "{names:?}");
    assert!(n_found >= names.len());
}

#[test]
fn fixtures_satisfy_fuzz_invariants() {
    for path in crate::cli::fixtures::listings() {
        eprintln!("{}", path.display());
        let bytes = fs::read(path).unwrap();
        listing::check(&bytes);
        // Truncated listings, and listings for the wrong parser, satisfy them as well.
        listing::check(&bytes[..bytes.len() / 3]);
        listing::check(&bytes[bytes.len() / 2..]);
        for (_, check) in CHECKS {
            check(&bytes[..bytes.len().min(2000)]);
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_satisfy_fuzz_invariants(
        heading in prop::sample::select(vec![
            "",
            "Proto Recv-Q\n",
            "  sl  local_address rem_address   st tx_queue\n",
            "TCP: IPv4\n",
            "tcp 6 9 CLOSE src=203.0.113.7 dst=192.0.2.1 sport=1 dport=80 src=10.1.0.2\n",
        ]),
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        listing::check(&[heading.as_bytes(), &bytes].concat());
        inet_diag::check(&bytes);
        bpf_walk::check(&bytes);
        let head = [&b"topipbpf"[..], &[1, 0, 0, 0, 24, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0]].concat();
        bpf_walk::check(&[&head, &bytes[..]].concat());
        log_line::check(&bytes);
    }
}

/// `.cargo/config.toml` turns off the files of failed property tests.
#[test]
fn property_tests_write_no_files_in_ci() {
    if std::env::var_os("CI").is_some() {
        assert!(ProptestConfig::default().failure_persistence.is_none());
    }
}
