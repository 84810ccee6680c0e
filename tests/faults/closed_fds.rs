//! Closed standard input, output or error: output is lost, but never written into a file
//! that was opened with the same descriptor.
use std::fs;

use crate::support::{CHECK, LOG, MUNIN, TestDir, crowd, run};

use super::invariants::assert_no_leftovers;

/// All combinations of closed descriptors.
const CLOSED: [&str; 8] =
    ["", "<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"];

#[test]
fn closed_descriptors_do_not_corrupt_files() {
    for closed in CLOSED {
        for (program, args, code) in [
            (CHECK, "--input listing --consecutive 1 --log log", 2),
            (LOG, "--input listing --consecutive 1 --log log -v", 0),
            (LOG, "--input listing --consecutive 1 --log log --log none/log", 1),
            (CHECK, "--nonsense", 3),
            (LOG, "--nonsense", 2),
            (MUNIN, "fetch", 0),
            (MUNIN, "nonsense", 1),
        ] {
            let dir = TestDir::new();
            dir.write("listing", crowd(31, &[("203.0.113.7", 152)]));
            let script = format!("exec \"$0\" {args} {closed}");
            let mut command = dir.program("sh", &["-c", &script, program]);
            command.env("input", "listing").env("MP_STATE_PATH", dir.path("var"));
            let result = run(&mut command);
            assert_eq!(result.code, Some(code), "{args} {closed}: {result:?}");
            let is_open = |text: &str, number: &str| text.is_empty() || !closed.contains(number);
            assert!(is_open(&result.stderr, "2>&-"), "{result:?}");
            assert_no_leftovers(&dir);
            // Alerts are not logged if one of the logs cannot be opened.
            let is_logged = args.contains("--log log") && !args.contains("none/log");
            assert_eq!(dir.path("log").exists(), is_logged, "{args} {closed}");
            for path in files(&dir.path(".")) {
                let text = fs::read_to_string(&path).unwrap();
                let name = path.file_name().unwrap().to_str().unwrap();
                match name {
                    "listing" => continue,
                    "log" => {
                        let end = " - 152 connections from 203.0.113.7 on input\n";
                        assert!(text.ends_with(end) && text.lines().count() == 1, "{text}");
                    }
                    _ if name.ends_with(".lock") => assert_eq!(text, ""),
                    _ => {
                        assert!(name.ends_with(".ron"), "{name}");
                        assert!(text.starts_with("(\n") && text.ends_with("\n)\n"), "{text}");
                        assert!(!text.contains("TOPIP"), "{text}");
                    }
                }
            }
        }
    }
}

fn files(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// A sample without input is UNKNOWN, not OK.
#[test]
fn closed_stdin_is_unknown() {
    let dir = TestDir::new();
    let result = run(&mut dir.program("sh", &["-c", "exec \"$0\" --input - <&-", CHECK]));
    assert_eq!(result.code, Some(3), "{result:?}");
    super::invariants::assert_invariants(CHECK, &dir, &result, 10);
}

/// Output to a full device is lost, which is a failure.
#[test]
fn undeliverable_output_is_a_failure() {
    let dir = TestDir::new();
    dir.write("listing", crowd(31, &[("203.0.113.7", 152)]));
    for (program, args, code) in [
        (CHECK, "--input listing >/dev/full", 3),
        (CHECK, "--input listing --output json >/dev/full 2>&1", 3),
        (MUNIN, "fetch >/dev/full", 3),
        (MUNIN, "config >/dev/full", 3),
        (LOG, "--input listing --consecutive 1 --log log -v >/dev/full", 1),
        (LOG, "report --log log >/dev/full", 1),
        (LOG, "watch 1 --input listing >/dev/full", 1),
    ] {
        let script = format!("exec \"$0\" {args}");
        let result = run(dir.program("sh", &["-c", &script, program]).env("input", "listing"));
        assert_eq!(result.code, Some(code), "{args}: {result:?}");
        assert_no_leftovers(&dir);
    }
}
