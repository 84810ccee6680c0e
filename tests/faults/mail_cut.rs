//! A session with a real mail server that breaks after any of its bytes.
use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    is_exhaustive,
    status_line::{assert_clean, assert_in_time},
};
use crate::support::{
    CommandResult, crowd,
    postfix::Postfix,
    proxy::{Cut, Direction, Failure, Proxy, Traffic},
    run,
};

/// Number of concurrent runs.
const N_WORKERS: usize = 8;
/// Timeout of sessions that stall, and of the others, which do not reach it.
const STALL_TIMEOUT: Duration = Duration::from_secs(2);
const LONG_TIMEOUT: Duration = Duration::from_secs(30);

/// Outcome of the mail, as reported by the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MailReport {
    Sent,
    Unconfirmed,
    NotSent,
}

impl MailReport {
    fn by(result: &CommandResult) -> Self {
        match result.stdout.lines().nth(1) {
            Some(line) if line.starts_with("Mail perhaps not sent: ") => Self::Unconfirmed,
            Some(line) if line.starts_with("Mail not sent: ") => Self::NotSent,
            _ => Self::Sent,
        }
    }
}

struct MailFixture {
    postfix: Postfix,
    server_address: SocketAddr,
    query: &'static str,
}

impl MailFixture {
    fn new(postfix: Postfix, port: u16, query: &'static str) -> Self {
        postfix.dir.write("listing", crowd(31, &[("203.0.113.7", 152)]));
        fs::create_dir(postfix.dir.path("states")).unwrap();
        Self { postfix, server_address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), query }
    }

    /// Runs the check, which mails to `name` and uses a state file of that name.
    fn check(&self, cut: Option<Cut>, name: &str) -> (CommandResult, Traffic) {
        let proxy = Proxy::start(self.server_address, cut);
        let timeout =
            cut.map_or(LONG_TIMEOUT, |cut| timeout_for(cut.failure)).as_secs().to_string();
        let state = format!("states/{name}");
        let order = format!("topip@example.com,{name}@example.com");
        let url = format!("smtp://localhost:{}{}", proxy.port, self.query);
        let mut command = self.postfix.dir.command(&[
            "--input",
            "listing",
            "--consecutive",
            "1",
            "--state-file",
            &state,
            "-a",
            &order,
            "--smtp",
            &url,
            "-t",
            &timeout,
        ]);
        command.env("SSL_CERT_FILE", self.postfix.dir.path("cert.pem"));
        let result = run(&mut command);
        (result, proxy.wait())
    }

    /// Waits until the mail server is idle, and returns the number of mails that each name
    /// received.
    fn delivered(&self) -> BTreeMap<String, usize> {
        let started = Instant::now();
        let port = self.server_address.port().to_string();
        let is_busy = || {
            let printed = |command: &mut Command| {
                String::from_utf8(command.output().unwrap().stdout).unwrap()
            };
            let conf = self.postfix.dir.path("conf");
            let queue = printed(Command::new("postqueue").arg("-c").arg(conf).arg("-p"));
            let sessions = printed(Command::new("ss").args(["-Htn", "sport", "=", &port]));
            !queue.contains("is empty") || sessions.contains("ESTAB")
        };
        // Between the session and the queue, a mail is briefly in neither.
        let mut n_idle = 0;
        while n_idle < 5 {
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "the mail server does not become idle"
            );
            n_idle = if is_busy() { 0 } else { n_idle + 1 };
            thread::sleep(Duration::from_millis(100));
        }
        let mut delivered = BTreeMap::new();
        for entry in fs::read_dir(self.postfix.dir.path("mail/box/new")).unwrap() {
            let mail = fs::read_to_string(entry.unwrap().path()).unwrap();
            let to = mail.lines().find_map(|line| line.strip_prefix("To: ")).unwrap();
            let name = to.strip_suffix("@example.com").unwrap();
            *delivered.entry(name.to_owned()).or_default() += 1;
        }
        delivered
    }
}

fn timeout_for(failure: Failure) -> Duration {
    if failure == Failure::Stall { STALL_TIMEOUT } else { LONG_TIMEOUT }
}

/// Returns all positions, or every `step`th and the last ones, which include the reply to
/// the mail.
fn cut_points(
    direction: Direction,
    traffic_bytes: &[u8],
    step: usize,
) -> impl Iterator<Item = (Direction, usize)> {
    let all = traffic_bytes.len();
    let is_chosen = move |&k: &usize| is_exhaustive() || k % step == 0 || k + 100 > all;
    (0..=all).filter(is_chosen).map(move |k| (direction, k))
}

/// For every position of the break, the verdict and the true outcome of the mail are reported.
fn cut_everywhere(fixture: &MailFixture, failure: Failure, step: usize) {
    let (uncut, traffic) = fixture.check(None, "whole");
    assert_eq!((uncut.code, MailReport::by(&uncut)), (Some(2), MailReport::Sent), "{uncut:?}");
    let all: Vec<_> = cut_points(Direction::Down, &traffic.down, step)
        .chain(cut_points(Direction::Up, &traffic.up, step))
        .filter(|(_, k)| failure != Failure::Stall || k % step == 0)
        .collect();
    let next = AtomicUsize::new(0);
    let reports = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..N_WORKERS {
            scope.spawn(|| {
                while let Some(&(direction, after_bytes)) =
                    all.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let name = format!("{direction:?}-{after_bytes}").to_lowercase();
                    let (result, _) =
                        fixture.check(Some(Cut { direction, after_bytes, failure }), &name);
                    assert_clean(&result);
                    assert_eq!(
                        result.stdout.lines().next(),
                        uncut.stdout.lines().next(),
                        "{result:?}"
                    );
                    assert_in_time(&result, timeout_for(failure));
                    let report = MailReport::by(&result);
                    assert_state_matches(fixture, &name, report);
                    reports.lock().unwrap().insert(name, (report, result.stdout));
                }
            });
        }
    });
    let reports = reports.into_inner().unwrap();
    let delivered = fixture.delivered();
    for (name, (report, stdout)) in &reports {
        let n = delivered.get(name).copied().unwrap_or(0);
        let is_so = match report {
            MailReport::Sent => n == 1,
            MailReport::Unconfirmed => n <= 1,
            MailReport::NotSent => n == 0,
        };
        assert!(is_so, "{name}: delivered {n} times, told {stdout}");
    }
    let n = |which: MailReport| reports.values().filter(|(report, _)| *report == which).count();
    eprintln!(
        "\n{failure:?} after {} of {} + {} bytes: {} sent, {} perhaps, {} not",
        all.len(),
        traffic.down.len(),
        traffic.up.len(),
        n(MailReport::Sent),
        n(MailReport::Unconfirmed),
        n(MailReport::NotSent)
    );
    // The whole mail may be in flight before the server has received any of it.
    assert!(n(MailReport::NotSent) > 0 && n(MailReport::Unconfirmed) > 0);
}

/// Asserts that the sample is saved in any case, the mail only if it was or may have been
/// sent, and that no other file is left.
#[track_caller]
fn assert_state_matches(fixture: &MailFixture, name: &str, reports: MailReport) {
    let state = fixture.postfix.dir.path("states").join(name);
    let text = fs::read_to_string(&state).unwrap();
    assert!(text.contains("consecutive: 1"), "{text}");
    assert_eq!(
        text.contains("sent_mails: []"),
        reports == MailReport::NotSent,
        "{reports:?}: {text}"
    );
    for extension in ["lock", "mail.lock"] {
        fs::remove_file(state.with_added_extension(extension)).unwrap();
    }
    fs::remove_file(state).unwrap();
}

fn with_server(port: impl Fn(&Postfix) -> u16, query: &'static str, failure: Failure, step: usize) {
    let Some(postfix) = Postfix::start() else { return };
    let port = port(&postfix);
    let fixture = MailFixture::new(postfix, port, query);
    cut_everywhere(&fixture, failure, step);
    let leftovers = fs::read_dir(fixture.postfix.dir.path("states")).unwrap();
    let mut leftovers: Vec<_> = leftovers.map(|entry| entry.unwrap().file_name()).collect();
    leftovers.retain(|name| !name.to_str().unwrap().starts_with("whole"));
    assert!(leftovers.is_empty(), "{leftovers:?}");
}

#[test]
fn plain_mail_closed_after_any_byte_is_reported_correctly() {
    with_server(|it| it.clear, "", Failure::Close, 9);
}

#[test]
fn plain_mail_reset_after_any_byte_is_reported_correctly() {
    with_server(|it| it.clear, "", Failure::Reset, 11);
}

#[test]
fn plain_mail_stalled_after_any_byte_is_reported_correctly() {
    with_server(|it| it.clear, "", Failure::Stall, 97);
}

#[test]
fn tls_mail_closed_after_any_byte_is_reported_correctly() {
    with_server(|it| it.offering, "?tls=required", Failure::Close, 29);
}

#[test]
fn tls_mail_reset_after_any_byte_is_reported_correctly() {
    with_server(|it| it.offering, "?tls=required", Failure::Reset, 31);
}

#[test]
fn tls_mail_stalled_after_any_byte_is_reported_correctly() {
    with_server(|it| it.offering, "?tls=required", Failure::Stall, 151);
}
