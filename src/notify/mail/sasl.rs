//! What is said to a mail server to prove who one is (RFC 4954), in memory that
//! is wiped: lettre's own commands are plain strings.
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use lettre::transport::smtp::authentication::Mechanism;
use zeroize::Zeroizing;

use super::Login;

/// The command that begins it.
pub(super) fn first(mechanism: Mechanism, login: &Login) -> Zeroizing<Vec<u8>> {
    match mechanism {
        // RFC 4616: for whom, who, by what.
        Mechanism::Plain => {
            let Login { user, password } = login;
            encoded(b"AUTH PLAIN ", &[b"\0", user.as_bytes(), b"\0", password.reveal().as_bytes()])
        }
        other => Zeroizing::new(format!("AUTH {other}\r\n").into_bytes()),
    }
}

/// The answer to what the server asks for then; none where nobody knows what
/// that is.
pub(super) fn next(
    mechanism: Mechanism,
    login: &Login,
    question: &str,
) -> Option<Zeroizing<Vec<u8>>> {
    if mechanism != Mechanism::Login {
        return None;
    }
    let question = STANDARD.decode(question).or_else(|_| STANDARD_NO_PAD.decode(question)).ok()?;
    let question = String::from_utf8_lossy(&question).to_ascii_lowercase();
    // draft-murchison-sasl-login, and what else there is.
    match question.trim_end_matches(['\0', ':', ' ']) {
        "username" | "user name" => Some(encoded(b"", &[login.user.as_bytes()])),
        "password" => Some(encoded(b"", &[login.password.reveal().as_bytes()])),
        _ => None,
    }
}

/// `command` and the parts in base64, which is as long as it gets from the start:
/// what grows leaves copies behind.
fn encoded(command: &[u8], parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let length = parts.iter().map(|part| part.len()).sum();
    let mut clear = Zeroizing::new(Vec::with_capacity(length));
    parts.iter().for_each(|part| clear.extend_from_slice(part));
    let mut line = Zeroizing::new(vec![0; command.len() + length.div_ceil(3) * 4 + 2]);
    let (begin, rest) = line.split_at_mut(command.len());
    begin.copy_from_slice(command);
    let written = STANDARD.encode_slice(&*clear, rest).expect("there is room for it");
    rest[written..].copy_from_slice(b"\r\n");
    line
}

#[cfg(test)]
mod tests {
    use crate::model::secret::Secret;

    use super::*;

    fn login() -> Login {
        Login { user: "monitor".to_owned(), password: Secret::new("correct-horse".to_owned()) }
    }

    #[track_caller]
    fn check(said: Option<Zeroizing<Vec<u8>>>, expected: Option<&str>) {
        let said = said.map(|it| String::from_utf8_lossy(&it).into_owned());
        assert_eq!(said.as_deref(), expected);
    }

    #[test]
    fn the_words_of_a_login() {
        let plain = "AUTH PLAIN AG1vbml0b3IAY29ycmVjdC1ob3JzZQ==\r\n";
        check(Some(first(Mechanism::Plain, &login())), Some(plain));
        check(next(Mechanism::Plain, &login(), ""), None);
        check(Some(first(Mechanism::Login, &login())), Some("AUTH LOGIN\r\n"));
        let next = |question| next(Mechanism::Login, &login(), question);
        // "Username:", "User Name\0", "username", "Password:", "pASSWORD".
        for question in ["VXNlcm5hbWU6", "VXNlciBOYW1lAA==", "dXNlcm5hbWU"] {
            check(next(question), Some("bW9uaXRvcg==\r\n"));
        }
        for question in ["UGFzc3dvcmQ6", "cEFTU1dPUkQ="] {
            check(next(question), Some("Y29ycmVjdC1ob3JzZQ==\r\n"));
        }
        // "Secret:", nothing, and no base64.
        for question in ["U2VjcmV0Og==", "", "???"] {
            check(next(question), None);
        }
    }
}
