//! Answers the questions of keyboard-interactive (RFC 4256) with a password.
use ssh2::{KeyboardInteractivePrompt, Prompt};

use super::ssh_error::quoted;
use crate::model::secret::Secret;

/// Words that a question for a new password contains in addition to `password`, in the
/// messages of PAM.
const NEW_PASSWORD_WORDS: [&str; 3] = ["new ", "current ", "(current)"];
/// Words of an explanation before such a question.
const EXPIRY_WORDS: [&str; 2] = ["expired", "change"];

/// Answers the first question of a server with the password, and no other: the password
/// must not become the answer to a question for a new one.
pub(super) struct PasswordResponder<'a> {
    password: &'a Secret,
    /// Question that the password has answered.
    answered: Option<String>,
    /// First question that was not answered.
    unanswered: Option<String>,
}

impl<'a> PasswordResponder<'a> {
    pub(super) fn new(password: &'a Secret) -> Self {
        Self { password, answered: None, unanswered: None }
    }

    /// Returns the question, for messages, that the password does not answer. `None` if the
    /// server asked no other question, or only the same one again, which means that the
    /// password was wrong.
    pub(super) fn question(&self) -> Option<String> {
        let question = self.unanswered.as_ref()?;
        let is_repeated = self.answered.as_ref() == Some(question);
        if is_repeated { None } else { Some(quoted(question)) }
    }

    /// Returns true if the server has asked for a new password.
    pub(super) fn is_password_expired(&self) -> bool {
        self.unanswered.as_deref().is_some_and(|question| {
            contains_any(question, &NEW_PASSWORD_WORDS) || contains_any(question, &EXPIRY_WORDS)
        })
    }

    fn answer(&mut self, instruction: &str, prompt: &Prompt<'_>) -> String {
        let question = format!("{instruction} {}", prompt.text).trim().to_owned();
        // Other lines, such as a banner, may come before the question.
        let last_line = question.lines().next_back().unwrap_or_default();
        let is_new = contains_any(last_line, &NEW_PASSWORD_WORDS);
        if !prompt.echo && !is_new && self.answered.is_none() {
            self.answered = Some(question);
            return self.password.reveal().to_owned();
        }
        self.unanswered.get_or_insert(question);
        String::new()
    }
}

impl KeyboardInteractivePrompt for PasswordResponder<'_> {
    fn prompt(&mut self, _: &str, instruction: &str, prompts: &[Prompt<'_>]) -> Vec<String> {
        prompts.iter().map(|prompt| self.answer(instruction, prompt)).collect()
    }
}

/// Returns true if a question is about a password, with one of these words.
fn contains_any(question: &str, words: &[&str]) -> bool {
    let question = question.to_lowercase();
    question.contains("password") && words.iter().any(|word| question.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(responder: &mut PasswordResponder<'_>, text: &'static str) -> String {
        responder.answer("", &Prompt { text: text.into(), echo: false })
    }

    #[test]
    fn password_answers_the_first_question_alone() {
        let password = Secret::new("word".to_owned());
        let mut responder = PasswordResponder::new(&password);
        assert_eq!(answer(&mut responder, "Password:"), "word");
        assert_eq!(responder.question(), None);
        assert_eq!(answer(&mut responder, "Password:"), "");
        assert_eq!(responder.question(), None);

        let name = Prompt { text: "Name:".into(), echo: true };
        let mut responder = PasswordResponder::new(&password);
        assert_eq!(responder.answer("Hello", &name), "");
        assert_eq!(responder.question(), Some("Hello Name:".to_owned()));
        assert!(!responder.is_password_expired());

        let mut responder = PasswordResponder::new(&password);
        let with_banner = "A new rule: never change your password here.\nPassword: ";
        assert_eq!(answer(&mut responder, with_banner), "word");
    }

    #[test]
    fn new_passwords_are_never_answered() {
        let password = Secret::new("word".to_owned());
        for question in [
            "You are required to change your password immediately.\nCurrent password:",
            "New password: ",
            "(current) UNIX password: ",
            "Retype new password:",
        ] {
            let mut responder = PasswordResponder::new(&password);
            assert_eq!(answer(&mut responder, question), "", "{question}");
            assert!(responder.is_password_expired(), "{question}");
        }
    }
}
