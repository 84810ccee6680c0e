//! Alerts by way of a real mail server.
use std::{fs, os::unix::fs::PermissionsExt, path::Path, thread};

use snapbox::{Assert, Data};

use crate::support::{
    Ran, Room, crowd, file,
    postfix::{PASSWORD, Postfix},
    run,
};

const FLOOD: (&str, usize) = ("203.0.113.7", 152);

/// The check of a room in which `listing` is critical at once.
fn check(room: &Room, listing: &str, args: &[&str]) -> Ran {
    room.write("listing", listing);
    let first = ["--input", "listing", "--state-file", "state", "--consecutive", "1"];
    let mut command = room.command(&[&first[..], args].concat());
    command.env("MAIL_CONFIG", room.path("conf")).env("SSL_CERT_FILE", room.path("cert.pem"));
    run(&mut command)
}

fn flood(room: &Room, args: &[&str]) -> Ran {
    check(room, &crowd(31, &[FLOOD]), args)
}

fn quiet(room: &Room, args: &[&str]) -> Ran {
    check(room, &crowd(31, &[]), args)
}

/// The lines about mail, with `-vv`.
fn about_mail(ran: &Ran) -> Vec<&str> {
    ran.stdout.lines().filter(|line| line.to_lowercase().contains("mail")).collect()
}

/// A mail without what is another in each.
fn tidy(mail: &str) -> String {
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

fn golden(name: &str, seen: &str) {
    let golden = file("golden").join(name);
    Assert::new().action_env("SNAPSHOTS").eq(seen, Data::read_from(&golden, None));
}

#[test]
fn an_alert_its_reminder_and_its_end() {
    let Some(postfix) = Postfix::start() else { return };
    let room = &postfix.room;
    let url = format!("smtp://localhost:{}", postfix.clear);
    let to = ["-a", "topip@example.com,ops@example.com", "--smtp", &url];
    let with = |args: &[&'static str]| [&to[..], args].concat();
    // The trigger is no alert yet, nor is a fixed threshold.
    quiet(room, &with(&["--consecutive", "2"]));
    flood(room, &with(&["--consecutive", "2", "-c", "100"]));
    let ran = flood(room, &with(&["--consecutive", "2"]));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert_eq!(postfix.mails(1).len(), 1);
    // The same address again only after the reminder time; another at once.
    flood(room, &with(&[]));
    check(room, &crowd(31, &[("2001:db8::8", 152)]), &with(&[]));
    postfix.mails(2);
    flood(room, &with(&["--remind", "0"]));
    postfix.mails(3);
    // Who does not ask for mail gets none, and changes nothing about it.
    flood(room, &[]);
    quiet(room, &[]);
    // It is over once.
    quiet(room, &with(&["--recovery"]));
    quiet(room, &with(&["--recovery"]));
    postfix.mails(4);
    flood(room, &with(&["--recovery"]));
    let mails = postfix.mails(5);
    golden("mail-alert.txt", &tidy(&mails[0]));
    golden("mail-recovery.txt", &tidy(&mails[3]));
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
fn refusals_are_told_and_tried_again() {
    let Some(postfix) = Postfix::start() else { return };
    let room = &postfix.room;
    let url = format!("smtp://localhost:{}", postfix.clear);
    let mail_to = |to: &str| {
        let to = format!("topip@example.com,{to}");
        flood(room, &["-a", &to, "--smtp", &url])
    };
    let place = format!("localhost:{}", postfix.clear);
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
        let ran = mail_to(to);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        let line = format!("Mail not sent: {place} refused it, told RCPT TO {to}: {reply}");
        let told = about_mail(&ran);
        match to {
            // Who is in no domain of its own gets it relayed.
            "x@elsewhere.example" => assert!(told.is_empty(), "{told:?}"),
            _ => assert_eq!(told[0], format!("{line}.")),
        }
        fs::remove_file(room.path("state")).unwrap();
    }
    // One that is refused does not keep the mail from the others.
    let ran = mail_to("nobody@example.com,ops@example.com");
    assert_eq!(ran.code, Some(2));
    assert_eq!(
        about_mail(&ran)[0],
        "Mail to nobody@example.com was refused: 550 5.1.1 ?nobody@example.com?: Recipient address \
         rejected: no such user."
    );
    assert_eq!(postfix.mails(1).len(), 1);
    // It went out, and is not tried again.
    assert_eq!(about_mail(&mail_to("nobody@example.com,ops@example.com")), [""; 0]);
    // Only who got it is named.
    let to = "topip@example.com,nobody@example.com,ops@example.com";
    let ran = flood(room, &["-a", to, "--smtp", &url, "--remind", "0", "-vv"]);
    let sent = format!("Mail: ALERT on listing sent to ops@example.com by {place}, in clear");
    assert!(about_mail(&ran).contains(&sent.as_str()), "{ran:?}");
}

#[test]
fn what_was_not_sent_goes_out_with_the_next_sample() {
    let Some(postfix) = Postfix::start() else { return };
    let room = &postfix.room;
    let to = ["-a", "topip@example.com,ops@example.com", "-vv"];
    let ran = flood(room, &[&to[..], &["--smtp", "smtp://localhost:1"]].concat());
    assert_eq!(ran.code, Some(2));
    assert_eq!(
        about_mail(&ran)[0],
        "Mail not sent: cannot connect to localhost:1: Connection refused (os error 111)."
    );
    let url = format!("smtp://localhost:{}", postfix.clear);
    let ran = flood(room, &[&to[..], &["--smtp", &url]].concat());
    assert_eq!(
        about_mail(&ran),
        [format!(
            "Mail: ALERT on listing sent to ops@example.com by localhost:{}, in clear",
            postfix.clear
        )]
    );
    postfix.mails(1);
    // A closing mail that cannot go out is a trouble of a host that is well.
    let ran = quiet(room, &[&to[..], &["--recovery", "--smtp", "smtp://localhost:1"]].concat());
    assert_eq!(ran.code, Some(3));
    assert!(ran.line().starts_with(
        "TOPIP UNKNOWN - mail not sent: cannot connect to localhost:1: Connection refused"
    ));
    let ran = quiet(room, &[&to[..], &["--recovery", "--smtp", &url]].concat());
    assert_eq!(ran.code, Some(0));
    postfix.mails(2);
}

#[test]
fn encrypted_and_logged_in() {
    let Some(postfix) = Postfix::start() else { return };
    let room = &postfix.room;
    let secret = room.write("secret", PASSWORD);
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let wrong = room.write("wrong", "wrong");
    fs::set_permissions(&wrong, fs::Permissions::from_mode(0o600)).unwrap();
    let Postfix { clear, offering, wrapped, submission, old_submission, clear_submission, .. } =
        postfix;
    let told = |url: &str, secret: Option<&str>| {
        let mut args = vec!["-vv", "--remind", "0", "-a", "topip@example.com,ops@example.com"];
        args.extend(["--smtp", url]);
        args.extend(secret.iter().flat_map(|&secret| ["--smtp-password-file", secret]));
        let ran = flood(room, &args);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        about_mail(&ran)[0].to_owned()
    };
    let sent = |url: &str, secret: Option<&str>, how: &str| {
        let to = "Mail: ALERT on listing sent to ops@example.com by";
        assert_eq!(told(url, secret), format!("{to} {how}"));
    };
    let not_sent = |url: &str, secret: Option<&str>, why: &str| {
        let told = told(url, secret);
        assert!(told.starts_with(&format!("Mail not sent: {why}")), "{told}");
    };
    // This machine's own server is talked to in clear, unless more is asked for.
    let at = |port: u16| format!("localhost:{port}");
    sent(&format!("smtp://{}", at(offering)), None, &format!("{}, in clear", at(offering)));
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
        &format!("{}, in clear, as monitor", at(clear_submission)),
    );
    let n_sent = 8;

    // The certificate is for a name.
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
        not_sent(&url, None, &format!("{} offers no STARTTLS", at(clear)));
    }
    // A password goes nowhere in clear unless that is said.
    for query in ["", "?tls=offered", "?tls=required"] {
        let url = format!("smtp://monitor@{}{query}", at(clear_submission));
        not_sent(&url, Some("secret"), &format!("{} offers no STARTTLS", at(clear_submission)));
    }
    not_sent(
        &format!("smtp://monitor@{}", at(offering)),
        Some("secret"),
        &format!("{} offers neither AUTH PLAIN nor AUTH LOGIN", at(offering)),
    );
    for (port, mechanism) in [(submission, "PLAIN"), (old_submission, "LOGIN")] {
        let url = format!("smtp://monitor@{}", at(port));
        let why = format!("{} refused it, told AUTH {mechanism}: 535 5.7.8", at(port));
        not_sent(&url, Some("wrong"), &why);
    }
    let refused =
        format!("{} refused it, told MAIL FROM topip@example.com: 530 5.7.0", at(submission));
    not_sent(&format!("smtp://{}?tls=none", at(submission)), None, &refused);
    postfix.mails(n_sent + 1);
}

#[test]
fn a_certificate_that_nobody_vouches_for() {
    let Some(postfix) = Postfix::start() else { return };
    let room = &postfix.room;
    room.write("listing", crowd(31, &[FLOOD]));
    let url = format!("smtp://localhost:{}?tls=required", postfix.offering);
    let ran = room.check(&[
        "--input",
        "listing",
        "--consecutive",
        "1",
        "-a",
        "topip@example.com,ops@example.com",
        "--smtp",
        &url,
    ]);
    assert_eq!(ran.code, Some(2));
    assert_eq!(
        about_mail(&ran)[0],
        format!(
            "Mail not sent: cannot encrypt the connection to localhost:{}: certificate verify \
             failed (self-signed certificate).",
            postfix.offering
        )
    );
}

#[test]
fn by_sendmail() {
    let Some(postfix) = Postfix::start() else { return };
    let room = &postfix.room;
    assert!(Path::new("/usr/sbin/sendmail").exists());
    let to = ["-vv", "-a", "topip@example.com,ops@example.com,second@example.com"];
    let ran = flood(room, &[&to[..], &["--smtp", "sendmail:"]].concat());
    assert_eq!(
        about_mail(&ran),
        [
            "Mail: ALERT on listing sent to ops@example.com, second@example.com by /usr/sbin/sendmail"
        ]
    );
    let mails = postfix.mails(2);
    assert!(
        mails.iter().all(|mail| mail.contains("\nReturn-Path: <topip@example.com>")
            || mail.starts_with("Return-Path: <topip@example.com>")),
        "{mails:?}"
    );
    assert!(mails[0].contains("\n  max         152\n"), "{}", mails[0]);
    // It has the state of its own configuration to complain of.
    let broken = room.path("conf/main.cf");
    fs::remove_file(&broken).unwrap();
    let ran = flood(room, &[&to[..], &["--smtp", "sendmail:", "--remind", "0"]].concat());
    let told = about_mail(&ran)[0];
    assert!(
        told.starts_with("Mail not sent: /usr/sbin/sendmail ended with 75 (sendmail: fatal: "),
        "{told}"
    );
}

/// The names of what is looked at stand in the subject.
#[test]
fn a_host_has_no_say_in_the_head_of_a_mail() {
    let Some(postfix) = Postfix::start() else { return };
    let room = &postfix.room;
    let name = "wéb\r\nBcc: all@example.com\r\n\r\n.\r\nQUIT";
    room.write(name, crowd(31, &[FLOOD]));
    let url = format!("smtp://localhost:{}", postfix.clear);
    let ran = room.check(&[
        "--input",
        name,
        "--consecutive",
        "1",
        "-a",
        "topip@example.com,ops@example.com",
        "--smtp",
        &url,
    ]);
    assert_eq!((ran.code, about_mail(&ran)), (Some(2), vec![]));
    let mails = postfix.mails(1);
    let (head, body) = mails[0].split_once("\n\n").unwrap();
    assert!(!head.to_lowercase().contains("\nbcc:"), "{head}");
    // RFC 2047, in UTF-8 and base64: "wéb".
    let subject = "\nSubject: ALERT on =?utf-8?b?d8OpYg==?= Bcc: all@example.com . QUIT\n";
    assert!(head.contains(subject), "{head}");
    assert!(body.contains("on w=C3=A9b Bcc: all@example.com . QUIT"), "{body}");
}

/// Runs that overlap send one mail together.
#[test]
fn overlapping_runs_mail_once() {
    let Some(postfix) = Postfix::start() else { return };
    let room = &postfix.room;
    let url = format!("smtp://localhost:{}", postfix.clear);
    let args = ["-a", "topip@example.com,ops@example.com", "--smtp", &url];
    flood(room, &[]);
    let listing = &["--input", "listing", "--state-file", "state"][..];
    let again = || run(&mut room.command(&[listing, &args].concat())).code;
    let codes: Vec<_> = thread::scope(|scope| {
        let runs: Vec<_> = (0..6).map(|_| scope.spawn(again)).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert_eq!(codes, [Some(2); 6]);
    let quiet = quiet(room, &[&args[..], &["--recovery"]].concat());
    assert_eq!(quiet.code, Some(0));
    let mails = postfix.mails(2);
    assert!(mails[0].contains("Subject: ALERT") && mails[1].contains("Subject: RECOVERY"));
}
