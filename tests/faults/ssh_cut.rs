//! A session with a real sshd that breaks after any of its bytes.
use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{
    is_whole,
    status_line::{is_clean, is_in_time, is_unknown},
};
use crate::support::{
    CHECK, Ran, crowd,
    proxy::{Cut, Heard, Proxy, Then, Way},
    run,
    sshd::{World, is_possible},
};

/// How many are tried at the same time.
const AT_ONCE: usize = 8;
/// The limit of those that stall, and of the others, which do not need it.
const PATIENCE: Duration = Duration::from_secs(2);
const PLENTY: Duration = Duration::from_secs(30);

/// An sshd whose listing is always the same.
struct Stage {
    world: World,
    to: SocketAddr,
}

impl Stage {
    /// `listing` is what the server prints whatever it is asked to run.
    fn new(listing: &str) -> Self {
        let world = World::new("/bin/sh", "MaxStartups 1000\nForceCommand cat listing");
        fs::write(world.account.home.join("listing"), listing).unwrap();
        world.account.own();
        // Of any port, as the proxy has one of its own each time.
        let known = world.server.known("127.0.0.1");
        let key = known.split_once(' ').unwrap().1;
        world.room.write("known_hosts", format!("127.0.0.1 {key}"));
        let to = world.server.address().parse().unwrap();
        Self { world, to }
    }

    /// The check by way of a proxy, with a state file of that name.
    fn check(&self, cut: Option<Cut>, state: &str) -> (Ran, Heard) {
        let proxy = Proxy::start(self.to, cut);
        let limit = cut.map_or(PLENTY, |cut| limit(cut.then)).as_secs().to_string();
        let mut command = Command::new(CHECK);
        command
            .args(["-H", &format!("{}@127.0.0.1:{}", self.world.account.name, proxy.port)])
            .args(["-i", "id", "--known-hosts", "known_hosts", "--state-file", state])
            .args(["-t", &limit])
            .env_clear()
            .current_dir(self.world.room.path("."))
            .stdin(Stdio::null());
        let ran = run(&mut command);
        (ran, proxy.heard())
    }

    /// What the room has in it.
    fn files(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.world.room.path(".")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Waits until sshd serves nobody any more.
    fn is_left_alone(&self) {
        let started = Instant::now();
        let port = self.world.server.port.to_string();
        loop {
            let output = Command::new("ss")
                .args(["-Htn", "sport", "=", &port, "or", "dport", "=", &port])
                .output()
                .unwrap();
            let sockets = String::from_utf8(output.stdout).unwrap();
            // Who closes first waits for a while, without a process.
            if !sockets.lines().any(|line| line.starts_with("ESTAB")) {
                return;
            }
            assert!(started.elapsed() < Duration::from_secs(20), "{sockets}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn limit(then: Then) -> Duration {
    if then == Then::Stall { PATIENCE } else { PLENTY }
}

/// The bytes of a side up to the end of its offer of algorithms: what comes
/// behind it is a secret.
fn in_clear(said: &[u8]) -> usize {
    let banner = said.windows(2).position(|it| it == b"\r\n").unwrap() + 2;
    let length: [u8; 4] = said[banner..banner + 4].try_into().unwrap();
    banner + 4 + usize::try_from(u32::from_be_bytes(length)).unwrap()
}

/// Where a conversation is broken.
#[derive(Clone, Copy)]
struct Places {
    then: Then,
    /// Of the three tests that close, which one it is: together they try every
    /// byte that is in clear.
    turn: usize,
    /// And every so many of the others.
    step: usize,
}

impl Places {
    /// The last bytes are all tried too: there, the listing is complete.
    const LAST: usize = 60;

    fn of(self, way: Way, said: &[u8]) -> impl Iterator<Item = (Way, usize)> {
        let (clear, all) = (in_clear(said), said.len());
        let is_chosen = move |&k: &usize| match self.then {
            Then::Stall if is_whole() => k % self.step == 0,
            Then::Stall => k % (10 * self.step) == 0,
            _ if is_whole() || k + Self::LAST >= all => true,
            _ if k < clear => k % 3 == self.turn,
            _ => k % self.step == 0,
        };
        (0..=all).filter(is_chosen).map(move |k| (way, k))
    }
}

/// Whatever is cut off, the answer is UNKNOWN, unless all was there.
fn break_everywhere(listing: &str, places: Places) {
    let then = places.then;
    let stage = Stage::new(listing);
    let (whole, heard) = stage.check(None, "whole");
    assert_eq!(whole.answer(), "0 TOPIP OK - 203.0.113.7 has 9 connections, limit 14", "{whole:?}");
    let all: Vec<_> =
        places.of(Way::Down, &heard.down).chain(places.of(Way::Up, &heard.up)).collect();
    let next = AtomicUsize::new(0);
    let n_answered = AtomicUsize::new(0);
    let states: Vec<_> = (0..AT_ONCE).map(|worker| format!("state{worker}")).collect();
    let before = stage.files();
    thread::scope(|scope| {
        for state in &states {
            scope.spawn(|| {
                // A sample of before, which no run without a verdict may touch.
                stage.check(None, state);
                let file = stage.world.room.path(state);
                while let Some(&(way, after)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let sample = fs::read(&file).unwrap();
                    let (ran, _) = stage.check(Some(Cut { way, after, then }), state);
                    let told = format!("{way:?} {after} {then:?}: {ran:?}");
                    if ran.code == Some(0) {
                        is_clean(&ran);
                        assert_eq!(ran.stdout, whole.stdout, "{told}");
                        n_answered.fetch_add(1, Ordering::Relaxed);
                    } else {
                        told_of(&told, || is_unknown(&ran, "127.0.0.1"));
                        assert_eq!(fs::read(&file).unwrap(), sample, "{told}");
                        // They do know one that both have.
                        assert!(!ran.stdout.contains(": there is no "), "{told}");
                    }
                    is_in_time(&ran, limit(then));
                }
            });
        }
    });
    let n_answered = n_answered.into_inner();
    eprintln!(
        "\n{then:?} after {} of {} + {} bytes, {n_answered} times all was there",
        all.len(),
        heard.down.len(),
        heard.up.len()
    );
    // The end of a session is a fraction of it.
    assert!(n_answered * 5 < all.len(), "{n_answered} of {}", all.len());
    let mut left: BTreeSet<_> = stage.files().difference(&before).cloned().collect();
    for state in &states {
        assert!(left.remove(state), "{state}");
        left.remove(&format!("{state}.lock"));
    }
    assert!(left.is_empty(), "{left:?}");
    stage.is_left_alone();
}

fn told_of(told: &str, check: impl FnOnce()) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)).is_err() {
        panic!("{told}");
    }
}

const QUIET: [(&str, usize); 1] = [("203.0.113.7", 9)];

/// What the script prints that is run on a server.
fn marked() -> String {
    let listing = crowd(6, &QUIET);
    format!("\ntopip-begin Linux x86_64\ntopip-try netstat -nat\n{listing}\ntopip-end 0 netstat\n")
}

#[test]
fn a_session_that_is_closed_after_any_byte() {
    if is_possible() {
        break_everywhere(&marked(), Places { then: Then::Close, turn: 0, step: 23 });
    }
}

#[test]
fn a_session_that_is_reset_after_any_byte() {
    if is_possible() {
        break_everywhere(&marked(), Places { then: Then::Reset, turn: 1, step: 29 });
    }
}

#[test]
fn a_session_that_stalls_after_any_byte() {
    if is_possible() {
        break_everywhere(&marked(), Places { then: Then::Stall, turn: 0, step: 37 });
    }
}

/// A forced command has no marks: the end of the channel is all that there is.
#[test]
fn a_session_without_marks_that_is_closed_after_any_byte() {
    if is_possible() {
        break_everywhere(&crowd(6, &QUIET), Places { then: Then::Close, turn: 2, step: 31 });
    }
}
