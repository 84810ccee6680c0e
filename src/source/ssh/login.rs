//! Logs in to a server with keys, a password or an agent.
use std::{
    io::{self, Read},
    path::Path,
    thread,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustix::process::{Signal, getpid, kill_process};
use ssh2::{KeyboardInteractivePrompt, Prompt};
use zeroize::Zeroizing;

use super::{
    KeyFileError, SshError, SshServer, relay, session::LimitedSession, ssh_error::describe_error,
};
use crate::{
    model::secret::Secret,
    sys::{
        terminal,
        trusted_file::{self, FilePolicy, TrustedFileError},
    },
};

/// Maximum number of bytes read from a key file.
const MAX_KEY_BYTES: usize = 64 * 1024;

/// Logs in; returns the method that succeeded, for messages.
///
/// Explicit credentials are tried before default ones: a server closes the
/// connection after a number of attempts (`MaxAuthTries`), and an agent may have many
/// keys.
pub(super) fn login(server: &SshServer, session: &mut LimitedSession) -> Result<String, SshError> {
    let mut attempt = LoginAttempt {
        server,
        session,
        n_rejected_keys: 0,
        rejections: Vec::new(),
        is_closed: false,
    };
    let methods = match attempt.request_methods() {
        Ok(methods) => methods,
        // Some servers accept a login without credentials.
        Err(_) if attempt.is_authenticated() => {
            return Ok("no proof, as it asks for none".to_owned());
        }
        Err(error) => {
            attempt.rejections.push(describe_error(&error));
            return Err(attempt.to_error());
        }
    };
    for path in &server.credentials.identities {
        // An explicit key that cannot be used is an error, not a skipped method.
        let (host, path) = (server.name(), path.clone());
        match inspect_key(&path) {
            Ok(Ok(_)) => {}
            Ok(Err(problem)) => return Err(SshError::UnusableKey { host, path, problem }),
            Err(source) => return Err(SshError::KeyFile { host, path, source }),
        }
    }
    attempt.try_all(&methods).ok_or_else(|| attempt.to_error())
}

/// Login in progress. The `try_…` methods return the method that succeeded, for
/// messages, or `None`.
struct LoginAttempt<'a> {
    server: &'a SshServer,
    session: &'a mut LimitedSession,
    /// Number of keys that the server rejected and `rejections` does not list.
    n_rejected_keys: usize,
    /// Phrases about other rejected or unusable credentials.
    rejections: Vec<String>,
    /// True after the server has closed the connection or has stopped answering.
    is_closed: bool,
}

impl LoginAttempt<'_> {
    /// Tries all credentials: explicit keys, the password, the agent, default keys, a
    /// password prompt.
    fn try_all(&mut self, methods: &str) -> Option<String> {
        let credentials = &self.server.credentials;
        let accepts_keys = methods.contains("publickey");
        let explicit_keys = credentials.identities.iter().filter(|_| accepts_keys);
        explicit_keys
            .into_iter()
            .find_map(|path| self.try_key(path))
            .or_else(|| {
                let password = credentials.password.as_ref()?;
                let remaining_methods = self.remaining_methods(methods);
                self.try_password(password, &remaining_methods)
            })
            .or_else(|| self.try_agent(credentials.agent.as_deref().filter(|_| accepts_keys)?))
            .or_else(|| {
                let default_keys = credentials.default_identities.iter();
                default_keys
                    .filter(|path| accepts_keys && is_usable_key(path))
                    .find_map(|path| self.try_key(path))
            })
            .or_else(|| {
                let accepts_password = methods.contains("password") || methods.contains("keyboard");
                if !credentials.interactive || self.is_closed || !accepts_password {
                    return None;
                }
                let (user, host) = (&self.server.user, self.server.name());
                let password = prompt_secret(&format!("Password of {user} on {host}: "))?;
                self.try_password(&password, methods)
            })
    }

    /// Requests the methods that the server accepts.
    fn request_methods(&mut self) -> Result<String, ssh2::Error> {
        let user = &self.server.user;
        self.session.complete(|session| session.auth_methods(user).map(str::to_owned))
    }

    fn is_authenticated(&self) -> bool {
        self.session.session().authenticated()
    }

    /// Returns the methods that the server accepts next. A server that requires a key
    /// *and* a password rejects the key alone and then accepts other methods than
    /// before.
    fn remaining_methods(&mut self, methods: &str) -> String {
        if self.n_rejected_keys == 0 || self.is_closed {
            return methods.to_owned();
        }
        self.request_methods().unwrap_or_else(|_| methods.to_owned())
    }

    /// Records the result of one try; returns `method` if the login is complete.
    fn record_result(&mut self, result: Result<(), ssh2::Error>, method: String) -> Option<String> {
        match result {
            Ok(()) if self.is_authenticated() => return Some(method),
            Ok(()) => self.rejections.push("one proof was not enough".to_owned()),
            Err(error) if relay::is_limit_exceeded(&error) => {
                self.is_closed = true;
                self.rejections.push(describe_error(&error));
            }
            Err(error) => {
                // After too many attempts the server closes the connection.
                if matches!(error.code(), ssh2::ErrorCode::Session(-13 | -43 | -1 | -7)) {
                    self.is_closed = true;
                    self.rejections.push("it allows no more tries".to_owned());
                }
            }
        }
        None
    }

    fn try_key(&mut self, path: &Path) -> Option<String> {
        if self.is_closed {
            return None;
        }
        let is_encrypted = matches!(inspect_key(path), Ok(Ok(true)));
        let passphrase = match (is_encrypted, &self.server.credentials.passphrase) {
            (false, _) => None,
            (true, Some(passphrase)) => Some(passphrase.clone()),
            (true, None) if self.server.credentials.interactive => {
                prompt_secret(&format!("Passphrase of {}: ", path.display()))
            }
            (true, None) => {
                let name = path.display();
                self.rejections.push(format!("{name} is encrypted, and there is no passphrase"));
                return None;
            }
        };
        // Without the public key file, libssh2 derives the key from the passphrase
        // twice.
        let public_key = path.with_added_extension("pub");
        let public_key = if public_key.is_file() { Some(&*public_key) } else { None };
        let passphrase = passphrase.as_ref();
        let mut result = self.authenticate_by_key(path, public_key, passphrase);
        if public_key.is_some() && result.as_ref().is_err_and(is_file_error) {
            result = self.authenticate_by_key(path, None, passphrase);
        }
        if result.as_ref().is_err_and(is_file_error) {
            let reason = if is_encrypted { "its passphrase is wrong" } else { "it is no key" };
            self.rejections.push(format!("{} cannot be used: {reason}", path.display()));
            return None;
        }
        if is_rejection(&result) && is_encrypted {
            // For some formats, libssh2 does not report which of the two happened.
            let name = path.display();
            self.rejections.push(format!("{name} was not accepted, or its passphrase is wrong"));
        } else {
            self.n_rejected_keys += usize::from(is_rejection(&result));
        }
        self.record_result(result, format!("key {}", path.display()))
    }

    fn authenticate_by_key(
        &mut self,
        path: &Path,
        public_key: Option<&Path>,
        passphrase: Option<&Secret>,
    ) -> Result<(), ssh2::Error> {
        let (user, passphrase) = (&self.server.user, passphrase.map(Secret::reveal));
        self.session
            .complete(|session| session.userauth_pubkey_file(user, public_key, path, passphrase))
    }

    fn try_agent(&mut self, socket: &Path) -> Option<String> {
        if self.is_closed {
            return None;
        }
        let mut agent = self.session.session().agent().ok()?;
        let identities = agent
            .set_identity_path(socket)
            .and_then(|()| agent.connect())
            .and_then(|()| agent.list_identities())
            .and_then(|()| agent.identities());
        let identities = match identities {
            Ok(identities) => identities,
            Err(error) => {
                self.rejections.push(format!("the agent gave no keys ({})", error.message()));
                return None;
            }
        };
        for identity in identities {
            if self.is_closed {
                break;
            }
            let user = &self.server.user;
            let result = self.session.complete(|_| agent.userauth(user, &identity));
            self.n_rejected_keys += usize::from(is_rejection(&result));
            let method = format!("key {} of the agent", identity.comment());
            let succeeded_method = self.record_result(result, method);
            if succeeded_method.is_some() {
                return succeeded_method;
            }
        }
        None
    }

    fn try_password(&mut self, password: &Secret, methods: &str) -> Option<String> {
        if self.is_closed {
            return None;
        }
        let user = &self.server.user;
        let mut was_tried = false;
        let mut is_rejected = false;
        if methods.split(',').any(|method| method == "password") {
            was_tried = true;
            let result =
                self.session.complete(|session| session.userauth_password(user, password.reveal()));
            is_rejected |= is_rejection(&result);
            if let Some(method) = self.record_result(result, "password".to_owned()) {
                return Some(method);
            }
        }
        if !self.is_closed && methods.contains("keyboard-interactive") {
            was_tried = true;
            let mut responder = PasswordResponder { password, has_answered: false };
            let result = self
                .session
                .complete(|session| session.userauth_keyboard_interactive(user, &mut responder));
            is_rejected |= is_rejection(&result);
            if let Some(method) = self.record_result(result, "keyboard-interactive".to_owned()) {
                return Some(method);
            }
        }
        if is_rejected {
            self.rejections.push("the password was refused".to_owned());
        } else if !was_tried {
            self.rejections.push(format!("it takes no password ({methods})"));
        }
        None
    }

    /// Returns the error that lists all rejections.
    fn to_error(&self) -> SshError {
        let keys = match self.n_rejected_keys {
            0 => None,
            1 => Some("the key was not accepted".to_owned()),
            n_keys => Some(format!("none of the {n_keys} keys was accepted")),
        };
        let reasons: Vec<_> = keys.into_iter().chain(self.rejections.iter().cloned()).collect();
        let reason = match reasons[..] {
            [] => "there is no key and no password to try".to_owned(),
            _ => reasons.join(", "),
        };
        SshError::Login { host: self.server.name(), user: self.server.user.clone(), reason }
    }
}

/// Answers the first prompt of a server with the password. A second prompt means that
/// the password was wrong.
struct PasswordResponder<'a> {
    password: &'a Secret,
    has_answered: bool,
}

impl KeyboardInteractivePrompt for PasswordResponder<'_> {
    fn prompt(&mut self, _: &str, _: &str, prompts: &[Prompt<'_>]) -> Vec<String> {
        let mut answer = |prompt: &Prompt<'_>| {
            if prompt.echo || std::mem::replace(&mut self.has_answered, true) {
                return String::new();
            }
            self.password.reveal().to_owned()
        };
        prompts.iter().map(&mut answer).collect()
    }
}

/// Returns true if the server has rejected a credential, or has closed the connection
/// for it.
fn is_rejection(result: &Result<(), ssh2::Error>) -> bool {
    result.as_ref().is_err_and(|error| !relay::is_limit_exceeded(error))
}

/// Returns true if libssh2 could not use a key file: the file is not a key, or the
/// public key in it does not fit its name.
fn is_file_error(error: &ssh2::Error) -> bool {
    error.code() == ssh2::ErrorCode::Session(-16)
}

/// Prompts the user for a secret without echo.
///
/// The echo is disabled before the prompt appears, so that an immediate answer stays
/// hidden. The end of the run restores the terminal.
fn prompt_secret(prompt: &str) -> Option<Secret> {
    terminal::disable_echo();
    match rpassword::prompt_password(prompt) {
        Ok(answer) => Some(Secret::new(answer)),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => interrupt_self(),
        // Without an answer, the login continues without this secret.
        Err(_) => None,
    }
}

/// Ends the run with SIGINT. The password prompt has consumed Ctrl-C as a character,
/// so the terminal has not sent the signal.
fn interrupt_self() -> ! {
    // If sending fails, the time limit ends the run.
    let _ = kill_process(getpid(), Signal::INT);
    loop {
        thread::park();
    }
}

/// Returns true if a file contains a usable private key.
fn is_usable_key(path: &Path) -> bool {
    matches!(inspect_key(path), Ok(Ok(_)))
}

/// Returns whether the private key in a file is encrypted, or why the file cannot be
/// used.
fn inspect_key(path: &Path) -> io::Result<Result<bool, KeyFileError>> {
    let file = match trusted_file::open_named(path, FilePolicy::secret()) {
        Err(TrustedFileError::Distrust(_)) => return Ok(Err(KeyFileError::NotPrivate)),
        result => result?,
    };
    // The longest keys, RSA with 16384 bits, have 13 KiB. The buffer never grows: a
    // buffer that grows leaves copies of the key in freed memory.
    let mut text = Zeroizing::new(String::with_capacity(2 * MAX_KEY_BYTES));
    file.take(MAX_KEY_BYTES as u64).read_to_string(&mut text)?;
    if !text.contains("PRIVATE KEY-----") {
        return Ok(Err(KeyFileError::NotAPrivateKey));
    }
    Ok(Ok(is_encrypted(&text)))
}

/// Returns true if a private key is encrypted. PEM files have a text header for that;
/// OpenSSH's own format names the cipher (`PROTOCOL.key` of OpenSSH).
fn is_encrypted(text: &str) -> bool {
    if text.contains("BEGIN ENCRYPTED") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return true;
    }
    const MAGIC: &[u8] = b"openssh-key-v1\0";
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    let body = Zeroizing::new(body);
    // Decode whole groups of four base64 letters; the first 64 letters contain the
    // name of the cipher.
    let first_groups = body.get(..body.len().min(64) / 4 * 4).unwrap_or_default();
    let Ok(bytes) = STANDARD.decode(first_groups).map(Zeroizing::new) else { return false };
    let Some(rest) = bytes.strip_prefix(MAGIC) else { return false };
    let cipher = rest.get(4..8);
    text.contains("BEGIN OPENSSH") && cipher.is_some_and(|cipher| cipher != b"none")
}
