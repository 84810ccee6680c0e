//! What a mail server answers.
use std::time::{Duration, Instant};

use topip::notify::mail::{MailError, mail_fuzz};

/// A word that stands nowhere else, so that it shows where it is told.
const PASSWORD: &str = "swordfish-7Qx";
/// The same as AUTH PLAIN and AUTH LOGIN send it.
const ENCODED: [&str; 2] = ["AG1vbml0b3IAc3dvcmRmaXNoLTdReA==", "c3dvcmRmaXNoLTdReA=="];

/// Whatever a server says, a dialogue ends in time, the mail goes once or not at
/// all, its end is told to the server once, and no password is told to anybody.
pub fn check(answers: &[u8]) {
    // More than a socket takes at once would wait for a reader.
    let answers = &answers[..answers.len().min(100_000)];
    for password in [None, Some(PASSWORD)] {
        let started = Instant::now();
        let (outcome, told) = mail_fuzz::dialogue(answers, password);
        assert!(started.elapsed() < Duration::from_secs(5), "it ends in time");
        let told = String::from_utf8(told).expect("what is told is in ASCII");
        commands(&told, outcome.is_ok());
        // A server that knows the password may say it whenever it likes, but is
        // not quoted while it is asked for it.
        let is_asked = matches!(&outcome, Err(
            MailError::Refused { doing, .. } | MailError::Unintelligible { doing, .. }
        ) if doing.starts_with("told AUTH"));
        let is_said = |word: &str| answers.windows(word.len()).any(|it| it == word.as_bytes());
        let text = match outcome {
            Ok(delivered) => format!("{delivered:?}"),
            Err(error) => worded(&error),
        };
        assert!(text.len() < 2000, "{} bytes: {text}", text.len());
        for word in [PASSWORD, ENCODED[0], ENCODED[1]] {
            let may_be_told = is_said(word) && !is_asked;
            assert!(may_be_told || !text.contains(word), "{text}");
        }
    }
    let text = String::from_utf8_lossy(answers);
    let (codes, beginning) = mail_fuzz::told(&text);
    assert!(beginning.chars().count() <= 300);
    assert!(codes.split(' ').count() <= 2, "{codes:?}");
}

fn worded(error: &MailError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

/// What was told to a server is a dialogue: no command that is not ours, and the
/// end of the mail once, where it was given at all.
fn commands(told: &str, is_sent: bool) {
    let (commands, mail) = match told.split_once("DATA\r\n") {
        Some((commands, mail)) => (commands, Some(mail)),
        None => (told, None),
    };
    let known = ["EHLO ", "AUTH ", "MAIL FROM:<", "RCPT TO:<", "QUIT"];
    for line in commands.split_terminator("\r\n") {
        let is_base64 = line.bytes().all(|it| it.is_ascii_alphanumeric() || b"+/=".contains(&it));
        assert!(is_base64 || known.iter().any(|it| line.starts_with(it)), "{line:?}");
    }
    match mail {
        None => assert!(!is_sent),
        Some(mail) => {
            let ends = mail.matches("\r\n.\r\n").count();
            assert!(ends <= 1 && (ends == 1 || !is_sent), "{mail:?}");
        }
    }
}
