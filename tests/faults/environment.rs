//! An environment, arguments and an executable that are not what anybody would
//! expect.
use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::symlink, process::CommandExt},
    process::{Command, Stdio},
};

use crate::support::{CHECK, LOG, MUNIN, Ran, Room, copy_of, crowd, run};

use super::invariants::{Running, kept};

const OK: &str = "0 TOPIP OK - 203.0.113.7 has 2 connections, limit 10";

fn room() -> Room {
    let room = Room::new();
    room.write("listing", crowd(0, &[("203.0.113.7", 2)]));
    room
}

/// A variable may have 128 KiB.
const LONG: usize = 127 * 1024;

#[test]
fn zones_and_languages_of_every_kind() {
    let room = Room::new();
    room.write("listing", crowd(31, &[("203.0.113.7", 152)]));
    let long = "x".repeat(LONG);
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
            let mut command = room.command(&["--input", "listing", "-vv", "--state-file", "state"]);
            for name in ["LC_ALL", "LANG", "LANGUAGE", "LC_NUMERIC", "LC_TIME"] {
                command.env(name, locale);
            }
            let ran = run(command.env("TZ", zone));
            kept(CHECK, &room, &ran, 10);
            assert!(ran.line().contains("203.0.113.7 has 152 connections, over 131.36"), "{ran:?}");
        }
        let args = ["--input", "listing", "--consecutive", "1", "--log", "log"];
        let ran = run(room.program(LOG, &args).env("TZ", zone));
        kept(LOG, &room, &ran, 10);
        assert_eq!(ran.code, Some(0), "{zone} {ran:?}");
    }
    let log = fs::read_to_string(room.path("log")).unwrap();
    for line in log.lines() {
        assert!(line.ends_with(" - 152 connections from 203.0.113.7 on input"), "{line}");
        let (time, _) = line.split_once(" - ").unwrap();
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || ": ".contains(letter);
        assert!(time.len() == 24 && time.chars().all(is_plain), "{line}");
    }
    assert_eq!(log.lines().count(), 13);
}

#[test]
fn an_environment_of_a_mebibyte() {
    let room = room();
    for program in [CHECK, MUNIN, LOG] {
        let mut command = match program {
            MUNIN => room.program(MUNIN, &["fetch"]),
            _ => room.program(program, &["--input", "listing"]),
        };
        for n in 0..8 {
            command.env(format!("MUCH{n}"), "y".repeat(LONG));
        }
        command.env(OsStr::from_bytes(b"\xff\xfe=\xff"), OsStr::from_bytes(b"\xff\x1b[31m"));
        if program == LOG {
            command.args(["--log", "log"]);
        }
        let ran = run(command.env("input", "listing"));
        kept(program, &room, &ran, 10);
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
}

/// Where there is no folder for the state file, that is said.
#[test]
fn homes_of_every_kind() {
    for home in [None, Some(""), Some("."), Some("home"), Some("/nonexistent"), Some("/dev/null")] {
        let room = room();
        let mut command = room.command(&["--input", "listing", "-v"]);
        command.env_remove("MP_STATE_PATH").env_remove("HOME");
        if let Some(home) = home {
            command.env("HOME", home);
        }
        let ran = run(&mut command);
        kept(CHECK, &room, &ran, 10);
        assert!(ran.stdout.contains("203.0.113.7 has 2 connections"), "{home:?} {ran:?}");
        assert!(matches!(ran.code, Some(0 | 3)), "{ran:?}");
        // One that is not given by its whole path is nobody's.
        assert!(!room.path("home").exists() && !room.path(".local").exists(), "{home:?} {ran:?}");
    }
}

#[test]
fn a_folder_that_is_gone() {
    let room = room();
    let listing = room.path("listing");
    for args in [
        format!("--input {} --state-file state", listing.display()),
        format!("--input {}", listing.display()),
        "--input listing".to_owned(),
    ] {
        let script = format!("mkdir gone && cd gone && rmdir ../gone && exec \"$0\" {args}");
        let ran = run(room.program("sh", &["-c", &script, CHECK]).env("PATH", "/usr/bin:/bin"));
        kept(CHECK, &room, &ran, 10);
        let has_answered = ran.stdout.contains("203.0.113.7 has 2 connections");
        assert!(has_answered || ran.stdout.contains("cannot open listing"), "{ran:?}");
        assert!(matches!(ran.code, Some(0 | 3)), "{ran:?}");
    }
}

#[test]
fn arguments_that_are_no_text() {
    let room = room();
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
            // Where it is a server, it is no name of one.
            let ran = run(room.program(program, &args).env("TZ", "UTC"));
            kept(program, &room, &ran, 10);
        }
    }
    let ran = run(room.program(MUNIN, &[odd]).env("input", "listing"));
    kept(MUNIN, &room, &ran, 10);
    assert_eq!(ran.code, Some(1));
    let ran = run(room.program(MUNIN, &["fetch"]).env("input", odd));
    kept(MUNIN, &room, &ran, 10);
}

/// Linux makes one empty word of it (since 5.18), and says so in its log.
#[test]
fn a_program_that_is_called_by_no_name() {
    let room = room();
    let number = if cfg!(target_arch = "aarch64") { 221 } else { 59 };
    let script = format!(
        "my ($program, $none) = ($ARGV[0], pack('Q', 0)); \
         my $variable = 'input=listing'; my $state = 'MP_STATE_PATH=var'; \
         my $env = pack('p p Q', $variable, $state, 0); \
         syscall({number}, $program, $none, $env); die $!"
    );
    for program in [CHECK, MUNIN, LOG] {
        let ran = run(&mut room.program("perl", &["-e", &script, program]));
        // With no word after it either, it looks at this machine.
        if program != LOG {
            kept(program, &room, &ran, 10);
        }
        match program {
            CHECK => assert!(ran.stdout.starts_with("TOPIP "), "{ran:?}"),
            MUNIN => assert!(ran.stdout.starts_with("connections_max.value 2\n"), "{ran:?}"),
            // Into the log of the system, which may be there or not.
            _ => assert!(matches!(ran.code, Some(0 | 1)), "{ran:?}"),
        }
    }
}

#[test]
fn names_of_every_kind() {
    let room = room();
    let long = "n".repeat(LONG);
    for name in ["/", "//", "a/", "../..", "check_\n\u{1b}[2J", "\n", " ", "-", "--help", &long] {
        let mut command = room.command(&["--input", "listing"]);
        let ran = run(command.arg0(name));
        kept(CHECK, &room, &ran, 10);
        assert_eq!(ran.answer(), OK, "{name:?}");
        if name.starts_with("check_") {
            continue;
        }
        let ran = run(room.program(MUNIN, &["suggest"]).arg0(name));
        assert_eq!((ran.code, &*ran.stdout), (Some(1), ""), "{name:?}");
        let is_plain = |letter: char| letter == '\n' || !letter.is_control();
        assert!(ran.stderr.chars().all(is_plain), "{name:?}: {ran:?}");
    }
    let name = OsStr::from_bytes(b"check_\xff\xfe");
    assert_eq!(run(room.command(&["--input", "listing"]).arg0(name)).answer(), OK);
}

/// Renamed, linked in both ways, copied; and gone before it answers.
#[test]
fn an_executable_that_is_elsewhere() {
    let room = room();
    copy_of(CHECK, &room.path("check_copy"));
    fs::rename(room.path("check_copy"), room.path("check_renamed")).unwrap();
    fs::hard_link(room.path("check_renamed"), room.path("check_hard")).unwrap();
    symlink("check_renamed", room.path("check_soft")).unwrap();
    symlink("check_soft", room.path("anything")).unwrap();
    for name in ["check_renamed", "check_hard", "check_soft", "anything"] {
        let path = room.path(name);
        let ran = run(&mut room.program(path.to_str().unwrap(), &["--input", "listing"]));
        kept(CHECK, &room, &ran, 10);
        assert_eq!(ran.answer(), OK, "{name}");
    }
    let path = room.path("check_renamed");
    let mut command: Command = room.program(path.to_str().unwrap(), &["--input", "-"]);
    let mut running = Running::start(command.stdin(Stdio::piped()));
    for name in ["check_renamed", "check_hard", "check_soft", "anything"] {
        fs::remove_file(room.path(name)).unwrap();
    }
    let listing = fs::read(room.path("listing")).unwrap();
    std::io::Write::write_all(&mut running.child.stdin.take().unwrap(), &listing).unwrap();
    let ran: Ran = running.end();
    kept(CHECK, &room, &ran, 10);
    assert_eq!(ran.answer(), OK);
}
