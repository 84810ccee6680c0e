//! A mail server that is somebody else, or wants what it should not get.
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::status_line::{is_clean, is_in_time};
use crate::support::{
    Ran, Room, crowd,
    daemon::{do_run, server, stall},
    faketime,
    postfix::{PASSWORD, Postfix},
    run, skip,
};

const PATIENCE: Duration = Duration::from_secs(2);

/// The check of a room in which an alert is due, to be mailed by way of `url`,
/// with a password if that names a user.
fn check(room: &Room, url: &str) -> Ran {
    room.write("listing", crowd(31, &[("203.0.113.7", 152)]));
    let secret = room.write("secret", PASSWORD);
    fs::set_permissions(secret, fs::Permissions::from_mode(0o600)).unwrap();
    let order = ["-a", "topip@example.com,ops@example.com", "--smtp", url];
    let first = ["--input", "listing", "--consecutive", "1", "--state-file", "state", "-t", "2"];
    let mut args = [&first[..], &order].concat();
    if url.contains('@') {
        args.extend(["--smtp-password-file", "secret"]);
    }
    let mut command = room.command(&args);
    let ran = run(command.env("SSL_CERT_FILE", room.path("cert.pem")));
    is_clean(&ran);
    is_in_time(&ran, PATIENCE);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    ran
}

/// The verdict stands, the mail is tried again, and that is told as `why`.
#[track_caller]
fn not_sent(room: &Room, url: &str, why: &str) {
    let ran = check(room, url);
    let told = ran.stdout.lines().nth(1).unwrap();
    assert!(told.starts_with(&format!("Mail not sent: {why}")), "{told}");
    let state = fs::read_to_string(room.path("state")).unwrap();
    assert!(state.contains("row: 1") && state.contains("mailed: []"), "{state}");
    fs::remove_file(room.path("state")).unwrap();
}

/// Answers to each line with the next of `answers`, and writes down what it
/// hears.
fn scripted(answers: &[&[u8]]) -> (u16, Arc<Mutex<Vec<u8>>>) {
    let answers: Vec<_> = answers.iter().map(|answer| answer.to_vec()).collect();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let port = {
        let heard = Arc::clone(&heard);
        server(move |mut stream: TcpStream| {
            let mut buffer = [0; 4096];
            for (n, answer) in answers.iter().enumerate() {
                if n > 0 {
                    match stream.read(&mut buffer) {
                        Ok(length @ 1..) => heard.lock().unwrap().extend(&buffer[..length]),
                        _ => return,
                    }
                }
                let _ = stream.write_all(answer);
            }
            stall(stream);
        })
    };
    (port, heard)
}

/// Checks that nothing that is to be kept from others was said in clear.
#[track_caller]
fn kept_quiet(heard: &Mutex<Vec<u8>>) {
    let heard = String::from_utf8_lossy(&heard.lock().unwrap()).into_owned();
    // In base64: the user and the password, as AUTH PLAIN has them.
    for secret in ["AUTH", PASSWORD, "AG1vbml0b3I", "MAIL FROM", "203.0.113.7"] {
        assert!(!heard.contains(secret), "{secret}: {heard}");
    }
    assert!(heard.starts_with("EHLO "), "{heard}");
}

/// Somebody in between takes the offer of encryption out, or says no to it.
#[test]
fn one_that_would_like_the_password_in_clear() {
    for (answers, why) in [
        (&[&b"220 x\r\n"[..], b"250-x\r\n250 AUTH PLAIN LOGIN\r\n"][..], "offers no STARTTLS"),
        (
            &[b"220 x\r\n", b"250-x\r\n250-XXXXXXXX\r\n250 AUTH PLAIN LOGIN\r\n"],
            "offers no STARTTLS",
        ),
        (
            &[
                b"220 x\r\n",
                b"250-x\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n",
                b"454 4.7.0 not now\r\n",
            ],
            "refused it, told STARTTLS: 454 4.7.0 not now",
        ),
        (
            &[
                b"220 x\r\n",
                b"250-x\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n",
                b"250 fine without\r\n250 x\r\n",
            ],
            "talks no SMTP, told STARTTLS: it said more in clear",
        ),
    ] {
        let (port, heard) = scripted(answers);
        let place = format!("localhost:{port}");
        // A user alone asks for encryption.
        not_sent(&Room::new(), &format!("smtp://monitor@{place}"), &format!("{place} {why}"));
        kept_quiet(&heard);
        // It does so without one, where that is asked for.
        let (port, heard) = scripted(answers);
        let place = format!("localhost:{port}");
        not_sent(&Room::new(), &format!("smtp://{place}?tls=required"), &format!("{place} {why}"));
        kept_quiet(&heard);
    }
}

/// An answer that comes before the mail does not say that the mail was taken.
#[test]
fn one_that_answers_before_it_is_asked() {
    for (answers, why) in [
        (
            &[&b"220 x\r\n250 x\r\n250 x\r\n250 x\r\n354 x\r\n250 queued\r\n221 x\r\n"[..]][..],
            "talks no SMTP, told EHLO: it had answered before",
        ),
        (
            &[b"220 x\r\n", b"250 x\r\n", b"250 x\r\n", b"250 x\r\n", b"354 x\r\n250 queued\r\n"],
            "talks no SMTP, given the mail: it had answered before",
        ),
        // It may do that to say that it shuts down.
        (&[b"220 x\r\n421 4.3.2 bye\r\n"], "refused it, told EHLO: 421 4.3.2 bye"),
    ] {
        let (port, _heard) = scripted(answers);
        let place = format!("localhost:{port}");
        not_sent(&Room::new(), &format!("smtp://{place}"), &format!("{place} {why}"));
    }
}

#[test]
fn one_whose_answers_are_no_text() {
    for (answers, why) in [
        (
            &[&b"220 \0\0\0\r\n"[..], b"250 \0x\r\n", b"550 no \0|x=1\x1b[2J\xff\r\n"][..],
            "refused it, told MAIL FROM topip@example.com: 550 no ??x=1?[2J?",
        ),
        (&[b"\0\0\0\0\r\n"], "talks no SMTP, on being connected: "),
        (&[b"220\x00x\r\n"], "talks no SMTP, on being connected: "),
        (&[b"999 x\r\n"], "talks no SMTP, on being connected: "),
        (&[b"22\xb2 x\r\n"], "talks no SMTP, on being connected: "),
        (&[b"220-x\r\n250-x\r\n220 x\r\n"], "talks no SMTP, on being connected: "),
        (&[b"\r\n"], "talks no SMTP, on being connected: "),
        (&[b"220 x\r\n", b"250-\r\n250-\r\n250 \r\n"], "talks no SMTP, told EHLO: "),
    ] {
        let (port, _heard) = scripted(answers);
        let place = format!("localhost:{port}");
        not_sent(&Room::new(), &format!("smtp://{place}"), &format!("{place} {why}"));
    }
}

/// A certificate that all trust, and whose time is over or has not come.
#[test]
fn one_whose_certificate_has_expired() {
    if Command::new("faketime").arg("--version").output().is_err() {
        return skip("faketime");
    }
    for (when, why) in
        [("-30d", "certificate has expired"), ("+30d", "certificate is not yet valid")]
    {
        let Some(postfix) = Postfix::start() else { return };
        let room = &postfix.room;
        // It is read by whoever serves the first connection to these ports.
        let path = |name: &str| room.path(name).to_str().unwrap().to_owned();
        let (key, certificate) = (path("key.pem"), path("cert.pem"));
        let mut args = vec!["-f", when, "openssl", "req", "-x509", "-newkey", "ec"];
        args.extend(["-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
        args.extend(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]);
        args.extend(["-keyout", &key, "-out", &certificate]);
        faketime::clear();
        do_run("faketime", &args);
        let Postfix { offering, submission, wrapped, .. } = postfix;
        for (url, port) in [
            (format!("smtp://localhost:{offering}?tls=required"), offering),
            (format!("smtp://localhost:{offering}?tls=offered"), offering),
            (format!("smtps://localhost:{wrapped}"), wrapped),
            (format!("smtp://monitor@localhost:{submission}"), submission),
            (format!("smtps://monitor@localhost:{wrapped}"), wrapped),
        ] {
            let cannot = format!("cannot encrypt the connection to localhost:{port}");
            not_sent(room, &url, &format!("{cannot}: certificate verify failed ({why})"));
        }
        let log = fs::read_to_string(room.path("maillog")).unwrap();
        assert!(!log.contains("sasl_username"), "{log}");
    }
}
