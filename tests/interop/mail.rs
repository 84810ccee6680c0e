//! Alerts by mail through a real mail server.
use std::{fs, os::unix::fs::PermissionsExt, path::Path, thread};

use snapbox::{Assert, Data};

use crate::support::{
    CommandResult, TestDir, crowd,
    postfix::{PASSWORD, Postfix},
    run, test_file,
};

const FLOOD: (&str, usize) = ("203.0.113.7", 152);

/// Runs a check in which `listing` is critical at once.
fn check(dir: &TestDir, listing: &str, args: &[&str]) -> CommandResult {
    dir.write("listing", listing);
    let first = ["--input", "listing", "--state-file", "state", "--consecutive", "1"];
    let mut command = dir.command(&[&first[..], args].concat());
    command.env("MAIL_CONFIG", dir.path("conf")).env("SSL_CERT_FILE", dir.path("cert.pem"));
    run(&mut command)
}

fn flood(dir: &TestDir, args: &[&str]) -> CommandResult {
    check(dir, &crowd(31, &[FLOOD]), args)
}

fn quiet(dir: &TestDir, args: &[&str]) -> CommandResult {
    check(dir, &crowd(31, &[]), args)
}

/// Returns the output lines about mail, with `-vv`.
fn mail_lines(result: &CommandResult) -> Vec<&str> {
    result.stdout.lines().filter(|line| line.to_lowercase().contains("mail")).collect()
}

/// Returns a mail without the parts that differ in each run.
fn normalize(mail: &str) -> String {
    let mut lines = Vec::new();
    let mut in_received = false;
    for line in mail.lines() {
        in_received = line.starts_with("Received:") || in_received && line.starts_with('\t');
        match line {
            _ if in_received => {}
            _ if line.starts_with("Date: ") => {
                assert!(line.ends_with(" +0000"), "{line}");
                lines.push("Date: ...".to_owned());
            }
            _ if line.starts_with("Message-ID: <topip.") => {
                lines.push("Message-ID: ...".to_owned());
            }
            // Some seconds may pass between two runs.
            _ => {
                lines.push((1..=9).fold(line.to_owned(), |line, n| {
                    line.replace(&format!(" {n} s ago"), " 0 s ago")
                }))
            }
        }
    }
    lines.join("\n") + "\n"
}

fn assert_golden(name: &str, mail: &str) {
    let assert_golden = test_file("golden").join(name);
    Assert::new().action_env("SNAPSHOTS").eq(mail, Data::read_from(&assert_golden, None));
}

#[test]
fn alert_reminder_and_recovery_are_mailed() {
    let Some(postfix) = Postfix::start() else { return };
    let dir = &postfix.dir;
    let url = format!("smtp://localhost:{}", postfix.clear);
    let to = ["-a", "topip@example.com,ops@example.com", "--smtp", &url];
    let with = |args: &[&'static str]| [&to[..], args].concat();
    // A first sample over the limit is not an alert, and neither is a fixed threshold.
    quiet(dir, &with(&["--consecutive", "2"]));
    flood(dir, &with(&["--consecutive", "2", "-c", "100"]));
    let result = flood(dir, &with(&["--consecutive", "2"]));
    assert_eq!(result.code, Some(2), "{result:?}");
    assert_eq!(postfix.mails(1).len(), 1);
    // The same address is mailed again only after the reminder time, another address at
    // once.
    flood(dir, &with(&[]));
    check(dir, &crowd(31, &[("2001:db8::8", 152)]), &with(&[]));
    postfix.mails(2);
    flood(dir, &with(&["--remind", "0"]));
    postfix.mails(3);
    // A run without mail options sends no mail and does not change the mail history.
    flood(dir, &[]);
    quiet(dir, &[]);
    // The recovery is mailed once.
    quiet(dir, &with(&["--recovery"]));
    quiet(dir, &with(&["--recovery"]));
    postfix.mails(4);
    flood(dir, &with(&["--recovery"]));
    let mails = postfix.mails(5);
    assert_golden("mail-alert.txt", &normalize(&mails[0]));
    assert_golden("mail-recovery.txt", &normalize(&mails[3]));
    assert!(mails[1].contains("2001:db8::8 has 152 connections"), "{}", mails[1]);
    let ids: Vec<_> = mails
        .iter()
        .flat_map(|mail| mail.lines().find(|line| line.starts_with("Message-ID")))
        .collect();
    let mut unique = ids.clone();
    unique.dedup();
    assert_eq!((ids.len(), unique.len()), (5, 5));
}

#[test]
fn rejected_mail_is_reported_and_retried() {
    let Some(postfix) = Postfix::start() else { return };
    let dir = &postfix.dir;
    let url = format!("smtp://localhost:{}", postfix.clear);
    let mail_to = |to: &str| {
        let to = format!("topip@example.com,{to}");
        flood(dir, &["-a", &to, "--smtp", &url])
    };
    let server = format!("localhost:{}", postfix.clear);
    for (to, reply) in [
        (
            "nobody@example.com",
            "550 5.1.1 ?nobody@example.com?: Recipient address rejected: no such user",
        ),
        (
            "later@example.com",
            "451 4.7.1 ?later@example.com?: Recipient address rejected: greylisted, come back later",
        ),
        ("x@elsewhere.example", "550 5.1.1"),
    ] {
        let result = mail_to(to);
        assert_eq!(result.code, Some(2), "{result:?}");
        let line =
            format!("Mail not sent: {server} sent an error reply after RCPT TO {to}: {reply}");
        let mail_line = mail_lines(&result);
        match to {
            // Mail to other domains is relayed by the server.
            "x@elsewhere.example" => assert!(mail_line.is_empty(), "{mail_line:?}"),
            _ => assert_eq!(mail_line[0], format!("{line}.")),
        }
        fs::remove_file(dir.path("state")).unwrap();
    }
    // A rejected recipient does not prevent delivery to the others.
    let result = mail_to("nobody@example.com,ops@example.com");
    assert_eq!(result.code, Some(2));
    assert_eq!(
        mail_lines(&result)[0],
        "Mail to nobody@example.com was refused: 550 5.1.1 ?nobody@example.com?: Recipient address \
         rejected: no such user."
    );
    assert_eq!(postfix.mails(1).len(), 1);
    // The mail was sent, and is not repeated.
    assert_eq!(mail_lines(&mail_to("nobody@example.com,ops@example.com")), [""; 0]);
    // Only the accepted recipients are named.
    let to = "topip@example.com,nobody@example.com,ops@example.com";
    let result = flood(dir, &["-a", to, "--smtp", &url, "--remind", "0", "-vv"]);
    let sent = format!(
        "Mail: ALERT on listing: 203.0.113.7 sent to ops@example.com by {server}, unencrypted"
    );
    assert!(mail_lines(&result).contains(&sent.as_str()), "{result:?}");
}

#[test]
fn unsent_mail_is_retried_with_next_sample() {
    let Some(postfix) = Postfix::start() else { return };
    let dir = &postfix.dir;
    let to = ["-a", "topip@example.com,ops@example.com", "-vv"];
    let result = flood(dir, &[&to[..], &["--smtp", "smtp://localhost:1"]].concat());
    assert_eq!(result.code, Some(2));
    assert_eq!(
        mail_lines(&result)[0],
        "Mail not sent: cannot connect to localhost:1: Connection refused (os error 111)."
    );
    let url = format!("smtp://localhost:{}", postfix.clear);
    let result = flood(dir, &[&to[..], &["--smtp", &url]].concat());
    assert_eq!(
        mail_lines(&result),
        [format!(
            "Mail: ALERT on listing: 203.0.113.7 sent to ops@example.com by localhost:{}, unencrypted",
            postfix.clear
        )]
    );
    postfix.mails(1);
    // A recovery mail that cannot be sent makes the status UNKNOWN.
    let result = quiet(dir, &[&to[..], &["--recovery", "--smtp", "smtp://localhost:1"]].concat());
    assert_eq!(result.code, Some(3));
    assert!(result.status_line().starts_with(
        "TOPIP UNKNOWN - mail not sent: cannot connect to localhost:1: Connection refused"
    ));
    let result = quiet(dir, &[&to[..], &["--recovery", "--smtp", &url]].concat());
    assert_eq!(result.code, Some(0));
    postfix.mails(2);
}

#[test]
fn tls_and_login_follow_the_url() {
    let Some(postfix) = Postfix::start() else { return };
    let dir = &postfix.dir;
    let secret = dir.write("secret", PASSWORD);
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let wrong = dir.write("wrong", "wrong");
    fs::set_permissions(&wrong, fs::Permissions::from_mode(0o600)).unwrap();
    let Postfix { clear, offering, wrapped, submission, old_submission, clear_submission, .. } =
        postfix;
    let mail_line = |url: &str, secret: Option<&str>| {
        let mut args = vec!["-vv", "--remind", "0", "-a", "topip@example.com,ops@example.com"];
        args.extend(["--smtp", url]);
        args.extend(secret.iter().flat_map(|&secret| ["--smtp-password-file", secret]));
        let result = flood(dir, &args);
        assert_eq!(result.code, Some(2), "{result:?}");
        mail_lines(&result)[0].to_owned()
    };
    let sent = |url: &str, secret: Option<&str>, details: &str| {
        let to = "Mail: ALERT on listing: 203.0.113.7 sent to ops@example.com by";
        assert_eq!(mail_line(url, secret), format!("{to} {details}"));
    };
    let not_sent = |url: &str, secret: Option<&str>, reason: &str| {
        let mail_line = mail_line(url, secret);
        assert!(mail_line.starts_with(&format!("Mail not sent: {reason}")), "{mail_line}");
    };
    // A local mail server is used without TLS by default.
    let at = |port: u16| format!("localhost:{port}");
    sent(&format!("smtp://{}", at(offering)), None, &format!("{}, unencrypted", at(offering)));
    for (scheme, port, query) in [
        ("smtp", offering, "?tls=offered"),
        ("smtp", offering, "?tls=required"),
        ("smtp", offering, "?tls=unverified"),
        ("smtps", wrapped, ""),
    ] {
        let url = format!("{scheme}://{}{query}", at(port));
        sent(&url, None, &format!("{}, encrypted", at(port)));
    }
    let encrypted = |port| format!("{}, encrypted, as monitor", at(port));
    for port in [submission, old_submission] {
        sent(&format!("smtp://monitor@{}", at(port)), Some("secret"), &encrypted(port));
    }
    sent(
        &format!("smtp://monitor@{}?tls=none", at(clear_submission)),
        Some("secret"),
        &format!("{}, unencrypted, as monitor", at(clear_submission)),
    );
    sent(&format!("smtp://m%6Fnitor@{}", at(submission)), Some("secret"), &encrypted(submission));
    let n_sent = 9;

    // The certificate is for a host name.
    let by_address = format!("127.0.0.1:{offering}");
    not_sent(
        &format!("smtp://{by_address}?tls=required"),
        None,
        &format!(
            "cannot encrypt the connection to {by_address}: certificate verify failed (IP address mismatch)"
        ),
    );
    sent(&format!("smtp://{by_address}?tls=unverified"), None, &format!("{by_address}, encrypted"));
    for query in ["required", "unverified"] {
        let url = format!("smtp://{}?tls={query}", at(clear));
        not_sent(&url, None, &format!("{} does not offer STARTTLS", at(clear)));
    }
    // A password is not sent in clear unless requested.
    for query in ["", "?tls=offered", "?tls=required"] {
        let url = format!("smtp://monitor@{}{query}", at(clear_submission));
        not_sent(
            &url,
            Some("secret"),
            &format!("{} does not offer STARTTLS", at(clear_submission)),
        );
    }
    not_sent(
        &format!("smtp://monitor@{}", at(offering)),
        Some("secret"),
        &format!("{} offers neither AUTH PLAIN nor AUTH LOGIN", at(offering)),
    );
    for (port, mechanism) in [(submission, "PLAIN"), (old_submission, "LOGIN")] {
        let url = format!("smtp://monitor@{}", at(port));
        let reason = format!("{} sent an error reply after AUTH {mechanism}: 535 5.7.8", at(port));
        not_sent(&url, Some("wrong"), &reason);
    }
    let refused = format!(
        "{} sent an error reply after MAIL FROM topip@example.com: 530 5.7.0",
        at(submission)
    );
    not_sent(&format!("smtp://{}?tls=none", at(submission)), None, &refused);
    postfix.mails(n_sent + 1);
}

#[test]
fn self_signed_certificate_is_rejected() {
    let Some(postfix) = Postfix::start() else { return };
    let dir = &postfix.dir;
    dir.write("listing", crowd(31, &[FLOOD]));
    let url = format!("smtp://localhost:{}?tls=required", postfix.offering);
    let result = dir.check(&[
        "--input",
        "listing",
        "--consecutive",
        "1",
        "-a",
        "topip@example.com,ops@example.com",
        "--smtp",
        &url,
    ]);
    assert_eq!(result.code, Some(2));
    assert_eq!(
        mail_lines(&result)[0],
        format!(
            "Mail not sent: cannot encrypt the connection to localhost:{}: certificate verify \
             failed (self-signed certificate).",
            postfix.offering
        )
    );
}

#[test]
fn sendmail_delivers_mail() {
    let Some(postfix) = Postfix::start() else { return };
    let dir = &postfix.dir;
    assert!(Path::new("/usr/sbin/sendmail").exists());
    let to = ["-vv", "-a", "topip@example.com,ops@example.com,second@example.com"];
    let result = flood(dir, &[&to[..], &["--smtp", "sendmail:"]].concat());
    assert_eq!(
        mail_lines(&result),
        [
            "Mail: ALERT on listing: 203.0.113.7 sent to ops@example.com, second@example.com by /usr/sbin/sendmail"
        ]
    );
    let mails = postfix.mails(2);
    assert!(
        mails.iter().all(|mail| mail.contains("\nReturn-Path: <topip@example.com>")
            || mail.starts_with("Return-Path: <topip@example.com>")),
        "{mails:?}"
    );
    assert!(mails[0].contains("\n  max         152\n"), "{}", mails[0]);
    // sendmail reports its broken configuration.
    let broken = dir.path("conf/main.cf");
    fs::remove_file(&broken).unwrap();
    let result = flood(dir, &[&to[..], &["--smtp", "sendmail:", "--remind", "0"]].concat());
    let mail_line = mail_lines(&result)[0];
    assert!(
        mail_line.starts_with(
            "Mail not sent: /usr/sbin/sendmail ended with exit status 75 (sendmail: fatal: "
        ),
        "{mail_line}"
    );
}

/// The name of the sampled host is part of the subject.
#[test]
fn host_name_cannot_inject_mail_headers() {
    let Some(postfix) = Postfix::start() else { return };
    let dir = &postfix.dir;
    let name = "wéb\r\nBcc: all@example.com\r\n\r\n.\r\nQUIT";
    dir.write(name, crowd(31, &[FLOOD]));
    let url = format!("smtp://localhost:{}", postfix.clear);
    let result = dir.check(&[
        "--input",
        name,
        "--consecutive",
        "1",
        "-a",
        "topip@example.com,ops@example.com",
        "--smtp",
        &url,
    ]);
    assert_eq!((result.code, mail_lines(&result)), (Some(2), vec![]));
    let mails = postfix.mails(1);
    let (head, body) = mails[0].split_once("\n\n").unwrap();
    assert!(!head.to_lowercase().contains("\nbcc:"), "{head}");
    // RFC 2047, in UTF-8 and base64: "wéb".
    let subject =
        "\nSubject: ALERT on =?utf-8?b?d8OpYg==?= Bcc: all@example.com . QUIT:\n 203.0.113.7\n";
    assert!(head.contains(subject), "{head}");
    assert!(body.contains("on w=C3=A9b Bcc: all@example.com . QUIT"), "{body}");
}

/// Overlapping runs send one mail.
#[test]
fn overlapping_runs_mail_once() {
    let Some(postfix) = Postfix::start() else { return };
    let dir = &postfix.dir;
    let url = format!("smtp://localhost:{}", postfix.clear);
    let args = ["-a", "topip@example.com,ops@example.com", "--smtp", &url];
    flood(dir, &[]);
    let listing = &["--input", "listing", "--state-file", "state"][..];
    let again = || run(&mut dir.command(&[listing, &args].concat())).code;
    let codes: Vec<_> = thread::scope(|scope| {
        let runs: Vec<_> = (0..6).map(|_| scope.spawn(again)).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert_eq!(codes, [Some(2); 6]);
    let quiet = quiet(dir, &[&args[..], &["--recovery"]].concat());
    assert_eq!(quiet.code, Some(0));
    let mails = postfix.mails(2);
    assert!(mails[0].contains("Subject: ALERT") && mails[1].contains("Subject: RECOVERY"));
}
