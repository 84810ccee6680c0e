//! Mail servers that stall, lie, flood and close, and what is told of them in
//! time.
use std::{
    fs,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    CHECK, Ran, Room, crowd,
    daemon::{server, stall},
    run, skip,
};

/// The answers of a server that takes a mail, in the order of the dialogue.
const GOOD: [&str; 6] = [
    "220 mail.test ESMTP\r\n",
    "250-mail.test\r\n250 8BITMIME\r\n",
    "250 2.1.0 ok\r\n",
    "250 2.1.5 ok\r\n",
    "354 go on\r\n",
    "250 2.0.0 queued\r\n",
];

/// What was said when each of them is awaited.
const DOING: [&str; 6] = [
    "on being connected",
    "told EHLO",
    "told MAIL FROM topip@example.com",
    "told RCPT TO ops@example.com",
    "told DATA",
    "given the mail",
];

/// Takes part in the dialogue for so many answers. Gives the connection back;
/// none if the other end has closed.
fn converse(stream: TcpStream, answers: &[&str]) -> Option<TcpStream> {
    let mut reader = BufReader::new(stream);
    for (n, answer) in answers.iter().enumerate() {
        if n > 0 {
            let mut line = String::new();
            loop {
                line.clear();
                if reader.read_line(&mut line).ok()? == 0 {
                    return None;
                }
                // After DATA a dot ends it.
                if n != 5 || line == ".\r\n" {
                    break;
                }
            }
        }
        reader.get_mut().write_all(answer.as_bytes()).ok()?;
    }
    Some(reader.into_inner())
}

fn args(room: &Room, url: &str) -> Vec<String> {
    let listing = room.write("listing", crowd(31, &[("203.0.113.7", 152)]));
    [
        "--input",
        listing.to_str().unwrap(),
        "--state-file",
        "state",
        "--consecutive",
        "1",
        "-a",
        "topip@example.com,ops@example.com",
        "--smtp",
        url,
    ]
    .map(str::to_owned)
    .to_vec()
}

fn check(room: &Room, url: &str, more: &[&str]) -> Ran {
    let more = more.iter().map(|&arg| arg.to_owned());
    room.check(&args(room, url).into_iter().chain(more).collect::<Vec<_>>())
}

/// The check of a mail server is critical all the same, in time, and says why
/// there is no mail.
#[track_caller]
fn not_sent(port: u16, url: &str, expected: &str) {
    let room = Room::new();
    let ran = check(&room, url, &["-t", "2"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.took < Duration::from_millis(2500), "{ran:?}");
    let told = ran.stdout.lines().nth(1).unwrap();
    let expected = expected.replace("PORT", &port.to_string());
    assert_eq!(told, format!("Mail not sent: localhost:{expected}."));
    let state = fs::read_to_string(room.path("state")).unwrap();
    assert!(state.contains("row: 1") && state.contains("mailed: []"), "{state}");
}

#[track_caller]
fn by_clear(port: u16, expected: &str) {
    not_sent(port, &format!("smtp://localhost:{port}"), expected);
}

#[test]
fn one_that_stalls() {
    thread::scope(|scope| {
        for n in 0..GOOD.len() - 1 {
            scope.spawn(move || {
                let port = server(move |stream| {
                    converse(stream, &GOOD[..n]).into_iter().for_each(stall);
                });
                by_clear(port, &format!("PORT gave no answer in time, {}", DOING[n]));
            });
        }
        for url in ["smtps://localhost:PORT", "smtp://localhost:PORT?tls=required"] {
            scope.spawn(move || {
                let port = server(move |stream| {
                    let tls = ["220 x\r\n", "250-x\r\n250 STARTTLS\r\n", "220 go on\r\n"];
                    let answers = if url.starts_with("smtps") { &[][..] } else { &tls };
                    converse(stream, answers).into_iter().for_each(stall);
                });
                let url = url.replace("PORT", &port.to_string());
                let doing = "while the connection was encrypted";
                not_sent(port, &url, &format!("PORT gave no answer in time, {doing}"));
            });
        }
    });
}

/// A limit for each reading would begin anew with every byte.
#[test]
fn one_that_drips() {
    let port = server(|mut stream| {
        for byte in b"220-x\r\n".iter().cycle() {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
    });
    by_clear(port, "PORT gave no answer in time, on being connected");
}

#[test]
fn one_that_closes() {
    thread::scope(|scope| {
        for n in 0..GOOD.len() - 1 {
            scope.spawn(move || {
                let port = server(move |stream| {
                    let Some(mut stream) = converse(stream, &GOOD[..n]) else { return };
                    // What is not read would make a reset of it.
                    let mut command = [0; 4096];
                    let _ = if n > 0 { stream.read(&mut command) } else { Ok(0) };
                    let _ = stream.shutdown(std::net::Shutdown::Both);
                });
                let room = Room::new();
                let ran = check(&room, &format!("smtp://localhost:{port}"), &[]);
                let told = ran.stdout.lines().nth(1).unwrap();
                let lost = format!("Mail not sent: lost the connection to localhost:{port}, ");
                assert!(told.starts_with(&format!("{lost}{}: ", DOING[n])), "{told}");
                assert_eq!(ran.code, Some(2));
            });
        }
    });
}

/// Takes the mail, and is silent then, or closes.
#[test]
fn one_that_takes_a_mail_and_does_not_say_so() {
    let check_it = |port: u16, expected: &str| {
        let room = Room::new();
        let url = format!("smtp://localhost:{port}");
        let ran = check(&room, &url, &["-t", "2"]);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.took < Duration::from_millis(2500), "{ran:?}");
        let told: Vec<_> = ran.stdout.lines().collect();
        let line = format!("Mail perhaps not sent: {expected}");
        assert!(told[1].starts_with(&line), "{told:?}");
        let advice = "The log of the mail server tells whether it has taken it. \
                      It is not sent again before --remind.";
        assert!(told[2].trim() == advice, "{told:?}");
        // A mail that came is not sent at every sample.
        let ran = check(&room, &url, &["-vv", "-t", "2"]);
        let told: Vec<_> = ran.stdout.lines().filter(|line| line.contains("Mail")).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("Mail: about 203.0.113.7 sent "), "{told:?}");
        assert!(told[0].ends_with(" s ago already; again after 1 h"), "{told:?}");
    };
    let taken = |stream| converse(stream, &[&GOOD[..5], &[""]].concat());
    let silent = server(move |stream| taken(stream).into_iter().for_each(stall));
    check_it(silent, &format!("localhost:{silent} gave no answer in time, given the mail."));
    let closing = server(move |stream| drop(taken(stream)));
    check_it(closing, &format!("lost the connection to localhost:{closing}, given the mail: "));
}

#[test]
fn one_that_lies() {
    let answers = |answers: &'static [&'static str], expected: &str| {
        let port = server(move |stream| converse(stream, answers).into_iter().for_each(stall));
        by_clear(port, expected);
    };
    answers(
        &["SSH-2.0-OpenSSH_9.2\r\n"],
        "PORT talks no SMTP, on being connected: SSH-2.0-OpenSSH_9.2",
    );
    answers(&["\x1b[2J|`$(x)`\r\n"], "PORT talks no SMTP, on being connected: ?[2J??(x)");
    answers(&["354 go on\r\n"], "PORT talks no SMTP, on being connected: 354 go on");
    answers(&["220-x\r\n250 x\r\n"], "PORT talks no SMTP, on being connected: 220-x 250 x");
    answers(&["421 busy\r\n"], "PORT refused it, on being connected: 421 busy");
    answers(&["220 x\r\n", "250 \r\n"], "PORT talks no SMTP, told EHLO: 250");
    let early = &["220 x\r\n", "250 x\r\n", "250 x\r\n", "250 x\r\n", "250 sent\r\n"];
    answers(early, "PORT talks no SMTP, told DATA: 250 sent");
    let late = &["220 x\r\n", "250 x\r\n", "250 x\r\n", "250 x\r\n", "354 x\r\n", "354 x\r\n"];
    answers(late, "PORT talks no SMTP, given the mail: 354 x");
    let no = &["220 x\r\n", "250 x\r\n", "550-5.7.1 not \u{202e}\x07\r\n550 5.7.1 you\r\n"];
    answers(no, "PORT refused it, told MAIL FROM topip@example.com: 550 5.7.1 not ?? 5.7.1 you");
}

/// Offers to log in, takes so many steps of that, and quotes what comes next.
fn quoting(offer: &'static str, steps: &'static [&'static str], code: &'static str) -> u16 {
    server(move |stream| {
        let answers = [&["220 x\r\n", offer], steps].concat();
        let Some(stream) = converse(stream, &answers) else { return };
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        let _ = reader.read_line(&mut line);
        let answer = format!("{code}{line}");
        let _ = reader.get_mut().write_all(answer.as_bytes());
        stall(reader.into_inner());
    })
}

/// What is told of a refusal ends up in mails and on web pages.
#[test]
fn one_that_quotes_the_password() {
    let plain = "250-x\r\n250 AUTH PLAIN\r\n";
    let login = "250-x\r\n250 AUTH LOGIN\r\n";
    let steps = &["334 VXNlcm5hbWU6\r\n", "334 UGFzc3dvcmQ6\r\n"];
    for (offer, steps, code, expected) in [
        (plain, &[][..], "500 unrecognized command: ", "refused it, told AUTH PLAIN: 500"),
        (plain, &[], "535 5.7.8 no: ", "refused it, told AUTH PLAIN: 535 5.7.8"),
        (plain, &[], "535-5.7.8 no\r\n535 ", "refused it, told AUTH PLAIN: 535 5.7.8"),
        (plain, &[], "334 ", "talks no SMTP, told AUTH PLAIN: 334"),
        (
            plain,
            &[],
            "what? ",
            "talks no SMTP, told AUTH PLAIN: its words may have the password in them",
        ),
        (login, steps, "500 what? ", "refused it, told AUTH LOGIN: 500"),
        (login, steps, "334 ", "talks no SMTP, told AUTH LOGIN: 334"),
    ] {
        let port = quoting(offer, steps, code);
        let room = Room::new();
        let secret = room.write("secret", "hunter2");
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        let url = format!("smtp://me@localhost:{port}?tls=none");
        let ran = check(&room, &url, &["-vvv", "-t", "2", "--smtp-password-file", "secret"]);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        let line = format!("Mail not sent: localhost:{port} {expected}.");
        assert!(ran.stdout.lines().any(|it| it == line), "{line}: {ran:?}");
        let told = ran.stdout + &ran.stderr;
        // In base64: "hunter2", and what AUTH PLAIN has.
        for secret in ["hunter2", "aHVudGVyMg", "AG1lAGh1bnRlcjI"] {
            assert!(!told.contains(secret), "{told}");
        }
    }
}

/// What comes in clear behind the answer to STARTTLS is not taken for what
/// comes encrypted.
#[test]
fn one_that_slips_something_in_before_tls() {
    let port = server(|stream| {
        let tls = ["220 x\r\n", "250-x\r\n250 STARTTLS\r\n", "220 go on\r\n250 evil\r\n"];
        converse(stream, &tls).into_iter().for_each(stall);
    });
    let url = format!("smtp://localhost:{port}?tls=required");
    not_sent(port, &url, "PORT talks no SMTP, told STARTTLS: it said more in clear");
}

#[test]
fn one_that_talks_something_else_than_tls() {
    let port = server(|stream| {
        let tls = ["220 x\r\n", "250-x\r\n250 STARTTLS\r\n", "220 go on\r\n"];
        converse(stream, &tls).into_iter().for_each(|mut stream| {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            stall(stream);
        });
    });
    let url = format!("smtp://localhost:{port}?tls=required");
    let room = Room::new();
    let ran = check(&room, &url, &[]);
    let why = "cannot encrypt the connection to localhost";
    let line = format!("Mail not sent: {why}:{port}: wrong version number.");
    assert_eq!(ran.stdout.lines().nth(1), Some(line.as_str()));
}

/// Gigabytes must not end up in memory: 400 MB are allowed here.
#[test]
fn one_that_floods() {
    let flood = |before: &'static [&'static str], line: &'static [u8], expected: &str| {
        let port = server(move |stream| {
            let Some(mut stream) = converse(stream, before) else { return };
            let block = line.repeat(64 * 1024 / line.len());
            while stream.write_all(&block).is_ok() {}
        });
        let room = Room::new();
        let started = Instant::now();
        let mut command = Command::new("sh");
        command
            .args(["-c", "ulimit -v 400000; exec \"$0\" \"$@\"", CHECK])
            .args(args(&room, &format!("smtp://localhost:{port}")))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .current_dir(room.path("."))
            .stdin(Stdio::null());
        let ran = run(&mut command);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(started.elapsed() < Duration::from_secs(5), "{ran:?}");
        let told = ran.stdout.lines().nth(1).unwrap();
        // What it says too early is not even read, if it has come by then.
        let early = format!(" talks no SMTP, {}: it had answered before.", DOING[2]);
        let is_early = !before.is_empty() && told.ends_with(&early);
        let expected = format!("Mail not sent: localhost:{port} {expected}.");
        assert!(told == expected || is_early, "{told}");
    };
    let endless = |doing: &str| format!("talks no SMTP, {doing}: its answer does not end");
    flood(&[], b"a", &endless("on being connected"));
    flood(&[], b"220-a\r\n", &endless("on being connected"));
    flood(&GOOD[..2], b"250-a\r\n", &endless("told MAIL FROM topip@example.com"));
    flood(&GOOD[..2], b"\r\n", "talks no SMTP, told MAIL FROM topip@example.com: ");
}

/// A mail server that cannot be found, because nobody who should know answers.
#[test]
fn one_whose_name_nobody_tells() {
    if !rustix::process::geteuid().is_root() {
        return skip("root, for a namespace with a name server of its own");
    }
    let room = Room::new();
    let resolver = room.write("resolv.conf", "nameserver 127.0.0.1\n");
    let script = format!(
        "ip link set lo up && mount --bind {} /etc/resolv.conf && \
         socat -u UDP4-RECV:53 /dev/null & s=$!; \
         until ss -Hlun | grep -q :53; do sleep 0.1; done; \"$0\" \"$@\"; code=$?; kill $s; exit $code",
        resolver.display()
    );
    let mut command = Command::new("unshare");
    command
        .args(["-m", "-n", "sh", "-c", &script, CHECK])
        .args(args(&room, "smtp://mail.example.com"))
        .args(["-t", "2"])
        .current_dir(room.path("."))
        .stdin(Stdio::null());
    let ran = run(&mut command);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert_eq!(
        ran.stdout.lines().nth(1),
        Some(
            "Mail not sent: mail.example.com:25 gave no answer in time, while its address was \
             looked for."
        )
    );
}

/// Takes every mail, after a while; gives how many it took.
fn slow(pause: Duration) -> (u16, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let port = {
        let taken = Arc::clone(&taken);
        server(move |stream| {
            thread::sleep(pause);
            if let Some(stream) = converse(stream, &GOOD) {
                taken.fetch_add(1, Ordering::SeqCst);
                stall(stream);
            }
        })
    };
    (port, taken)
}

/// A slow mail server holds up nobody's samples, and gets one mail.
#[test]
fn runs_that_overlap_while_a_mail_is_under_way() {
    let (port, taken) = slow(Duration::from_millis(800));
    let room = Room::new();
    let args = args(&room, &format!("smtp://localhost:{port}"));
    thread::scope(|scope| {
        let runs: Vec<_> = (0..5).map(|_| scope.spawn(|| room.check(&args))).collect();
        // All samples are on record long before the mail is out.
        let started = Instant::now();
        loop {
            let state = fs::read_to_string(room.path("state")).unwrap_or_default();
            if state.contains("row: 5") {
                assert!(state.contains("mailed: []"), "{state}");
                break;
            }
            assert!(started.elapsed() < Duration::from_secs(5), "{state}");
            thread::sleep(Duration::from_millis(10));
        }
        for ran in runs.into_iter().map(|run| run.join().unwrap()) {
            assert_eq!(ran.code, Some(2));
            assert!(!ran.stdout.contains("Mail"), "{ran:?}");
        }
    });
    assert_eq!(taken.load(Ordering::SeqCst), 1);
    let state = fs::read_to_string(room.path("state")).unwrap();
    assert!(
        state.contains("row: 5") && state.contains("203.0.113.7\",\n            when"),
        "{state}"
    );
}

/// A run that is killed while it sends leaves the mail to the next one.
#[test]
fn a_killed_run_loses_no_mail() {
    let stalled = server(stall);
    let room = Room::new();
    let mut command = room.command(&args(&room, &format!("smtp://localhost:{stalled}")));
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    while !room.path("state.mail.lock").exists() {
        assert!(started.elapsed() < Duration::from_secs(5));
        thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let (port, taken) = slow(Duration::ZERO);
    let ran = check(&room, &format!("smtp://localhost:{port}"), &[]);
    assert_eq!((ran.code, ran.stdout.contains("Mail")), (Some(2), false), "{ran:?}");
    assert_eq!(taken.load(Ordering::SeqCst), 1);
}

/// Who waits for another run's mail to the end of his time says so.
#[test]
fn a_run_that_does_not_get_its_turn() {
    let stalled = server(stall);
    let room = Room::new();
    let args = args(&room, &format!("smtp://localhost:{stalled}"));
    let mut first = room.command(&args).stdout(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    while !room.path("state.mail.lock").exists() {
        assert!(started.elapsed() < Duration::from_secs(5));
        thread::sleep(Duration::from_millis(10));
    }
    let more = ["-t".to_owned(), "2".to_owned()];
    let ran = room.check(&[&args[..], &more].concat());
    assert_eq!(ran.code, Some(2));
    assert!(ran.took < Duration::from_millis(2500), "{ran:?}");
    assert_eq!(
        ran.stdout.lines().nth(1),
        Some("Mail not sent: another run of the state file state is still sending its mail.")
    );
    first.kill().unwrap();
    first.wait().unwrap();
}

/// Without a state file, mails go out all the same.
#[test]
fn a_state_that_cannot_be_kept_keeps_no_mail_back() {
    let (port, taken) = slow(Duration::ZERO);
    let room = Room::new();
    let url = format!("smtp://localhost:{port}");
    for _ in 0..2 {
        let ran = check(&room, &url, &["--state-file", "nowhere/state"]);
        assert_eq!(ran.code, Some(2));
        assert!(ran.stdout.contains("Cannot lock the state file nowhere/state"), "{ran:?}");
    }
    assert_eq!(taken.load(Ordering::SeqCst), 2);
}

#[test]
fn programs_that_are_no_sendmail() {
    let room = Room::new();
    let program = |name: &str, text: &str| {
        let path = room.write(name, format!("#!/bin/sh\n{text}\n"));
        let made = Command::new("chmod").arg("755").arg(&path).status();
        assert!(made.unwrap().success());
        path.to_str().unwrap().to_owned()
    };
    let told = |path: &str, expected: &str| {
        let ran = check(&room, &format!("sendmail:{path}"), &["-t", "2", "--remind", "0"]);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.took < Duration::from_millis(2500), "{ran:?}");
        let line = ran.stdout.lines().nth(1).unwrap();
        assert_eq!(line, format!("Mail not sent: {expected}."));
    };
    told(
        "/nowhere/sendmail",
        "cannot run /nowhere/sendmail: No such file or directory (os error 2)",
    );
    let stalls = program("stalls", "sleep 60 & exec sleep 60");
    told(&stalls, &format!("{stalls} gave no answer in time, and was ended"));
    let refuses = program("refuses", "cat >/dev/null; echo 'no such |user' >&2; exit 67");
    told(&refuses, &format!("{refuses} ended with 67 (no such ?user)"));
    let shut = program("shut", "exec <&-; exit 75");
    told(&shut, &format!("{shut} ended with 75"));
    let dies = program("dies", "kill -9 $$");
    told(&dies, &format!("{dies} ended with signal 9"));
    let floods = program("floods", "yes >&2");
    told(&floods, &format!("{floods} gave no answer in time, and was ended"));
    let tells = program("tells", "printenv TOPIP_PASSWORD >&2 || exit 69");
    let mut command = room.command(&args(&room, &format!("sendmail:{tells}")));
    let ran = run(command.env("TOPIP_PASSWORD", "hunter2"));
    let line = format!("Mail not sent: {tells} ended with 69.");
    assert_eq!(ran.stdout.lines().nth(1), Some(line.as_str()));
    let leaves = program("leaves", "sleep 60 & exit 1");
    told(&leaves, &format!("{leaves} ended with 1"));
}

#[test]
fn what_is_not_due_is_not_tried() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let room = Room::new();
    room.write("quiet", crowd(31, &[]));
    let url = format!("smtp://localhost:{port}");
    let ran = check(&room, &url, &["--input", "quiet", "--recovery"]);
    assert_eq!(ran.code, Some(0));
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// A server that is looked at and says nothing takes not all of the time.
#[cfg(feature = "ssh")]
#[test]
fn a_dead_server_leaves_time_for_the_mail() {
    let (port, taken) = slow(Duration::from_millis(200));
    let dead = server(stall);
    let room = Room::new();
    let servers = format!("localhost,monitor@127.0.0.1:{dead}");
    let url = format!("smtp://localhost:{port}");
    // One connection is enough to be on top.
    let _connection = TcpStream::connect((Ipv4Addr::LOCALHOST, dead)).unwrap();
    let judging = ["--no-default-excludes", "--floor", "0", "--stddev", "0.01"];
    let mut args = vec!["-H", &servers, "--consecutive", "1", "-t", "3", "--smtp", &url];
    args.extend(judging);
    args.extend(["-a", "topip@example.com,ops@example.com"]);
    let ran = room.check(&args);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stdout.contains("gave no answer in"), "{ran:?}");
    assert!(!ran.stdout.contains("Mail not sent"), "{ran:?}");
    assert!(ran.took < Duration::from_millis(3500), "{ran:?}");
    assert_eq!(taken.load(Ordering::SeqCst), 1);
}
