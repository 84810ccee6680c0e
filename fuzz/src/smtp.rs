//! Replies of a mail server.
use std::time::{Duration, Instant};

use topip::notify::mail::{MailError, mail_fuzz};

/// A unique word, so that a leak is recognizable.
const PASSWORD: &str = "swordfish-7Qx";
/// The password as AUTH PLAIN and AUTH LOGIN encode it.
const ENCODED: [&str; 2] = ["AG1vbml0b3IAc3dvcmRmaXNoLTdReA==", "c3dvcmRmaXNoLTdReA=="];

/// Checks that the session ends in time with any replies of the server, that the mail is sent
/// at most once, and that no error message contains the password.
pub fn check(replies: &[u8]) {
    // More than the socket buffer would block without a reader.
    let replies = &replies[..replies.len().min(100_000)];
    for password in [None, Some(PASSWORD)] {
        let started = Instant::now();
        let (outcome, sent) = mail_fuzz::session(replies, password);
        assert!(started.elapsed() < Duration::from_secs(5), "the session ends in time");
        let sent = String::from_utf8(sent).expect("commands are ASCII");
        assert_valid_session(&sent, outcome.is_ok());
        // A server that knows the password may send it at any time, but its replies during
        // the login are not quoted.
        let is_during_login = matches!(&outcome, Err(
            MailError::Refused { step, .. } | MailError::Protocol { step, .. }
        ) if step.starts_with("after AUTH"));
        let is_in_replies =
            |word: &str| replies.windows(word.len()).any(|it| it == word.as_bytes());
        let text = match outcome {
            Ok(delivered) => format!("{delivered:?}"),
            Err(error) => error_chain(&error),
        };
        assert!(text.len() < 2000, "{} bytes: {text}", text.len());
        for word in [PASSWORD, ENCODED[0], ENCODED[1]] {
            let may_be_shown = is_in_replies(word) && !is_during_login;
            assert!(may_be_shown || !text.contains(word), "{text}");
        }
    }
    let text = String::from_utf8_lossy(replies);
    let (codes, beginning) = mail_fuzz::reply_excerpts(&text);
    assert!(beginning.chars().count() <= 300);
    assert!(codes.split(' ').count() <= 2, "{codes:?}");
}

fn error_chain(error: &MailError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

/// Asserts that the client sent only known commands, and the end of the mail at most once.
fn assert_valid_session(sent: &str, is_sent: bool) {
    let (commands, mail) = match sent.split_once("DATA\r\n") {
        Some((commands, mail)) => (commands, Some(mail)),
        None => (sent, None),
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
