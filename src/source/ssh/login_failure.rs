//! Reason for a failed login: the credentials that the server has accepted and rejected,
//! and the end of the connection.
use super::{LoginAdvice, ssh_error::quoted};

const NO_CREDENTIALS: &str = "no key or password is available";

/// Results of the credentials that were tried.
#[derive(Debug, Default)]
pub(super) struct LoginFailure {
    pub(super) n_accepted_keys: usize,
    /// Number of keys that were rejected or received no reply.
    pub(super) n_rejected_keys: usize,
    /// Result of the password, by all methods together.
    pub(super) password: PasswordResult,
    /// Phrases about other credentials.
    pub(super) other_phrases: Vec<String>,
    /// Last message of a server that has closed the connection, which may be empty; `None`
    /// if the connection is open, or has ended in another way.
    pub(super) hang_up: Option<String>,
}

/// Result of a password.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum PasswordResult {
    /// No password is available, or the server does not accept one.
    #[default]
    Untried,
    Accepted,
    Rejected,
    Expired,
    /// The server has closed the connection instead of replying.
    Unanswered,
}

impl LoginFailure {
    /// Returns the reason for the failure. `methods` are those that the server accepts
    /// next; empty if they are unknown.
    pub(super) fn reason(&self, methods: &str) -> String {
        let rejections = self.rejections().join(", ");
        let Some(accepted) = self.accepted() else {
            let is_untried = rejections.is_empty();
            return if is_untried { NO_CREDENTIALS.to_owned() } else { rejections };
        };
        let mut reason = accepted;
        if !methods.is_empty() {
            reason += &format!("; the server also wants {}", self.wanted(methods));
        }
        if !rejections.is_empty() {
            reason += &format!(", but {rejections}");
        }
        reason
    }

    /// Returns the advice for the failure. `methods` are those of [`reason`](Self::reason).
    pub(super) fn advice(&self, methods: &str) -> LoginAdvice {
        let n_keys = self.n_accepted_keys + self.n_rejected_keys;
        let has_accepted = self.accepted().is_some();
        let takes_password = methods.contains("password") || methods.contains("keyboard");
        match self.password {
            PasswordResult::Expired => LoginAdvice::ChangePassword,
            _ if self.hang_up.is_some() && n_keys > 1 => LoginAdvice::NameKey,
            PasswordResult::Untried if has_accepted && takes_password => LoginAdvice::AddPassword,
            PasswordResult::Untried if !has_accepted && self.rejections().is_empty() => {
                LoginAdvice::AddCredential
            }
            PasswordResult::Untried => LoginAdvice::TryKeys,
            _ if n_keys == 0 => LoginAdvice::TryPassword,
            _ => LoginAdvice::TryKeysAndPassword,
        }
    }

    /// Returns the phrase about the accepted credentials; `None` if none was accepted.
    fn accepted(&self) -> Option<String> {
        let keys = match self.n_accepted_keys {
            0 => None,
            1 => Some("the key".to_owned()),
            n_keys => Some(format!("{n_keys} keys")),
        };
        let password = match self.password {
            PasswordResult::Accepted => Some("the password".to_owned()),
            _ => None,
        };
        let is_plural = self.n_accepted_keys > 1 || (keys.is_some() && password.is_some());
        let names: Vec<_> = keys.into_iter().chain(password).collect();
        if names.is_empty() {
            return None;
        }
        let verb = if is_plural { "were" } else { "was" };
        Some(format!("{} {verb} accepted", names.join(" and ")))
    }

    /// Returns the methods that the server accepts next, as names of credentials.
    fn wanted(&self, methods: &str) -> String {
        let names = methods.split(',').map(|method| match method {
            "publickey" if self.n_accepted_keys > 0 => "another key",
            "publickey" => "a key",
            "password" => "a password",
            method => method,
        });
        quoted(&names.collect::<Vec<_>>().join(" or "))
    }

    /// Returns the phrases about rejected and unusable credentials and a lost connection.
    fn rejections(&self) -> Vec<String> {
        let mut phrases = Vec::new();
        match (self.n_rejected_keys, &self.hang_up) {
            (0, _) | (_, Some(_)) => {}
            (1, None) => phrases.push("the key was not accepted".to_owned()),
            (n_keys, None) => phrases.push(format!("none of the {n_keys} keys was accepted")),
        }
        if self.password == PasswordResult::Rejected {
            phrases.push("the password was refused".to_owned());
        }
        phrases.extend(self.other_phrases.iter().cloned());
        phrases.extend(self.hang_up.as_ref().map(|message| self.describe_hang_up(message)));
        phrases
    }

    fn describe_hang_up(&self, message: &str) -> String {
        let keys = match self.n_rejected_keys {
            0 => None,
            1 => Some("the key".to_owned()),
            n_keys => Some(format!("{n_keys} keys")),
        };
        let password = match self.password {
            PasswordResult::Unanswered => Some("the password".to_owned()),
            _ => None,
        };
        let tries: Vec<_> = keys.into_iter().chain(password).collect();
        let mut phrase = "the server closed the connection".to_owned();
        if !tries.is_empty() {
            phrase += &format!(" after {}", tries.join(" and "));
        }
        if !message.is_empty() {
            phrase += &format!(" ({message})");
        }
        phrase
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(failure: &LoginFailure, methods: &str, reason: &str, advice: LoginAdvice) {
        assert_eq!(failure.reason(methods), reason);
        assert_eq!(failure.advice(methods), advice, "{reason}");
    }

    #[test]
    fn partial_success_names_what_is_missing() {
        let mut failure = LoginFailure { n_accepted_keys: 1, ..LoginFailure::default() };
        let reason = "the key was accepted; the server also wants a password";
        check(&failure, "password", reason, LoginAdvice::AddPassword);
        let reason = "the key was accepted; the server also wants another key";
        check(&failure, "publickey", reason, LoginAdvice::TryKeys);
        failure.password = PasswordResult::Rejected;
        let reason = "the key was accepted; the server also wants a password or \
                      keyboard-interactive, but the password was refused";
        check(&failure, "password,keyboard-interactive", reason, LoginAdvice::TryKeysAndPassword);
        failure.password = PasswordResult::Accepted;
        let reason = "the key and the password were accepted; the server also wants a?b";
        check(&failure, "a|b", reason, LoginAdvice::TryKeysAndPassword);
        failure.n_accepted_keys = 0;
        let reason = "the password was accepted; the server also wants a key";
        check(&failure, "publickey", reason, LoginAdvice::TryPassword);
    }

    #[test]
    fn hang_up_names_what_was_tried() {
        let message = Some("Too many authentication failures".to_owned());
        let mut failure =
            LoginFailure { n_rejected_keys: 6, hang_up: message, ..LoginFailure::default() };
        let reason =
            "the server closed the connection after 6 keys (Too many authentication failures)";
        check(&failure, "publickey", reason, LoginAdvice::NameKey);
        failure.n_rejected_keys = 1;
        failure.password = PasswordResult::Unanswered;
        failure.hang_up = Some(String::new());
        let reason = "the server closed the connection after the key and the password";
        check(&failure, "password", reason, LoginAdvice::TryKeysAndPassword);
        failure.n_rejected_keys = 0;
        failure.password = PasswordResult::Rejected;
        let reason = "the password was refused, the server closed the connection";
        check(&failure, "password", reason, LoginAdvice::TryPassword);
    }

    #[test]
    fn missing_credentials_are_a_reason() {
        let failure = LoginFailure::default();
        check(&failure, "publickey", NO_CREDENTIALS, LoginAdvice::AddCredential);
    }
}
