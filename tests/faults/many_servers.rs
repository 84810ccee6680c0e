//! Many servers at once, and long listings.
use std::{
    fs,
    os::unix::net::UnixListener,
    process::{Command, Stdio},
    time::Duration,
};

use super::{
    resource_usage::{Watch, peak},
    status_line::{LATE, is_clean, is_in_time, is_unknown},
};
use crate::{
    interop::kernel::in_namespace,
    support::{
        CHECK, LOG, Ran, listing, run,
        sshd::{World, is_possible},
    },
};

const SERVERS: usize = 50;
/// What to do about too few descriptors.
const ALLOW: &str = "\nAllow it more open files (ulimit -n";

fn addresses(world: &World) -> String {
    let port = world.server.port;
    let all: Vec<_> = (1..=SERVERS).map(|host| format!("127.0.0.{host}:{port}")).collect();
    all.join(",")
}

/// The check of servers, with so many descriptors.
fn check(world: &World, servers: &str, descriptors: u32, seconds: u64) -> Ran {
    let script = format!("ulimit -n {descriptors}; exec \"$0\" \"$@\"");
    let seconds = seconds.to_string();
    let mut command = Command::new("sh");
    command
        .args(["-c", &script, CHECK, "-H", servers, "-u", &world.account.name])
        .args(["-i", "id", "--known-hosts", "known_hosts", "--no-default-excludes", "-v"])
        .args(["--state-file", "state", "-t", &seconds])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .current_dir(world.room.path("."))
        .stdin(Stdio::null());
    run(&mut command)
}

/// A world in which every server runs `command` whatever is asked.
fn world(command: &str) -> World {
    let options = "ListenAddress 0.0.0.0\nLogLevel DEBUG1\nMaxStartups 1000";
    let world = World::new("/bin/sh", &format!("{options}\nForceCommand {command}"));
    world.room.write("known_hosts", world.server.known("127.0.0.*"));
    world
}

#[test]
fn fifty_servers_cost_the_time_of_the_slowest() {
    if is_possible() {
        in_namespace(all_at_once);
    }
}

fn all_at_once() {
    let world = world("sleep 1; cat listing");
    fs::write(world.account.home.join("listing"), listing(&[("203.0.113.7", 2)])).unwrap();
    world.account.own();
    let ran = check(&world, &addresses(&world), 1024, 60);
    is_clean(&ran);
    assert!(ran.stdout.contains("\n203.0.113.7 100 connections on port 443"), "{ran:?}");
    assert!(matches!(ran.code, Some(0..=2)), "{ran:?}");
    // One after the other they would sleep for fifty seconds alone. The rest is
    // what sshd takes on two cores, with other tests beside it.
    assert!(ran.took < Duration::from_secs(25), "{:?}", ran.took);
    let log = world.room.path(&format!("log_{}", world.server.port));
    let n_of = |words: &str| fs::read_to_string(&log).unwrap().matches(words).count();
    for words in ["SSH2_MSG_NEWKEYS received", "Accepted publickey", "Starting session: "] {
        assert_eq!(n_of(words), SERVERS, "{words}");
    }
    eprintln!("\nfifty servers took {:?}", ran.took);

    // With too few descriptors for all of them, what could not be seen is said.
    let ran = check(&world, &addresses(&world), 64, 20);
    is_clean(&ran);
    is_in_time(&ran, Duration::from_secs(20));
    let n_seen = ran.stdout.matches(": 2 connections").count();
    eprintln!("\nwith 64 descriptors {n_seen} were seen: {}", ran.line());
    match n_seen {
        SERVERS => assert!(matches!(ran.code, Some(0..=2)), "{ran:?}"),
        _ => assert!(has_few_descriptors(&ran), "{ran:?}"),
    }
    let ran = check(&world, &addresses(&world), 8, 20);
    is_unknown(&ran, "127.0.0.");
    is_in_time(&ran, Duration::from_secs(20));
    assert!(has_few_descriptors(&ran), "{ran:?}");
}

/// Whatever it is that cannot be opened, it is said what is lacking.
#[test]
fn one_server_with_too_few_descriptors() {
    if !is_possible() {
        return;
    }
    let world = world("cat listing");
    fs::write(world.account.home.join("listing"), listing(&[("203.0.113.7", 2)])).unwrap();
    world.account.own();
    let server = format!("127.0.0.1:{}", world.server.port);
    let mut lacks = Vec::new();
    // Standard input, output and error are three.
    for descriptors in 3..12 {
        let ran = check(&world, &server, descriptors, 20);
        is_in_time(&ran, Duration::from_secs(20));
        match ran.code {
            Some(0..=2) => is_clean(&ran),
            // Without one more, no executable starts.
            _ if ran.stdout.is_empty() => assert!(descriptors < 4, "{ran:?}"),
            _ => {
                is_unknown(&ran, "127.0.0.1");
                assert!(ran.stdout.contains(ALLOW), "{ran:?}");
                let (lack, _) = ran.line().split_once(": Too many open files").unwrap();
                lacks.push(lack.replace(&world.server.port.to_string(), "PORT"));
            }
        }
    }
    lacks.dedup();
    assert_eq!(
        lacks,
        [
            "TOPIP UNKNOWN - cannot connect to 127.0.0.1, 127.0.0.1:PORT",
            "TOPIP UNKNOWN - cannot log in to 127.0.0.1: cannot read known_hosts",
        ]
    );
}

/// Whether it says what is lacking, and what to do about it. A server is named
/// wherever its descriptors ran out: at the connection, or at a file for it.
fn has_few_descriptors(ran: &Ran) -> bool {
    let problem = |line: &str| {
        line.starts_with("Cannot ") && line.ends_with(": Too many open files (os error 24).")
    };
    let mut problems = ran.stdout.lines().filter(|line| problem(line)).peekable();
    problems.peek().is_some()
        && problems.all(|line| line.contains(" 127.0.0."))
        && ran.stdout.contains(ALLOW)
}

/// One that stalls takes from the others nothing but the rest of the time.
#[test]
fn one_of_fifty_that_stalls() {
    if is_possible() {
        in_namespace(all_but_one);
    }
}

fn all_but_one() {
    let world = world("case $SSH_CONNECTION in *127.0.0.50*) exec sleep 60;; esac; cat listing");
    fs::write(world.account.home.join("listing"), listing(&[("203.0.113.7", 2)])).unwrap();
    world.account.own();
    let ran = check(&world, &addresses(&world), 1024, 12);
    is_clean(&ran);
    assert!(ran.took < Duration::from_secs(12) + LATE, "{:?}", ran.took);
    assert!(ran.stdout.contains("127.0.0.50]"), "{ran:?}");
    assert!(ran.stdout.contains(" gave no answer in "), "{ran:?}");
    assert!(ran.stdout.contains("\n203.0.113.7 98 connections on port 443"), "{ran:?}");
}

/// An agent that never answers keeps a look from its end. One that looks again
/// and again must not leave more and more of them behind.
#[test]
fn one_that_is_watched_and_hangs() {
    if !is_possible() {
        return;
    }
    let world = World::new("/bin/sh", "");
    let agent = world.room.path("agent");
    // The system lets them in, and nobody talks to them.
    let _silent = UnixListener::bind(&agent).unwrap();
    let server = format!("{}@{}", world.account.name, world.server.address());
    let mut command = Command::new(LOG);
    command
        .args(["watch", "1", "-t", "1", "-H", &server, "--known-hosts", "known_hosts"])
        .env_clear()
        .env("SSH_AUTH_SOCK", &agent)
        .current_dir(world.room.path("."));
    let watch = Watch::start(command, world.room.path("watched"));
    let (_, n_descriptors, n_threads) = watch.after(3);
    let (_, n_descriptors_after, n_threads_after) = watch.after(8);
    assert_eq!((n_descriptors_after, n_threads_after), (n_descriptors, n_threads));
    let told = fs::read_to_string(&watch.lines).unwrap();
    let told: Vec<_> = told.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    assert!(told[0].contains(" gave no answer in "), "{told:?}");
    assert!(told[7].ends_with(" has given no answer since an earlier look"), "{told:?}");
}

/// Hundreds of thousands of rows pass through the memory of some.
#[test]
fn a_long_listing_takes_the_memory_of_its_addresses() {
    if !is_possible() {
        return;
    }
    const ROWS: usize = 400_000;
    let world = World::new("/bin/sh", "ForceCommand cat listing");
    let mut text = listing(&[]);
    for n in 0..ROWS {
        let address = format!("203.0.{}.{}", n % 4, n % 250 + 1);
        text += &format!("tcp 0 0 192.0.2.10:443 {address}:{} ESTABLISHED\n", 1024 + n % 60_000);
    }
    fs::write(world.account.home.join("listing"), &text).unwrap();
    world.account.own();
    let mut command = world.command(&["-i", "id", "-t", "60"]);
    let (ran, peak) = peak(&mut command);
    is_clean(&ran);
    assert!(matches!(ran.code, Some(0..=2)), "{ran:?}");
    assert!(ran.stdout.contains(&format!(" connections={ROWS};")), "{ran:?}");
    eprintln!("\n{} KiB of listing took {peak} KiB and {:?}", text.len() / 1024, ran.took);
    assert!(text.len() / 1024 > 20_000 && peak < 20_000, "{peak} KiB");
}
