//! Unusual environments, arguments and executables.
use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::symlink, process::CommandExt},
    process::{Command, Stdio},
};

use crate::support::{CHECK, CommandResult, LOG, MUNIN, TestDir, copy_program, crowd, run};

use super::invariants::{RunningCommand, assert_invariants};

const OK: &str = "0 TOPIP OK - 203.0.113.7 has 2 connections, limit 43.8";

fn test_dir() -> TestDir {
    let dir = TestDir::new();
    dir.write("listing", crowd(0, &[("203.0.113.7", 2)]));
    dir
}

/// A variable may have 128 KiB.
const LONG_VALUE_BYTES: usize = 127 * 1024;

#[test]
fn odd_time_zones_and_locales_keep_output() {
    let dir = TestDir::new();
    dir.write("listing", crowd(31, &[("203.0.113.7", 152)]));
    let long = "x".repeat(LONG_VALUE_BYTES);
    for zone in [
        "",
        ":",
        ":/etc/passwd",
        "../../x",
        "/etc",
        "/dev/null",
        ":/bin/sh",
        "Nowhere/Nothing",
        "UTC+99999999999",
        "<\u{1b}[31m>-3",
        "XXX3YYY,M13.9.9,J999",
        "\u{fffd}",
        &long,
    ] {
        for locale in ["", "C", "tr_TR.UTF-8", "de_DE@euro", "/etc/passwd", "\u{1b}[2J", &long] {
            let mut command = dir.command(&["--input", "listing", "-vv", "--state-file", "state"]);
            for name in ["LC_ALL", "LANG", "LANGUAGE", "LC_NUMERIC", "LC_TIME"] {
                command.env(name, locale);
            }
            let result = run(command.env("TZ", zone));
            assert_invariants(CHECK, &dir, &result, 10);
            assert!(
                result.status_line().contains("203.0.113.7 has 152 connections, over 28.7"),
                "{result:?}"
            );
        }
        let args = ["--input", "listing", "--consecutive", "1", "--log", "log"];
        let result = run(dir.program(LOG, &args).env("TZ", zone));
        assert_invariants(LOG, &dir, &result, 10);
        assert_eq!(result.code, Some(0), "{zone} {result:?}");
    }
    let log = fs::read_to_string(dir.path("log")).unwrap();
    for line in log.lines() {
        assert!(line.ends_with(" - 152 connections from 203.0.113.7 on input"), "{line}");
        let (time, _) = line.split_once(" - ").unwrap();
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || ": ".contains(letter);
        assert!(time.len() == 24 && time.chars().all(is_plain), "{line}");
    }
    assert_eq!(log.lines().count(), 13);
}

#[test]
fn large_environment_is_accepted() {
    let dir = test_dir();
    for program in [CHECK, MUNIN, LOG] {
        let mut command = match program {
            MUNIN => dir.program(MUNIN, &["fetch"]),
            _ => dir.program(program, &["--input", "listing"]),
        };
        for n in 0..8 {
            command.env(format!("MUCH{n}"), "y".repeat(LONG_VALUE_BYTES));
        }
        command.env(OsStr::from_bytes(b"\xff\xfe=\xff"), OsStr::from_bytes(b"\xff\x1b[31m"));
        if program == LOG {
            command.args(["--log", "log"]);
        }
        let result = run(command.env("input", "listing"));
        assert_invariants(program, &dir, &result, 10);
        assert_eq!(result.code, Some(0), "{result:?}");
    }
}

/// A missing directory for the state file is reported.
#[test]
fn odd_home_directories_are_handled() {
    for home in [None, Some(""), Some("."), Some("home"), Some("/nonexistent"), Some("/dev/null")] {
        let dir = test_dir();
        let mut command = dir.command(&["--input", "listing", "-v"]);
        command.env_remove("MP_STATE_PATH").env_remove("HOME");
        if let Some(home) = home {
            command.env("HOME", home);
        }
        let result = run(&mut command);
        assert_invariants(CHECK, &dir, &result, 10);
        assert!(result.stdout.contains("203.0.113.7 has 2 connections"), "{home:?} {result:?}");
        assert!(matches!(result.code, Some(0 | 3)), "{result:?}");
        // A relative home directory is not used.
        assert!(!dir.path("home").exists() && !dir.path(".local").exists(), "{home:?} {result:?}");
    }
}

#[test]
fn deleted_working_directory_is_handled() {
    let dir = test_dir();
    let listing = dir.path("listing");
    for args in [
        format!("--input {} --state-file state", listing.display()),
        format!("--input {}", listing.display()),
        "--input listing".to_owned(),
    ] {
        let script = format!("mkdir gone && cd gone && rmdir ../gone && exec \"$0\" {args}");
        let result = run(dir.program("sh", &["-c", &script, CHECK]).env("PATH", "/usr/bin:/bin"));
        assert_invariants(CHECK, &dir, &result, 10);
        let has_answered = result.stdout.contains("203.0.113.7 has 2 connections");
        assert!(has_answered || result.stdout.contains("cannot open listing"), "{result:?}");
        assert!(matches!(result.code, Some(0 | 3)), "{result:?}");
    }
}

#[test]
fn non_utf8_arguments_are_handled() {
    let dir = test_dir();
    let odd = OsStr::from_bytes(b"\xff\xfe\x1b[2J|\n\x00"[..8].into());
    for name in [
        "--input",
        "--state-file",
        "--exclude",
        "--warning",
        "--log",
        "--hostname",
        "--nonsense",
        "",
    ] {
        let mut args: Vec<&OsStr> = vec!["--input".as_ref(), "listing".as_ref()];
        if !name.is_empty() {
            args.push(name.as_ref());
        }
        args.push(odd);
        for program in [CHECK, LOG] {
            let mut args = args.clone();
            if program == LOG && name != "--log" {
                args.extend::<[&OsStr; 2]>(["--log".as_ref(), "log".as_ref()]);
            }
            // As a server, it is not a valid name.
            let result = run(dir.program(program, &args).env("TZ", "UTC"));
            assert_invariants(program, &dir, &result, 10);
        }
    }
    let result = run(dir.program(MUNIN, &[odd]).env("input", "listing"));
    assert_invariants(MUNIN, &dir, &result, 10);
    assert_eq!(result.code, Some(1));
    let result = run(dir.program(MUNIN, &["fetch"]).env("input", odd));
    assert_invariants(MUNIN, &dir, &result, 10);
}

/// Linux replaces it by one empty argument (since 5.18), and logs that.
#[test]
fn empty_argv_is_handled() {
    let dir = test_dir();
    let number = if cfg!(target_arch = "aarch64") { 221 } else { 59 };
    let script = format!(
        "my ($program, $none) = ($ARGV[0], pack('Q', 0)); \
         my $variable = 'input=listing'; my $state = 'MP_STATE_PATH=var'; \
         my $env = pack('p p Q', $variable, $state, 0); \
         syscall({number}, $program, $none, $env); die $!"
    );
    for program in [CHECK, MUNIN, LOG] {
        let result = run(&mut dir.program("perl", &["-e", &script, program]));
        // Without arguments, topip_log samples this host.
        if program != LOG {
            assert_invariants(program, &dir, &result, 10);
        }
        match program {
            CHECK => assert!(result.stdout.starts_with("TOPIP "), "{result:?}"),
            MUNIN => assert!(result.stdout.starts_with("connections_max.value 2\n"), "{result:?}"),
            // It writes to the system log, which may not exist.
            _ => assert!(matches!(result.code, Some(0 | 1)), "{result:?}"),
        }
    }
}

#[test]
fn odd_program_names_are_handled() {
    let dir = test_dir();
    let long = "n".repeat(LONG_VALUE_BYTES);
    for name in ["/", "//", "a/", "../..", "check_\n\u{1b}[2J", "\n", " ", "-", "--help", &long] {
        let mut command = dir.command(&["--input", "listing"]);
        let result = run(command.arg0(name));
        assert_invariants(CHECK, &dir, &result, 10);
        assert_eq!(result.code_and_status(), OK, "{name:?}");
        if name.starts_with("check_") {
            continue;
        }
        let result = run(dir.program(MUNIN, &["suggest"]).arg0(name));
        assert_eq!((result.code, &*result.stdout), (Some(1), ""), "{name:?}");
        let is_plain = |letter: char| letter == '\n' || !letter.is_control();
        assert!(result.stderr.chars().all(is_plain), "{name:?}: {result:?}");
    }
    let name = OsStr::from_bytes(b"check_\xff\xfe");
    assert_eq!(run(dir.command(&["--input", "listing"]).arg0(name)).code_and_status(), OK);
}

/// The executable is renamed, linked, copied, and removed while it runs.
#[test]
fn moved_executable_still_runs() {
    let dir = test_dir();
    copy_program(CHECK, &dir.path("check_copy"));
    fs::rename(dir.path("check_copy"), dir.path("check_renamed")).unwrap();
    fs::hard_link(dir.path("check_renamed"), dir.path("check_hard")).unwrap();
    symlink("check_renamed", dir.path("check_soft")).unwrap();
    symlink("check_soft", dir.path("anything")).unwrap();
    for name in ["check_renamed", "check_hard", "check_soft", "anything"] {
        let path = dir.path(name);
        let result = run(&mut dir.program(path.to_str().unwrap(), &["--input", "listing"]));
        assert_invariants(CHECK, &dir, &result, 10);
        assert_eq!(result.code_and_status(), OK, "{name}");
    }
    let path = dir.path("check_renamed");
    let mut command: Command = dir.program(path.to_str().unwrap(), &["--input", "-"]);
    let mut running = RunningCommand::start(command.stdin(Stdio::piped()));
    for name in ["check_renamed", "check_hard", "check_soft", "anything"] {
        fs::remove_file(dir.path(name)).unwrap();
    }
    let listing = fs::read(dir.path("listing")).unwrap();
    std::io::Write::write_all(&mut running.child.stdin.take().unwrap(), &listing).unwrap();
    let result: CommandResult = running.wait();
    assert_invariants(CHECK, &dir, &result, 10);
    assert_eq!(result.code_and_status(), OK);
}
