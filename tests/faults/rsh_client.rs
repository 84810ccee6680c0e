//! External SSH clients that hang, flood, fail, or leave processes behind.
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::Command,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::support::{CHECK, CommandResult, LOG, MUNIN, TestDir, run};

use super::{
    invariants::{RunningCommand, assert_invariants, assert_no_leftovers, wait_until},
    output_integrity::{HOSTILE_TEXTS, assert_nagios},
};

/// Header of a listing, as the script on a server prints it.
const START: &str = "echo topip-begin Linux x86_64; echo topip-try ss -tan; \
                     echo State Recv-Q Send-Q Local Address:Port Peer Address:Port;";
const ROW: &str = "ESTAB 0 0 192.0.2.10:443 203.0.113.7:50000";

/// Creates a client that runs this script.
fn client(dir: &TestDir, script: &str) {
    let path = dir.write("client", format!("#!/bin/sh\n{script}\n"));
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Returns a run of `program` by the client, with bounded memory.
fn command(dir: &TestDir, program: &str, timeout: u32) -> Command {
    let script = "ulimit -v 400000; exec \"$0\" \"$@\"";
    let timeout = timeout.to_string();
    let args = match program {
        MUNIN => vec!["fetch"],
        _ => vec!["--rsh", "./client", "-H", "web1", "--state-file", "state", "-t", &timeout],
    };
    let mut command = dir.program("sh", &[&["-c", script, program], &args[..]].concat());
    command.env("rsh", "./client").env("hostname", "web1").env("timeout", &timeout);
    command.env("PATH", "/usr/bin:/bin");
    command
}

fn check(script: &str, timeout: u32) -> CommandResult {
    let dir = TestDir::new();
    client(&dir, script);
    let result = run(&mut command(&dir, CHECK, timeout));
    assert_invariants(CHECK, &dir, &result, timeout.into());
    result
}

#[test]
fn listing_of_a_client_is_read() {
    let result = check(&format!("{START} echo {ROW}; echo topip-end 0 ss -tan"), 10);
    assert_eq!(result.code, Some(0), "{result:?}");
    assert!(result.status_line().contains("203.0.113.7 has 1 connection"), "{result:?}");
}

/// Standard error that does not end, and a child in the background, do not delay the run.
#[test]
fn background_process_of_client_is_not_waited_for() {
    let dir = TestDir::new();
    let end = "echo topip-end 0 ss -tan; echo $! >pid";
    client(&dir, &format!("sleep 60 >/dev/null </dev/null & {START} echo {ROW}; {end}"));
    let result = run(&mut command(&dir, CHECK, 10));
    assert_eq!(result.code, Some(0), "{result:?}");
    assert!(result.elapsed < Duration::from_secs(5), "{result:?}");
    // The child process keeps running, as a master connection does.
    let pid = fs::read_to_string(dir.path("pid")).unwrap();
    assert!(Command::new("kill").arg(pid.trim()).status().unwrap().success());
    assert_no_leftovers(&dir);
}

#[test]
fn failing_client_is_unknown() {
    for (script, expected) in [
        ("exit 255", "web1: client: ended with exit status 255"),
        ("echo no >&2; exit 255", "web1: client: no"),
        ("echo a >&2; echo client: b. >&2; echo >&2; exit 255", "web1: client: a; client: b"),
        ("echo no >&2; exit 1", "web1: client: ended with exit status 1 (no)"),
        ("kill -9 $$", "web1: client: ended with signal 9"),
        ("exec >&-; kill -TERM $$", "web1: client: ended with signal 15"),
        ("exit 0", "web1 gave no listing: the command printed nothing"),
        ("echo topip-begin Linux x; exit 255", "web1 gave no listing: the command printed nothing"),
        ("echo topip-begin", "web1 gave no listing: the command printed nothing"),
        ("echo Welcome; exit 1", "cannot read web1: the client ended with exit status 1 (Welcome)"),
    ] {
        let status = check(script, 10).code_and_status();
        assert_eq!(status, format!("3 TOPIP UNKNOWN - {expected}"), "{script}");
    }
    for (end, expected) in [
        ("exit 255", "the client ended with exit status 255"),
        ("kill -9 $$", "the client ended with signal 9"),
        ("exit 0", "the output ended early"),
        ("echo; echo topip-end 1 ss; exit 127", "ss -tan ended with exit status 1"),
    ] {
        let status = check(&format!("{START} echo {ROW}; {end}"), 10).code_and_status();
        assert_eq!(status, format!("3 TOPIP UNKNOWN - cannot read web1: {expected}"), "{end}");
    }
}

/// The client and its children end with the run, at every point of the listing.
#[test]
fn hanging_client_ends_with_the_run() {
    let hang = "sleep 60 & sleep 60";
    for (script, activity) in [
        (hang.to_owned(), "waiting for client"),
        (format!("exec >&-; {hang}"), "waiting for client"),
        (format!("exec 2>&-; trap '' TERM INT HUP; {hang}"), "waiting for client"),
        (format!("echo topip-begin Linux x86_64; {hang}"), "waiting for client"),
        (format!("{START} {hang}"), "running ss -tan (Linux)"),
        (format!("{START} echo {ROW}; {hang}"), "running ss -tan (Linux)"),
        (format!("(setsid true; {hang}) & {START} wait"), "running ss -tan (Linux)"),
    ] {
        let status = check(&script, 1).code_and_status();
        let expected = format!("3 TOPIP UNKNOWN - web1 gave no answer in 1 s (while {activity})");
        assert_eq!(status, expected, "{script}");
    }
    // The listing is complete, so the run does not wait for the end of the client.
    let started = Instant::now();
    let end = "echo; echo topip-end 0 ss -tan;";
    let result = check(&format!("{START} echo {ROW}; {end} {hang}"), 10);
    assert_eq!(result.code, Some(0), "{result:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn flooding_client_uses_bounded_memory_and_time() {
    for script in [
        "yes",
        "cat /dev/zero",
        "cat /dev/zero >&2",
        "yes >&2 & yes",
        "exec >&-; yes >&2",
        &format!("{START} yes {ROW}"),
        &format!("{START} yes {ROW} & yes >&2"),
        &format!("{START} echo {ROW}; echo; echo topip-end 0 ss; yes"),
    ] {
        let result = check(script, 2);
        let line = result.status_line();
        let is_late = line.contains(" gave no answer in 2 s (while ");
        let is_long = line.contains("the command wrote more than 256 MiB");
        let is_complete = script.contains("topip-end") && result.code == Some(0);
        assert!(is_late || is_long || is_complete, "{script}: {result:?}");
    }
}

#[test]
fn signals_end_run_and_client() {
    for program in [CHECK, MUNIN, LOG] {
        for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
            let dir = TestDir::new();
            client(&dir, "trap '' TERM INT HUP QUIT; echo $$ >started; sleep 60 & sleep 60");
            let mut running = RunningCommand::start(&mut command(&dir, program, 60));
            wait_until(|| {
                fs::read_to_string(dir.path("started")).is_ok_and(|it| it.ends_with('\n'))
            });
            running.send_signal(signal);
            let result = running.wait();
            assert_invariants(program, &dir, &result, 0);
            let text = format!("{}{}", result.stdout, result.stderr);
            assert!(text.contains("ended by SIG"), "{result:?}");
        }
    }
}

/// A watch starts a client for each sample: one that hangs ends with the sample, and the
/// last one with the watch.
#[test]
fn watch_leaves_no_clients() {
    let dir = TestDir::new();
    client(&dir, "echo >>started; sleep 60 & sleep 60");
    let args = ["watch", "1", "--rsh", "./client", "-H", "web1", "-t", "1"];
    let mut command = dir.program(LOG, &args);
    let mut running = RunningCommand::start(command.env("PATH", "/usr/bin:/bin"));
    wait_until(|| fs::read(dir.path("started")).is_ok_and(|it| it.len() >= 3));
    let children = fs::read_dir(format!("/proc/{}/task", running.child.id())).unwrap();
    let children =
        children.map(|thread| fs::read_to_string(thread.unwrap().path().join("children")));
    let n_children: usize = children.map(|it| it.unwrap().split_whitespace().count()).sum();
    assert_eq!(n_children, 1);
    running.send_signal(Signal::TERM);
    let result = running.wait();
    assert_eq!(result.code, Some(0), "{result:?}");
    assert_no_leftovers(&dir);
}

/// Several clients at once end with the run, including those that are being started.
#[test]
fn signal_ends_all_clients() {
    let dir = TestDir::new();
    client(&dir, "echo >>started; sleep 60 & sleep 60");
    let servers: Vec<_> = (1..=50).map(|n| format!("web{n}")).collect();
    let args = ["--rsh", "./client", "-H", &servers.join(","), "-t", "60"];
    let mut check = dir.command(&args);
    check.env("PATH", "/usr/bin:/bin");
    for n_started in [1, 5, 50] {
        let _ = fs::remove_file(dir.path("started"));
        let mut running = RunningCommand::start(&mut check);
        wait_until(|| fs::read(dir.path("started")).is_ok_and(|it| it.len() >= n_started));
        running.send_signal(Signal::TERM);
        let result = running.wait();
        assert_invariants(CHECK, &dir, &result, 0);
    }
}

#[test]
fn too_few_descriptors_are_reported() {
    let dir = TestDir::new();
    client(&dir, &format!("{START} echo {ROW}; echo topip-end 0 ss"));
    for n_descriptors in 4..16 {
        let script = format!("ulimit -n {n_descriptors}; exec \"$0\" \"$@\"");
        let args = ["-c", &script, CHECK, "--rsh", "./client", "-H", "web1"];
        let result = run(&mut dir.program("sh", &args));
        assert_invariants(CHECK, &dir, &result, 10);
        let text = result.status_line();
        assert!(!text.contains("internal error"), "{n_descriptors}: {result:?}");
    }
}

/// Output of a client and of the server behind it, on both streams.
#[test]
fn client_output_does_not_change_output() {
    for hostile_text in HOSTILE_TEXTS {
        let dir = TestDir::new();
        dir.write("text", hostile_text);
        for script in [
            "cat text >&2; exit 255".to_owned(),
            "cat text; exit 255".to_owned(),
            "cat text text text >&2; exit 1".to_owned(),
            format!("{START} cat text; echo; echo topip-end 1 ss"),
            "echo; printf 'topip-begin '; cat text; echo; echo topip-try ss; cat text".to_owned(),
            "echo; echo topip-begin a; printf 'topip-try '; cat text; echo; cat text >&2"
                .to_owned(),
        ] {
            client(&dir, &script);
            let mut check = command(&dir, CHECK, 10);
            let result = run(check.arg("-vvv"));
            let context = format!("{script} {:?}", String::from_utf8_lossy(hostile_text));
            assert_nagios(&result, &context);
        }
    }
}

/// Signals that are blocked in the run are not blocked in the client, so that they can end it.
/// SIGPIPE is not ignored in the client.
#[test]
fn client_has_default_signals() {
    let dir = TestDir::new();
    for (name, signals) in [("SigBlk", u64::MAX), ("SigIgn", 1 << (Signal::PIPE.as_raw() - 1))] {
        // With the options for a client, grep prints lines that match as a whole.
        let client = format!("grep -s '{name}.*' /proc/self/status");
        let status = dir.check(&["--rsh", &client, "-H", "web1"]).code_and_status();
        let (_, mask) = status.split_once(&format!("{name}: ")).expect(&status);
        let mask = u64::from_str_radix(mask.trim_end_matches(')'), 16).expect(&status);
        assert_eq!(mask & signals, 0, "{status}");
    }
}

/// The words for the client: options, port, user, `--`, host, and one word for the server.
#[test]
fn client_receives_fixed_words() {
    let dir = TestDir::new();
    client(&dir, "for word; do echo \"[$word]\"; done >words; env >env; exit 255");
    let words = |args: &[&str]| {
        let mut check =
            dir.command(&[&["--rsh", "./client '$HOME `id`' \"a b\" *"], args].concat());
        run(check.env("PATH", "/usr/bin:/bin"));
        fs::read_to_string(dir.path("words")).unwrap()
    };
    let first = "[$HOME `id`]\n[a b]\n[*]\n[-T]\n[-x]\n[-a]\n[-o]\n[BatchMode=yes]\n[-o]\n\
                 [LogLevel=ERROR]\n[-o]\n[ClearAllForwardings=yes]\n[-o]\n[RemoteCommand=none]\n";
    let script = "[sh -c 'LC_ALL=C; ";
    let all = words(&["-H", "web1"]);
    assert!(all.starts_with(&format!("{first}[--]\n[web1]\n{script}")), "{all}");
    assert_eq!(all.lines().count(), first.lines().count() + 3, "{all}");
    let all = words(&["--hostname=-x$(id)@[fe80::1%eth0]:2222", "--command", "-id; a"]);
    let expected =
        format!("{first}[-p]\n[2222]\n[-l]\n[-x$(id)]\n[--]\n[fe80::1%eth0]\n[-id; a]\n");
    assert_eq!(all, expected);
    for host in ["-oProxyCommand=id", "web1;id", "", "a b", "$(id)", "web1:99999"] {
        let _ = fs::remove_file(dir.path("words"));
        let result = dir.check(&["--rsh", "./client", "-H", host]);
        assert!(result.code_and_status().starts_with("3 TOPIP UNKNOWN - "), "{host}");
        assert!(!dir.path("words").exists(), "{host}");
    }
}
