//! A dialogue with a real mail server that breaks after any of its bytes.
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
    is_whole,
    status_line::{is_clean, is_in_time},
};
use crate::support::{
    Ran, crowd,
    postfix::Postfix,
    proxy::{Cut, Heard, Proxy, Then, Way},
    run,
};

/// How many are tried at the same time.
const AT_ONCE: usize = 8;
/// The limit of those that stall, and of the others, which do not need it.
const PATIENCE: Duration = Duration::from_secs(2);
const PLENTY: Duration = Duration::from_secs(30);

/// What a run says became of its mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Sent,
    Perhaps,
    NotSent,
}

impl Told {
    fn by(ran: &Ran) -> Self {
        match ran.stdout.lines().nth(1) {
            Some(line) if line.starts_with("Mail perhaps not sent: ") => Self::Perhaps,
            Some(line) if line.starts_with("Mail not sent: ") => Self::NotSent,
            _ => Self::Sent,
        }
    }
}

struct Stage {
    postfix: Postfix,
    peer: SocketAddr,
    query: &'static str,
}

impl Stage {
    fn new(postfix: Postfix, port: u16, query: &'static str) -> Self {
        postfix.room.write("listing", crowd(31, &[("203.0.113.7", 152)]));
        fs::create_dir(postfix.room.path("states")).unwrap();
        Self { postfix, peer: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), query }
    }

    /// The check, which mails to `name`, and has a state file of that name.
    fn check(&self, cut: Option<Cut>, name: &str) -> (Ran, Heard) {
        let proxy = Proxy::start(self.peer, cut);
        let limit = cut.map_or(PLENTY, |cut| limit(cut.then)).as_secs().to_string();
        let state = format!("states/{name}");
        let order = format!("topip@example.com,{name}@example.com");
        let url = format!("smtp://localhost:{}{}", proxy.port, self.query);
        let mut command = self.postfix.room.command(&[
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
            &limit,
        ]);
        command.env("SSL_CERT_FILE", self.postfix.room.path("cert.pem"));
        let ran = run(&mut command);
        (ran, proxy.heard())
    }

    /// Waits until the mail server has nothing more to do; gives how many mails
    /// each name got.
    fn delivered(&self) -> BTreeMap<String, usize> {
        let started = Instant::now();
        let port = self.peer.port().to_string();
        let is_busy = || {
            let printed = |command: &mut Command| {
                String::from_utf8(command.output().unwrap().stdout).unwrap()
            };
            let conf = self.postfix.room.path("conf");
            let queue = printed(Command::new("postqueue").arg("-c").arg(conf).arg("-p"));
            let sessions = printed(Command::new("ss").args(["-Htn", "sport", "=", &port]));
            !queue.contains("is empty") || sessions.contains("ESTAB")
        };
        // Between the two there is a moment when it is in neither.
        let mut n_idle = 0;
        while n_idle < 5 {
            assert!(started.elapsed() < Duration::from_secs(60), "a mail server without an end");
            n_idle = if is_busy() { 0 } else { n_idle + 1 };
            thread::sleep(Duration::from_millis(100));
        }
        let mut delivered = BTreeMap::new();
        for entry in fs::read_dir(self.postfix.room.path("mail/box/new")).unwrap() {
            let mail = fs::read_to_string(entry.unwrap().path()).unwrap();
            let to = mail.lines().find_map(|line| line.strip_prefix("To: ")).unwrap();
            let name = to.strip_suffix("@example.com").unwrap();
            *delivered.entry(name.to_owned()).or_default() += 1;
        }
        delivered
    }
}

fn limit(then: Then) -> Duration {
    if then == Then::Stall { PATIENCE } else { PLENTY }
}

/// All positions, or every `step`th and the last ones, with the answer to the
/// mail among them.
fn places(way: Way, said: &[u8], step: usize) -> impl Iterator<Item = (Way, usize)> {
    let all = said.len();
    let is_chosen = move |&k: &usize| is_whole() || k % step == 0 || k + 100 > all;
    (0..=all).filter(is_chosen).map(move |k| (way, k))
}

/// Wherever the dialogue breaks, the verdict is told, and what became of the
/// mail is so.
fn break_everywhere(stage: &Stage, then: Then, step: usize) {
    let (whole, heard) = stage.check(None, "whole");
    assert_eq!((whole.code, Told::by(&whole)), (Some(2), Told::Sent), "{whole:?}");
    let all: Vec<_> = places(Way::Down, &heard.down, step)
        .chain(places(Way::Up, &heard.up, step))
        .filter(|(_, k)| then != Then::Stall || k % step == 0)
        .collect();
    let next = AtomicUsize::new(0);
    let told = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(&(way, after)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let name = format!("{way:?}-{after}").to_lowercase();
                    let (ran, _) = stage.check(Some(Cut { way, after, then }), &name);
                    is_clean(&ran);
                    assert_eq!(ran.stdout.lines().next(), whole.stdout.lines().next(), "{ran:?}");
                    is_in_time(&ran, limit(then));
                    let answer = Told::by(&ran);
                    is_on_record(stage, &name, answer);
                    told.lock().unwrap().insert(name, (answer, ran.stdout));
                }
            });
        }
    });
    let told = told.into_inner().unwrap();
    let delivered = stage.delivered();
    for (name, (answer, stdout)) in &told {
        let n = delivered.get(name).copied().unwrap_or(0);
        let is_so = match answer {
            Told::Sent => n == 1,
            Told::Perhaps => n <= 1,
            Told::NotSent => n == 0,
        };
        assert!(is_so, "{name}: delivered {n} times, told {stdout}");
    }
    let n = |which: Told| told.values().filter(|(answer, _)| *answer == which).count();
    eprintln!(
        "\n{then:?} after {} of {} + {} bytes: {} sent, {} perhaps, {} not",
        all.len(),
        heard.down.len(),
        heard.up.len(),
        n(Told::Sent),
        n(Told::Perhaps),
        n(Told::NotSent)
    );
    // All of a mail may be on its way before any of it has come.
    assert!(n(Told::NotSent) > 0 && n(Told::Perhaps) > 0);
}

/// The sample is kept whatever became of the mail, and the mail only where it
/// went out, or may have. Nothing else is left.
#[track_caller]
fn is_on_record(stage: &Stage, name: &str, told: Told) {
    let state = stage.postfix.room.path("states").join(name);
    let text = fs::read_to_string(&state).unwrap();
    assert!(text.contains("row: 1"), "{text}");
    assert_eq!(text.contains("mailed: []"), told == Told::NotSent, "{told:?}: {text}");
    for extension in ["lock", "mail.lock"] {
        fs::remove_file(state.with_added_extension(extension)).unwrap();
    }
    fs::remove_file(state).unwrap();
}

fn with_server(port: impl Fn(&Postfix) -> u16, query: &'static str, then: Then, step: usize) {
    let Some(postfix) = Postfix::start() else { return };
    let port = port(&postfix);
    let stage = Stage::new(postfix, port, query);
    break_everywhere(&stage, then, step);
    let left = fs::read_dir(stage.postfix.room.path("states")).unwrap();
    let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    left.retain(|name| !name.to_str().unwrap().starts_with("whole"));
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_mail_in_clear_that_is_closed_after_any_byte() {
    with_server(|it| it.clear, "", Then::Close, 9);
}

#[test]
fn a_mail_in_clear_that_is_reset_after_any_byte() {
    with_server(|it| it.clear, "", Then::Reset, 11);
}

#[test]
fn a_mail_in_clear_that_stalls_after_any_byte() {
    with_server(|it| it.clear, "", Then::Stall, 97);
}

#[test]
fn a_mail_under_tls_that_is_closed_after_any_byte() {
    with_server(|it| it.offering, "?tls=required", Then::Close, 29);
}

#[test]
fn a_mail_under_tls_that_is_reset_after_any_byte() {
    with_server(|it| it.offering, "?tls=required", Then::Reset, 31);
}

#[test]
fn a_mail_under_tls_that_stalls_after_any_byte() {
    with_server(|it| it.offering, "?tls=required", Then::Stall, 151);
}
