//! What is started, and by whose words: no program but sendmail, and no shell.
use std::{fs, process::Command};

use crate::support::{CHECK, LOG, MUNIN, Room, crowd, skip};

/// The programs that were executed, with their arguments, as strace(1) has them.
fn executed(room: &Room, program: &str, args: &[&str]) -> Option<Vec<String>> {
    let trace = room.path("trace");
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-s", "200", "-e", "trace=execve,execveat,fork,vfork", "-o"])
        .arg(&trace)
        .arg(program)
        .args(args)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("MP_STATE_PATH", room.path("."))
        .env("input", "listing")
        .current_dir(room.path("."))
        .stdin(std::process::Stdio::null());
    if strace.output().is_err() {
        skip("strace");
        return None;
    }
    let trace = fs::read_to_string(trace).unwrap();
    let calls = trace.lines().filter(|line| line.contains("exec") || line.contains("fork("));
    Some(calls.map(|line| line.split_once(' ').unwrap().1.trim().to_owned()).collect())
}

fn room() -> Room {
    let room = Room::new();
    room.write("listing", crowd(31, &[("203.0.113.7", 152)]));
    room.write("log", "2007-11-28T23:40:34-05:00 - 152 connections from 203.0.113.7 on $(id)\n");
    room
}

#[test]
fn nothing_is_started_where_no_mail_is_sent() {
    for (program, args) in [
        (CHECK, &["--input", "listing", "-l", "made"][..]),
        (CHECK, &["-vvv"]),
        (CHECK, &["--label", "203.0.113.7=$(id)", "--input", "`id`"]),
        (MUNIN, &["fetch"]),
        (MUNIN, &["config"]),
        (MUNIN, &["autoconf"]),
        (LOG, &["--input", "listing", "--log", "made", "--consecutive", "1"]),
        (LOG, &["report", "--log", "log"]),
        (LOG, &["report", "--log", "log", "--output", "csv"]),
    ] {
        let Some(calls) = executed(&room(), program, args) else { return };
        let own = format!("execve(\"{program}\"");
        assert!(matches!(&calls[..], [one] if one.starts_with(&own)), "{args:?}: {calls:#?}");
    }
}

#[test]
#[cfg(feature = "mail")]
fn sendmail_is_started_with_addresses_and_no_words() {
    use std::os::unix::fs::PermissionsExt;
    let room = room();
    let program = room.write("program", "");
    fs::copy("/usr/bin/cat", &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let url = format!("sendmail:{}", program.display());
    let args = ["--input", "listing", "--consecutive", "1", "--smtp", &url, "-a"];
    let names = ["a@example.com,b@example.com,c+$HOME`id`@example.com"];
    let Some(calls) = executed(&room, CHECK, &[&args[..], &names].concat()) else { return };
    let calls: Vec<_> = calls.iter().filter(|call| call.starts_with("exec")).collect();
    // The program, what it becomes where it mails, and that.
    assert_eq!(calls.len(), 3, "{calls:#?}");
    let argv = format!(
        "[\"{}\", \"-i\", \"-f\", \"a@example.com\", \"--\", \"b@example.com\", \"c+$HOME`id`@example.com\"]",
        program.display()
    );
    assert!(calls[2].contains(&argv), "{calls:#?}");
    // What begins with a hyphen is no address, and nobody is mailed.
    for names in ["-oQ/tmp@example.com,b@example.com", "a@example.com,-bd@example.com"] {
        let room = self::room();
        let Some(calls) = executed(&room, CHECK, &[&args[..], &[names]].concat()) else { return };
        assert_eq!(calls.len(), 1, "{calls:#?}");
    }
}
