//! Many servers at once, and long listings.
use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixListener},
    process::{Command, Stdio},
    time::Duration,
};

use super::{
    resource_usage::{WatchProcess, run_with_peak_memory},
    status_line::{MAX_DELAY, assert_clean, assert_in_time, assert_unknown},
};
use crate::{
    interop::kernel::in_namespace,
    support::{
        CHECK, CommandResult, LOG, copy_program, listing, run,
        sshd::{Agent, SshFixture, create_key, is_possible},
    },
};

const N_SERVERS: usize = 50;
/// Hint about too few descriptors.
const DESCRIPTOR_HINT: &str = "\nRaise the limit on open files (ulimit -n";

fn addresses(fixture: &SshFixture) -> String {
    let port = fixture.server.port;
    let all: Vec<_> = (1..=N_SERVERS).map(|host| format!("127.0.0.{host}:{port}")).collect();
    all.join(",")
}

/// Runs the check of servers with a limited number of descriptors.
fn check(fixture: &SshFixture, servers: &str, descriptors: u32, seconds: u64) -> CommandResult {
    let script = format!("ulimit -n {descriptors}; exec \"$0\" \"$@\"");
    let seconds = seconds.to_string();
    let mut command = Command::new("sh");
    command
        .args(["-c", &script, CHECK, "-H", servers, "-u", &fixture.account.name])
        .args(["-i", "id", "--known-hosts", "known_hosts", "--no-default-excludes", "-v"])
        .args(["--state-file", "state", "-t", &seconds])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .current_dir(fixture.dir.path("."))
        .stdin(Stdio::null());
    run(&mut command)
}

/// Creates a server that runs `command` for every request.
fn fixture(command: &str) -> SshFixture {
    let options = "ListenAddress 0.0.0.0\nLogLevel DEBUG1\nMaxStartups 1000";
    let fixture = SshFixture::new("/bin/sh", &format!("{options}\nForceCommand {command}"));
    fixture.dir.write("known_hosts", fixture.server.known_hosts_lines("127.0.0.*"));
    fixture
}

#[test]
fn fifty_servers_take_the_time_of_the_slowest() {
    if is_possible() {
        in_namespace(check_fifty_servers);
    }
}

fn check_fifty_servers() {
    let fixture = fixture("sleep 1; cat listing");
    fs::write(fixture.account.home.join("listing"), listing(&[("203.0.113.7", 2)])).unwrap();
    fixture.account.chown_home();
    let result = check(&fixture, &addresses(&fixture), 1024, 60);
    assert_clean(&result);
    assert!(result.stdout.contains("\n203.0.113.7 100 connections on port 443"), "{result:?}");
    assert!(matches!(result.code, Some(0..=2)), "{result:?}");
    // One after the other, the servers would sleep for fifty seconds. The rest is the time
    // of sshd on two cores, with other tests running.
    assert!(result.elapsed < Duration::from_secs(25), "{:?}", result.elapsed);
    let log = fixture.dir.path(&format!("log_{}", fixture.server.port));
    let n_of = |words: &str| fs::read_to_string(&log).unwrap().matches(words).count();
    for words in ["SSH2_MSG_NEWKEYS received", "Accepted publickey", "Starting session: "] {
        assert_eq!(n_of(words), N_SERVERS, "{words}");
    }
    eprintln!("\nfifty servers took {:?}", result.elapsed);

    // With too few descriptors for all servers, the failed ones are reported.
    let result = check(&fixture, &addresses(&fixture), 64, 20);
    assert_clean(&result);
    assert_in_time(&result, Duration::from_secs(20));
    let n_seen = result.stdout.matches(": 2 connections").count();
    eprintln!("\nwith 64 descriptors {n_seen} were seen: {}", result.status_line());
    match n_seen {
        N_SERVERS => assert!(matches!(result.code, Some(0..=2)), "{result:?}"),
        _ => assert!(has_few_descriptors(&result), "{result:?}"),
    }
    let result = check(&fixture, &addresses(&fixture), 8, 20);
    assert_unknown(&result, "127.0.0.");
    assert_in_time(&result, Duration::from_secs(20));
    assert!(has_few_descriptors(&result), "{result:?}");
}

/// For each file or socket that cannot be opened, the reason is reported.
#[test]
fn too_few_descriptors_for_one_server_are_reported() {
    if !is_possible() {
        return;
    }
    let fixture = fixture("cat listing");
    fs::write(fixture.account.home.join("listing"), listing(&[("203.0.113.7", 2)])).unwrap();
    fixture.account.chown_home();
    let server = format!("127.0.0.1:{}", fixture.server.port);
    let mut problems_by_limit = Vec::new();
    // Standard input, output and error take three.
    for descriptors in 3..12 {
        let result = check(&fixture, &server, descriptors, 20);
        assert_in_time(&result, Duration::from_secs(20));
        match result.code {
            Some(0..=2) => assert_clean(&result),
            // With only these, the executable does not start.
            _ if result.stdout.is_empty() => assert!(descriptors < 4, "{result:?}"),
            _ => {
                assert_unknown(&result, "127.0.0.1");
                assert!(result.stdout.contains(DESCRIPTOR_HINT), "{result:?}");
                let (problem_text, _) =
                    result.status_line().split_once(": Too many open files").unwrap();
                problems_by_limit
                    .push(problem_text.replace(&fixture.server.port.to_string(), "PORT"));
            }
        }
    }
    problems_by_limit.dedup();
    assert_eq!(
        problems_by_limit,
        [
            "TOPIP UNKNOWN - cannot connect to [127.0.0.1]:PORT, 127.0.0.1",
            "TOPIP UNKNOWN - cannot log in to [127.0.0.1]:PORT: cannot read known_hosts",
        ]
    );
}

/// A default key that cannot be opened because of the limit may be the accepted one. The agent
/// uses a descriptor that known_hosts would need.
#[test]
fn too_few_descriptors_for_a_default_key_are_reported() {
    if !is_possible() {
        return;
    }
    let fixture = SshFixture::new("/bin/sh", "ForceCommand cat listing");
    let home = &fixture.account.home;
    fs::write(home.join("listing"), listing(&[("203.0.113.7", 2)])).unwrap();
    fs::copy(&fixture.key, home.join(".ssh/id_ed25519")).unwrap();
    fs::write(home.join(".ssh/known_hosts"), fixture.server.known_hosts_lines("127.0.0.1"))
        .unwrap();
    fixture.account.chown_home();
    fs::set_permissions(fixture.dir.path("."), fs::Permissions::from_mode(0o777)).unwrap();
    let agent = Agent::for_user(&fixture.dir, &fixture.account);
    agent.add(&create_key(&fixture.dir, "stranger", &["-t", "ed25519"]));
    let program = fixture.dir.path("check");
    copy_program(CHECK, &program);
    let mut problems = Vec::new();
    for descriptors in 4..16 {
        let script = format!("ulimit -n {descriptors}; exec \"$0\" \"$@\"");
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", &fixture.account.name, "--clear-groups", "sh", "-c", &script])
            .arg(&program)
            .args(["-H", &fixture.server.address(), "--no-default-excludes"])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("MP_STATE_PATH", home)
            .env("SSH_AUTH_SOCK", &agent.socket)
            .stdin(Stdio::null());
        let result = run(&mut command);
        if !matches!(result.code, Some(0..=2)) {
            assert!(result.stdout.contains("Too many open files"), "{descriptors}: {result:?}");
            problems.push(result.status_line().to_owned());
        }
    }
    let is_key_problem = |line: &String| line.contains("id_ed25519: Too many open files");
    assert!(problems.iter().any(is_key_problem), "{problems:?}");
}

/// Returns whether the descriptor limit and the hint are reported. The message names the server
/// whether the connection or a file for it lacked a descriptor.
fn has_few_descriptors(result: &CommandResult) -> bool {
    let problem = |line: &str| {
        line.starts_with("Cannot ") && line.ends_with(": Too many open files (os error 24).")
    };
    let mut problems = result.stdout.lines().filter(|line| problem(line)).peekable();
    problems.peek().is_some()
        && problems.all(|line| line.contains("[127.0.0."))
        && result.stdout.contains(DESCRIPTOR_HINT)
}

/// A stalled server uses up the remaining time, but does not affect the other servers.
#[test]
fn one_stalled_server_of_fifty_is_reported() {
    if is_possible() {
        in_namespace(check_with_one_stalled);
    }
}

fn check_with_one_stalled() {
    let fixture =
        fixture("case $SSH_CONNECTION in *127.0.0.50*) exec sleep 60;; esac; cat listing");
    fs::write(fixture.account.home.join("listing"), listing(&[("203.0.113.7", 2)])).unwrap();
    fixture.account.chown_home();
    let result = check(&fixture, &addresses(&fixture), 1024, 12);
    assert_clean(&result);
    assert!(result.elapsed < Duration::from_secs(12) + MAX_DELAY, "{:?}", result.elapsed);
    assert!(result.stdout.contains("127.0.0.50]"), "{result:?}");
    assert!(result.stdout.contains(" gave no answer in "), "{result:?}");
    assert!(result.stdout.contains("\n203.0.113.7 98 connections on port 443"), "{result:?}");
}

/// An agent that never replies blocks its thread. A watch must not accumulate such threads.
#[test]
fn watch_of_hanging_agent_does_not_leak() {
    if !is_possible() {
        return;
    }
    let fixture = SshFixture::new("/bin/sh", "");
    let agent = fixture.dir.path("agent");
    // The kernel accepts the connections, but nothing replies.
    let _silent = UnixListener::bind(&agent).unwrap();
    let server = format!("{}@{}", fixture.account.name, fixture.server.address());
    let mut command = Command::new(LOG);
    command
        .args(["watch", "1", "-t", "1", "-H", &server, "--known-hosts", "known_hosts"])
        .env_clear()
        .env("SSH_AUTH_SOCK", &agent)
        .current_dir(fixture.dir.path("."));
    let watch = WatchProcess::start(command, fixture.dir.path("watched"));
    let (_, n_descriptors, n_threads) = watch.usage_after(3);
    let (_, n_descriptors_after, n_threads_after) = watch.usage_after(8);
    assert_eq!((n_descriptors_after, n_threads_after), (n_descriptors, n_threads));
    let lines = fs::read_to_string(&watch.lines).unwrap();
    let lines: Vec<_> = lines.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    assert!(lines[0].contains(" gave no answer in "), "{lines:?}");
    assert!(lines[7].ends_with(" has not answered an earlier request yet"), "{lines:?}");
}

/// Hundreds of thousands of rows are parsed as a stream.
#[test]
fn long_listing_uses_bounded_memory() {
    if !is_possible() {
        return;
    }
    const ROWS: usize = 400_000;
    let fixture = SshFixture::new("/bin/sh", "ForceCommand cat listing");
    let mut text = listing(&[]);
    for n in 0..ROWS {
        let address = format!("203.0.{}.{}", n % 4, n % 250 + 1);
        text += &format!("tcp 0 0 192.0.2.10:443 {address}:{} ESTABLISHED\n", 1024 + n % 60_000);
    }
    fs::write(fixture.account.home.join("listing"), &text).unwrap();
    fixture.account.chown_home();
    let mut command = fixture.command(&["-i", "id", "-t", "60"]);
    let (result, peak) = run_with_peak_memory(&mut command);
    assert_clean(&result);
    assert!(matches!(result.code, Some(0..=2)), "{result:?}");
    assert!(result.stdout.contains(&format!(" connections={ROWS};")), "{result:?}");
    eprintln!("\n{} KiB of listing took {peak} KiB and {:?}", text.len() / 1024, result.elapsed);
    assert!(text.len() / 1024 > 20_000 && peak < 20_000, "{peak} KiB");
}
