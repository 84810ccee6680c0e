//! Proves who one is, by whatever is at hand: keys, a password, an agent.
#![expect(clippy::disallowed_types, reason = "this is where private keys are looked at")]
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    thread,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustix::process::{Signal, getpid, kill_process};
use ssh2::{KeyboardInteractivePrompt, Prompt, Session};
use zeroize::Zeroizing;

use super::{KeyProblem, Server, SshError, ssh_error::problem, stopwatch::Clock};
use crate::{
    model::secret::Secret,
    sys::{secret_file, terminal},
};

/// How much is looked at of what should be a key.
const LONGEST_KEY: usize = 64 * 1024;

/// Logs in; says by what.
///
/// What was asked for is tried before what happens to be there: a server ends
/// it after so many tries (`MaxAuthTries`), and an agent may have many keys.
pub(super) fn login(server: &Server, session: &Session, clock: &Clock) -> Result<String, SshError> {
    let mut attempt =
        Attempt { server, session, clock, n_keys: 0, refusals: Vec::new(), ended: false };
    clock.bound(session);
    let methods = match session.auth_methods(&server.user) {
        Ok(methods) => methods.to_owned(),
        // Some servers let anybody in.
        Err(_) if session.authenticated() => return Ok("no proof, as it asks for none".to_owned()),
        Err(error) => {
            attempt.refusals.push(problem(&error));
            return Err(attempt.failure());
        }
    };
    for path in &server.credentials.identities {
        // A key that was asked for is used, or it is said why not.
        let (host, path) = (server.host.clone(), path.clone());
        match look_at(&path) {
            Ok(Ok(_)) => {}
            Ok(Err(problem)) => return Err(SshError::Key { host, path, problem }),
            Err(source) => return Err(SshError::KeyFile { host, path, source }),
        }
    }
    attempt.all(&methods).ok_or_else(|| attempt.failure())
}

/// One login, as far as it has come.
struct Attempt<'a> {
    server: &'a Server,
    session: &'a Session,
    clock: &'a Clock,
    /// How many keys were refused.
    n_keys: usize,
    /// What else was refused or could not be used, in words.
    refusals: Vec<String>,
    /// The server has had enough.
    ended: bool,
}

impl Attempt<'_> {
    fn all(&mut self, methods: &str) -> Option<String> {
        let credentials = &self.server.credentials;
        let keys = methods.contains("publickey");
        let asked_for = credentials.identities.iter().filter(|_| keys);
        asked_for
            .into_iter()
            .find_map(|path| self.key(path))
            .or_else(|| {
                let password = credentials.password.as_ref()?;
                let left = self.methods_left(methods);
                self.password(password, &left)
            })
            .or_else(|| self.agent(credentials.agent.as_deref().filter(|_| keys)?))
            .or_else(|| {
                let there = credentials.default_identities.iter();
                there.filter(|path| keys && is_key(path)).find_map(|path| self.key(path))
            })
            .or_else(|| {
                let takes_one = methods.contains("password") || methods.contains("keyboard");
                if !credentials.may_ask || self.ended || !takes_one {
                    return None;
                }
                let password =
                    ask(&format!("Password of {} on {}: ", self.server.user, self.server.host))?;
                self.password(&password, methods)
            })
    }

    /// Which methods are left. A server that asks for a key *and* a password
    /// refuses the key alone, and then takes other methods than before.
    fn methods_left(&mut self, methods: &str) -> String {
        if self.n_keys == 0 || self.ended {
            return methods.to_owned();
        }
        self.clock.bound(self.session);
        match self.session.auth_methods(&self.server.user) {
            Ok(left) => left.to_owned(),
            Err(_) => methods.to_owned(),
        }
    }

    /// Takes note of what came of a try; gives `way` where it worked.
    fn tried(&mut self, outcome: Result<(), ssh2::Error>, way: String) -> Option<String> {
        match outcome {
            Ok(()) if self.session.authenticated() => return Some(way),
            Ok(()) => self.refusals.push("one proof was not enough".to_owned()),
            Err(error) => {
                // A server that has had enough ends the connection.
                if matches!(error.code(), ssh2::ErrorCode::Session(-13 | -43 | -1 | -7 | -9)) {
                    self.ended = true;
                    self.refusals.push(match error.code() {
                        ssh2::ErrorCode::Session(-9) => problem(&error),
                        _ => "it allows no more tries".to_owned(),
                    });
                }
            }
        }
        None
    }

    fn key(&mut self, path: &Path) -> Option<String> {
        if self.ended {
            return None;
        }
        let is_encrypted = matches!(look_at(path), Ok(Ok(true)));
        let passphrase = match (is_encrypted, &self.server.credentials.passphrase) {
            (false, _) => None,
            (true, Some(passphrase)) => Some(passphrase.clone()),
            (true, None) if self.server.credentials.may_ask => {
                ask(&format!("Passphrase of {}: ", path.display()))
            }
            (true, None) => {
                let name = path.display();
                self.refusals.push(format!("{name} is encrypted, and there is no passphrase"));
                return None;
            }
        };
        // libssh2 derives the key from the passphrase twice without this.
        let public = path.with_added_extension("pub");
        let public = public.is_file().then_some(&*public);
        let login = |public| {
            self.clock.bound(self.session);
            let passphrase = passphrase.as_ref().map(Secret::reveal);
            self.session.userauth_pubkey_file(&self.server.user, public, path, passphrase)
        };
        let mut outcome = login(public);
        if public.is_some() && outcome.as_ref().is_err_and(is_unusable) {
            outcome = login(None);
        }
        if outcome.as_ref().is_err_and(is_unusable) {
            let reason = if is_encrypted { "its passphrase is wrong" } else { "it is no key" };
            self.refusals.push(format!("{} cannot be used: {reason}", path.display()));
            return None;
        }
        if outcome.is_err() && is_encrypted {
            // Of some formats libssh2 does not say which it was.
            let name = path.display();
            self.refusals.push(format!("{name} was not accepted, or its passphrase is wrong"));
        } else {
            self.n_keys += usize::from(outcome.is_err());
        }
        self.tried(outcome, format!("key {}", path.display()))
    }

    fn agent(&mut self, socket: &Path) -> Option<String> {
        if self.ended {
            return None;
        }
        let mut agent = self.session.agent().ok()?;
        let listed = agent
            .set_identity_path(socket)
            .and_then(|()| agent.connect())
            .and_then(|()| agent.list_identities())
            .and_then(|()| agent.identities());
        let identities = match listed {
            Ok(identities) => identities,
            Err(error) => {
                self.refusals.push(format!("the agent gave no keys ({})", error.message()));
                return None;
            }
        };
        for identity in identities {
            if self.ended {
                break;
            }
            self.clock.bound(self.session);
            let outcome = agent.userauth(&self.server.user, &identity);
            self.n_keys += usize::from(outcome.is_err());
            let way = self.tried(outcome, format!("key {} of the agent", identity.comment()));
            if way.is_some() {
                return way;
            }
        }
        None
    }

    fn password(&mut self, password: &Secret, methods: &str) -> Option<String> {
        if self.ended {
            return None;
        }
        let user = &self.server.user;
        let mut asked = false;
        if methods.split(',').any(|method| method == "password") {
            asked = true;
            self.clock.bound(self.session);
            let outcome = self.session.userauth_password(user, password.reveal());
            if let Some(way) = self.tried(outcome, "password".to_owned()) {
                return Some(way);
            }
        }
        if !self.ended && methods.contains("keyboard-interactive") {
            asked = true;
            self.clock.bound(self.session);
            let mut prompter = Prompter { password, answered: false };
            let outcome = self.session.userauth_keyboard_interactive(user, &mut prompter);
            if let Some(way) = self.tried(outcome, "keyboard-interactive".to_owned()) {
                return Some(way);
            }
        }
        self.refusals.push(match asked {
            true => "the password was refused".to_owned(),
            false => format!("it takes no password ({methods})"),
        });
        None
    }

    fn failure(&self) -> SshError {
        let keys = match self.n_keys {
            0 => None,
            1 => Some("the key was not accepted".to_owned()),
            n => Some(format!("none of the {n} keys was accepted")),
        };
        let tried: Vec<_> = keys.into_iter().chain(self.refusals.iter().cloned()).collect();
        let tried = match tried[..] {
            [] => "there is no key and no password to try".to_owned(),
            _ => tried.join(", "),
        };
        SshError::Login { host: self.server.host.clone(), user: self.server.user.clone(), tried }
    }
}

/// Answers a server's questions with the password, once: a second one means
/// that it was wrong.
struct Prompter<'a> {
    password: &'a Secret,
    answered: bool,
}

impl KeyboardInteractivePrompt for Prompter<'_> {
    fn prompt(&mut self, _: &str, _: &str, prompts: &[Prompt<'_>]) -> Vec<String> {
        let mut answer = |prompt: &Prompt<'_>| {
            if prompt.echo || std::mem::replace(&mut self.answered, true) {
                return String::new();
            }
            self.password.reveal().to_owned()
        };
        prompts.iter().map(&mut answer).collect()
    }
}

/// Whether a file is no key, or not the half that it is called.
fn is_unusable(error: &ssh2::Error) -> bool {
    error.code() == ssh2::ErrorCode::Session(-16)
}

/// Asks a person, without echo.
///
/// It is off before the question is out, so that nothing shows of an answer
/// that comes at once; the run puts the terminal back when it ends.
fn ask(question: &str) -> Option<Secret> {
    terminal::hide_typing();
    match rpassword::prompt_password(question) {
        Ok(answer) => Some(Secret::new(answer)),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => end(),
        // No more, and no reason.
        Err(_) => None,
    }
}

/// Ends the run by the signal that Ctrl-C stands for: who asks for a password
/// has taken the letter for himself.
fn end() -> ! {
    // Where it cannot be sent, the time is up before long.
    let _ = kill_process(getpid(), Signal::INT);
    loop {
        thread::park();
    }
}

/// Whether a file has a private key that can be used.
fn is_key(path: &Path) -> bool {
    matches!(look_at(path), Ok(Ok(_)))
}

/// Whether the private key in a file is encrypted; or why it cannot be used.
fn look_at(path: &Path) -> io::Result<Result<bool, KeyProblem>> {
    let mut file = File::open(path)?;
    if !secret_file::is_private(&file)? {
        return Ok(Err(KeyProblem::Open));
    }
    // The longest, RSA with 16384 bits, has 13 KiB; a text that grows leaves
    // copies behind.
    let mut text = Zeroizing::new(String::with_capacity(2 * LONGEST_KEY));
    (&mut file).take(LONGEST_KEY as u64).read_to_string(&mut text)?;
    if !text.contains("PRIVATE KEY-----") {
        return Ok(Err(KeyProblem::NoKey));
    }
    Ok(Ok(is_encrypted(&text)))
}

/// PEM says so in words, OpenSSH's own format by the name of a cipher
/// (`PROTOCOL.key` of OpenSSH).
fn is_encrypted(text: &str) -> bool {
    if text.contains("BEGIN ENCRYPTED") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return true;
    }
    const MAGIC: &[u8] = b"openssh-key-v1\0";
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    let body = Zeroizing::new(body);
    // Whole groups of four letters; the beginning is enough.
    let beginning = body.get(..body.len().min(64) / 4 * 4).unwrap_or_default();
    let Ok(bytes) = STANDARD.decode(beginning).map(Zeroizing::new) else { return false };
    let Some(rest) = bytes.strip_prefix(MAGIC) else { return false };
    let cipher = rest.get(4..8);
    text.contains("BEGIN OPENSSH") && cipher.is_some_and(|cipher| cipher != b"none")
}
