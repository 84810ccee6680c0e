//! Hostile mail servers, and machines between client and mail server.
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::status_line::{assert_clean, assert_in_time};
use crate::support::{
    CommandResult, TestDir, crowd,
    daemon::{run_ok, start_server, wait_for_close},
    faketime,
    postfix::{PASSWORD, Postfix},
    run, skip,
};

const TIMEOUT: Duration = Duration::from_secs(2);

/// Runs a check with an alert that is mailed through `url`, with a password if the URL has
/// a user.
fn check(dir: &TestDir, url: &str) -> CommandResult {
    dir.write("listing", crowd(31, &[("203.0.113.7", 152)]));
    let secret = dir.write("secret", PASSWORD);
    fs::set_permissions(secret, fs::Permissions::from_mode(0o600)).unwrap();
    let mail_args = ["-a", "topip@example.com,ops@example.com", "--smtp", url];
    let first = ["--input", "listing", "--consecutive", "1", "--state-file", "state", "-t", "2"];
    let mut args = [&first[..], &mail_args].concat();
    if url.contains('@') {
        args.extend(["--smtp-password-file", "secret"]);
    }
    let mut command = dir.command(&args);
    let result = run(command.env("SSL_CERT_FILE", dir.path("cert.pem")));
    assert_clean(&result);
    assert_in_time(&result, TIMEOUT);
    assert_eq!(result.code, Some(2), "{result:?}");
    result
}

/// Asserts that the verdict stays, that the mail is still due, and that `reason` is
/// reported.
#[track_caller]
fn assert_not_sent(dir: &TestDir, url: &str, reason: &str) {
    let result = check(dir, url);
    let line = result.stdout.lines().nth(1).unwrap();
    assert!(line.starts_with(&format!("Mail not sent: {reason}")), "{line}");
    let state = fs::read_to_string(dir.path("state")).unwrap();
    assert!(state.contains("consecutive: 1") && state.contains("sent_mails: []"), "{state}");
    fs::remove_file(dir.path("state")).unwrap();
}

/// Starts a server that answers each line with the next reply and records what it receives.
fn scripted_server(answers: &[&[u8]]) -> (u16, Arc<Mutex<Vec<u8>>>) {
    let answers: Vec<_> = answers.iter().map(|answer| answer.to_vec()).collect();
    let received = Arc::new(Mutex::new(Vec::new()));
    let port = {
        let received = Arc::clone(&received);
        start_server(move |mut stream: TcpStream| {
            let mut buffer = [0; 4096];
            for (n, answer) in answers.iter().enumerate() {
                if n > 0 {
                    match stream.read(&mut buffer) {
                        Ok(length @ 1..) => received.lock().unwrap().extend(&buffer[..length]),
                        _ => return,
                    }
                }
                let _ = stream.write_all(answer);
            }
            wait_for_close(stream);
        })
    };
    (port, received)
}

/// Asserts that nothing secret was sent in clear.
#[track_caller]
fn assert_nothing_secret_received(received: &Mutex<Vec<u8>>) {
    let received = String::from_utf8_lossy(&received.lock().unwrap()).into_owned();
    // In base64: the user and the password, as AUTH PLAIN encodes them.
    for secret in ["AUTH", PASSWORD, "AG1vbml0b3I", "MAIL FROM", "203.0.113.7"] {
        assert!(!received.contains(secret), "{secret}: {received}");
    }
    assert!(received.starts_with("EHLO "), "{received}");
}

/// An attacker in between removes the STARTTLS offer or refuses it.
#[test]
fn password_is_not_sent_in_clear() {
    for (answers, reason) in [
        (&[&b"220 x\r\n"[..], b"250-x\r\n250 AUTH PLAIN LOGIN\r\n"][..], "does not offer STARTTLS"),
        (
            &[b"220 x\r\n", b"250-x\r\n250-XXXXXXXX\r\n250 AUTH PLAIN LOGIN\r\n"],
            "does not offer STARTTLS",
        ),
        (
            &[
                b"220 x\r\n",
                b"250-x\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n",
                b"454 4.7.0 not now\r\n",
            ],
            "sent an error reply after STARTTLS: 454 4.7.0 not now",
        ),
        (
            &[
                b"220 x\r\n",
                b"250-x\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n",
                b"250 fine without\r\n250 x\r\n",
            ],
            "sent an unexpected SMTP reply after STARTTLS: more data in clear text",
        ),
    ] {
        let (port, received) = scripted_server(answers);
        let address = format!("localhost:{port}");
        // A user in the URL requires encryption.
        assert_not_sent(
            &TestDir::new(),
            &format!("smtp://monitor@{address}"),
            &format!("{address} {reason}"),
        );
        assert_nothing_secret_received(&received);
        // Without a user, `tls=required` requires encryption.
        let (port, received) = scripted_server(answers);
        let address = format!("localhost:{port}");
        assert_not_sent(
            &TestDir::new(),
            &format!("smtp://{address}?tls=required"),
            &format!("{address} {reason}"),
        );
        assert_nothing_secret_received(&received);
    }
}

/// A reply that comes before the mail does not confirm the mail.
#[test]
fn premature_replies_are_not_accepted() {
    for (answers, reason) in [
        (
            &[&b"220 x\r\n250 x\r\n250 x\r\n250 x\r\n354 x\r\n250 queued\r\n221 x\r\n"[..]][..],
            "sent an unexpected SMTP reply after EHLO: the reply arrived before the command was sent",
        ),
        (
            &[b"220 x\r\n", b"250 x\r\n", b"250 x\r\n", b"250 x\r\n", b"354 x\r\n250 queued\r\n"],
            "sent an unexpected SMTP reply after the mail data: the reply arrived before the command was sent",
        ),
        // A server may send 421 at any time to announce that it shuts down.
        (&[b"220 x\r\n421 4.3.2 bye\r\n"], "sent an error reply after EHLO: 421 4.3.2 bye"),
    ] {
        let (port, _heard) = scripted_server(answers);
        let address = format!("localhost:{port}");
        assert_not_sent(
            &TestDir::new(),
            &format!("smtp://{address}"),
            &format!("{address} {reason}"),
        );
    }
}

#[test]
fn binary_replies_are_reported() {
    for (answers, reason) in [
        (
            &[&b"220 \0\0\0\r\n"[..], b"250 \0x\r\n", b"550 no \0|x=1\x1b[2J\xff\r\n"][..],
            "sent an error reply after MAIL FROM topip@example.com: 550 no ??x=1?[2J?",
        ),
        (&[b"\0\0\0\0\r\n"], "sent an unexpected SMTP reply after connecting: "),
        (&[b"220\x00x\r\n"], "sent an unexpected SMTP reply after connecting: "),
        (&[b"999 x\r\n"], "sent an unexpected SMTP reply after connecting: "),
        (&[b"22\xb2 x\r\n"], "sent an unexpected SMTP reply after connecting: "),
        (&[b"220-x\r\n250-x\r\n220 x\r\n"], "sent an unexpected SMTP reply after connecting: "),
        (&[b"\r\n"], "sent an unexpected SMTP reply after connecting: "),
        (
            &[b"220 x\r\n", b"250-\r\n250-\r\n250 \r\n"],
            "sent an unexpected SMTP reply after EHLO: ",
        ),
    ] {
        let (port, _heard) = scripted_server(answers);
        let address = format!("localhost:{port}");
        assert_not_sent(
            &TestDir::new(),
            &format!("smtp://{address}"),
            &format!("{address} {reason}"),
        );
    }
}

/// A trusted certificate that has expired or is not valid yet.
#[test]
fn expired_certificate_is_rejected() {
    if Command::new("faketime").arg("--version").output().is_err() {
        return skip("faketime");
    }
    for (when, reason) in
        [("-30d", "certificate has expired"), ("+30d", "certificate is not yet valid")]
    {
        let Some(postfix) = Postfix::start() else { return };
        let dir = &postfix.dir;
        // Each smtpd process reads the certificate at its first connection.
        let path = |name: &str| dir.path(name).to_str().unwrap().to_owned();
        let (key, certificate) = (path("key.pem"), path("cert.pem"));
        let mut args = vec!["-f", when, "openssl", "req", "-x509", "-newkey", "ec"];
        args.extend(["-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
        args.extend(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]);
        args.extend(["-keyout", &key, "-out", &certificate]);
        faketime::clear();
        run_ok("faketime", &args);
        let Postfix { offering, submission, wrapped, .. } = postfix;
        for (url, port) in [
            (format!("smtp://localhost:{offering}?tls=required"), offering),
            (format!("smtp://localhost:{offering}?tls=offered"), offering),
            (format!("smtps://localhost:{wrapped}"), wrapped),
            (format!("smtp://monitor@localhost:{submission}"), submission),
            (format!("smtps://monitor@localhost:{wrapped}"), wrapped),
        ] {
            let cannot = format!("cannot encrypt the connection to localhost:{port}");
            assert_not_sent(dir, &url, &format!("{cannot}: certificate verify failed ({reason})"));
        }
        let log = fs::read_to_string(dir.path("maillog")).unwrap();
        assert!(!log.contains("sasl_username"), "{log}");
    }
}
