//! Mail servers that stall, send invalid replies, flood or close, and the errors that are
//! reported in time.
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
    CHECK, CommandResult, TestDir, crowd,
    daemon::{start_server, wait_for_close},
    listing, run, skip,
};

/// Replies of a server that accepts a mail, in the order of the session.
const GOOD_REPLIES: [&str; 6] = [
    "220 mail.test ESMTP\r\n",
    "250-mail.test\r\n250 8BITMIME\r\n",
    "250 2.1.0 ok\r\n",
    "250 2.1.5 ok\r\n",
    "354 go on\r\n",
    "250 2.0.0 queued\r\n",
];

/// Activity while each of these replies is awaited, as in error messages.
const ACTIVITIES: [&str; 6] = [
    "after connecting",
    "after EHLO",
    "after MAIL FROM topip@example.com",
    "after RCPT TO ops@example.com",
    "after DATA",
    "after the mail data",
];

/// Takes part in the session until all `answers` are sent. Returns the connection, or `None`
/// if the peer has closed it.
fn reply_script(stream: TcpStream, answers: &[&str]) -> Option<TcpStream> {
    let mut reader = BufReader::new(stream);
    for (n, answer) in answers.iter().enumerate() {
        if n > 0 {
            let mut line = String::new();
            loop {
                line.clear();
                if reader.read_line(&mut line).ok()? == 0 {
                    return None;
                }
                // After DATA, a line with a dot ends the mail.
                if n != 5 || line == ".\r\n" {
                    break;
                }
            }
        }
        reader.get_mut().write_all(answer.as_bytes()).ok()?;
    }
    Some(reader.into_inner())
}

fn args(dir: &TestDir, url: &str) -> Vec<String> {
    let listing = dir.write("listing", crowd(31, &[("203.0.113.7", 152)]));
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

fn check(dir: &TestDir, url: &str, more: &[&str]) -> CommandResult {
    let more = more.iter().map(|&arg| arg.to_owned());
    dir.check(&args(dir, url).into_iter().chain(more).collect::<Vec<_>>())
}

/// Asserts that the check is critical in time, and reports why no mail was sent.
#[track_caller]
fn assert_not_sent(port: u16, url: &str, expected: &str) {
    let dir = TestDir::new();
    let result = check(&dir, url, &["-t", "2"]);
    assert_eq!(result.code, Some(2), "{result:?}");
    assert!(result.elapsed < Duration::from_millis(2500), "{result:?}");
    let line = result.stdout.lines().nth(1).unwrap();
    let expected = expected.replace("PORT", &port.to_string());
    assert_eq!(line, format!("Mail not sent: localhost:{expected}."));
    let state = fs::read_to_string(dir.path("state")).unwrap();
    assert!(state.contains("consecutive: 1") && state.contains("sent_mails: []"), "{state}");
}

#[track_caller]
fn assert_not_sent_in_clear(port: u16, expected: &str) {
    assert_not_sent(port, &format!("smtp://localhost:{port}"), expected);
}

#[test]
fn stalling_mail_server_times_out() {
    thread::scope(|scope| {
        for n in 0..GOOD_REPLIES.len() - 1 {
            scope.spawn(move || {
                let port = start_server(move |stream| {
                    reply_script(stream, &GOOD_REPLIES[..n]).into_iter().for_each(wait_for_close);
                });
                assert_not_sent_in_clear(
                    port,
                    &format!("PORT gave no answer in time {}", ACTIVITIES[n]),
                );
            });
        }
        for url in ["smtps://localhost:PORT", "smtp://localhost:PORT?tls=required"] {
            scope.spawn(move || {
                let port = start_server(move |stream| {
                    let tls = ["220 x\r\n", "250-x\r\n250 STARTTLS\r\n", "220 go on\r\n"];
                    let answers = if url.starts_with("smtps") { &[][..] } else { &tls };
                    reply_script(stream, answers).into_iter().for_each(wait_for_close);
                });
                let url = url.replace("PORT", &port.to_string());
                let activity = "during the TLS handshake";
                assert_not_sent(port, &url, &format!("PORT gave no answer in time {activity}"));
            });
        }
    });
}

/// A timeout for each read would start again with every byte.
#[test]
fn dripping_mail_server_times_out() {
    let port = start_server(|mut stream| {
        for byte in b"220-x\r\n".iter().cycle() {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
    });
    assert_not_sent_in_clear(port, "PORT gave no answer in time after connecting");
}

#[test]
fn closed_mail_connection_is_reported() {
    thread::scope(|scope| {
        for n in 0..GOOD_REPLIES.len() - 1 {
            scope.spawn(move || {
                let port = start_server(move |stream| {
                    let Some(mut stream) = reply_script(stream, &GOOD_REPLIES[..n]) else { return };
                    // Unread data would turn the close into a reset.
                    let mut command = [0; 4096];
                    let _ = if n > 0 { stream.read(&mut command) } else { Ok(0) };
                    let _ = stream.shutdown(std::net::Shutdown::Both);
                });
                let dir = TestDir::new();
                let result = check(&dir, &format!("smtp://localhost:{port}"), &[]);
                let line = result.stdout.lines().nth(1).unwrap();
                let lost = format!("Mail not sent: lost the connection to localhost:{port} ");
                assert!(line.starts_with(&format!("{lost}{}: ", ACTIVITIES[n])), "{line}");
                assert_eq!(result.code, Some(2));
            });
        }
    });
}

/// The server accepts the mail, and then sends no reply or closes.
#[test]
fn unconfirmed_mail_is_reported_and_not_repeated() {
    let assert_unconfirmed = |port: u16, expected: &str| {
        let dir = TestDir::new();
        let url = format!("smtp://localhost:{port}");
        let result = check(&dir, &url, &["-t", "2"]);
        assert_eq!(result.code, Some(2), "{result:?}");
        assert!(result.elapsed < Duration::from_millis(2500), "{result:?}");
        let lines: Vec<_> = result.stdout.lines().collect();
        let expected_line = format!("Mail perhaps not sent: {expected}");
        assert!(lines[1].starts_with(&expected_line), "{lines:?}");
        let hint = "The log of the mail server shows whether the server accepted the mail. \
                      The mail is not sent again before --remind.";
        assert!(lines[2].trim() == hint, "{lines:?}");
        // A mail that may have arrived is not sent with every sample.
        let result = check(&dir, &url, &["-vv", "-t", "2"]);
        let lines: Vec<_> = result.stdout.lines().filter(|line| line.contains("Mail")).collect();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("Mail: sent "), "{lines:?}");
        assert!(lines[0].ends_with(" s ago about 203.0.113.7; sent again after 1 h"), "{lines:?}");
    };
    let take_mail = |stream| reply_script(stream, &[&GOOD_REPLIES[..5], &[""]].concat());
    let silent = start_server(move |stream| take_mail(stream).into_iter().for_each(wait_for_close));
    assert_unconfirmed(
        silent,
        &format!("localhost:{silent} gave no answer in time after the mail data."),
    );
    let closing = start_server(move |stream| drop(take_mail(stream)));
    assert_unconfirmed(
        closing,
        &format!("lost the connection to localhost:{closing} after the mail data: "),
    );
}

/// strace(1) delays the thread of the mail session after a reply that the thread has received,
/// so that its result is late, as on a busy machine.
#[test]
fn late_result_is_of_the_step_that_was_reached() {
    if Command::new("strace").arg("-V").output().is_err() {
        return skip("strace");
    }
    thread::scope(|scope| {
        for (n_reads, sent) in [(2, "not sent"), (5, "not sent"), (6, "perhaps not sent")] {
            scope.spawn(move || {
                let (port, n_received) = slow_server(Duration::ZERO);
                let dir = TestDir::new();
                let args = args(&dir, &format!("smtp://127.0.0.1:{port}"));
                let inject = format!("inject=recvfrom:delay_exit=9000000:when={n_reads}");
                let strace = ["-f", "-qq", "-o", "/dev/null", "-e", &inject, CHECK];
                let mut command = dir.program("strace", &strace);
                let result =
                    run(command.args(&args).args(["-t", "4"]).env("PATH", "/usr/bin:/bin"));
                assert_eq!(result.code, Some(2), "{result:?}");
                let activity = ACTIVITIES[n_reads - 1];
                let line =
                    format!("Mail {sent}: 127.0.0.1:{port} gave no answer in time {activity}.");
                assert_eq!(result.stdout.lines().nth(1), Some(&*line), "{result:?}");
                let state = fs::read_to_string(dir.path("state")).unwrap();
                assert_eq!(state.contains("sent_mails: []"), sent == "not sent", "{state}");
                let n_complete = usize::from(sent != "not sent");
                assert_eq!(n_received.load(Ordering::SeqCst), n_complete);
            });
        }
    });
}

/// A program that has read all of the mail may have queued it.
#[test]
fn mail_that_hanging_sendmail_has_read_is_not_repeated() {
    let dir = TestDir::new();
    let program = dir.write("takes", "#!/bin/sh\ncat >>mails\nexec sleep 60\n");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let url = format!("sendmail:{}", program.display());
    let result = check(&dir, &url, &["-t", "2"]);
    let line = format!(
        "Mail perhaps not sent: {} gave no answer in time after reading the mail, and was killed.",
        program.display()
    );
    assert_eq!(result.stdout.lines().nth(1), Some(&*line), "{result:?}");
    assert_eq!(result.code, Some(2), "{result:?}");
    let result = check(&dir, &url, &["-vv", "-t", "2"]);
    assert!(result.stdout.contains("\nMail: sent "), "{result:?}");
    let mails = fs::read_to_string(dir.path("mails")).unwrap();
    assert_eq!(mails.matches("Subject:").count(), 1, "{mails}");
}

/// After a signal, the run does not save that the mail may have been sent: a mail that is sent
/// twice is better than none.
#[test]
fn mail_of_a_run_that_a_signal_ends_is_sent_again() {
    let dir = TestDir::new();
    let text = "#!/bin/sh\ncat >>mails\n[ -e again ] && exit\ntouch again\nexec sleep 60\n";
    let program = dir.write("hangs", text);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let url = format!("sendmail:{}", program.display());
    let mut command = dir.command(&args(&dir, &url));
    let child = command.stdout(Stdio::piped()).env("PATH", "/usr/bin:/bin").spawn().unwrap();
    let started = Instant::now();
    while !dir.path("again").exists() {
        assert!(started.elapsed() < Duration::from_secs(5));
        thread::sleep(Duration::from_millis(10));
    }
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(killed.unwrap().success());
    let output = child.wait_with_output().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    assert!(output.contains("ended by SIGTERM"), "{output}");
    let n_mails = || fs::read_to_string(dir.path("mails")).unwrap().matches("Subject:").count();
    assert_eq!(n_mails(), 1);
    for _ in 0..2 {
        let result = run(dir.command(&args(&dir, &url)).env("PATH", "/usr/bin:/bin"));
        assert_eq!(result.code, Some(2), "{result:?}");
        assert_eq!(n_mails(), 2);
    }
}

/// With several prefix lengths, the alerts of one sample can be about more than 1,000 networks.
#[test]
fn alert_about_many_networks_is_not_repeated() {
    let dir = TestDir::new();
    let program = dir.write("takes", "#!/bin/sh\nexec cat >>mails\n");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let url = format!("sendmail:{}", program.display());
    let addresses: Vec<_> = (0..600).map(|n| format!("203.{}.{}.7", n / 250, n % 250)).collect();
    let counts: Vec<_> = addresses.iter().map(|address| (address.as_str(), 2)).collect();
    dir.write("many", listing(&counts));
    for _ in 0..2 {
        let lengths = ["--input", "many", "--limit", "1", "--prefix4", "32,24"];
        let result = check(&dir, &url, &lengths);
        assert_eq!(result.code, Some(2), "{result:?}");
    }
    let mails = fs::read_to_string(dir.path("mails")).unwrap();
    assert_eq!(mails.matches("Subject:").count(), 1, "{mails}");
}

#[test]
fn invalid_smtp_replies_are_reported() {
    let answers = |answers: &'static [&'static str], expected: &str| {
        let port = start_server(move |stream| {
            reply_script(stream, answers).into_iter().for_each(wait_for_close)
        });
        assert_not_sent_in_clear(port, expected);
    };
    answers(
        &["SSH-2.0-OpenSSH_9.2\r\n"],
        "PORT sent an unexpected SMTP reply after connecting: SSH-2.0-OpenSSH_9.2",
    );
    answers(
        &["\x1b[2J|`$(x)`\r\n"],
        "PORT sent an unexpected SMTP reply after connecting: ?[2J??(x)",
    );
    answers(&["354 go on\r\n"], "PORT sent an unexpected SMTP reply after connecting: 354 go on");
    answers(
        &["220-x\r\n250 x\r\n"],
        "PORT sent an unexpected SMTP reply after connecting: 220-x 250 x",
    );
    answers(&["421 busy\r\n"], "PORT sent an error reply after connecting: 421 busy");
    answers(&["220 x\r\n", "250 \r\n"], "PORT sent an unexpected SMTP reply after EHLO: 250");
    let early = &["220 x\r\n", "250 x\r\n", "250 x\r\n", "250 x\r\n", "250 sent\r\n"];
    answers(early, "PORT sent an unexpected SMTP reply after DATA: 250 sent");
    let late = &["220 x\r\n", "250 x\r\n", "250 x\r\n", "250 x\r\n", "354 x\r\n", "354 x\r\n"];
    answers(late, "PORT sent an unexpected SMTP reply after the mail data: 354 x");
    let no = &["220 x\r\n", "250 x\r\n", "550-5.7.1 not \u{202e}\x07\r\n550 5.7.1 you\r\n"];
    answers(
        no,
        "PORT sent an error reply after MAIL FROM topip@example.com: 550 5.7.1 not ?? 5.7.1 you",
    );
}

/// Starts a server that offers a login, takes the given steps of it, and quotes the next
/// line.
fn quoting_server(offer: &'static str, steps: &'static [&'static str], code: &'static str) -> u16 {
    start_server(move |stream| {
        let answers = [&["220 x\r\n", offer], steps].concat();
        let Some(stream) = reply_script(stream, &answers) else { return };
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        let _ = reader.read_line(&mut line);
        let answer = format!("{code}{line}");
        let _ = reader.get_mut().write_all(answer.as_bytes());
        wait_for_close(reader.into_inner());
    })
}

/// Error messages about refusals appear in mails and on web pages.
#[test]
fn password_quoted_by_mail_server_is_not_shown() {
    let plain = "250-x\r\n250 AUTH PLAIN\r\n";
    let login = "250-x\r\n250 AUTH LOGIN\r\n";
    let steps = &["334 VXNlcm5hbWU6\r\n", "334 UGFzc3dvcmQ6\r\n"];
    for (offer, steps, code, expected) in [
        (plain, &[][..], "500 unrecognized command: ", "sent an error reply after AUTH PLAIN: 500"),
        (plain, &[], "535 5.7.8 no: ", "sent an error reply after AUTH PLAIN: 535 5.7.8"),
        (plain, &[], "535-5.7.8 no\r\n535 ", "sent an error reply after AUTH PLAIN: 535 5.7.8"),
        (plain, &[], "334 ", "sent an unexpected SMTP reply after AUTH PLAIN: 334"),
        (
            plain,
            &[],
            "what? ",
            "sent an unexpected SMTP reply after AUTH PLAIN: the text is hidden because it may contain the password",
        ),
        (login, steps, "500 what? ", "sent an error reply after AUTH LOGIN: 500"),
        (login, steps, "334 ", "sent an unexpected SMTP reply after AUTH LOGIN: 334"),
    ] {
        let port = quoting_server(offer, steps, code);
        let dir = TestDir::new();
        let secret = dir.write("secret", "hunter2");
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        let url = format!("smtp://me@localhost:{port}?tls=none");
        let result = check(&dir, &url, &["-vvv", "-t", "2", "--smtp-password-file", "secret"]);
        assert_eq!(result.code, Some(2), "{result:?}");
        let line = format!("Mail not sent: localhost:{port} {expected}.");
        assert!(result.stdout.lines().any(|it| it == line), "{line}: {result:?}");
        let line = result.stdout + &result.stderr;
        // In base64: "hunter2", and the text of AUTH PLAIN.
        for secret in ["hunter2", "aHVudGVyMg", "AG1lAGh1bnRlcjI"] {
            assert!(!line.contains(secret), "{line}");
        }
    }
}

/// Unencrypted text behind the reply to STARTTLS is not taken for encrypted text.
#[test]
fn text_injected_before_tls_is_rejected() {
    let port = start_server(|stream| {
        let tls = ["220 x\r\n", "250-x\r\n250 STARTTLS\r\n", "220 go on\r\n250 evil\r\n"];
        reply_script(stream, &tls).into_iter().for_each(wait_for_close);
    });
    let url = format!("smtp://localhost:{port}?tls=required");
    assert_not_sent(
        port,
        &url,
        "PORT sent an unexpected SMTP reply after STARTTLS: more data in clear text",
    );
}

#[test]
fn non_tls_reply_is_reported() {
    let port = start_server(|stream| {
        let tls = ["220 x\r\n", "250-x\r\n250 STARTTLS\r\n", "220 go on\r\n"];
        reply_script(stream, &tls).into_iter().for_each(|mut stream| {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            wait_for_close(stream);
        });
    });
    let url = format!("smtp://localhost:{port}?tls=required");
    let dir = TestDir::new();
    let result = check(&dir, &url, &[]);
    let reason = "cannot encrypt the connection to localhost";
    let line = format!("Mail not sent: {reason}:{port}: wrong version number.");
    assert_eq!(result.stdout.lines().nth(1), Some(line.as_str()));
}

/// Gigabytes do not use memory: 400 MB are allowed here.
#[test]
fn flooding_mail_server_uses_bounded_memory() {
    let flood = |before: &'static [&'static str], line: &'static [u8], expected: &str| {
        let port = start_server(move |stream| {
            let Some(mut stream) = reply_script(stream, before) else { return };
            let block = line.repeat(64 * 1024 / line.len());
            while stream.write_all(&block).is_ok() {}
        });
        let dir = TestDir::new();
        let started = Instant::now();
        let mut command = Command::new("sh");
        command
            .args(["-c", "ulimit -v 400000; exec \"$0\" \"$@\"", CHECK])
            .args(args(&dir, &format!("smtp://localhost:{port}")))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .current_dir(dir.path("."))
            .stdin(Stdio::null());
        let result = run(&mut command);
        assert_eq!(result.code, Some(2), "{result:?}");
        assert!(started.elapsed() < Duration::from_secs(5), "{result:?}");
        let line = result.stdout.lines().nth(1).unwrap();
        // If the server sends too early, its text is rejected before it is read.
        let early = format!(
            " sent an unexpected SMTP reply {}: the reply arrived before the command was sent.",
            ACTIVITIES[2]
        );
        let is_early = !before.is_empty() && line.ends_with(&early);
        let expected = format!("Mail not sent: localhost:{port} {expected}.");
        assert!(line == expected || is_early, "{line}");
    };
    let endless = |activity: &str| {
        format!("sent an unexpected SMTP reply {activity}: the reply does not end within 64 KiB")
    };
    flood(&[], b"a", &endless("after connecting"));
    flood(&[], b"220-a\r\n", &endless("after connecting"));
    flood(&GOOD_REPLIES[..2], b"250-a\r\n", &endless("after MAIL FROM topip@example.com"));
    flood(
        &GOOD_REPLIES[..2],
        b"\r\n",
        "sent an unexpected SMTP reply after MAIL FROM topip@example.com: ",
    );
}

/// The name server of the mail server's domain does not reply.
#[test]
fn unanswered_name_lookup_times_out() {
    if !rustix::process::geteuid().is_root() {
        return skip("root, for a namespace with its own name server");
    }
    let dir = TestDir::new();
    let resolver = dir.write("resolv.conf", "nameserver 127.0.0.1\n");
    let script = format!(
        "ip link set lo up && mount --bind {} /etc/resolv.conf && \
         socat -u UDP4-RECV:53 /dev/null & s=$!; \
         until ss -Hlun | grep -q :53; do sleep 0.1; done; \"$0\" \"$@\"; code=$?; kill $s; exit $code",
        resolver.display()
    );
    let mut command = Command::new("unshare");
    command
        .args(["-m", "-n", "sh", "-c", &script, CHECK])
        .args(args(&dir, "smtp://mail.example.com"))
        .args(["-t", "2"])
        .current_dir(dir.path("."))
        .stdin(Stdio::null());
    let result = run(&mut command);
    assert_eq!(result.code, Some(2), "{result:?}");
    assert_eq!(
        result.stdout.lines().nth(1),
        Some("Mail not sent: mail.example.com:25 gave no answer in time during name resolution.")
    );
}

/// Starts a server that accepts every mail after a pause, and counts the mails.
fn slow_server(pause: Duration) -> (u16, Arc<AtomicUsize>) {
    let n_received = Arc::new(AtomicUsize::new(0));
    let port = {
        let n_received = Arc::clone(&n_received);
        start_server(move |stream| {
            thread::sleep(pause);
            if let Some(stream) = reply_script(stream, &GOOD_REPLIES) {
                n_received.fetch_add(1, Ordering::SeqCst);
                wait_for_close(stream);
            }
        })
    };
    (port, n_received)
}

/// A slow mail server does not delay samples, and gets one mail.
#[test]
fn runs_during_slow_mail_are_not_delayed() {
    let (port, n_received) = slow_server(Duration::from_millis(800));
    let dir = TestDir::new();
    let args = args(&dir, &format!("smtp://localhost:{port}"));
    thread::scope(|scope| {
        let runs: Vec<_> = (0..5).map(|_| scope.spawn(|| dir.check(&args))).collect();
        // All samples are saved long before the mail is sent.
        let started = Instant::now();
        loop {
            let state = fs::read_to_string(dir.path("state")).unwrap_or_default();
            if state.contains("consecutive: 5") {
                assert!(state.contains("sent_mails: []"), "{state}");
                break;
            }
            assert!(started.elapsed() < Duration::from_secs(5), "{state}");
            thread::sleep(Duration::from_millis(10));
        }
        for result in runs.into_iter().map(|run| run.join().unwrap()) {
            assert_eq!(result.code, Some(2));
            assert!(!result.stdout.contains("Mail"), "{result:?}");
        }
    });
    assert_eq!(n_received.load(Ordering::SeqCst), 1);
    let state = fs::read_to_string(dir.path("state")).unwrap();
    assert!(
        state.contains("consecutive: 5") && state.contains("203.0.113.7\",\n            timestamp"),
        "{state}"
    );
}

/// A run that is killed while it sends leaves the mail to the next run.
#[test]
fn killed_run_leaves_mail_to_next_run() {
    let stalled = start_server(wait_for_close);
    let dir = TestDir::new();
    let mut command = dir.command(&args(&dir, &format!("smtp://localhost:{stalled}")));
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    while !dir.path("state.mail.lock").exists() {
        assert!(started.elapsed() < Duration::from_secs(5));
        thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let (port, n_received) = slow_server(Duration::ZERO);
    let result = check(&dir, &format!("smtp://localhost:{port}"), &[]);
    assert_eq!((result.code, result.stdout.contains("Mail")), (Some(2), false), "{result:?}");
    assert_eq!(n_received.load(Ordering::SeqCst), 1);
}

/// A run that waits for another run's mail until its timeout reports that.
#[test]
fn waiting_for_another_mail_times_out() {
    let stalled = start_server(wait_for_close);
    let dir = TestDir::new();
    let args = args(&dir, &format!("smtp://localhost:{stalled}"));
    let mut first = dir.command(&args).stdout(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    while !dir.path("state.mail.lock").exists() {
        assert!(started.elapsed() < Duration::from_secs(5));
        thread::sleep(Duration::from_millis(10));
    }
    let more = ["-t".to_owned(), "2".to_owned()];
    let result = dir.check(&[&args[..], &more].concat());
    assert_eq!(result.code, Some(2));
    assert!(result.elapsed < Duration::from_millis(2500), "{result:?}");
    assert_eq!(
        result.stdout.lines().nth(1),
        Some("Mail not sent: another run with the state file state is still sending its mail.")
    );
    first.kill().unwrap();
    first.wait().unwrap();
}

/// Without a state file, mails are sent anyway.
#[test]
fn mail_is_sent_without_state_file() {
    let (port, n_received) = slow_server(Duration::ZERO);
    let dir = TestDir::new();
    let url = format!("smtp://localhost:{port}");
    for _ in 0..2 {
        let result = check(&dir, &url, &["--state-file", "nowhere/state"]);
        assert_eq!(result.code, Some(2));
        assert!(result.stdout.contains("Cannot lock the state file nowhere/state"), "{result:?}");
    }
    assert_eq!(n_received.load(Ordering::SeqCst), 2);
}

#[test]
fn failing_sendmail_programs_are_reported() {
    let dir = TestDir::new();
    let program = |name: &str, text: &str| {
        let path = dir.write(name, format!("#!/bin/sh\n{text}\n"));
        let made = Command::new("chmod").arg("755").arg(&path).status();
        assert!(made.unwrap().success());
        path.to_str().unwrap().to_owned()
    };
    let assert_reported = |path: &str, expected: &str| {
        let result = check(&dir, &format!("sendmail:{path}"), &["-t", "2", "--remind", "0"]);
        assert_eq!(result.code, Some(2), "{result:?}");
        assert!(result.elapsed < Duration::from_millis(2500), "{result:?}");
        let line = result.stdout.lines().nth(1).unwrap();
        assert_eq!(line, format!("Mail not sent: {expected}."));
    };
    assert_reported(
        "/nowhere/sendmail",
        "cannot run /nowhere/sendmail: No such file or directory (os error 2)",
    );
    let stalls = program("stalls", "sleep 60 & exec sleep 60");
    let unread = "gave no answer in time before reading the whole mail, and was killed";
    assert_reported(&stalls, &format!("{stalls} {unread}"));
    let refuses = program("refuses", "cat >/dev/null; echo 'no such |user' >&2; exit 67");
    assert_reported(&refuses, &format!("{refuses} ended with exit status 67 (no such ?user)"));
    let shut = program("shut", "exec <&-; exit 75");
    assert_reported(&shut, &format!("{shut} ended with exit status 75"));
    let dies = program("dies", "kill -9 $$");
    assert_reported(&dies, &format!("{dies} ended with signal 9"));
    let floods = program("floods", "yes >&2");
    assert_reported(&floods, &format!("{floods} {unread}"));
    let tells = program("tells", "printenv TOPIP_PASSWORD >&2 || exit 69");
    let mut command = dir.command(&args(&dir, &format!("sendmail:{tells}")));
    let result = run(command.env("TOPIP_PASSWORD", "hunter2"));
    let line = format!("Mail not sent: {tells} ended with exit status 69.");
    assert_eq!(result.stdout.lines().nth(1), Some(line.as_str()));
    let leaves = program("leaves", "sleep 60 & exit 1");
    assert_reported(&leaves, &format!("{leaves} ended with exit status 1"));
}

#[test]
fn mail_that_is_not_due_opens_no_connection() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let dir = TestDir::new();
    dir.write("quiet", crowd(31, &[]));
    let url = format!("smtp://localhost:{port}");
    let result = check(&dir, &url, &["--input", "quiet", "--recovery"]);
    assert_eq!(result.code, Some(0));
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// An unresponsive server does not use up all of the time.
#[cfg(feature = "ssh")]
#[test]
fn unresponsive_server_leaves_time_for_mail() {
    let (port, n_received) = slow_server(Duration::from_millis(200));
    let dead = start_server(wait_for_close);
    let dir = TestDir::new();
    let servers = format!("localhost,monitor@127.0.0.1:{dead}");
    let url = format!("smtp://localhost:{port}");
    // One connection is enough to be the top address.
    let _connection = TcpStream::connect((Ipv4Addr::LOCALHOST, dead)).unwrap();
    let judging = ["--no-default-excludes", "--floor", "0", "--stddev", "0.01"];
    let mut args = vec!["-H", &servers, "--consecutive", "1", "-t", "3", "--smtp", &url];
    args.extend(judging);
    args.extend(["-a", "topip@example.com,ops@example.com"]);
    let result = dir.check(&args);
    assert_eq!(result.code, Some(2), "{result:?}");
    assert!(result.stdout.contains("gave no answer in"), "{result:?}");
    assert!(!result.stdout.contains("Mail not sent"), "{result:?}");
    assert!(result.elapsed < Duration::from_millis(3500), "{result:?}");
    assert_eq!(n_received.load(Ordering::SeqCst), 1);
}
