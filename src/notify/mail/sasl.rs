//! SASL authentication for SMTP (RFC 4954). Commands are built in memory that is
//! wiped; lettre's own commands are plain strings.
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use lettre::transport::smtp::authentication::Mechanism;
use zeroize::Zeroizing;

use super::SmtpLogin;

/// Returns the command that starts the authentication.
pub(super) fn initial_command(mechanism: Mechanism, login: &SmtpLogin) -> Zeroizing<Vec<u8>> {
    match mechanism {
        // RFC 4616: authorization identity (empty), user name, password.
        Mechanism::Plain => {
            let SmtpLogin { user, password } = login;
            base64_line(
                b"AUTH PLAIN ",
                &[b"\0", user.as_bytes(), b"\0", password.reveal().as_bytes()],
            )
        }
        other => Zeroizing::new(format!("AUTH {other}\r\n").into_bytes()),
    }
}

/// Returns the response to a challenge of the server; `None` if the challenge is not
/// known.
pub(super) fn challenge_response(
    mechanism: Mechanism,
    login: &SmtpLogin,
    challenge: &str,
) -> Option<Zeroizing<Vec<u8>>> {
    if mechanism != Mechanism::Login {
        return None;
    }
    let challenge =
        STANDARD.decode(challenge).or_else(|_| STANDARD_NO_PAD.decode(challenge)).ok()?;
    let challenge = String::from_utf8_lossy(&challenge).to_ascii_lowercase();
    // Prompts from draft-murchison-sasl-login, and variants in use.
    match challenge.trim_end_matches(['\0', ':', ' ']) {
        "username" | "user name" => Some(base64_line(b"", &[login.user.as_bytes()])),
        "password" => Some(base64_line(b"", &[login.password.reveal().as_bytes()])),
        _ => None,
    }
}

/// Returns a line of `command` and the base64 encoding of the concatenated parts. The
/// buffers have their final size from the start: growing would leave copies of the
/// password in memory.
fn base64_line(command: &[u8], parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let clear_length = parts.iter().map(|part| part.len()).sum();
    let mut clear = Zeroizing::new(Vec::with_capacity(clear_length));
    parts.iter().for_each(|part| clear.extend_from_slice(part));
    let mut line = Zeroizing::new(vec![0; command.len() + clear_length.div_ceil(3) * 4 + 2]);
    let (command_part, base64_part) = line.split_at_mut(command.len());
    command_part.copy_from_slice(command);
    let n_written =
        STANDARD.encode_slice(&*clear, base64_part).expect("the buffer has the encoded size");
    base64_part[n_written..].copy_from_slice(b"\r\n");
    line
}

#[cfg(test)]
mod tests {
    use crate::model::secret::Secret;

    use super::*;

    fn login() -> SmtpLogin {
        SmtpLogin { user: "monitor".to_owned(), password: Secret::new("correct-horse".to_owned()) }
    }

    #[track_caller]
    fn check(command: Option<Zeroizing<Vec<u8>>>, expected: Option<&str>) {
        let command = command.map(|line| String::from_utf8_lossy(&line).into_owned());
        assert_eq!(command.as_deref(), expected);
    }

    #[test]
    fn known_challenges_are_answered() {
        let plain = "AUTH PLAIN AG1vbml0b3IAY29ycmVjdC1ob3JzZQ==\r\n";
        check(Some(initial_command(Mechanism::Plain, &login())), Some(plain));
        check(challenge_response(Mechanism::Plain, &login(), ""), None);
        check(Some(initial_command(Mechanism::Login, &login())), Some("AUTH LOGIN\r\n"));
        let next = |challenge| challenge_response(Mechanism::Login, &login(), challenge);
        // "Username:", "User Name\0", "username", "Password:", "pASSWORD".
        for challenge in ["VXNlcm5hbWU6", "VXNlciBOYW1lAA==", "dXNlcm5hbWU"] {
            check(next(challenge), Some("bW9uaXRvcg==\r\n"));
        }
        for challenge in ["UGFzc3dvcmQ6", "cEFTU1dPUkQ="] {
            check(next(challenge), Some("Y29ycmVjdC1ob3JzZQ==\r\n"));
        }
        // "Secret:", empty, and invalid base64.
        for challenge in ["U2VjcmV0Og==", "", "???"] {
            check(next(challenge), None);
        }
    }
}
