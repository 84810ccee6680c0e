//! Many writers and logrotate at the same time: no line is lost or mixed up.
use std::{
    collections::BTreeSet,
    env, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use topip::storage::log_file;

use crate::support::{PACKAGE_DIR, TestDir, run, skip};

const WRITERS: usize = 8;
const LINES: usize = 10_000;
const WRITER_TEST: &str = "interop::logrotate::writer_process";

fn line(writer: usize, n: usize) -> String {
    // Lines have different lengths, so that overwritten lines are noticeable.
    let server = "x".repeat(n % 50 + 1);
    format!("2026-11-22T10:00:00+01:00 - {n} connections from 203.0.113.{writer} on {server}")
}

/// Process that the test below starts.
#[test]
#[ignore = "it is a part of rotation_loses_and_mixes_no_lines"]
fn writer_process() {
    let path = PathBuf::from(env::var_os("LOG").unwrap());
    let writer = env::var("WRITER").unwrap().parse().unwrap();
    for n in 1..=LINES {
        let deadline = Instant::now() + Duration::from_secs(30);
        log_file::append(&path, &line(writer, n), deadline).unwrap();
    }
}

fn has_logrotate() -> bool {
    Command::new("logrotate").arg("--version").output().is_ok()
}

fn rotate(config: &Path, state: &Path) {
    let result = run(Command::new("logrotate").arg("-f").arg("-s").arg(state).arg(config));
    assert_eq!(result.code, Some(0), "{}", result.stderr);
}

#[test]
fn rotation_loses_and_mixes_no_lines() {
    if !has_logrotate() {
        return skip("logrotate");
    }
    let dir = TestDir::new();
    let log = dir.path("topip.log");
    let packaged =
        fs::read_to_string(Path::new(PACKAGE_DIR).join("packaging/logrotate/topip")).unwrap();
    assert!(!packaged.contains("\n    copytruncate"), "{packaged}");
    // The packaged configuration, except for the path and the number of files.
    let config = packaged.replace("/var/log/topip.log", log.to_str().unwrap());
    let config = config.replace("rotate 12", "rotate 5000");
    let (config, state) = (dir.write("config", config), dir.path("state"));
    let mut writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            Command::new(env::current_exe().unwrap())
                .args(["--exact", WRITER_TEST, "--ignored", "--quiet"])
                .env("LOG", &log)
                .env("WRITER", writer.to_string())
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut n_rotations = 0;
    while writers.iter_mut().any(|it| it.try_wait().unwrap().is_none()) {
        if log.exists() {
            rotate(&config, &state);
            n_rotations += 1;
        }
        // With delaycompress, a writer that has just opened the log can write to it until the
        // next rotation.
        thread::sleep(Duration::from_millis(100));
    }
    for writer in &mut writers {
        assert!(writer.wait().unwrap().success());
    }
    assert!(n_rotations > 3, "{n_rotations} rotations are too few");
    let all = run(Command::new("sh").args(["-c", "zcat -f \"$0\"*", log.to_str().unwrap()]));
    let mut expected: BTreeSet<_> =
        (0..WRITERS).flat_map(|writer| (1..=LINES).map(move |n| line(writer, n))).collect();
    for line in all.stdout.lines() {
        assert!(expected.remove(line), "twice, or mixed: {line}");
    }
    assert!(
        expected.is_empty(),
        "{} lines are lost, such as {:?}",
        expected.len(),
        expected.first()
    );
    let result = dir.run_log(&["report", "--log", "topip.log", "--output", "csv"]);
    assert_eq!((result.code, &*result.stderr), (Some(0), ""));
    for writer in 0..WRITERS {
        let row = format!("\n203.0.113.{writer},{LINES},{LINES},");
        assert!(result.stdout.contains(&row), "{}", result.stdout);
    }
}

#[test]
fn packaged_rotation_keeps_mode() {
    if !has_logrotate() {
        return skip("logrotate");
    }
    let dir = TestDir::new();
    let log = dir.path("topip.log");
    let packaged =
        fs::read_to_string(Path::new(PACKAGE_DIR).join("packaging/logrotate/topip")).unwrap();
    let config = packaged.replace("/var/log/topip.log", log.to_str().unwrap());
    let (config, state) = (dir.write("config", config), dir.path("state"));
    let deadline = Instant::now() + Duration::from_secs(5);
    for n in 1..=3 {
        log_file::append(&log, &line(1, n), deadline).unwrap();
        rotate(&config, &state);
    }
    let names: BTreeSet<_> = fs::read_dir(dir.path("."))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("topip.log"))
        .collect();
    assert_eq!(
        names.iter().collect::<Vec<_>>(),
        ["topip.log", "topip.log.1", "topip.log.2.gz", "topip.log.3.gz"]
    );
    for name in names {
        assert_eq!(fs::metadata(dir.path(&name)).unwrap().mode() & 0o777, 0o640, "{name}");
    }
    // The report also reads rotated files if the current log is empty.
    let result = dir.run_log(&["report", "--log", "topip.log", "--output", "csv"]);
    assert!(result.stdout.contains("\n203.0.113.1,3,3,"), "{result:?}");
    assert_eq!((result.code, &*result.stderr), (Some(0), ""));
}
