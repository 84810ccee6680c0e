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
    is_exhaustive,
    status_line::{assert_clean, assert_in_time, assert_unknown},
};
use crate::support::{
    CHECK, CommandResult, crowd,
    proxy::{Cut, Direction, Failure, Proxy, Traffic},
    run,
    sshd::{SshFixture, is_possible},
};

/// Number of concurrent runs.
const N_WORKERS: usize = 8;
/// Timeout of sessions that stall, and of the others, which do not reach it.
const STALL_TIMEOUT: Duration = Duration::from_secs(2);
const LONG_TIMEOUT: Duration = Duration::from_secs(30);

/// An sshd that always prints the same listing.
struct SshCutFixture {
    fixture: SshFixture,
    server_address: SocketAddr,
}

impl SshCutFixture {
    /// Creates a server that prints `listing` for every request.
    fn new(listing: &str) -> Self {
        let fixture = SshFixture::new("/bin/sh", "MaxStartups 1000\nForceCommand cat listing");
        fs::write(fixture.account.home.join("listing"), listing).unwrap();
        fixture.account.chown_home();
        // For any port, because each proxy has its own.
        let known = fixture.server.known_hosts_lines("127.0.0.1");
        let key = known.split_once(' ').unwrap().1;
        fixture.dir.write("known_hosts", format!("127.0.0.1 {key}"));
        let server_address = fixture.server.address().parse().unwrap();
        Self { fixture, server_address }
    }

    /// Runs the check through a proxy, with this state file.
    fn check(&self, cut: Option<Cut>, state: &str) -> (CommandResult, Traffic) {
        let proxy = Proxy::start(self.server_address, cut);
        let timeout =
            cut.map_or(LONG_TIMEOUT, |cut| timeout_for(cut.failure)).as_secs().to_string();
        let mut command = Command::new(CHECK);
        command
            .args(["-H", &format!("{}@127.0.0.1:{}", self.fixture.account.name, proxy.port)])
            .args(["-i", "id", "--known-hosts", "known_hosts", "--state-file", state])
            .args(["-t", &timeout])
            .env_clear()
            .current_dir(self.fixture.dir.path("."))
            .stdin(Stdio::null());
        let result = run(&mut command);
        (result, proxy.wait())
    }

    /// Returns the names of the files in the test directory.
    fn files(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.fixture.dir.path(".")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Waits until sshd has no open connection.
    fn wait_until_idle(&self) {
        let started = Instant::now();
        let port = self.fixture.server.port.to_string();
        loop {
            let output = Command::new("ss")
                .args(["-Htn", "sport", "=", &port, "or", "dport", "=", &port])
                .output()
                .unwrap();
            let sockets = String::from_utf8(output.stdout).unwrap();
            // The side that closes first is in TIME_WAIT for a while, without a process.
            if !sockets.lines().any(|line| line.starts_with("ESTAB")) {
                return;
            }
            assert!(started.elapsed() < Duration::from_secs(20), "{sockets}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn timeout_for(failure: Failure) -> Duration {
    if failure == Failure::Stall { STALL_TIMEOUT } else { LONG_TIMEOUT }
}

/// Returns the number of bytes up to the end of the offer of algorithms. The bytes after it are
/// encrypted.
fn clear_text_length(traffic_bytes: &[u8]) -> usize {
    let banner = traffic_bytes.windows(2).position(|it| it == b"\r\n").unwrap() + 2;
    let length: [u8; 4] = traffic_bytes[banner..banner + 4].try_into().unwrap();
    banner + 4 + usize::try_from(u32::from_be_bytes(length)).unwrap()
}

/// Selection of the positions at which a session is cut.
#[derive(Clone, Copy)]
struct CutPoints {
    failure: Failure,
    /// Offset of this test: the three tests that close sessions together cover every
    /// unencrypted byte.
    offset: usize,
    /// Distance between the positions in the encrypted part.
    step: usize,
}

impl CutPoints {
    /// The last bytes are all tested: there, the listing is complete.
    const N_LAST_BYTES: usize = 60;

    fn of(
        self,
        direction: Direction,
        traffic_bytes: &[u8],
    ) -> impl Iterator<Item = (Direction, usize)> {
        let (clear, all) = (clear_text_length(traffic_bytes), traffic_bytes.len());
        let is_chosen = move |&k: &usize| match self.failure {
            Failure::Stall if is_exhaustive() => k % self.step == 0,
            Failure::Stall => k % (10 * self.step) == 0,
            _ if is_exhaustive() || k + Self::N_LAST_BYTES >= all => true,
            _ if k < clear => k % 3 == self.offset,
            _ => k % self.step == 0,
        };
        (0..=all).filter(is_chosen).map(move |k| (direction, k))
    }
}

/// For every cut, the status is UNKNOWN unless the listing was complete.
fn cut_everywhere(listing: &str, cut_points: CutPoints) {
    let failure = cut_points.failure;
    let cut_fixture = SshCutFixture::new(listing);
    let (uncut, traffic) = cut_fixture.check(None, "whole");
    assert_eq!(
        uncut.code_and_status(),
        "0 TOPIP OK - 203.0.113.7 has 9 connections, limit 21.85",
        "{uncut:?}"
    );
    let all: Vec<_> = cut_points
        .of(Direction::Down, &traffic.down)
        .chain(cut_points.of(Direction::Up, &traffic.up))
        .collect();
    let next = AtomicUsize::new(0);
    let n_answered = AtomicUsize::new(0);
    let states: Vec<_> = (0..N_WORKERS).map(|worker| format!("state{worker}")).collect();
    let before = cut_fixture.files();
    thread::scope(|scope| {
        for state in &states {
            scope.spawn(|| {
                // Save a previous sample, which a run without a verdict must not change.
                cut_fixture.check(None, state);
                let file = cut_fixture.fixture.dir.path(state);
                while let Some(&(direction, after_bytes)) =
                    all.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let sample = fs::read(&file).unwrap();
                    let (result, _) =
                        cut_fixture.check(Some(Cut { direction, after_bytes, failure }), state);
                    let context = format!("{direction:?} {after_bytes} {failure:?}: {result:?}");
                    if result.code == Some(0) {
                        assert_clean(&result);
                        assert_eq!(result.stdout, uncut.stdout, "{context}");
                        n_answered.fetch_add(1, Ordering::Relaxed);
                    } else {
                        with_context(&context, || assert_unknown(&result, "127.0.0.1"));
                        assert_eq!(fs::read(&file).unwrap(), sample, "{context}");
                        // The algorithms do match.
                        assert!(!result.stdout.contains(": there is no "), "{context}");
                    }
                    assert_in_time(&result, timeout_for(failure));
                }
            });
        }
    });
    let n_answered = n_answered.into_inner();
    eprintln!(
        "\n{failure:?} after {} of {} + {} bytes, {n_answered} times all was there",
        all.len(),
        traffic.down.len(),
        traffic.up.len()
    );
    // Only the end of a session is late enough.
    assert!(n_answered * 5 < all.len(), "{n_answered} of {}", all.len());
    let mut leftovers: BTreeSet<_> = cut_fixture.files().difference(&before).cloned().collect();
    for state in &states {
        assert!(leftovers.remove(state), "{state}");
        leftovers.remove(&format!("{state}.lock"));
    }
    assert!(leftovers.is_empty(), "{leftovers:?}");
    cut_fixture.wait_until_idle();
}

fn with_context(context: &str, check: impl FnOnce()) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)).is_err() {
        panic!("{context}");
    }
}

const QUIET: [(&str, usize); 1] = [("203.0.113.7", 9)];

/// Returns the output of the script that runs on a server.
fn marked_listing() -> String {
    let listing = crowd(6, &QUIET);
    format!("\ntopip-begin Linux x86_64\ntopip-try netstat -nat\n{listing}\ntopip-end 0 netstat\n")
}

#[test]
fn session_closed_after_any_byte_is_unknown() {
    if is_possible() {
        cut_everywhere(
            &marked_listing(),
            CutPoints { failure: Failure::Close, offset: 0, step: 23 },
        );
    }
}

#[test]
fn session_reset_after_any_byte_is_unknown() {
    if is_possible() {
        cut_everywhere(
            &marked_listing(),
            CutPoints { failure: Failure::Reset, offset: 1, step: 29 },
        );
    }
}

#[test]
fn session_stalled_after_any_byte_is_unknown() {
    if is_possible() {
        cut_everywhere(
            &marked_listing(),
            CutPoints { failure: Failure::Stall, offset: 0, step: 37 },
        );
    }
}

/// A forced command prints no markers: only the end of the channel shows that the listing
/// is complete.
#[test]
fn session_without_markers_closed_after_any_byte_is_unknown() {
    if is_possible() {
        cut_everywhere(
            &crowd(6, &QUIET),
            CutPoints { failure: Failure::Close, offset: 2, step: 31 },
        );
    }
}
