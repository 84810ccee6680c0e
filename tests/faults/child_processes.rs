//! The programs start no child process except sendmail and an SSH client, and no shell.
use std::{fs, process::Command};

use crate::support::{CHECK, LOG, MUNIN, TestDir, crowd, skip};

/// Returns the executed programs with their arguments, as traced by strace(1).
fn executed_programs(dir: &TestDir, program: &str, args: &[&str]) -> Option<Vec<String>> {
    let trace = dir.path("trace");
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-s", "200", "-e", "trace=execve,execveat,fork,vfork", "-o"])
        .arg(&trace)
        .arg(program)
        .args(args)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("MP_STATE_PATH", dir.path("."))
        .env("input", "listing")
        .current_dir(dir.path("."))
        .stdin(std::process::Stdio::null());
    if strace.output().is_err() {
        skip("strace");
        return None;
    }
    let trace = fs::read_to_string(trace).unwrap();
    let calls = trace.lines().filter(|line| line.contains("exec") || line.contains("fork("));
    Some(calls.map(|line| line.split_once(' ').unwrap().1.trim().to_owned()).collect())
}

fn test_dir() -> TestDir {
    let dir = TestDir::new();
    dir.write("listing", crowd(31, &[("203.0.113.7", 152)]));
    dir.write("log", "2007-11-28T23:40:34-05:00 - 152 connections from 203.0.113.7 on $(id)\n");
    dir
}

#[test]
fn no_program_is_started_without_mail() {
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
        let Some(calls) = executed_programs(&test_dir(), program, args) else { return };
        let own = format!("execve(\"{program}\"");
        assert!(matches!(&calls[..], [one] if one.starts_with(&own)), "{args:?}: {calls:#?}");
    }
}

/// Not even topip-remote: an external client needs no SSH library.
#[test]
fn rsh_starts_one_program() {
    for client in ["/bin/true $(id) `id`", "true ; id", "'/bin/true' | id"] {
        let args = ["--rsh", client, "-H", "web1,web1"];
        let Some(calls) = executed_programs(&test_dir(), CHECK, &args) else { return };
        let own = format!("execve(\"{CHECK}\"");
        // A name without a slash is tried in each directory of PATH.
        let (first, other) = calls.split_first().unwrap();
        assert!(first.starts_with(&own), "{calls:#?}");
        let n_started = other.iter().filter(|call| call.ends_with(" = 0")).count();
        assert!(n_started == 1 && other.iter().all(|call| call.contains("true\"")), "{calls:#?}");
    }
}

#[test]
#[cfg(feature = "mail")]
fn sendmail_receives_only_addresses() {
    use std::os::unix::fs::PermissionsExt;
    let dir = test_dir();
    let program = dir.write("program", "");
    fs::copy("/usr/bin/cat", &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let url = format!("sendmail:{}", program.display());
    let args = ["--input", "listing", "--consecutive", "1", "--smtp", &url, "-a"];
    let names = ["a@example.com,b@example.com,c+$HOME`id`@example.com"];
    let Some(calls) = executed_programs(&dir, CHECK, &[&args[..], &names].concat()) else { return };
    let calls: Vec<_> = calls.iter().filter(|call| call.starts_with("exec")).collect();
    // check_topip, topip-remote and sendmail.
    assert_eq!(calls.len(), 3, "{calls:#?}");
    let argv = format!(
        "[\"{}\", \"-i\", \"-f\", \"a@example.com\", \"--\", \"b@example.com\", \"c+$HOME`id`@example.com\"]",
        program.display()
    );
    assert!(calls[2].contains(&argv), "{calls:#?}");
    // A word that begins with a hyphen is not an address, and no mail is sent.
    for names in ["-oQ/tmp@example.com,b@example.com", "a@example.com,-bd@example.com"] {
        let dir = self::test_dir();
        let Some(calls) = executed_programs(&dir, CHECK, &[&args[..], &[names]].concat()) else {
            return;
        };
        assert_eq!(calls.len(), 1, "{calls:#?}");
    }
}
