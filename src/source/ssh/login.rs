//! Logs in to a server with keys, a password or an agent.
//!
//! A server may require several credentials (RFC 4252, section 5.1): it accepts one, does
//! not complete the login, and lists the methods that can follow. libssh2 does not return
//! that list, and distinguishes such a reply from a rejection only for keys. Therefore the
//! list is requested again, which counts as one of the attempts that the server allows.
use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    rc::Rc,
    thread,
};

use rustix::process::{Signal, getpid, kill_process};
use ssh2::ErrorCode;

use super::{
    KeyFileError, SshError, SshServer,
    key_file::{KeyFile, PrivateKey, PublicKey},
    login_failure::{LoginFailure, PasswordResult},
    password_responder::PasswordResponder,
    relay,
    session::LimitedSession,
    ssh_error::{describe_error, is_open_files_limit, quoted},
};
use crate::{model::secret::Secret, sys::terminal};

// Codes of libssh2.h.
const PASSWORD_EXPIRED: i32 = -15;
const FILE: i32 = -16;
const AUTHENTICATION_FAILED: i32 = -18;
const PUBLICKEY_UNVERIFIED: i32 = -19;
/// Errors after which the connection cannot be used: errors of the socket, of the
/// encryption, and of packets that cannot be read. Errors of a key file are not included.
const CONNECTION_ERRORS: [ErrorCode; 10] = [
    ErrorCode::Session(-1),
    ErrorCode::Session(-4),
    ErrorCode::Session(-7),
    ErrorCode::Session(-12),
    ErrorCode::Session(-13),
    ErrorCode::Session(-14),
    ErrorCode::Session(-41),
    ErrorCode::Session(-43),
    relay::TIMEOUT,
    relay::TOO_MANY_BYTES,
];

/// Logs in; returns the method that succeeded, for messages.
///
/// Explicit credentials are tried before default ones: a server closes the
/// connection after a number of attempts (`MaxAuthTries`), and an agent may have many
/// keys.
pub(super) fn login(server: &SshServer, session: &mut LimitedSession) -> Result<String, SshError> {
    let mut attempt = LoginAttempt::new(server, session);
    let has_methods = attempt.update_methods();
    if attempt.session.session().authenticated() {
        return Ok("no credential (the server requires none)".to_owned());
    }
    if !has_methods {
        return Err(attempt.fail());
    }
    let explicit_keys = read_explicit_keys(server)?;
    loop {
        match attempt.try_next(&explicit_keys)? {
            Some(Progress::LoggedIn(method)) => return Ok(method),
            // The server may now require a credential that was skipped before.
            Some(Progress::Accepted) => {}
            None => return Err(attempt.fail()),
        }
    }
}

/// Reads the keys that the user has named. A key that cannot be used is an error, and is
/// not skipped.
fn read_explicit_keys(server: &SshServer) -> Result<Vec<(PathBuf, KeyFile)>, SshError> {
    let read = |path: &PathBuf| match KeyFile::read(path) {
        Ok(key) => Ok((path.clone(), key)),
        Err(error) => Err(SshError::from_key_file(server, path.clone(), error)),
    };
    server.credentials.identities.iter().map(read).collect()
}

/// Reply to a credential that the server has accepted.
enum Progress {
    /// The login is complete. Contains the method, for messages.
    LoggedIn(String),
    /// The server wants another credential.
    Accepted,
}

/// Reply to a credential.
enum Reply {
    LoggedIn,
    Accepted,
    Rejected,
    PasswordExpired,
    /// The credential was not sent. Contains the reason.
    Unusable(String),
    /// The connection has ended.
    Closed,
}

/// Credential that is not tried again.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Credential {
    KeyFile(PathBuf),
    /// Key in the wire format of SSH.
    PublicKey(Vec<u8>),
    /// The password, by this method.
    Password(&'static str),
    PromptedPassword,
}

/// Private key of a file, and its passphrase.
struct KeyOffer<'k> {
    path: &'k Path,
    key: &'k PrivateKey,
    passphrase: Option<&'k Secret>,
}

/// Agent with its keys.
struct AgentKeys {
    agent: ssh2::Agent,
    identities: Vec<ssh2::PublicKey>,
}

/// Login in progress.
struct LoginAttempt<'a> {
    server: &'a SshServer,
    session: &'a mut LimitedSession,
    /// Methods that the server accepts next, separated by commas; empty if unknown.
    methods: String,
    tried: BTreeSet<Credential>,
    /// Agent, after the first use; `Some(None)` if it gave no keys.
    agent: Option<Option<Rc<AgentKeys>>>,
    failure: LoginFailure,
    /// True after the server has closed the connection or has stopped answering.
    is_closed: bool,
}

impl<'a> LoginAttempt<'a> {
    fn new(server: &'a SshServer, session: &'a mut LimitedSession) -> Self {
        Self {
            server,
            session,
            methods: String::new(),
            tried: BTreeSet::new(),
            agent: None,
            failure: LoginFailure::default(),
            is_closed: false,
        }
    }

    /// Tries the credentials in their order up to the first that is accepted: explicit
    /// keys, the password, the agent, default keys, a password prompt. Those that the
    /// server does not accept now are skipped.
    fn try_next(
        &mut self,
        explicit_keys: &[(PathBuf, KeyFile)],
    ) -> Result<Option<Progress>, SshError> {
        for (path, key) in explicit_keys {
            let progress = match key {
                KeyFile::Private(key) => self.try_private_key(path, key)?,
                KeyFile::Public(key) => self.try_named_agent_key(path, key),
            };
            if progress.is_some() {
                return Ok(progress);
            }
        }
        let credentials = &self.server.credentials;
        if let Some(password) = &credentials.password {
            let progress = self.try_password(password);
            if progress.is_some() {
                return Ok(progress);
            }
        }
        if let Some(progress) = self.try_agent_keys() {
            return Ok(Some(progress));
        }
        for path in &credentials.default_identities {
            if let Some(progress) = self.try_default_key(path)? {
                return Ok(Some(progress));
            }
        }
        Ok(self.try_prompted_password())
    }

    /// Returns true if the server accepts this method now.
    fn accepts(&self, method: &str) -> bool {
        !self.is_closed && self.methods.split(',').any(|accepted| accepted == method)
    }

    /// Requests the methods that the server accepts next. Returns false if the server
    /// sends no list.
    fn update_methods(&mut self) -> bool {
        let user = &self.server.user;
        let methods =
            self.session.complete(|session| session.auth_methods(user).map(str::to_owned));
        let is_known = methods.is_ok();
        match methods {
            Ok(methods) => self.methods = methods,
            Err(error) => {
                self.methods.clear();
                self.close(&error);
            }
        }
        is_known
    }

    /// Records the end of the connection.
    fn close(&mut self, error: &ssh2::Error) {
        self.is_closed = true;
        if !relay::is_limit_exceeded(error) && self.session.is_closed() {
            self.failure.hang_up = Some(self.session.disconnect_message());
        } else {
            self.failure.other_phrases.push(describe_error(error));
        }
    }

    /// Returns the server's reply to a credential.
    fn reply(&mut self, result: Result<(), ssh2::Error>) -> Reply {
        let error = match result {
            Ok(()) if self.session.session().authenticated() => return Reply::LoggedIn,
            Ok(()) => return Reply::Accepted,
            Err(error) => error,
        };
        // libssh2 uses the code of a rejection for a missing reply as well.
        let is_unanswered = error.message().starts_with("Waiting for ");
        match error.code() {
            ErrorCode::Session(AUTHENTICATION_FAILED) if !is_unanswered => Reply::Rejected,
            ErrorCode::Session(PUBLICKEY_UNVERIFIED)
                if error.message().starts_with("Invalid signature") =>
            {
                // The server had accepted the key before it got a signature, and the key
                // files match, so the signature was valid.
                Reply::Accepted
            }
            ErrorCode::Session(PUBLICKEY_UNVERIFIED) if !is_unanswered => {
                Reply::Unusable("signing failed".to_owned())
            }
            ErrorCode::Session(PASSWORD_EXPIRED) => Reply::PasswordExpired,
            code if is_unanswered
                || self.session.is_closed()
                || CONNECTION_ERRORS.contains(&code) =>
            {
                self.close(&error);
                Reply::Closed
            }
            ErrorCode::Session(FILE) => Reply::Unusable("it is not a key".to_owned()),
            _ => Reply::Unusable(describe_error(&error)),
        }
    }

    /// Counts a key that was offered. `Err` contains the reason why the key was not offered.
    fn record_key(
        &mut self,
        result: Result<(), ssh2::Error>,
        name: String,
    ) -> Result<Option<Progress>, String> {
        match self.reply(result) {
            Reply::LoggedIn => return Ok(Some(Progress::LoggedIn(name))),
            Reply::Accepted => {
                self.failure.n_accepted_keys += 1;
                self.update_methods();
                return Ok(Some(Progress::Accepted));
            }
            Reply::Unusable(reason) => return Err(reason),
            Reply::Closed if self.failure.hang_up.is_none() => {}
            Reply::Rejected | Reply::PasswordExpired | Reply::Closed => {
                self.failure.n_rejected_keys += 1;
            }
        }
        Ok(None)
    }

    fn try_default_key(&mut self, path: &Path) -> Result<Option<Progress>, SshError> {
        if !self.accepts("publickey") {
            return Ok(None);
        }
        match KeyFile::read(path) {
            Ok(KeyFile::Private(key)) => return self.try_private_key(path, &key),
            Ok(KeyFile::Public(_)) => {}
            Err(error) if error.is_missing() => {}
            Err(KeyFileError::Read(error)) if is_open_files_limit(&error) => {
                let error = KeyFileError::Read(error);
                return Err(SshError::from_key_file(self.server, path.to_owned(), error));
            }
            Err(error) => self.skip_default_key(path, &error.to_string()),
        }
        Ok(None)
    }

    /// Adds a phrase about a default key, once for each reason: a directory that cannot be
    /// searched is the reason for all of them.
    fn skip_default_key(&mut self, path: &Path, reason: &str) {
        if !self.failure.other_phrases.iter().any(|phrase| phrase.ends_with(reason)) {
            self.skip(path, reason);
        }
    }

    /// Adds a phrase about a file that is not used.
    fn skip(&mut self, path: &Path, reason: &str) {
        self.failure.other_phrases.push(format!("{} cannot be used: {reason}", path.display()));
    }

    fn try_private_key(
        &mut self,
        path: &Path,
        key: &PrivateKey,
    ) -> Result<Option<Progress>, SshError> {
        let is_new = self.accepts("publickey")
            && key.public_key.as_ref().is_none_or(|public_key| !self.is_tried(public_key))
            && self.tried.insert(Credential::KeyFile(path.to_owned()));
        if !is_new {
            return Ok(None);
        }
        let has_passphrase = self.server.credentials.passphrase.is_some();
        if let (true, false, Some(public_key)) = (key.is_encrypted, has_passphrase, &key.public_key)
        {
            let agent = self.agent_keys();
            let identity = agent.as_ref().and_then(|agent| agent.find(public_key));
            if let (Some(agent), Some(identity)) = (&agent, identity) {
                return Ok(self.offer_agent_key(agent, identity));
            }
        }
        let passphrase = if key.is_encrypted { self.passphrase(path) } else { None };
        if key.is_encrypted && passphrase.is_none() {
            let name = path.display();
            let phrase = format!("{name} is encrypted, and no passphrase is available");
            self.failure.other_phrases.push(phrase);
            return Ok(None);
        }
        let offer = KeyOffer { path, key, passphrase: passphrase.as_ref() };
        if let Some(certificate) = self.certificate(path, key)? {
            let progress = self.offer_certificate(&offer, &certificate);
            if progress.is_some() {
                return Ok(progress);
            }
        }
        Ok(self.offer_key(&offer, key.public_key.as_ref()))
    }

    fn is_tried(&self, key: &PublicKey) -> bool {
        self.tried.contains(&Credential::PublicKey(key.blob.clone()))
    }

    fn passphrase(&self, path: &Path) -> Option<Secret> {
        match &self.server.credentials.passphrase {
            Some(passphrase) => Some(passphrase.clone()),
            None if self.server.credentials.interactive => {
                prompt_secret(&format!("Passphrase of {}: ", path.display()))
            }
            None => None,
        }
    }

    /// Returns the certificate for a key. A certificate that cannot be used is skipped,
    /// because the key may be accepted without it.
    fn certificate(
        &mut self,
        path: &Path,
        key: &PrivateKey,
    ) -> Result<Option<PublicKey>, SshError> {
        let certificate_path = PrivateKey::certificate_path(path);
        match key.certificate(path) {
            Ok(certificate) => Ok(certificate),
            Err(KeyFileError::Read(error)) if is_open_files_limit(&error) => {
                let error = KeyFileError::Read(error);
                Err(SshError::from_key_file(self.server, certificate_path, error))
            }
            Err(error) => {
                self.skip(&certificate_path, &error.to_string());
                Ok(None)
            }
        }
    }

    /// Offers a certificate, which is not counted as a separate key.
    fn offer_certificate(
        &mut self,
        offer: &KeyOffer<'_>,
        certificate: &PublicKey,
    ) -> Option<Progress> {
        let n_rejected_keys = self.failure.n_rejected_keys;
        let progress = self.offer_key(offer, Some(certificate));
        if self.failure.n_rejected_keys > n_rejected_keys && !self.is_closed {
            self.failure.n_rejected_keys = n_rejected_keys;
            let path = PrivateKey::certificate_path(offer.path);
            let phrase = format!("the certificate {} was not accepted", path.display());
            self.failure.other_phrases.push(phrase);
        }
        progress
    }

    /// Offers a private key with a public key or certificate for it. If `public_key` is
    /// `None`, libssh2 derives the public key.
    fn offer_key(
        &mut self,
        offer: &KeyOffer<'_>,
        public_key: Option<&PublicKey>,
    ) -> Option<Progress> {
        if self.is_closed {
            return None;
        }
        let (user, passphrase) = (&self.server.user, offer.passphrase.map(Secret::reveal));
        let line = public_key.map(|public_key| &*public_key.line);
        let result = self.session.complete(|session| {
            session.userauth_pubkey_memory(user, line, &offer.key.text, passphrase)
        });
        let mut name = format!("key {}", offer.path.display());
        if let Some(public_key) = public_key {
            self.tried.insert(Credential::PublicKey(public_key.blob.clone()));
            if public_key.is_certificate() {
                name += " with its certificate";
            }
        }
        match self.record_key(result, name) {
            Ok(progress) => progress,
            Err(reason) => {
                let is_encrypted = offer.key.is_encrypted;
                let reason = if is_encrypted { "its passphrase is wrong" } else { &reason };
                self.skip(offer.path, reason);
                None
            }
        }
    }

    /// Returns the agent with its keys; `None` if no agent is set, or if it gives no keys,
    /// for which the reason is recorded.
    fn agent_keys(&mut self) -> Option<Rc<AgentKeys>> {
        if let Some(agent) = &self.agent {
            return agent.clone();
        }
        let socket = self.server.credentials.agent.as_deref()?;
        let agent = match AgentKeys::load(self.session, socket) {
            Ok(agent) => Some(Rc::new(agent)),
            Err(error) => {
                let phrase = format!("the agent gave no keys ({})", error.message());
                self.failure.other_phrases.push(phrase);
                None
            }
        };
        self.agent = Some(agent.clone());
        agent
    }

    /// Tries the key of the agent that the file of a public key selects.
    fn try_named_agent_key(&mut self, path: &Path, key: &PublicKey) -> Option<Progress> {
        if !self.accepts("publickey") || !self.tried.insert(Credential::KeyFile(path.to_owned())) {
            return None;
        }
        let agent = self.agent_keys();
        let Some(agent) = agent else {
            self.skip(path, "it is a public key, and no agent with its private key is available");
            return None;
        };
        let Some(identity) = agent.find(key) else {
            self.skip(path, "it is a public key, and the agent does not have its private key");
            return None;
        };
        self.offer_agent_key(&agent, identity)
    }

    fn try_agent_keys(&mut self) -> Option<Progress> {
        if !self.accepts("publickey") {
            return None;
        }
        let agent = self.agent_keys()?;
        for identity in &agent.identities {
            let progress = self.offer_agent_key(&agent, identity);
            if progress.is_some() {
                return progress;
            }
        }
        None
    }

    fn offer_agent_key(
        &mut self,
        agent: &AgentKeys,
        identity: &ssh2::PublicKey,
    ) -> Option<Progress> {
        let credential = Credential::PublicKey(identity.blob().to_vec());
        if self.is_closed || !self.tried.insert(credential) {
            return None;
        }
        let user = &self.server.user;
        let result = self.session.complete(|_| agent.agent.userauth(user, identity));
        let name = format!("key {} of the agent", identity.comment());
        match self.record_key(result, name) {
            Ok(progress) => progress,
            Err(reason) => {
                let name = quoted(identity.comment());
                let phrase = format!("the key {name} of the agent cannot be used: {reason}");
                self.failure.other_phrases.push(phrase);
                None
            }
        }
    }

    /// Tries a password by both methods that use one. libssh2 returns the same error for a
    /// wrong password and for an accepted one that is not sufficient, so the list of
    /// methods that follow distinguishes them.
    fn try_password(&mut self, password: &Secret) -> Option<Progress> {
        let old_methods = self.methods.clone();
        let mut is_tried = false;
        for method in ["password", "keyboard-interactive"] {
            if !self.accepts(method) || !self.tried.insert(Credential::Password(method)) {
                continue;
            }
            is_tried = true;
            if self.try_password_by(method, password) {
                return Some(Progress::LoggedIn(method.to_owned()));
            }
            if self.failure.password == PasswordResult::Expired {
                break;
            }
        }
        if !is_tried || self.is_closed || self.failure.password == PasswordResult::Expired {
            return None;
        }
        if self.update_methods() && self.methods != old_methods {
            self.failure.password = PasswordResult::Accepted;
            return Some(Progress::Accepted);
        }
        None
    }

    /// Tries a password by one method; returns true if the login is complete.
    fn try_password_by(&mut self, method: &str, password: &Secret) -> bool {
        let user = &self.server.user;
        let mut responder = PasswordResponder::new(password);
        let result = self.session.complete(|session| match method {
            "password" => session.userauth_password(user, password.reveal()),
            _ => session.userauth_keyboard_interactive(user, &mut responder),
        });
        self.failure.password = match self.reply(result) {
            Reply::LoggedIn => return true,
            Reply::Accepted | Reply::Rejected => PasswordResult::Rejected,
            Reply::PasswordExpired => {
                self.failure.other_phrases.push("the password has expired".to_owned());
                PasswordResult::Expired
            }
            Reply::Unusable(reason) => {
                self.failure.other_phrases.push(reason);
                PasswordResult::Rejected
            }
            Reply::Closed if self.failure.password == PasswordResult::Untried => {
                PasswordResult::Unanswered
            }
            Reply::Closed => self.failure.password,
        };
        if let Some(question) = responder.question() {
            let phrase = if responder.is_password_expired() {
                self.failure.password = PasswordResult::Expired;
                "the password has expired"
            } else {
                "the server asked for more than a password"
            };
            self.failure.other_phrases.push(format!("{phrase} ({question})"));
        }
        false
    }

    fn try_prompted_password(&mut self) -> Option<Progress> {
        let accepts_password = self.accepts("password") || self.accepts("keyboard-interactive");
        if !self.server.credentials.interactive
            || !accepts_password
            || !self.tried.insert(Credential::PromptedPassword)
        {
            return None;
        }
        let (user, name) = (&self.server.user, self.server.name());
        let password = prompt_secret(&format!("Password of {user} on {name}: "))?;
        for method in ["password", "keyboard-interactive"] {
            self.tried.remove(&Credential::Password(method));
        }
        self.try_password(&password)
    }

    /// Ends the login; returns the error that describes all tries.
    fn fail(&mut self) -> SshError {
        let is_password_untried = self.server.credentials.password.is_some()
            && self.failure.password == PasswordResult::Untried;
        if is_password_untried && !self.is_closed {
            let phrase =
                format!("the server does not accept a password ({})", quoted(&self.methods));
            self.failure.other_phrases.push(phrase);
        }
        SshError::Login {
            host: self.server.name(),
            user: self.server.user.clone(),
            reason: self.failure.reason(&self.methods),
            advice: self.failure.advice(&self.methods),
        }
    }
}

impl AgentKeys {
    fn load(session: &LimitedSession, socket: &Path) -> Result<Self, ssh2::Error> {
        let mut agent = session.session().agent()?;
        agent.set_identity_path(socket)?;
        agent.connect()?;
        agent.list_identities()?;
        let identities = agent.identities()?;
        Ok(Self { agent, identities })
    }

    fn find(&self, key: &PublicKey) -> Option<&ssh2::PublicKey> {
        self.identities.iter().find(|identity| identity.blob() == key.blob)
    }
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
